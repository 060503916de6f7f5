"""A teacher small enough to compress in seconds, and what real stages make of it, made once per run."""

import itertools
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import gymnasium
import numpy as np
import pytest
import tf_keras
from numpy.typing import NDArray

with warnings.catch_warnings():
    # TF-MOT 0.8.1 compares version numbers with distutils, which setuptools provides and calls deprecated.
    warnings.filterwarnings("ignore", "distutils Version classes are deprecated", DeprecationWarning)
    import edgedqn.compression.tfmot.wrappers  # noqa: F401

from edgedqn.agents.networks import minatar_torso, q_network, table_network
from edgedqn.agents.playing.environments import agent_view, make_environment
from edgedqn.agents.playing.evaluation import gather_observations
from edgedqn.agents.playing.spec import EnvironmentSpec, spec_of
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.compression.compress import compress
from edgedqn.compression.folding import InputScaling, plain_network
from edgedqn.compression.methods.distillation import Distil, Distillation
from edgedqn.compression.methods.initialization import ScaleInput
from edgedqn.compression.methods.ladder import Quantize
from edgedqn.compression.methods.pruning import Prune
from edgedqn.compression.methods.quantization import QuantizeAware
from edgedqn.compression.policy import CompressedPolicy
from edgedqn.compression.preferences import median_action_gap
from edgedqn.compression.recipe import Recipe
from edgedqn.compression.recipes import FLOAT32, RECIPES
from edgedqn.compression.stage import CompressionContext, Student, q_values_of

SHORT = Distillation(steps=100)
QAT = Recipe("tiny-qat", "", (ScaleInput(), QuantizeAware(SHORT)), "qat-int8")
ROUND = Recipe("tiny-round", "", (ScaleInput(), Quantize(("round",), states=500)), "qat-int8")
PRUNED = Recipe(
    "tiny-pruned",
    "",
    (
        ScaleInput(),
        Distil(learning=SHORT, greedy_states=1_000, explored_states=500, rounds=0),
        Prune(0.8, learning=SHORT),
        QuantizeAware(SHORT),
    ),
    "qat-int8",
)


