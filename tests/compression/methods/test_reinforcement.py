"""On a corridor whose values are known: 5 cells, the exit at the right end pays 1, a step there and back nothing."""

import itertools
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
import tf_keras

from edgedqn.agents.errors import InputError
from edgedqn.agents.networks import q_network
from edgedqn.agents.playing.environments import BadTransitionError
from edgedqn.agents.playing.spec import spec_of
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.compression import tfmot
from edgedqn.compression.folding import InputScaling, kernels_of, plain_network
from edgedqn.compression.methods.clustering import Cluster
from edgedqn.compression.methods.distillation import Distillation
from edgedqn.compression.methods.initialization import Restart
from edgedqn.compression.methods.pruning import Prune
from edgedqn.compression.methods.quantization import QuantizeAware
from edgedqn.compression.methods.reinforcement import TdLearning
from edgedqn.compression.networks import fresh
from edgedqn.compression.stage import CompressionContext, Student

CELLS, DISCOUNT = 5, 0.8
LEARNING = TdLearning(
    steps=2_500, batch_size=32, learning_rate=5e-3, final_learning_rate=1e-4, discount=DISCOUNT, target_update_interval=50,
    first_epsilon=1.0, epsilon=0.5,
)  # fmt: skip


class Corridor(gymnasium.Env[Any, Any]):
    observation_space = gymnasium.spaces.Box(0, 1, (CELLS,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._cell, self._steps = 0, 0
        return self._observe(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._cell = max(0, self._cell + (1 if action else -1))
        self._steps += 1
        out = self._cell == CELLS
        return self._observe(), float(out), out, self._steps == 40, {}

    def _observe(self) -> Any:
        return np.eye(CELLS + 1, CELLS, dtype=np.float32)[self._cell]


@pytest.fixture
def start() -> tuple[Student, CompressionContext]:
    env = Corridor()
    network = plain_network(q_network((CELLS,), 2, hidden=(32,), rng=np.random.default_rng(0)))
    agent = TrainedAgent(network, spec_of(env, "Corridor-v0"), np.eye(CELLS, dtype=np.float32), {})
    context = CompressionContext(teacher=agent, env=env, reset_seeds=itertools.count(), rng=np.random.default_rng(1), gap=1.0)
    states = agent.observations
    return Student(
        network=network,
        scaling=InputScaling((1.0,), (0.0,), (0.0, 1.0)),
        states=states,
        preferences=np.zeros((CELLS, 2), np.float32),
    ), context


def values(network: Any) -> Any:
    """[CELLS]: of going right, which is best everywhere."""
    return network(np.eye(CELLS, dtype=np.float32), training=False).numpy()[:, 1]


KNOWN = DISCOUNT ** np.arange(CELLS - 1, -1, -1)


def test_learns_the_known_values_in_any_wrapper(start: tuple[Student, CompressionContext]) -> None:
    student, context = start
    pruned, said = Prune(0.6, allocation="uniform", learning=LEARNING).apply(student, context)
    np.testing.assert_allclose(values(pruned.network), KNOWN, atol=0.1)
    assert said.sparsity_reached == pytest.approx([0.6, 0.6], abs=0.02)
    assert pruned.meaning == "q_values"
    rounded, _ = QuantizeAware(LEARNING).apply(pruned, context)
    assert rounded.quantized is not None
    np.testing.assert_allclose(values(rounded.quantized), KNOWN, atol=0.1)
    for kernel, before in zip(kernels_of(rounded.quantized), kernels_of(pruned.network), strict=True):
        assert (kernel[before == 0] == 0).all()


def test_from_fresh_weights_pruning_follows_its_schedule_within_learning(start: tuple[Student, CompressionContext]) -> None:
    student, context = start
    fresh, _ = Restart().apply(student, context)
    assert not np.allclose(fresh.network.get_weights()[0], student.network.get_weights()[0])
    pruned, said = Prune(0.5, allocation="uniform", learning=LEARNING, begin=0.2, end=0.75).apply(fresh, context)
    assert said.sparsity_reached == pytest.approx([0.5, 0.5], abs=0.02)
    np.testing.assert_allclose(values(pruned.network), KNOWN, atol=0.15)


def test_a_schedule_counts_gradient_steps(start: tuple[Student, CompressionContext]) -> None:
    student, context = start
    schedule = tfmot.Schedule(200, 400, 50)
    for steps, expected in ((150, 0.0), (300, 0.8 * (1 - 0.5**3)), (450, 0.8)):
        wrapped = tfmot.wrap_for_pruning(student.network, (0.8, 0.8), schedule=schedule)
        apply_masks = tfmot.reset_pruning(wrapped)
        replace(LEARNING, steps=steps).fine_tune(wrapped, student, context=context, label="test", before_copy=apply_masks)
        apply_masks()
        sparsities = [(kernel == 0).mean() for kernel in kernels_of(tfmot.strip(wrapped, student.network))]
        assert sparsities == pytest.approx([expected] * 2, abs=0.02)


def test_clusters_learn_too(start: tuple[Student, CompressionContext]) -> None:
    student, context = start
    trained, _ = Prune(0.3, allocation="uniform", learning=LEARNING).apply(student, context)
    clustered, said = Cluster(8, TdLearning(steps=500, batch_size=32, learning_rate=1e-3, discount=DISCOUNT)).apply(
        trained, context
    )
    assert said.clusters_reached is not None
    assert all(count <= 8 for count in said.clusters_reached)
    np.testing.assert_allclose(values(clustered.network), KNOWN, atol=0.2)


def test_the_target_is_a_copy_of_what_the_masks_leave(
    start: tuple[Student, CompressionContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken as often as the interval says, each time after `before_copy`, zeros and all."""
    student, context = start
    targets: list[Any] = []
    clone = tf_keras.models.clone_model

    def watched(model: Any, *arguments: Any) -> Any:
        targets.append(clone(model, *arguments))
        return targets[-1]

    wrapped = tfmot.wrap_for_pruning(student.network, (0.8, 0.8), schedule=tfmot.Schedule(0, None, 50))
    apply_masks = tfmot.reset_pruning(wrapped)
    monkeypatch.setattr("edgedqn.compression.methods.reinforcement.tf_keras.models.clone_model", watched)
    copied: list[list[float]] = []

    def before_copy() -> None:
        copied.append([float((kernel == 0).mean()) for kernel in kernels_of(targets[0])])
        apply_masks()

    learning = TdLearning(steps=400, target_update_interval=120)
    losses = learning.fine_tune(wrapped, student, context=context, label="test", before_copy=before_copy)
    assert len(losses) == 400
    # After 150 and 300 steps: 120 is rounded up to calls of 50. The first copy starts from a dense target.
    assert copied == [[0.0, 0.0], pytest.approx([0.8, 0.8], abs=0.02)]
    assert [(kernel == 0).mean() for kernel in kernels_of(targets[0])] == pytest.approx([0.8, 0.8], abs=0.02)


class Broken(Corridor):
    """One observation, long after the start, is no number."""

    steps_taken = 0

    def _observe(self) -> Any:
        observation = super()._observe()
        Broken.steps_taken += 1
        return observation * np.float32("nan") if Broken.steps_taken == 100 else observation


def test_a_nan_from_the_environment_stops_it_by_name(start: tuple[Student, CompressionContext]) -> None:
    student, context = start
    with pytest.raises(BadTransitionError, match=r"Corridor-v0 gave a bad observation at step \d+: expected finite numbers"):
        TdLearning(steps=400).fine_tune(student.network, student, context=replace(context, env=Broken()), label="test")


@pytest.mark.parametrize(
    "settings",
    [
        {"steps": 0},
        {"learning_rate": 0.0},
        {"final_learning_rate": 1.0},
        {"discount": 1.1},
        {"epsilon": 0.5},
        {"buffer_size": 0},
    ],
)
def test_refuses_settings_that_learn_nothing(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="Got"):
        TdLearning(**settings)


@pytest.mark.parametrize("learning", [Distillation(steps=100), TdLearning(steps=100, batch_size=8)])
def test_a_wrapped_network_is_trained_and_the_students_own_stays(
    beginning: tuple[Student, CompressionContext], learning: Distillation | TdLearning
) -> None:
    student, context = beginning
    start = replace(student, network=fresh(student.network, context.rng))
    before = start.network.get_weights()
    wrapped = fresh(student.network, np.random.default_rng(4))
    losses = learning.fine_tune(wrapped, start, context=context, label="learn")
    assert losses.shape == (100,) and np.isfinite(losses).all()
    assert any((a != b).any() for a, b in zip(wrapped.get_weights(), before, strict=True))
    for array, kept in zip(start.network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(array, kept)


def test_what_outputs_mean_depends_on_the_training() -> None:
    assert (Distillation(steps=50).meaning, TdLearning().meaning) == ("preferences", "q_values")
