"""Settings that make sense, and the sentence for those that do not."""

import dataclasses

import gymnasium
import numpy as np
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.presets import PRESETS, TrainingConfig, preset

COUNTS = (
    "steps", "batch_size", "buffer_size", "target_update_interval", "train_freq", "gradient_steps", "n_step",
    "evaluation_interval", "evaluation_episodes", "finalists",
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in COUNTS for value in (0, -1)),
        ("learning_starts", -1),
        ("averaging_steps", -1),
        ("hidden", ()),
        ("hidden", (64, 0)),
        *((name, value) for name in ("learning_rate", "max_gradient_norm") for value in (0, -1e-3, np.nan)),
        *((name, value) for name in ("discount", "exploration_final") for value in (-0.1, 1.1, np.nan)),
        *(("exploration_fraction", value) for value in (0, -0.1, 1.1, np.nan)),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(name, value):
    with pytest.raises(InputError, match=rf"{name}.*Got .*{name if name != 'exploration_fraction' else ''}") as caught:
        TrainingConfig(**{name: value})
    assert str(value) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, 1) for name in (*COUNTS, "discount", "exploration_final", "exploration_fraction")),
        *((name, 0) for name in ("learning_starts", "averaging_steps", "discount", "exploration_final")),
        ("hidden", (1,)),
    ],
)
def test_the_ends_of_a_range_belong_to_it(name, value):
    assert getattr(TrainingConfig(**{name: value}), name) == value


def test_a_configuration_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainingConfig().steps = 1


@pytest.mark.parametrize("env_id", PRESETS)
def test_a_preset_is_for_an_environment_that_exists_and_trains_within_its_steps(env_id):
    config = preset(env_id)
    assert env_id in gymnasium.registry
    assert config == PRESETS[env_id] != TrainingConfig()
    assert config.learning_starts + config.train_freq < config.evaluation_interval <= config.steps
    assert config.batch_size <= config.learning_starts


def test_the_module_in_an_id_changes_nothing_and_the_unknown_get_the_defaults():
    assert preset("my_module:CartPole-v1") == preset("CartPole-v1")
    assert preset("My-v0") == preset("my_module:My-v0") == TrainingConfig()
