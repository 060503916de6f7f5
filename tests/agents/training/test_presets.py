"""Presets that can be learned with, and the defaults for what has none."""

from contextlib import closing
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.environments import agent_view, make_environment
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.playing.spec import Atari, EnvironmentSpec, FrameStack, OneHot, observation_kind, spec_of
from edgedqn.agents.training.build import build_dqn
from edgedqn.agents.training.config import QLearningConfig, TrainingConfig
from edgedqn.agents.training.presets import DEFAULTS, PRESETS, find_preset


@pytest.mark.parametrize("env_id", PRESETS)
def test_a_preset_is_for_an_environment_that_exists_and_builds_an_agent_for_it(env_id: str) -> None:
    config = find_preset(env_id)
    with closing(make_environment(env_id)) as env:
        assert env_id in gymnasium.registry
        spec = spec_of(env, env_id, frame_stack=getattr(config, "frame_stack", 1))
        kind = observation_kind(spec.observation_shape, spec.preprocessing)
        assert type(config) is type(DEFAULTS[kind])
        assert config.evaluation_interval <= config.steps
        assert config.checkpoint_interval <= config.steps
        if isinstance(config, QLearningConfig):
            assert spec.preprocessing == (OneHot(),)
            return
        assert config.learning_starts + config.train_freq < config.evaluation_interval
        assert config.batch_size <= config.learning_starts
        agent = build_dqn(spec, replace(config, buffer_size=1_000), rng=np.random.default_rng(0))
        observation, _ = agent_view(env, spec).reset(seed=0)
        assert 0 <= agent.act_in_all(observation[None])[0] < spec.n_actions


@pytest.mark.parametrize(
    ("kind", "shape", "dtype", "preprocessing", "network"),
    [
        ("vector", (8,), "float32", (), "mlp"),
        ("vector", (128,), "uint8", (), "mlp"),
        ("small image", (10, 10, 7), "bool", (), "minatar"),
        ("small image", (35, 84), "uint8", (FrameStack(1),), "minatar"),
        ("image", (36, 36, 3), "uint8", (), "nature"),
        ("image", (84, 84), "float32", (FrameStack(1),), "nature"),
        ("atari", (84, 84), "uint8", (Atari(), FrameStack(4)), "nature"),
    ],
)
def test_so_does_the_default_for_every_other_kind(
    kind: str, shape: tuple[int, ...], dtype: str, preprocessing: tuple[Any, ...], network: str
) -> None:
    spec = EnvironmentSpec(
        source=EnvironmentSource("My-v0"),
        observation_shape=shape,
        observation_dtype=dtype,
        observation_low=(0.0,),
        observation_high=(1.0,),
        n_actions=3,
        preprocessing=preprocessing,
    )
    assert observation_kind(shape, preprocessing) == kind
    config = find_preset("My-v0", kind=kind)
    assert config == find_preset("my_module:My-v0", kind=kind) == DEFAULTS[kind]
    assert isinstance(config, TrainingConfig)
    assert config.network_for(spec.input_shape) == network
    agent = build_dqn(spec, replace(config, buffer_size=1_000), rng=np.random.default_rng(0))
    assert agent.network.input_shape == (None, *spec.input_shape)
    assert agent.network.output_shape == (None, 3)


def test_the_module_in_an_id_changes_nothing_and_the_unknown_get_the_defaults() -> None:
    assert find_preset("my_module:CartPole-v1") == find_preset("CartPole-v1") != TrainingConfig()
    assert find_preset("My-v0") == find_preset("my_module:My-v0") == TrainingConfig()
    assert isinstance(find_preset("My-v0", kind="state"), QLearningConfig)


def test_the_algorithm_can_be_chosen_where_there_is_a_choice() -> None:
    assert find_preset("FrozenLake-v1", kind="state", algorithm="q-learning") == find_preset("FrozenLake-v1", kind="state")
    assert find_preset("FrozenLake-v1", kind="state", algorithm="dqn") == TrainingConfig()
    assert find_preset("CartPole-v1", kind="vector", algorithm="dqn") == find_preset("CartPole-v1")
    with pytest.raises(InputError, match=r"^q-learning fills a table of states: .*Those of CartPole-v1 are none\.$"):
        find_preset("CartPole-v1", kind="vector", algorithm="q-learning")