class Drift(gymnasium.Env[Any, Any]):
    """A bright spot falls through noise, [9, 8] bytes, and can be pushed aside."""

    observation_space = gymnasium.spaces.Box(0, 255, (9, 8), np.uint8)
    action_space = gymnasium.spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._frame = np.zeros((9, 8), np.uint8)
        self._steps, self._column = 0, int(self.np_random.integers(8))
        return self._observe(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._steps += 1
        self._column += int(action) - 1
        return self._observe(), float(self._column % 8 == 3), False, self._steps == 30, {}

    def _observe(self) -> Any:
        self._frame[...] = self.np_random.integers(0, 60, (9, 8))
        self._frame[self._steps % 9, self._column % 8] = 255
        return self._frame.copy()


@dataclass(frozen=True)
class Case:
    """An untrained agent that does not always do the same, and its environment as its network and as a device sees it."""

    agent: TrainedAgent
    env: gymnasium.Env[Any, Any]
    device_env: gymnasium.Env[Any, Any]


def padded_torso(x: Any, rng: np.random.Generator) -> Any:
    """[B, H, W, C] -> [B, F], with a convolution that pads."""
    initializer = tf_keras.initializers.HeUniform(seed=int(rng.integers(2**31)))
    x = tf_keras.layers.Conv2D(6, 3, 2, "same", activation="relu", kernel_initializer=initializer)(x)
    return tf_keras.layers.Flatten()(x)


def make_case(kind: str) -> Case:
    """table: a Q-table; image: a MinAtar CNN; quantiles: an MLP with every kind of head; frames: 4 stacked images of bytes."""
    gymnasium.register("Drift-v0", lambda **_: Drift(), disable_env_checker=True)
    env_id = {"table": "FrozenLake-v1", "image": "MinAtar/Breakout-v1", "quantiles": "CartPole-v1", "frames": "Drift-v0"}[kind]
    device_env, below = make_environment(env_id), make_environment(env_id)
    spec = spec_of(device_env, env_id, frame_stack=4 if kind == "frames" else 1)
    env = agent_view(below, spec)
    del gymnasium.registry["Drift-v0"]
    for seed in itertools.count():
        network = make_network(kind, spec, np.random.default_rng(seed))
        agent = with_observations(network, spec, env)
        if np.bincount(agent.policy.actions(agent.observations)).max() < 0.8 * len(agent.observations):
            return Case(agent, env, device_env)
    raise AssertionError


def make_network(kind: str, spec: EnvironmentSpec, rng: np.random.Generator) -> tf_keras.Model:
    """Random weights, and biases so small that the observation decides."""
    if kind == "table":
        network = table_network(spec.input_shape[0], spec.n_actions)
        network.set_weights([rng.uniform(-0.5, 0.5, array.shape) for array in network.get_weights()])  # Keras drew the first
    elif kind == "image":
        network = q_network(spec.input_shape, spec.n_actions, hidden=(32,), rng=rng, torso=minatar_torso)
    elif kind == "quantiles":
        network = q_network(spec.input_shape, spec.n_actions, hidden=(16, 16), rng=rng, dueling=True, quantiles=5)
    else:
        network = q_network(
            spec.input_shape, spec.n_actions, hidden=(16,), rng=rng, torso=padded_torso, dueling=True, input_scale=1 / 255
        )
    sizes = [0.2 if array.ndim > 1 else 0.001 for array in network.get_weights()]
    noise = [rng.normal(0, size, array.shape) for size, array in zip(sizes, network.get_weights(), strict=True)]
    network.set_weights([array + extra for array, extra in zip(network.get_weights(), noise, strict=True)])
    return network


def balancing_agent(env: gymnasium.Env[Any, Any]) -> TrainedAgent:
    """A 4-16-16-2 network that balances CartPole by design: it pushes to where the pole leans and falls."""
    network = q_network((4,), 2, hidden=(16, 16), rng=np.random.default_rng(3))
    w0, b0, w1, b1, w2, b2 = (0.2 * array for array in network.get_weights())
    lean = np.array([0.1, 0.5, 6.0, 2.0])
    w0[:, 0], w0[:, 1] = lean, -lean
    w1[0, 0] = w1[1, 1] = 1
    w2[0], w2[1] = [-1, 1], [1, -1]
    network.set_weights([w0, b0, w1, b1, w2, b2 + 20])
    return with_observations(network, spec_of(env, "CartPole-v1"), env)


def with_observations(network: tf_keras.Model, spec: EnvironmentSpec, env: gymnasium.Env[Any, Any]) -> TrainedAgent:
    """`env` is as the network sees it."""
    agent = TrainedAgent(network, spec, np.empty(0), {})
    return replace(agent, observations=gather_observations(agent.policy, env, reset_seeds=itertools.count(10), count=2_000))


def compressed(agent: TrainedAgent, recipe: Recipe, env: gymnasium.Env[Any, Any]) -> CompressedPolicy:
    """From the same seeds each time."""
    return compress(agent, recipe, env=env, reset_seeds=itertools.count(1_000), rng=np.random.default_rng(5))


@pytest.fixture(scope="session")
def env() -> Iterator[gymnasium.Env[Any, Any]]:
    environment = make_environment("CartPole-v1")
    yield environment
    environment.close()


@pytest.fixture(scope="session")
def teacher(env: gymnasium.Env[Any, Any]) -> TrainedAgent:
    return balancing_agent(env)


@pytest.fixture
def beginning(teacher: TrainedAgent, env: gymnasium.Env[Any, Any]) -> tuple[Student, CompressionContext]:
    """A student that is its teacher, and the context."""
    states = teacher.observations
    context = CompressionContext(
        teacher=teacher,
        env=env,
        reset_seeds=itertools.count(50),
        rng=np.random.default_rng(1),
        gap=median_action_gap(teacher.policy.q_values(states)),
    )
    return Student(
        network=plain_network(teacher.network),
        scaling=InputScaling.identity(),
        states=states,
        preferences=context.preferences(states),
    ), context


@pytest.fixture
def student(beginning: tuple[Student, CompressionContext]) -> Student:
    return beginning[0]


@pytest.fixture
def context(beginning: tuple[Student, CompressionContext]) -> CompressionContext:
    return beginning[1]


@pytest.fixture(scope="session")
def policies(teacher: TrainedAgent, env: gymnasium.Env[Any, Any]) -> dict[str, CompressedPolicy]:
    """One policy of each kind."""
    recipes = (FLOAT32, RECIPES["ptq-int8"], QAT, ROUND, PRUNED)
    return {recipe.name: compressed(teacher, recipe, env) for recipe in recipes}


@pytest.fixture(scope="session")
def recipes() -> dict[str, Recipe]:
    """What `policies` were made by."""
    return {recipe.name: recipe for recipe in (FLOAT32, RECIPES["ptq-int8"], QAT, ROUND, PRUNED)}


@pytest.fixture(scope="session", params=["table", "image", "quantiles", "frames"])
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    if request.param == "image":
        pytest.importorskip("minatar")
    made = make_case(request.param)
    yield made
    made.env.close()
    made.device_env.close()


@pytest.fixture(scope="session")
def frames() -> Iterator[Case]:
    """The case of stacked images of bytes alone."""
    made = make_case("frames")
    yield made
    made.env.close()
    made.device_env.close()


@pytest.fixture(scope="session")
def start_of() -> Any:
    """Makes a student that is the teacher of a case, and the context."""
    return _start_of


def _start_of(case: Any) -> tuple[Student, CompressionContext]:
    gap = median_action_gap(q_values_of(case.agent, case.agent.observations))
    context = CompressionContext(
        teacher=case.agent, env=case.env, reset_seeds=itertools.count(70), rng=np.random.default_rng(2), gap=gap
    )
    states = case.agent.observations
    return Student(
        network=plain_network(case.agent.network),
        scaling=InputScaling.identity(),
        states=states,
        preferences=context.preferences(states),
    ), context


def _vectors() -> tf_keras.Model:
    return plain_network(q_network((6,), 4, hidden=(48, 32), rng=np.random.default_rng(0)))


def _images() -> tf_keras.Model:
    network = q_network((10, 10, 3), 4, hidden=(32,), rng=np.random.default_rng(1), torso=minatar_torso)
    return plain_network(network)


@pytest.fixture(params=[_vectors, _images])
def network(request: pytest.FixtureRequest) -> Any:
    """With biases, and a value that all actions have in common, far above their differences."""
    made = request.param()
    rng = np.random.default_rng(2)
    weights = [w if w.ndim > 1 else rng.normal(0, 0.1, w.shape).astype(np.float32) for w in made.get_weights()]
    made.set_weights([*weights[:-2], weights[-2] + 0.5, weights[-1] + 20])
    return made


@pytest.fixture
def states(network: Any) -> NDArray[np.float32]:
    """Correlated, as states are: from few directions, in [-1, 1]."""
    rng = np.random.default_rng(3)
    shape = network.input_shape[1:]
    directions = rng.normal(size=(4, int(np.prod(shape))))
    return np.tanh(rng.normal(size=(600, 4)) @ directions).reshape(-1, *shape).astype(np.float32)
