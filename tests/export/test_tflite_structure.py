"""Zeros, clusters and widths are asked of Keras, and found in the bytes of the file."""

import itertools
import os
import warnings
from collections.abc import Iterator
from contextlib import closing
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest
from numpy.typing import NDArray

with warnings.catch_warnings():
    # TF-MOT 0.8.1 compares version numbers with distutils, which setuptools provides and calls deprecated.
    warnings.filterwarnings("ignore", "distutils Version classes are deprecated", DeprecationWarning)
    from edgedqn.compression.methods.clustering import Cluster
    from edgedqn.compression.methods.distillation import Distil
    from edgedqn.compression.methods.ladder import Quantize
    from edgedqn.compression.methods.pruning import Prune
    from edgedqn.compression.methods.quantization import QuantizeAware

from edgedqn.agents.networks import minatar_torso, q_network
from edgedqn.agents.playing.environments import make_environment
from edgedqn.agents.playing.spec import spec_of
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.compression.compress import compress
from edgedqn.compression.methods.distillation import Distillation
from edgedqn.compression.methods.initialization import NewStudent, ScaleInput
from edgedqn.compression.methods.shrinking import Shrink
from edgedqn.compression.policy import CompressedPolicy
from edgedqn.compression.recipe import Recipe
from edgedqn.compression.report import Judgement
from edgedqn.compression.stage import Stage
from edgedqn.export.config import ExportConfig
from edgedqn.export.tflite import exported
from edgedqn.export.tflite_file.reader import Kernel, kernels

SHORT = Distillation(steps=60)
pytestmark = [
    pytest.mark.filterwarnings("ignore:The agent for:UserWarning"),  # it has learned nothing
    pytest.mark.usefixtures("without_xla"),
]
ROUND = QuantizeAware(SHORT)


@pytest.fixture(scope="module", params=["vectors", "images"])
def agent(request: pytest.FixtureRequest) -> Iterator[tuple[TrainedAgent, Any]]:
    """Untrained, 32 x 32 neurons, or 16 filters and 32 neurons."""
    env_id = {"vectors": "CartPole-v1", "images": "MinAtar/Breakout-v1"}[request.param]
    if request.param == "images":
        pytest.importorskip("minatar")
    with closing(make_environment(env_id)) as env:
        spec = spec_of(env, env_id)
        torso, hidden = (minatar_torso, (32,)) if request.param == "images" else (None, (32, 32))
        network = q_network(spec.input_shape, spec.n_actions, hidden=hidden, rng=np.random.default_rng(1), torso=torso)
        observations = [env.reset(seed=0)[0]]
        for _ in range(500):
            observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
            observations.append(env.reset(seed=1)[0] if terminated or truncated else observation)
        yield TrainedAgent(network, spec, np.array(observations), {}), env


def stored(agent: tuple[TrainedAgent, Any], *stages: Stage, strip: bool = True) -> tuple[Kernel, ...]:
    def judge(policy: CompressedPolicy) -> Judgement:
        return Judgement(
            verdict="pass",
            mean_return=0.0,
            loss=0.0,
            episodes=1,
            env_steps=1,
            size_bytes=1,
            action_agreement=1.0,
            gap_weighted_agreement=1.0,
            tie_rate=0.0,
        )

    teacher, env = agent
    recipe = Recipe("x", "", (ScaleInput(), *stages), "qat-int8")
    policy = compress(teacher, recipe, env=env, reset_seeds=itertools.count(9), rng=np.random.default_rng(0), judge=judge)
    return kernels(exported(policy, ExportConfig(strip)).model)


def as_keras(kernel: Kernel) -> NDArray[Any]:
    """[..., in, out]."""
    return np.moveaxis(kernel.values, 0, -1)


def test_zeros(agent: tuple[TrainedAgent, Any]) -> None:
    for kernel in stored(agent, Prune(0.75, allocation="uniform", learning=SHORT), ROUND):
        assert 1 - kernel.nonzero_weights / kernel.weights >= 0.75 - 0.5 / kernel.weights


def test_zeros_and_clusters(agent: tuple[TrainedAgent, Any]) -> None:
    for kernel in stored(agent, Prune(0.75, allocation="uniform", learning=SHORT), Cluster(8, SHORT), ROUND):
        assert 1 - kernel.nonzero_weights / kernel.weights >= 0.75 - 0.5 / kernel.weights
        assert_clustered(kernel, 8)


def test_clusters_without_zeros(agent: tuple[TrainedAgent, Any]) -> None:
    for kernel in stored(
        agent, Distil(learning=SHORT, greedy_states=400, explored_states=100, rounds=0), Cluster(8, SHORT), ROUND
    ):
        assert_clustered(kernel, 8)


def assert_clustered(kernel: Kernel, clusters: int) -> None:
    """Each filter of a convolution has its own scale, so the same value is another integer there."""
    filters = as_keras(kernel).reshape(-1, kernel.values.shape[0]).T if kernel.values.ndim == 4 else [kernel.values]
    assert all(len(np.unique(values)) <= clusters for values in filters)


def test_two_of_four(agent: tuple[TrainedAgent, Any]) -> None:
    for kernel in stored(agent, Prune(0.5, allocation="uniform", learning=SHORT, structure="2:4", schedule="constant"), ROUND):
        inputs = kernel.values.shape[1]
        if kernel.values.ndim == 2 and inputs % 4 == 0:
            assert ((kernel.values.reshape(-1, inputs // 4, 4) == 0).sum(axis=2) >= 2).all()


def test_blocks_of_sixteen_inputs(agent: tuple[TrainedAgent, Any]) -> None:
    for kernel in stored(agent, Prune(0.5, allocation="uniform", learning=SHORT, structure=(1, 16)), ROUND):
        inputs = kernel.values.shape[1]
        if kernel.values.ndim == 2 and inputs % 16 == 0:
            whole = (kernel.values.reshape(-1, inputs // 16, 16) == 0).all(axis=2)
            assert whole.mean() >= 0.48


def test_widths_of_a_student_and_of_what_was_shrunk(agent: tuple[TrainedAgent, Any]) -> None:
    images = len(agent[0].spec.input_shape) == 3
    quick = Distil(learning=SHORT, greedy_states=400, explored_states=100, rounds=0)
    student = stored(agent, NewStudent((5,), (3,) if images else None), quick, ROUND)
    assert [kernel.values.shape[0] for kernel in student] == ([3] if images else []) + [5, agent[0].spec.n_actions]
    # One attempt: the geometric mean of all neurons and of one less than the two that each layer keeps.
    shrunk = stored(agent, quick, Shrink(attempts=1, teaching=quick, quantizing=Quantize(("round",), states=300)))
    neurons = 48 if images else 64
    assert sum(kernel.values.shape[0] for kernel in shrunk[:-1]) == round(np.sqrt(3 * neurons))
