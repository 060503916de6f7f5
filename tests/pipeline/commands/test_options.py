"""Options that several commands share."""

import argparse
import dataclasses

import pytest

from edgedqn.agents.training.config import QLearningConfig, TrainingConfig
from edgedqn.pipeline.cli import main
from edgedqn.pipeline.commands.options import factors


def test_every_setting_of_both_agents_is_an_option_with_its_meaning_and_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for config in (TrainingConfig, QLearningConfig):
        for setting in dataclasses.fields(config):
            assert f"--{setting.name.replace('_', '-')} " in shown
    assert "environment steps that a transition spans (default: 3; 1 for small image)" in shown
    assert "--dueling, --no-dueling" in shown


def test_factors_are_numbers_fractions_or_a_word() -> None:
    assert factors("0.5,-2,1/4,1e3") == (0.5, -2.0, 0.25, 1000.0)
    assert factors("float") == (1.0,)
    for text in ("", "1,,2", "nan", "1/0", "inf", "floats"):
        with pytest.raises(argparse.ArgumentTypeError, match="expected numbers such as"):
            factors(text)
