"""A model from elsewhere fits its environment and is played, or is refused with what was expected."""

import hashlib
import itertools
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import tf_keras

from edgedqn.agents.errors import InputError
from edgedqn.agents.importing.agents import ForeignModel, read_model
from edgedqn.agents.importing.fitting import as_agent, fit
from edgedqn.agents.playing.environments import make_environment
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.playing.spec import Flatten, FrameStack, OneHot
from edgedqn.agents.trained_agent import TrainedAgent

layers = tf_keras.layers


class Fixed(gymnasium.Env):
    """Two spaces and no life."""

    def __init__(self, observations: Any, n_actions: int = 2) -> None:
        self.observation_space, self.action_space = observations, gymnasium.spaces.Discrete(n_actions)


def box(shape: tuple[int, ...], dtype: Any = np.float32) -> Any:
    return gymnasium.spaces.Box(0, 1, shape, dtype)


def model_of(shape: tuple[int, ...], n_actions: int = 2, dtype: Any = None) -> ForeignModel:
    network = tf_keras.Sequential([tf_keras.Input(shape), layers.Flatten(), layers.Dense(n_actions)])
    return ForeignModel(network=network, kind="keras", source="model.keras", source_sha256="0" * 64, observation_dtype=dtype)


FITTING = [
    (box((2, 3, 2, 3)), (36,), (Flatten(),)),
    (box((2, 3, 2, 3)), (72,), (Flatten(), FrameStack(2))),
    (box((4,)), (4,), ()),
    (box((4,)), (12,), (FrameStack(3),)),
    (gymnasium.spaces.Discrete(16), (16,), (OneHot(),)),
    (box((10, 9, 3)), (10, 9, 3), ()),
    (box((10, 9, 3)), (10, 9, 12), (FrameStack(4),)),
    (box((10, 9)), (10, 9, 1), (FrameStack(1),)),
    (box((10, 9)), (10, 9, 4), (FrameStack(4),)),
    (box((10, 9, 3)), (270,), (Flatten(),)),
    (box((10, 9)), (90,), (Flatten(),)),
    (box((10, 9)), (180,), (Flatten(), FrameStack(2))),
]


@pytest.mark.parametrize(("observations", "shape", "preprocessing"), FITTING)
def test_what_the_network_takes_says_how_it_saw_the_environment(
    observations: Any, shape: tuple[int, ...], preprocessing: Any
) -> None:
    spec = fit(model_of(shape), Fixed(observations), source=EnvironmentSource("My-v0"))
    assert (spec.preprocessing, spec.input_shape) == (preprocessing, shape)


UNFIT = [
    (box((4,)), (5,), r"expected an input of \(4,\), or of several of them stacked\. Got an input of \(5,\)"),
    (box((4,)), (6,), r"Got an input of \(6,\)"),
    (box((4,)), (3,), r"Got an input of \(3,\)"),
    (box((4,)), (2, 2), r"Got an input of \(2, 2\)"),
    (gymnasium.spaces.Discrete(16), (1,), r"expected an input of \(16,\).* Got an input of \(1,\)"),
    (gymnasium.spaces.Discrete(16), (32,), r"Got an input of \(32,\)"),
    (box((10, 9, 3)), (9, 10, 3), r"Got an input of \(9, 10, 3\)"),
    (box((10, 9, 3)), (3, 10, 9), r"Got an input of \(3, 10, 9\)"),
    (box((10, 9, 3)), (10, 9, 4), r"Got an input of \(10, 9, 4\)"),
    (box((10, 9, 3)), (271,), r"Got an input of \(271,\)"),
]


@pytest.mark.parametrize(("observations", "shape", "reason"), UNFIT)
def test_another_input_is_refused(observations: Any, shape: tuple[int, ...], reason: str) -> None:
    with pytest.raises(InputError, match=rf"^model\.keras does not fit My-v0: .*{reason}"):
        fit(model_of(shape), Fixed(observations), source=EnvironmentSource("My-v0"))


def test_so_is_another_output_or_dtype() -> None:
    with pytest.raises(InputError, match=r"expected Q-values of 2 actions\. Got an output of \(3,\)"):
        fit(model_of((4,), n_actions=3), Fixed(box((4,))), source=EnvironmentSource("My-v0"))
    with pytest.raises(InputError, match=r"2 actions\. Got one output, the value of a state, which ranks no actions"):
        fit(model_of((4,), n_actions=1), Fixed(box((4,))), source=EnvironmentSource("My-v0"))
    # SB3 scales bytes: a network that was trained on them is another one on fractions.
    images = Fixed(box((10, 9, 3), np.uint8))
    assert fit(model_of((10, 9, 3), dtype="uint8"), images, source=EnvironmentSource("My-v0")).observation_dtype == "uint8"
    with pytest.raises(InputError, match=r"expected observations of uint8\. Got a model for float32"):
        fit(model_of((10, 9, 3), dtype="float32"), images, source=EnvironmentSource("My-v0"))


def test_a_model_that_is_played_becomes_an_agent(saved: Any, tmp_path: Path) -> None:
    model = read_model(saved)
    sha256 = hashlib.sha256(saved.read_bytes()).hexdigest()
    assert (model.kind, model.source, model.source_sha256) == ("keras", "mine.keras", sha256)
    agent = as_agent(model, EnvironmentSource("CartPole-v1"), reset_seeds=itertools.count(5), count=300)
    assert agent.statistics == {"source": "mine.keras", "source_sha256": sha256, "kind": "keras"}
    assert agent.observations.shape == (300, 4)
    env = make_environment("CartPole-v1")
    np.testing.assert_array_equal(agent.observations[0], env.reset(seed=5)[0])
    for step in range(100):  # it balances, so these are of one episode, and its own actions lead from one to the next
        observation, *_ = env.step(int(agent.network(agent.observations[step][None]).numpy().argmax()))
        np.testing.assert_array_equal(agent.observations[step + 1], observation)
    env.close()
    agent.save(tmp_path / "agent")
    loaded = TrainedAgent.load(tmp_path / "agent")
    np.testing.assert_array_equal(loaded.network(agent.observations), agent.network(agent.observations))
    assert loaded.statistics == agent.statistics
