from typing import Any

import numpy as np
import pytest
import tf_keras
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from edgedqn.agents.errors import DivergedError, InputError
from edgedqn.agents.learner import FusedLearner, Learned
from edgedqn.agents.networks import mlp
from edgedqn.compression.folding import InputScaling
from edgedqn.compression.methods import distillation
from edgedqn.compression.methods.distillation import (
    STEPS_PER_CALL,
    Distillation,
    Distiller,
    Targets,
    clipped_action_gaps,
    fit_output_layer,
    median_action_gap,
)

PLAIN = InputScaling.identity()

tables = hnp.arrays(np.float32, st.tuples(st.integers(1, 8), st.integers(2, 5)), elements=st.integers(-100, 100).map(float))


def outputs(network: tf_keras.Model, weights: list[NDArray[np.float32]], inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the network computes with these weights, which it has from then on."""
    network.set_weights(weights)
    return network(inputs).numpy()


# --- preferences -----------------------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(tables, st.floats(0.01, 50), st.sampled_from([0.5, 2.0, 3.0]))
def test_clipped_action_gaps_as_the_formula_says(q_values: NDArray[np.float32], gap: float, width: float) -> None:
    expected = np.empty(q_values.shape)
    for n, row in enumerate(q_values.tolist()):
        for a, q in enumerate(row):
            expected[n, a] = 1 + 2 * min(max((q - max(row)) / (width * gap), -1), 0)
    got = clipped_action_gaps(q_values, gap, width)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=1e-6)


@settings(max_examples=100, deadline=None)
@given(tables, st.floats(0.5, 50), st.integers(-1_000, 1_000))
def test_clipped_action_gaps_keep_what_matters(q_values: NDArray[np.float32], gap: float, shift: int) -> None:
    got = clipped_action_gaps(q_values, gap)
    best = q_values == q_values.max(axis=1, keepdims=True)
    np.testing.assert_array_equal(got == 1, best)  # the best are exactly 1, and only they
    assert got.min() >= -1
    np.testing.assert_array_equal(clipped_action_gaps(q_values + np.float32(shift), gap), got)  # the state's value is nothing
    for row, preferences in zip(q_values, got, strict=True):
        kept = preferences > -1
        np.testing.assert_array_equal(  # where nothing is clipped the order stays
            np.sign(np.subtract.outer(row, row))[kept][:, kept],
            np.sign(np.subtract.outer(preferences, preferences))[kept][:, kept],
        )
        assert (row[~kept] <= row.max() - 2 * gap + 1e-3).all()


def test_the_gap_and_the_width_are_where_they_should_be() -> None:
    q_values = np.array([[10, 9, 8, 6, -1_000]], np.float32)  # gaps of 0, 1, 2, 4 and a lot, in units of 1
    np.testing.assert_array_equal(clipped_action_gaps(q_values, 1.0), [[1, 0, -1, -1, -1]])
    np.testing.assert_array_equal(clipped_action_gaps(q_values, 1.0, 4.0), [[1, 0.5, 0, -1, -1]])
    np.testing.assert_array_equal(clipped_action_gaps(q_values, 4.0), [[1, 0.75, 0.5, 0, -1]])


def test_median_action_gap_is_over_the_positive_gaps() -> None:
    q_values = np.array([[5, 4, 0], [1, 1, -9], [0, 3, -1], [7, 7, 7], [-2, -9, -9]], np.float32)
    assert median_action_gap(q_values) == 3  # of 1, 3 and 7; the two ties would make it 1
    assert median_action_gap(q_values[:, ::-1]) == 3
    assert median_action_gap(q_values[:2]) == 1


@settings(max_examples=50, deadline=None)
@given(tables, st.sampled_from([0.25, 2.0, 64.0]))
def test_median_action_gap_follows_the_scale_and_no_shift(q_values: NDArray[np.float32], factor: float) -> None:
    try:
        gap = median_action_gap(q_values)
    except InputError:
        assert (np.sort(q_values, axis=1)[:, -1] == np.sort(q_values, axis=1)[:, -2]).all()
        return
    assert gap > 0
    assert median_action_gap(q_values * np.float32(factor) + 8) == pytest.approx(gap * factor)


@pytest.mark.parametrize("actions", [2, 4])
def test_refuses_a_teacher_without_preferences(actions: int) -> None:
    with pytest.raises(InputError, match="all actions are equal"):
        median_action_gap(np.full((50, actions), 3.5, np.float32))


# --- the running start -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [(), (12,), (16, 9)])
def test_fit_output_layer_is_least_squares_without_ridge(hidden: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    network = mlp((3,), 4, hidden=hidden, rng=rng)
    weights = network.get_weights()
    weights[1] += 0.2
    network.set_weights(weights)
    inputs = rng.normal(size=(600, 3)).astype(np.float32)
    preferences = rng.uniform(-1, 1, (600, 4)).astype(np.float32)
    fitted = fit_output_layer(network, np.split(inputs, [1, 250]), preferences, ridge=1e-12)
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
    network = mlp((3,), 2, hidden=(8,), rng=np.random.default_rng(1))
    weights = network.get_weights()
    weights[0][:, 0], weights[1][0] = 0, -5  # dead
    weights[0][:, 2], weights[1][2] = weights[0][:, 1], weights[1][1]  # twins
    inputs = np.random.default_rng(2).normal(size=(200, 3)).astype(np.float32)
    target = outputs(network, weights, inputs)
    fitted = fit_output_layer(network, [inputs], target)
    assert np.isfinite(fitted[-2]).all()
    np.testing.assert_allclose(outputs(network, fitted, inputs), target, atol=0.05 * float(np.abs(target).max()))


def test_ridge_shrinks_the_layer() -> None:
    rng = np.random.default_rng(3)
    network = mlp((3,), 2, hidden=(8,), rng=rng)
    inputs = rng.normal(size=(200, 3)).astype(np.float32)
    preferences = rng.uniform(-1, 1, (200, 2)).astype(np.float32)
    norms = [np.square(fit_output_layer(network, [inputs], preferences, ridge)[-2]).sum() for ridge in (1e-6, 1e-2, 1.0, 100.0)]
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
    student = mlp((3,), 4, hidden=(8,), rng=rng)
    before = student.get_weights()
    inputs = rng.normal(size=(30, 3)).astype(np.float32)
    preferences = rng.uniform(-1, 1, (30, 4)).astype(np.float32)
    # A learning rate that moves no weight by a bit that matters: all losses are of the weights as they were.
    config = Distillation(60, 5, learning_rate=1e-12, final_learning_rate=1e-12, temperature=0.4)
    losses = Distiller(student, PLAIN, config).learn(inputs, preferences, np.random.default_rng(9), "test")
    draws = np.random.default_rng(9)
    indices = np.concatenate([draws.integers(30, size=(STEPS_PER_CALL, 5)) for _ in range(2)])
    expected = [written_out_loss(outputs(student, before, inputs[i]), preferences[i], 0.4) for i in indices]
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    assert len(losses) == 100  # 60, rounded up


@pytest.mark.parametrize("dtype", ["bool", "uint8"])
def test_states_are_scaled_minibatch_by_minibatch(dtype: str) -> None:
    rng = np.random.default_rng(33)
    student = mlp((2,), 3, hidden=(8,), rng=rng)
    before = student.get_weights()
    states = rng.integers(0, 200, (40, 2)).astype(dtype)
    preferences = rng.uniform(-1, 1, (40, 3)).astype(np.float32)
    scaling = InputScaling((0.01, 0.02), (0.0, -0.5), (0.0, 1.0))
    config = Distillation(50, 6, learning_rate=1e-12, final_learning_rate=1e-12)
    losses = Distiller(student, scaling, config).learn(states, preferences, np.random.default_rng(9), "test")
    indices = np.random.default_rng(9).integers(40, size=(STEPS_PER_CALL, 6))
    expected = [written_out_loss(outputs(student, before, scaling(states[i])), preferences[i], 0.25) for i in indices]
    np.testing.assert_allclose(losses, expected, rtol=1e-4)


def toy_problem() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """States in a square, and the preferences of a small teacher, whose best action changes with the place."""
    rng = np.random.default_rng(5)
    teacher = mlp((2,), 3, hidden=(6,), rng=rng)
    weights = teacher.get_weights()
    weights[1] += rng.normal(0, 0.3, 6).astype(np.float32)
    inputs = rng.uniform(-1, 1, (2_000, 2)).astype(np.float32)
    q_values = outputs(teacher, weights, inputs)
    return inputs, clipped_action_gaps(q_values, median_action_gap(q_values))


def learn_toy(seed: int) -> tuple[list[NDArray[np.float32]], NDArray[np.float32]]:
    student = mlp((2,), 3, hidden=(24,), rng=np.random.default_rng(seed))
    config = Distillation(steps=600, learning_rate=1e-2, final_learning_rate=1e-4)
    losses = Distiller(student, PLAIN, config).learn(*toy_problem(), np.random.default_rng(seed + 100), "test")
    return student.get_weights(), losses


def test_recovers_a_small_teachers_preferences_from_any_seed_and_repeats_itself() -> None:
    inputs, preferences = toy_problem()
    chosen = preferences.argmax(axis=1)
    assert np.bincount(chosen, minlength=3).max() < 0.8 * len(chosen)  # no action is right nearly everywhere
    learned = [learn_toy(seed) for seed in (0, 1)]
    for weights, losses in learned:
        agreement = (
            outputs(mlp((2,), 3, hidden=(24,), rng=np.random.default_rng()), weights, inputs).argmax(axis=1) == chosen
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
    student = mlp((1,), 1, hidden=(), rng=np.random.default_rng(6))
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
    Distiller(student, PLAIN, config).learn(states, far, np.random.default_rng(0), "test")
    t = np.arange(250)
    rate = 1e-5 + (1e-2 - 1e-5) * (1 + np.cos(np.pi * t / 250)) / 2
    np.testing.assert_allclose(np.diff(biases), rate.reshape(5, 50).sum(axis=1), rtol=2e-3)


def test_a_loss_that_is_no_number_stops_it() -> None:
    student = mlp((2,), 2, hidden=(), rng=np.random.default_rng(7))
    inputs = np.zeros((10, 2), np.float32)
    preferences = np.full((10, 2), np.nan, np.float32)
    with pytest.raises(DivergedError, match=r"became nan at gradient step 1 of 50"):
        Distiller(student, PLAIN, Distillation(50)).learn(inputs, preferences, np.random.default_rng(0), "test")


@pytest.mark.parametrize(("steps", "rounded"), [(1, 50), (50, 50), (51, 100), (1_500, 1_500), (1_501, 1_550)])
def test_rounds_up_to_whole_calls(steps: int, rounded: int) -> None:
    assert Distillation(steps).rounded_steps == rounded


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


def test_targets_of_each_kind_rank_actions_as_the_teacher_does() -> None:
    q_values = np.array([[1.0, 3.0, 2.5], [-4.0, -9.0, -4.5]], np.float32)
    for kind in ("clipped_gaps", "advantages", "q_values", "one_hot"):
        targets = Targets(kind, width=2.0)(q_values, gap=0.5)
        assert (targets.shape, targets.dtype) == ((2, 3), np.float32)
        np.testing.assert_array_equal(targets.argmax(axis=1), [1, 0])
    # One unit of width is 0.5 * 2; it falls from 1 to -1.
    np.testing.assert_allclose(Targets("clipped_gaps")(q_values, 0.5), [[-1, 1, 0], [1, -1, 0]])
    np.testing.assert_allclose(Targets("advantages")(q_values, 0.5), [[-3, 1, 0], [1, -9, 0]])
    np.testing.assert_allclose(Targets("q_values")(q_values, 0.5), [[2, 6, 5], [-8, -18, -9]])
    np.testing.assert_allclose(Targets("one_hot")(q_values, 0.5), [[-1, 1, -1], [1, -1, -1]])


@pytest.mark.parametrize("settings", [{"kind": "guess"}, {"width": 0.0}, {"width": -1.0}])
def test_refuses_targets_that_are_none(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="Got"):
        Targets(**settings)


@pytest.mark.parametrize("loss", ["kl", "square", "kl_and_square", "cross_entropy"])
def test_each_loss_is_what_its_formula_says(loss: Any) -> None:
    """The first loss of a network that is held still, on one minibatch of all states, written out in NumPy."""
    rng = np.random.default_rng(0)
    network = mlp((3,), 4, hidden=(8,), rng=rng)
    states = rng.normal(size=(1, 3)).astype(np.float32)
    target = np.array([[0.2, -1.0, 1.0, 0.9]], np.float32)
    output = network(states).numpy()[0].astype(np.float64)
    config = Distillation(1, 5, 1e-6, 1e-6, temperature=0.5, loss=loss)
    losses = Distiller(network, InputScaling.identity(), config).learn(states, target, rng, "test")

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
        Distillation(1, loss="hinge")  # type: ignore[arg-type]
