from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tf_keras
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from edgedqn.agents.errors import DivergedError, InputError
from edgedqn.agents.learner import FusedLearner, Learned
from edgedqn.agents.networks import q_network
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.compression.folding import InputScaling
from edgedqn.compression.methods import distillation
from edgedqn.compression.methods.distillation import (
    STEPS_PER_CALL,
    Distil,
    Distillation,
    Distiller,
    Visit,
    final_loss,
    fit_output_layer,
)
from edgedqn.compression.methods.initialization import ScaleInput
from edgedqn.compression.preferences import Targets, median_action_gap
from edgedqn.compression.stage import CompressionContext, Student

PLAIN = InputScaling.identity()

tables = hnp.arrays(np.float32, st.tuples(st.integers(1, 8), st.integers(2, 5)), elements=st.integers(-100, 100).map(float))


def outputs(network: tf_keras.Model, weights: list[NDArray[np.float32]], inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the network computes with these weights, which it has from then on."""
    network.set_weights(weights)
    return network(inputs).numpy()


# --- preferences -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("actions", [2, 4])
def test_refuses_a_teacher_without_preferences(actions: int) -> None:
    with pytest.raises(InputError, match="all actions are equal"):
        median_action_gap(np.full((50, actions), 3.5, np.float32))


# --- the running start -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [(), (12,), (16, 9)])
def test_fit_output_layer_is_least_squares_without_ridge(hidden: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    network = q_network((3,), 4, hidden=hidden, rng=rng)
    weights = network.get_weights()
    weights[1] += 0.2
    network.set_weights(weights)
    inputs = rng.normal(size=(600, 3)).astype(np.float32)
    preferences = rng.uniform(-1, 1, (600, 4)).astype(np.float32)
    fitted = fit_output_layer(network, np.split(inputs, [1, 250]), preferences=preferences, ridge=1e-12)
    features = inputs.astype(np.float64)
    for kernel, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        features = np.maximum(features @ kernel + bias, 0)
    alive = np.column_stack([features, np.ones(600)])
    solution, *_ = np.linalg.lstsq(alive, preferences.astype(np.float64))
    np.testing.assert_allclose(outputs(network, fitted, inputs), alive @ solution, atol=1e-4)
    for array, before in zip(fitted[:-2], weights[:-2], strict=True):
        np.testing.assert_array_equal(array, before)
    assert [(array.dtype, array.shape) for array in fitted] == [(array.dtype, array.shape) for array in weights]


def test_fit_output_layer_bears_features_that_are_dead_or_alike() -> None:
    network = q_network((3,), 2, hidden=(8,), rng=np.random.default_rng(1))
    weights = network.get_weights()
    weights[0][:, 0], weights[1][0] = 0, -5  # dead
    weights[0][:, 2], weights[1][2] = weights[0][:, 1], weights[1][1]  # twins
    inputs = np.random.default_rng(2).normal(size=(200, 3)).astype(np.float32)
    target = outputs(network, weights, inputs)
    fitted = fit_output_layer(network, [inputs], preferences=target)
    assert np.isfinite(fitted[-2]).all()
    np.testing.assert_allclose(outputs(network, fitted, inputs), target, atol=0.05 * float(np.abs(target).max()))


def test_ridge_shrinks_the_layer() -> None:
    rng = np.random.default_rng(3)
    network = q_network((3,), 2, hidden=(8,), rng=rng)
    inputs = rng.normal(size=(200, 3)).astype(np.float32)
    preferences = rng.uniform(-1, 1, (200, 2)).astype(np.float32)
    norms = [
        np.square(fit_output_layer(network, [inputs], preferences=preferences, ridge=ridge)[-2]).sum()
        for ridge in (1e-6, 1e-2, 1.0, 100.0)
    ]
    assert norms == sorted(norms, reverse=True)
    assert norms[-1] < 0.01 * norms[0]


# --- distillation ----------------------------------------------------------------------------------------------------------


def log_softmax(x: NDArray[np.float64]) -> NDArray[np.float64]:
    x = x - x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def written_out_loss(output: NDArray[Any], target: NDArray[Any], temperature: float) -> float:
    """KL(target || student) of the softmax policies plus the squared error, mean over the batch. [B, A], [B, A]."""
    log_p, log_q = (log_softmax(x.astype(np.float64) / temperature) for x in (target, output))
    return float(((np.exp(log_p) * (log_p - log_q)).sum(axis=1) + np.square(output - target).sum(axis=1)).mean())


def test_the_loss_is_divergence_plus_squared_error_on_the_minibatches_drawn() -> None:
    rng = np.random.default_rng(4)
    student = q_network((3,), 4, hidden=(8,), rng=rng)
    before = student.get_weights()
    inputs = rng.normal(size=(30, 3)).astype(np.float32)
    preferences = rng.uniform(-1, 1, (30, 4)).astype(np.float32)
    # A learning rate that moves no weight by a bit that matters: all losses are of the weights as they were.
    config = Distillation(steps=60, batch_size=5, learning_rate=1e-12, final_learning_rate=1e-12, temperature=0.4)
    losses = Distiller(student, PLAIN, config=config).train(inputs, preferences, rng=np.random.default_rng(9), label="test")
    draws = np.random.default_rng(9)
    indices = np.concatenate([draws.integers(30, size=(STEPS_PER_CALL, 5)) for _ in range(2)])
    expected = [written_out_loss(outputs(student, before, inputs[i]), preferences[i], 0.4) for i in indices]
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    assert len(losses) == 100  # 60, rounded up


@pytest.mark.parametrize("dtype", ["bool", "uint8"])
def test_states_are_scaled_minibatch_by_minibatch(dtype: str) -> None:
    rng = np.random.default_rng(33)
    student = q_network((2,), 3, hidden=(8,), rng=rng)
    before = student.get_weights()
    states = rng.integers(0, 200, (40, 2)).astype(dtype)
    preferences = rng.uniform(-1, 1, (40, 3)).astype(np.float32)
    scaling = InputScaling((0.01, 0.02), (0.0, -0.5), (0.0, 1.0))
    config = Distillation(steps=50, batch_size=6, learning_rate=1e-12, final_learning_rate=1e-12)
    losses = Distiller(student, scaling, config=config).train(states, preferences, rng=np.random.default_rng(9), label="test")
    indices = np.random.default_rng(9).integers(40, size=(STEPS_PER_CALL, 6))
    expected = [written_out_loss(outputs(student, before, scaling(states[i])), preferences[i], 0.25) for i in indices]
    np.testing.assert_allclose(losses, expected, rtol=1e-4)


def toy_problem() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """States in a square, and the preferences of a small teacher, whose best action changes with the place."""
    rng = np.random.default_rng(5)
    teacher = q_network((2,), 3, hidden=(6,), rng=rng)
    weights = teacher.get_weights()
    weights[1] += rng.normal(0, 0.3, 6).astype(np.float32)
    inputs = rng.uniform(-1, 1, (2_000, 2)).astype(np.float32)
    q_values = outputs(teacher, weights, inputs)
    return inputs, Targets()(q_values, median_action_gap(q_values))


def learn_toy(seed: int) -> tuple[list[NDArray[np.float32]], NDArray[np.float32]]:
    student = q_network((2,), 3, hidden=(24,), rng=np.random.default_rng(seed))
    config = Distillation(steps=600, learning_rate=1e-2, final_learning_rate=1e-4)
    losses = Distiller(student, PLAIN, config=config).train(*toy_problem(), rng=np.random.default_rng(seed + 100), label="test")
    return student.get_weights(), losses


def test_recovers_a_small_teachers_preferences_from_any_seed_and_repeats_itself() -> None:
    inputs, preferences = toy_problem()
    chosen = preferences.argmax(axis=1)
    assert np.bincount(chosen, minlength=3).max() < 0.8 * len(chosen)  # no action is right nearly everywhere
    learned = [learn_toy(seed) for seed in (0, 1)]
    for weights, losses in learned:
        agreement = (
            outputs(q_network((2,), 3, hidden=(24,), rng=np.random.default_rng()), weights, inputs).argmax(axis=1) == chosen
        ).mean()
        # Over six seeds: agreement 0.954 to 0.972, and 0.08 to 0.18 of the loss left.
        assert agreement > 0.92
        assert losses[-50:].mean() < 0.3 * losses[:50].mean()
    again, losses_again = learn_toy(0)
    np.testing.assert_array_equal(losses_again, learned[0][1])
    for array, repeated, other in zip(learned[0][0], again, learned[1][0], strict=True):
        np.testing.assert_array_equal(array, repeated)
        assert (array != other).any()


def test_the_learning_rate_falls_along_a_half_cosine(monkeypatch: pytest.MonkeyPatch) -> None:
    student = q_network((1,), 1, hidden=(), rng=np.random.default_rng(6))
    config = Distillation(steps=220, learning_rate=1e-2, final_learning_rate=1e-5)
    assert config.rounded_steps == 250
    biases = [0.0]

    class Watched(FusedLearner):
        def learn(self, *minibatches: NDArray[np.generic], copy_to_target: bool = False) -> Learned:
            learned = super().learn(*minibatches)
            biases.append(float(learned.weights[1][0]))
            return learned

    monkeypatch.setattr(distillation, "FusedLearner", Watched)
    # One weight, and a target so far away that the gradient is the same at each step: each of Adam's steps is then as long as
    # the learning rate.
    states, far = np.zeros((8, 1), np.float32), np.full((8, 1), 1e4, np.float32)
    Distiller(student, PLAIN, config=config).train(states, far, rng=np.random.default_rng(0), label="test")
    t = np.arange(250)
    rate = 1e-5 + (1e-2 - 1e-5) * (1 + np.cos(np.pi * t / 250)) / 2
    np.testing.assert_allclose(np.diff(biases), rate.reshape(5, 50).sum(axis=1), rtol=2e-3)


def test_a_loss_that_is_no_number_stops_it() -> None:
    student = q_network((2,), 2, hidden=(), rng=np.random.default_rng(7))
    inputs = np.zeros((10, 2), np.float32)
    preferences = np.full((10, 2), np.nan, np.float32)
    with pytest.raises(DivergedError, match=r"became nan at gradient step 1 of 50"):
        Distiller(student, PLAIN, config=Distillation(steps=50)).train(
            inputs, preferences, rng=np.random.default_rng(0), label="test"
        )


@pytest.mark.parametrize(("steps", "rounded"), [(1, 50), (50, 50), (51, 100), (1_500, 1_500), (1_501, 1_550)])
def test_rounds_up_to_whole_calls(steps: int, rounded: int) -> None:
    assert Distillation(steps=steps).rounded_steps == rounded


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"steps": 0}, r"steps and batch_size of 1 or more\. Got 0 and 64"),
        ({"steps": -5}, r"Got -5 and 64"),
        ({"batch_size": 0}, r"Got 10 and 0"),
        ({"learning_rate": 1e-6}, r"final_learning_rate <= learning_rate\. Got 1e-05 and 1e-06"),
        ({"final_learning_rate": 0.0}, r"rounding settles.*Got 0\.0"),
        ({"final_learning_rate": float("nan")}, r"Got nan"),
        ({"learning_rate": float("nan")}, r"Got 1e-05 and nan"),
        ({"temperature": 0.0}, r"temperature above 0\. Got 0\.0"),
        ({"temperature": float("nan")}, r"temperature above 0\. Got nan"),
    ],
)
def test_refuses_what_cannot_be_learned(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Distillation(**{"steps": 10, **change})


# --- targets and losses ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["kl", "square", "kl_and_square", "cross_entropy"])
def test_each_loss_is_what_its_formula_says(loss: Any) -> None:
    """The first loss of a network that is held still, on one minibatch of all states, written out in NumPy."""
    rng = np.random.default_rng(0)
    network = q_network((3,), 4, hidden=(8,), rng=rng)
    states = rng.normal(size=(1, 3)).astype(np.float32)
    target = np.array([[0.2, -1.0, 1.0, 0.9]], np.float32)
    output = network(states).numpy()[0].astype(np.float64)
    config = Distillation(steps=1, batch_size=5, learning_rate=1e-6, final_learning_rate=1e-6, temperature=0.5, loss=loss)
    losses = Distiller(network, InputScaling.identity(), config=config).train(states, target, rng=rng, label="test")

    def log_softmax(x: Any) -> Any:
        return x / 0.5 - np.log(np.exp(x / 0.5).sum())

    divergence = (np.exp(log_softmax(target[0])) * (log_softmax(target[0]) - log_softmax(output))).sum()
    square = ((output - target[0]) ** 2).sum()
    expected = {
        "kl": divergence,
        "square": square,
        "kl_and_square": divergence + square,
        "cross_entropy": -log_softmax(output)[2],
    }[loss]
    assert losses[0] == pytest.approx(expected, rel=1e-4)


def test_refuses_a_loss_that_is_none() -> None:
    with pytest.raises(InputError, match=r"Expected a loss of kl_and_square, .*Got 'hinge'"):
        Distillation(steps=1, loss="hinge")  # type: ignore[arg-type]


def test_distil_teaches_on_all_the_states_it_says(context: CompressionContext, teacher: TrainedAgent) -> None:
    fresh = q_network((4,), 2, hidden=(16, 16), rng=np.random.default_rng(8))
    before = fresh.get_weights()
    scaling = InputScaling.measured(teacher.observations)
    start = Student(
        network=fresh, scaling=scaling, states=teacher.observations, preferences=context.preferences(teacher.observations)
    )
    learned, said = Distil(
        learning=Distillation(steps=100), greedy_states=1_500, explored_states=500, rounds=1, student_states=300
    ).apply(start, context)
    first = len(teacher.observations)
    assert said.states == first + 1_500 + 500 + 300 == len(learned.states)
    assert said.final_loss is not None
    assert 0 < said.final_loss < 0.5
    assert learned.states.dtype == np.float32
    # The teacher's own states come first, the more random ones lean further.
    np.testing.assert_array_equal(learned.states[:first], teacher.observations)
    greedy, explored = np.split(np.abs(learned.states[first : first + 2_000, 2]), [1_500])
    assert greedy.mean() < explored.mean()
    # In the same two parts: the sums of other batches round otherwise.
    said_of = [context.preferences(part) for part in np.split(learned.states, [first + 2_000])]
    np.testing.assert_array_equal(learned.preferences, np.concatenate(said_of))
    q_values = learned.network(scaling(teacher.observations)).numpy()
    agreement = (q_values.argmax(axis=1) == teacher.policy.q_values(teacher.observations).argmax(axis=1)).mean()
    assert agreement > 0.8
    assert learned.scaling == scaling
    for array, kept in zip(fresh.get_weights(), before, strict=True):
        np.testing.assert_array_equal(array, kept)


def test_states_are_kept_in_the_environments_dtype(frames: Any, start_of: Any) -> None:
    student, context = start_of(frames)
    student, _ = ScaleInput().apply(student, context)
    learned, said = Distil(
        learning=Distillation(steps=50), greedy_states=150, explored_states=50, rounds=2, student_states=40
    ).apply(student, context)
    first = len(context.teacher.observations)
    assert said.agreement_per_round is not None
    rounds = sum(agreement < 0.999 for agreement in said.agreement_per_round)  # none is learned from once that is enough
    assert (learned.states.dtype, learned.states.shape) == (np.dtype(np.uint8), (first + 150 + 50 + rounds * 40, 9, 8, 4))
    assert said.states == len(learned.states) == len(learned.preferences)
    np.testing.assert_allclose(learned.preferences, context.preferences(learned.states), atol=1e-5)
    assert said.final_loss is not None
    assert 0 < said.final_loss < 0.5


def test_a_table_is_taught_in_every_state(case: Any, start_of: Any) -> None:
    if case.agent.spec.observation_shape:
        assert len(start_of(case)[1].table_states()) == 0
        return
    # The teacher sees two states only, and has learned nothing of a third.
    kernel = case.agent.network.get_weights()[0].copy()
    kernel[5] = 0
    network = tf_keras.models.clone_model(case.agent.network)
    network.set_weights([kernel])
    agent = replace(case.agent, network=network, observations=np.eye(16, dtype=np.int64)[[0, 4]])
    student, context = start_of(replace(case, agent=agent))
    every = np.eye(16, dtype=np.int64)
    np.testing.assert_array_equal(context.table_states(), every)
    student, _ = ScaleInput().apply(student, context)
    assert student.scaling == InputScaling((1.0,), (0.0,), (0.0, 1.0))
    learned, said = Distil(
        learning=Distillation(steps=300, learning_rate=1e-2), greedy_states=40, explored_states=20, rounds=0
    ).apply(student, context)
    assert said.states == 2 + 40 + 20 + 16
    preferences = context.preferences(every)
    np.testing.assert_array_equal(preferences[5], 1)
    got = learned.network(every.astype(np.float32)).numpy()
    np.testing.assert_array_equal(np.delete(got.argmax(axis=1), 5), np.delete(preferences.argmax(axis=1), 5))


def test_rounds_end_once_the_student_agrees(context: CompressionContext, student: Student) -> None:
    start = Student(network=student.network, scaling=student.scaling, states=student.states, preferences=student.preferences)
    _, said = Distil(
        learning=Distillation(steps=50),
        greedy_states=500,
        explored_states=100,
        rounds=3,
        student_states=100,
        enough_agreement=0.01,
    ).apply(start, context)
    assert said.agreement_per_round is not None
    assert len(said.agreement_per_round) == 1
    assert said.states == len(context.teacher.observations) + 600  # nothing was learned from that round's states


def test_no_explored_states_are_none(context: CompressionContext, student: Student) -> None:
    learned, _ = Distil(learning=Distillation(steps=50), greedy_states=300, explored_states=0, rounds=0).apply(student, context)
    assert len(learned.states) == len(context.teacher.observations) + 300


def test_a_visit_adds_what_the_student_meets_and_its_targets(student: Student, context: CompressionContext) -> None:
    never = student.with_weights([*student.network.get_weights()[:-1], np.array([1e3, 0], np.float32)])  # always to the left
    visited, said = Visit(400).apply(never, context)
    assert said.states == len(visited.states) == len(student.states) + 400
    np.testing.assert_array_equal(visited.states[:-400], student.states)
    assert visited.states[-400:, 1].mean() < student.states[:, 1].mean() - 0.1  # the cart's velocity
    np.testing.assert_allclose(visited.preferences[-400:], context.preferences(visited.states[-400:]))
    for array, kept in zip(visited.network.get_weights(), never.network.get_weights(), strict=True):
        np.testing.assert_array_equal(array, kept)


@pytest.mark.parametrize("count", [0, -5])
def test_refuses_a_visit_that_meets_nothing(count: int) -> None:
    with pytest.raises(InputError, match="Expected student_states of 1 or more"):
        Visit(count)


def test_the_final_loss_is_that_of_the_last_call() -> None:
    losses = np.concatenate([np.full(2 * STEPS_PER_CALL, 9.0), np.full(STEPS_PER_CALL, 0.5)]).astype(np.float32)
    assert final_loss(losses) == 0.5
