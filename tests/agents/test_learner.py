"""K fused steps against K steps taken one by one, by hand."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from edgedqn.agents import learner
from edgedqn.agents.errors import DivergedError
from edgedqn.agents.learner import FusedAdam, FusedLearner, adam, suits_xla

K, B, F = 7, 5, 3


def least_squares(weights: Any, bias: Any) -> Any:
    """Half the mean squared error of a linear model, B at a time, and the absolute errors."""

    def loss(x: Any, y: Any) -> tuple[Any, Any]:
        error = tf.linalg.matvec(x, weights) + bias - y  # [B]
        return tf.reduce_mean(0.5 * tf.square(error)), tf.abs(error)

    return loss


def problem(seed: int = 0, k: Any = K) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(k, B, F)).astype(np.float32)  # [K, B, F]
    y = (x @ np.array([1, -2, 3], np.float32) + 4 + rng.normal(0, 0.1, (k, B))).astype(np.float32)  # [K, B]
    return x, y


def variables() -> tuple[Any, Any]:
    return tf.Variable(np.array([0.5, 0.1, -0.2], np.float32)), tf.Variable(np.float32(0.3))


def descent(rate: Any, *of_variables: Any, **settings: Any) -> FusedLearner:
    return FusedLearner(least_squares(*of_variables), of_variables, optimizer=tf_keras.optimizers.SGD(rate), **settings)


@pytest.mark.parametrize("jit_compile", [True, False])
def test_fused_gradient_descent_is_gradient_descent_written_by_hand(jit_compile: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learner, "suits_xla", lambda variables: jit_compile)
    weights, bias = variables()
    w, b = weights.numpy().astype(np.float64), float(bias)
    x, y = problem()
    losses, errors = [], []
    for x_k, y_k in zip(x, y, strict=True):
        error = x_k @ w + b - y_k  # [B]
        losses.append(np.mean(error**2) / 2)
        errors.append(abs(error))
        w, b = w - 0.1 * (x_k * error[:, None]).mean(axis=0), b - 0.1 * error.mean()
    learned = descent(0.1, weights, bias).learn(x, y)
    assert learned.losses.dtype == learned.errors.dtype == np.float32
    np.testing.assert_allclose(learned.losses, losses, rtol=1e-5)  # the loss *before* each step
    np.testing.assert_allclose(learned.errors, errors, rtol=1e-4, atol=1e-6)  # [K, B]
    np.testing.assert_allclose(weights, w, rtol=1e-5)
    np.testing.assert_allclose(float(bias), b, rtol=1e-5)


def test_the_weights_come_back_in_their_order_and_shapes() -> None:
    rng = np.random.default_rng(0)
    several = [tf.Variable(rng.normal(size=shape).astype(np.float32)) for shape in ((3, 4), (), (2,), (1, 1, 5))]

    def loss(x: Any) -> tuple[Any, Any]:
        return sum(tf.reduce_sum(v) for v in several) * tf.reduce_mean(x), x

    learned = FusedLearner(loss, several, optimizer=tf_keras.optimizers.SGD(0.1)).learn(np.ones((2, 3), np.float32))
    assert [w.shape for w in learned.weights] == [(3, 4), (), (2,), (1, 1, 5)]
    for ours, variable in zip(learned.weights, several, strict=True):
        np.testing.assert_array_equal(ours, variable)


def test_fused_clipped_adam_is_the_same_optimizer_called_step_by_step() -> None:
    def adam() -> Any:
        # Clips all but the last steps; the rate falls, so the steps must be counted too.
        rate = tf_keras.optimizers.schedules.PolynomialDecay(0.1, 2 * K, 0.001)
        return tf_keras.optimizers.Adam(rate, global_clipnorm=1.0)

    fused, single = variables(), variables()
    learner = FusedLearner(least_squares(*fused), fused, optimizer=adam())
    optimizer, loss, norms = adam(), least_squares(*single), []
    for seed in (0, 1):  # Adam's moments live on from call to call
        x, y = problem(seed)
        learner.learn(x, y)
        for x_k, y_k in zip(x, y, strict=True):
            with tf.GradientTape() as tape:
                value, _ = loss(x_k, y_k)
            gradients = tape.gradient(value, single)
            norms.append(float(tf.linalg.global_norm(gradients)))
            optimizer.apply_gradients(zip(gradients, single, strict=True))
    assert max(norms) > 1  # or nothing was clipped
    for ours, theirs in zip(fused, single, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_targets_are_copied_before_the_first_step_and_only_when_told() -> None:
    weights, bias = variables()
    target = tf.Variable(np.zeros(F, np.float32)), tf.Variable(np.float32(0))
    learner = descent(0.1, weights, bias, targets=target)
    learner.learn(*problem())
    assert not target[0].numpy().any()
    before = weights.numpy()
    learner.learn(*problem(1), copy_to_target=True)
    np.testing.assert_array_equal(target[0], before)
    assert not np.array_equal(weights, before)


def test_soft_targets_follow_each_step() -> None:
    weights, bias = variables()
    target = tf.Variable(np.zeros(F, np.float32)), tf.Variable(np.float32(0))
    w, b, t = weights.numpy().astype(np.float64), float(bias), np.zeros(F)
    x, y = problem()
    for x_k, y_k in zip(x, y, strict=True):
        error = x_k @ w + b - y_k  # [B]
        w, b = w - 0.1 * (x_k * error[:, None]).mean(axis=0), b - 0.1 * error.mean()
        t = 0.75 * t + 0.25 * w
    descent(0.1, weights, bias, targets=target, target_update_rate=0.25).learn(x, y)
    np.testing.assert_allclose(target[0], t, rtol=1e-5)


@pytest.mark.parametrize(("bad", "name"), [(np.nan, "nan"), (np.inf, "inf")])
def test_a_loss_that_is_no_number_stops_with_its_step(bad: str | None, name: str) -> None:
    x, y = problem()
    y[2, 1] = bad
    with pytest.raises(DivergedError, match=f"^The loss became {name} at gradient step 3 of 7"):
        descent(0.1, *variables()).learn(x, y)


def test_so_does_the_first_of_several_and_a_weight_that_the_last_step_ruined() -> None:
    with pytest.raises(DivergedError, match=r"^The loss became inf at gradient step 2 of 7"):
        descent(1e30, *variables()).learn(*problem())
    with pytest.raises(DivergedError, match=r"^A weight became NaN or infinite within 1 gradient steps\.$"):
        descent(3e38, *variables()).learn(*problem(k=1))


def test_large_weights_are_not_infinite() -> None:
    weights = tf.Variable(np.full(F, 1e30, np.float32))  # their squares are
    learner = FusedLearner(lambda x: (tf.reduce_sum(weights * x), x), [weights], optimizer=tf_keras.optimizers.SGD(0.1))
    assert np.isfinite(learner.learn(np.ones((2, F), np.float32)).weights[0]).all()


def test_each_shape_is_compiled_once() -> None:
    weights, bias = variables()
    traced = []

    def loss(x: Any, y: Any) -> Any:
        traced.append(x.shape)  # Python runs only while TensorFlow traces
        return least_squares(weights, bias)(x, y)

    learner = FusedLearner(loss, [weights, bias], optimizer=tf_keras.optimizers.SGD(0.1))
    learner.learn(*problem(0))
    once = len(traced)
    for seed in range(5):
        learner.learn(*problem(seed), copy_to_target=seed == 3)
    assert len(traced) == once
    assert learner.learn(*problem(0, k=2)).losses.shape == (2,)
    assert len(traced) == 2 * once
    learner.learn(*problem(1, k=2))
    learner.learn(*problem(1))
    assert len(traced) == 2 * once


@pytest.mark.parametrize(("shapes", "compiled"), [(((3, 4), (4,)), True), (((3, 3, 2, 4), (4,), (4, 1)), False)])
def test_around_convolutions_nothing_is_compiled_by_xla_and_adam_is_one_kernel(
    shapes: tuple[tuple[int, ...], ...], compiled: bool
) -> None:
    several = [tf.Variable(tf.zeros(shape)) for shape in shapes]
    optimizer = adam(0.1, several, epsilon=0.5, max_gradient_norm=3.0)
    assert isinstance(optimizer, FusedAdam) == (not compiled)
    assert (optimizer.epsilon, optimizer.global_clipnorm) == (0.5, 3.0)
    assert suits_xla(several) == compiled
    learned = FusedLearner(lambda x: (sum(tf.reduce_sum(v) for v in several), x), several, optimizer=optimizer)
    assert learned._run._jit_compile == compiled


@pytest.mark.parametrize("kind", [tf_keras.optimizers.Adam, FusedAdam])
def test_a_restarted_learner_learns_like_a_new_one(kind: Any) -> None:
    """Its schedule and its moments begin anew, to the bit."""

    def made(w: Any, b: Any) -> FusedLearner:
        rate = tf_keras.optimizers.schedules.CosineDecay(0.1, 2 * K)
        return FusedLearner(least_squares(w, b), (w, b), optimizer=kind(rate), xla=kind is not FusedAdam)

    weights, bias = variables()
    worn = made(weights, bias)
    worn.learn(*problem(0))
    worn.restart()
    new_weights, new_bias = tf.Variable(weights), tf.Variable(bias)
    again, new = worn.learn(*problem(1)), made(new_weights, new_bias).learn(*problem(1))
    np.testing.assert_array_equal(again.losses, new.losses)
    np.testing.assert_array_equal(weights, new_weights)
    assert (again.weights[0] != variables()[0].numpy()).all()


@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("compiled", [False, True])
def test_it_takes_the_steps_of_keras_adam(clip: float | None, compiled: bool) -> None:
    rng = np.random.default_rng(0)
    rate = tf_keras.optimizers.schedules.PolynomialDecay(0.1, 20, 0.01)
    start = [rng.normal(size=shape).astype(np.float32) for shape in ((3, 4), (4,))]
    gradients = [[rng.normal(size=w.shape).astype(np.float32) for w in start] for _ in range(30)]
    found = []
    for kind in (tf_keras.optimizers.Adam, FusedAdam):
        variables = [tf.Variable(w) for w in start]
        optimizer = kind(rate, epsilon=1e-3, global_clipnorm=clip)
        optimizer.build(variables)
        step = tf.function(lambda *g, o=optimizer, v=variables: o.apply_gradients(zip(g, v, strict=True)), jit_compile=compiled)
        for each in gradients:
            step(*map(tf.constant, each))
        found.append([variable.numpy() for variable in [*variables, *optimizer.variables]])
    assert len(found[0]) == len(found[1])
    for keras, fused in zip(*found, strict=True):
        np.testing.assert_allclose(fused, keras, rtol=1e-4, atol=1e-5)  # they round in another order
    assert not np.allclose(found[1][0], start[0], atol=0.1)
