"""On a corridor whose values are known: 5 cells, the exit at the right end pays 1, a step there and back nothing."""

import itertools
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import gymnasium
import numpy as np
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.networks import q_network
from edgedqn.agents.playing.environments import BadTransitionError
from edgedqn.agents.playing.spec import spec_of
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.agents.training.config import TrainingConfig
from edgedqn.compression.folding import InputScaling, kernels_of, plain_network
from edgedqn.compression.methods.clustering import Cluster
from edgedqn.compression.methods.distillation import Distillation, FineTuned
from edgedqn.compression.methods.initialization import Restart
from edgedqn.compression.methods.pruning import Prune
from edgedqn.compression.methods.quantization import QuantizeAware
from edgedqn.compression.methods.reinforcement import TdLearning
from edgedqn.compression.stage import CompressionContext, Student
from edgedqn.compression.tfmot import wrappers

CELLS, DISCOUNT = 5, 0.8
LEARNING = TdLearning(
    steps=2_000, batch_size=32, learning_rate=5e-3, final_learning_rate=1e-4, discount=DISCOUNT, target_update_interval=50,
    n_step=1, first_epsilon=1.0, epsilon=0.5, learning_starts=200, evaluations=4, evaluation_episodes=2, averaging_steps=200,
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


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    gymnasium.register("Corridor-v0", lambda **_: Corridor(), disable_env_checker=True)
    yield
    del gymnasium.registry["Corridor-v0"]


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


@pytest.mark.usefixtures("without_xla")
def test_learns_the_known_values_while_it_is_pruned(start: tuple[Student, CompressionContext]) -> None:
    student, context = start
    pruned, said = Prune(0.6, allocation="uniform", learning=LEARNING).apply(student, context)
    np.testing.assert_allclose(values(pruned.network), KNOWN, atol=0.1)
    assert said.sparsity_reached == pytest.approx([0.6, 0.6], abs=0.02)
    assert pruned.meaning == "q_values"
    assert said.checkpoint is not None
    assert said.checkpoint >= 0.6 * LEARNING.steps  # the masks were the final ones


@pytest.mark.usefixtures("without_xla")
def test_a_rounded_network_learns_where_to_go(start: tuple[Student, CompressionContext]) -> None:
    """Its start goes left; its zeros stay."""
    student, context = start
    student = replace(student.with_weights(aimless(student)), pruned=True)
    learning = replace(LEARNING, learning_rate=2e-2)
    rounded, said = QuantizeAware(learning).apply(student, context)
    assert rounded.quantized is not None
    assert said.checkpoint is not None
    assert said.checkpoint > 0
    outputs = rounded.quantized(np.eye(CELLS, dtype=np.float32), training=False).numpy()
    assert outputs.argmax(axis=1).tolist() == [1] * CELLS
    for kernel, before in zip(kernels_of(rounded.quantized), kernels_of(student.network), strict=True):
        assert (kernel[before == 0] == 0).all()


def aimless(student: Student) -> Any:
    """Weights, some of them zero, that go left in most cells."""
    weights = [np.where(np.abs(array) < 0.1, 0, array).astype(np.float32) for array in student.network.get_weights()]
    weights[-1] = np.array([0.5, 0.0], np.float32)
    return weights


@pytest.mark.usefixtures("without_xla")
def test_what_plays_well_already_is_not_lost(start: tuple[Student, CompressionContext]) -> None:
    """Learning that ruins the network gives back the start, rounded."""
    student, context = start
    weights = [array.copy() for array in student.network.get_weights()]
    weights[-1] = np.array([0.0, 9.0], np.float32)
    student = student.with_weights(weights)
    ruinous = replace(LEARNING, steps=200, learning_rate=0.1, final_learning_rate=0.1, evaluations=2)
    rounded, said = QuantizeAware(ruinous).apply(student, context)
    assert said.checkpoint == 0
    assert rounded.quantized is not None
    outputs = rounded.quantized(np.eye(CELLS, dtype=np.float32), training=False).numpy()
    assert outputs.argmax(axis=1).tolist() == [1] * CELLS


@pytest.mark.usefixtures("without_xla")
def test_from_scratch_all_is_as_the_agent_was_trained(start: tuple[Student, CompressionContext]) -> None:
    student, context = start
    config = TrainingConfig(
        steps=2_400, learning_rate=5e-3, batch_size=32, learning_starts=200, train_freq=10, gradient_steps=10, n_step=1,
        discount=DISCOUNT, target_update_interval=50, exploration_fraction=1.0, exploration_final=0.5,
        averaging_steps=100, evaluation_interval=600, evaluation_episodes=2, num_envs=4,
    )  # fmt: skip
    agent = replace(context.teacher, statistics={"training": asdict(replace(config, overlap=True))})
    context = replace(context, teacher=agent)
    learning = TdLearning(from_scratch=True)
    assert learning.config(agent) == replace(config, num_envs=1)
    assert TdLearning(from_scratch=True, trainings=1.5).config(agent) == replace(config, num_envs=1, steps=3_600)
    assert learning.planned_steps(agent) == 2_200
    fresh_student, _ = Restart().apply(student, context)
    assert not np.allclose(fresh_student.network.get_weights()[0], student.network.get_weights()[0])
    pruned, said = Prune(0.5, allocation="uniform", learning=learning, begin=0.2, end=0.75).apply(fresh_student, context)
    assert said.sparsity_reached == pytest.approx([0.5, 0.5], abs=0.02)
    np.testing.assert_allclose(values(pruned.network), KNOWN, atol=0.15)


@pytest.mark.parametrize(("scores", "taken"), [([-1e9, -1e6, -1e7], 1), ([-1e9, 1e9, -1e9], 1), ([1e9, -1e9, -1e9], 0)])
def test_it_is_tried_until_it_plays_as_well_as_the_agent(
    start: tuple[Student, CompressionContext], monkeypatch: pytest.MonkeyPatch, scores: list[float], taken: int
) -> None:
    student, context = start
    begun: list[Any] = []
    wrapped = wrappers.wrap_for_pruning(student.network, (0.0, 0.0), schedule=wrappers.Schedule(0, 50, 50))
    weights = [[np.full_like(each, i) for each in student.network.get_weights()] for i in range(3)]

    def learn(*_: Any, **__: Any) -> Any:
        i = len(begun)
        begun.append([each.numpy() for each in wrappers.effective_weights(wrapped)])
        wrappers.set_effective_weights(wrapped, weights[i])
        return FineTuned(0.0, i, scores[i]), weights[i]

    monkeypatch.setattr(TdLearning, "learn", learn)
    learned = TdLearning(from_scratch=True, attempts=3).fine_tune(
        wrapped, replace(student, meaning="q_values"), context=context, label="prune"
    )
    assert (learned.checkpoint, len(begun)) == (taken, next((i + 1 for i, score in enumerate(scores) if score > 0), 3))
    for each in begun[1:]:
        for array, first in zip(each, begun[0], strict=True):
            np.testing.assert_array_equal(array, first)
    np.testing.assert_array_equal(wrappers.effective_weights(wrapped)[0].numpy(), weights[taken][0])


def test_what_is_not_given_is_as_the_agent_was_trained(start: tuple[Student, CompressionContext]) -> None:
    _, context = start
    own = TrainingConfig(n_step=5, discount=0.7, batch_size=17, averaging_steps=900, double=False, loss="mse", overlap=True)
    agent = replace(context.teacher, statistics={"training": asdict(own)})
    found = TdLearning(discount=0.9, steps=120, learning_starts=60, final_learning_rate=1e-5, learning_rate=4e-5).config(agent)
    assert (found.n_step, found.batch_size, found.averaging_steps, found.double, found.loss) == (5, 17, 900, False, "mse")
    assert (found.discount, found.learning_starts, found.steps) == (0.9, 100, 250)
    assert found.learning_rate == 4e-5 and not found.overlap
    assert found.learning_rate_decay == pytest.approx(0.75)
    assert TdLearning().config(replace(agent, statistics={})).n_step == TrainingConfig().n_step


@pytest.mark.usefixtures("without_xla")
def test_a_schedule_counts_gradient_steps(start: tuple[Student, CompressionContext]) -> None:
    student, context = start
    schedule = wrappers.Schedule(200, 400, 50)
    for steps, expected in ((150, 0.0), (300, 0.8 * (1 - 0.5**3)), (450, 0.8)):
        wrapped = wrappers.wrap_for_pruning(student.network, (0.8, 0.8), schedule=schedule)
        wrappers.reset_pruning(wrapped)
        replace(LEARNING, steps=steps, evaluations=1).fine_tune(
            wrapped, student, context=context, label="test", ready_after=steps
        )
        sparsities = [(kernel == 0).mean() for kernel in kernels_of(wrappers.strip(wrapped, student.network))]
        assert sparsities == pytest.approx([expected] * 2, abs=0.02)


def test_clusters_learn_too(start: tuple[Student, CompressionContext]) -> None:
    student, context = start
    clustered, said = Cluster(8, replace(LEARNING, steps=1_000, learning_rate=5e-3)).apply(student, context)
    assert said.clusters_reached is not None
    assert all(count <= 8 for count in said.clusters_reached)
    np.testing.assert_allclose(values(clustered.network), KNOWN, atol=0.2)


class Broken(Corridor):
    """One observation, long after the start, is no number."""

    steps_taken = 0

    def _observe(self) -> Any:
        observation = super()._observe()
        Broken.steps_taken += 1
        return observation * np.float32("nan") if Broken.steps_taken == 100 else observation


def test_a_nan_from_the_environment_stops_it_by_name(start: tuple[Student, CompressionContext]) -> None:
    student, context = start
    wrapped = wrappers.wrap_for_pruning(student.network, (0.8, 0.8), schedule=wrappers.Schedule(0, None, 50))
    with pytest.raises(BadTransitionError, match=r"Corridor-v0 gave a bad observation at step \d+: expected finite numbers"):
        LEARNING.fine_tune(wrapped, student, context=replace(context, env=Broken()), label="test")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"steps": 0}, "steps"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"final_learning_rate": 1.0}, "final_learning_rate"),
        ({"discount": 1.1}, "discount"),
        ({"first_epsilon": 0.01}, "epsilon"),
        ({"buffer_size": 0}, "buffer_size"),
        ({"n_step": 0}, "n_step"),
        ({"averaging_steps": -1}, "averaging_steps"),
        ({"from_scratch": True, "steps": 500, "n_step": 2}, r"no other setting beside it\. Got steps, n_step"),
        ({"trainings": 2.0}, r"Expected trainings of 1 or more, from scratch\. Got 2\.0"),
        ({"from_scratch": True, "trainings": 0.5}, r"Expected trainings of 1 or more, from scratch\. Got 0\.5"),
        ({"attempts": 0}, r"Expected attempts of 1 or more\. Got 0"),
    ],
)
def test_refuses_settings_that_learn_nothing(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=rf"{words}.* Got" if "Got" not in words else words):
        TdLearning(**settings)


def test_what_outputs_mean_depends_on_the_training() -> None:
    assert (Distillation(steps=50).meaning, TdLearning().meaning) == ("preferences", "q_values")
