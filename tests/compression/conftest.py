"""A teacher small enough to compress in seconds, and what real stages make of it, made once per run."""

import itertools
import os
import warnings
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import gymnasium
import numpy as np
import pytest

with warnings.catch_warnings():
    # TF-MOT 0.8.1 compares version numbers with distutils, which setuptools provides and calls deprecated.
    warnings.filterwarnings("ignore", "distutils Version classes are deprecated", DeprecationWarning)
    import edgedqn.compression.tfmot  # noqa: F401

from edgedqn.agents.environments import make_environment, spec_of
from edgedqn.agents.networks import mlp
from edgedqn.agents.numpy_network import NumpyMlp
from edgedqn.agents.observations import gather_observations
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.compression.distillation import Distillation
from edgedqn.compression.policy import CompressedPolicy
from edgedqn.compression.recipes import FLOAT32, RECIPES, Recipe, compress
from edgedqn.compression.stages import Distil, Prune, QuantizeAware, ScaleInput

SHORT = Distillation(steps=100)
QAT = Recipe("tiny-qat", "", (ScaleInput(), QuantizeAware(SHORT)), "qat-int8")
PRUNED = Recipe(
    "tiny-pruned",
    "",
    (ScaleInput(), Distil(SHORT, 1_000, 500, rounds=0), Prune(0.8, learning=SHORT), QuantizeAware(SHORT)),
    "qat-int8",
)


def balancing_agent(env: gymnasium.Env[Any, Any]) -> TrainedAgent:
    """A 4-16-16-2 network that balances CartPole by design: it pushes to where the pole leans and falls."""
    network = mlp((4,), 2, (16, 16), np.random.default_rng(3))
    w0, b0, w1, b1, w2, b2 = (0.2 * array for array in network.get_weights())
    lean = np.array([0.1, 0.5, 6.0, 2.0])
    w0[:, 0], w0[:, 1] = lean, -lean
    w1[0, 0] = w1[1, 1] = 1
    w2[0], w2[1] = [-1, 1], [1, -1]
    network.set_weights([w0, b0, w1, b1, w2, b2 + 20])
    policy = NumpyMlp(network.get_weights())
    observations = gather_observations(policy, env, itertools.count(10), 2_000)
    return TrainedAgent(network, spec_of(env, "CartPole-v1"), observations, {})


def compressed(agent: TrainedAgent, recipe: Recipe, env: gymnasium.Env[Any, Any]) -> CompressedPolicy:
    """From the same seeds each time."""
    return compress(agent, recipe, env, itertools.count(1_000), np.random.default_rng(5))


@pytest.fixture(scope="session")
def env() -> Iterator[gymnasium.Env[Any, Any]]:
    environment = make_environment("CartPole-v1")
    yield environment
    environment.close()


@pytest.fixture(scope="session")
def teacher(env: gymnasium.Env[Any, Any]) -> TrainedAgent:
    return balancing_agent(env)


@pytest.fixture(scope="session")
def policies(teacher: TrainedAgent, env: gymnasium.Env[Any, Any]) -> dict[str, CompressedPolicy]:
    """One policy of each kind."""
    recipes = (FLOAT32, RECIPES["ptq-int8"], QAT, PRUNED)
    return {recipe.name: compressed(teacher, recipe, env) for recipe in recipes}


@pytest.fixture(scope="session")
def recipes() -> dict[str, Recipe]:
    """What `policies` were made by."""
    return {recipe.name: recipe for recipe in (FLOAT32, RECIPES["ptq-int8"], QAT, PRUNED)}
