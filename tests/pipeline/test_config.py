"""What a run is told."""

import json

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.presets import TrainingConfig, preset
from edgedqn.pipeline.config import RunConfig


def test_round_trips_through_json() -> None:
    config = RunConfig(preset("CartPole-v1"), ("prune-qat-int8", "qat-int8"))
    assert RunConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_the_naive_conversion_is_always_shown_and_only_once() -> None:
    assert RunConfig(TrainingConfig(), ("qat-int8",)).all_recipes == ("ptq-int8", "qat-int8")
    assert RunConfig(TrainingConfig(), ("qat-int8", "ptq-int8")).all_recipes == ("ptq-int8", "qat-int8")


def test_unknown_and_repeated_recipes_are_refused() -> None:
    with pytest.raises(InputError, match=r"Unknown recipe 'int4'\. Expected one of: ptq-int8, qat-int8, prune-qat-int8"):
        RunConfig(TrainingConfig(), ("int4",))
    with pytest.raises(InputError, match="each recipe once"):
        RunConfig(TrainingConfig(), ("qat-int8", "qat-int8"))


def test_a_run_of_another_version_is_refused_in_one_line() -> None:
    whole = RunConfig(TrainingConfig()).to_json()
    for damaged in (
        {**whole, "training": {**whole["training"], "novelty": 1}},
        {k: v for k, v in whole.items() if k != "gate"},
    ):
        with pytest.raises(InputError, match="Another version of EdgeDQN made this run"):
            RunConfig.from_json(damaged)
