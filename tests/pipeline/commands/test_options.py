"""Options that several commands share."""

import dataclasses

import pytest

from edgedqn.agents.training.config import QLearningConfig, TrainingConfig
from edgedqn.pipeline.cli import main


def test_every_setting_of_both_agents_is_an_option_with_its_meaning_and_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for config in (TrainingConfig, QLearningConfig):
        for setting in dataclasses.fields(config):
            assert f"--{setting.name.replace('_', '-')} " in shown
    assert "environment steps that a transition spans (default: 3; 1 for small image)" in shown
    assert "--dueling, --no-dueling" in shown
