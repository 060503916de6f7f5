"""K fused steps against K steps taken one by one, by hand."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from edgedqn.agents.learner import FusedLearner, NonFiniteLossError

K, B, F = 7, 5, 3


def least_squares(weights, bias):
    """Half the mean squared error of a linear model, B at a time."""
    return lambda x, y: tf.reduce_mean(0.5 * tf.square(tf.linalg.matvec(x, weights) + bias - y))


def problem(seed=0, k=K):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(k, B, F)).astype(np.float32)  # [K, B, F]
    y = (x @ np.float32([1, -2, 3]) + 4 + rng.normal(0, 0.1, (k, B))).astype(np.float32)  # [K, B]
    return x, y


def variables():
    return tf.Variable(np.float32([0.5, 0.1, -0.2])), tf.Variable(np.float32(0.3))


def test_fused_gradient_descent_is_gradient_descent_written_by_hand():
    weights, bias = variables()
    w, b = weights.numpy().astype(np.float64), float(bias)
    x, y = problem()
    expected = []
    for x_k, y_k in zip(x, y, strict=True):
        error = x_k @ w + b - y_k  # [B]
        expected.append(np.mean(error**2) / 2)
        w, b = w - 0.1 * (x_k * error[:, None]).mean(axis=0), b - 0.1 * error.mean()
    learner = FusedLearner(least_squares(weights, bias), [weights, bias], tf_keras.optimizers.SGD(0.1))
    losses = learner.learn(x, y)
    assert losses.dtype == np.float32
    np.testing.assert_allclose(losses, expected, rtol=1e-5)  # the loss *before* each step
    np.testing.assert_allclose(weights, w, rtol=1e-5)
    np.testing.assert_allclose(float(bias), b, rtol=1e-5)


def test_fused_clipped_adam_is_the_same_optimizer_called_step_by_step():
    def adam():
        # Clips all but the last steps; the rate falls, so the steps must be counted too.
        rate = tf_keras.optimizers.schedules.PolynomialDecay(0.1, 2 * K, 0.001)
        return tf_keras.optimizers.Adam(rate, global_clipnorm=1.0)

    fused, single = variables(), variables()
    learner = FusedLearner(least_squares(*fused), fused, adam())
    optimizer, loss, norms = adam(), least_squares(*single), []
    for seed in (0, 1):  # Adam's moments live on from call to call
        x, y = problem(seed)
        learner.learn(x, y)
        for x_k, y_k in zip(x, y, strict=True):
            with tf.GradientTape() as tape:
                value = loss(x_k, y_k)
            gradients = tape.gradient(value, single)
            norms.append(float(tf.linalg.global_norm(gradients)))
            optimizer.apply_gradients(zip(gradients, single, strict=True))
    assert max(norms) > 1  # or nothing was clipped
    for ours, theirs in zip(fused, single, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.parametrize(("bad", "name"), [(np.nan, "nan"), (np.inf, "inf")])
def test_a_loss_that_is_no_number_stops_with_its_step(bad, name):
    weights, bias = variables()
    learner = FusedLearner(least_squares(weights, bias), [weights, bias], tf_keras.optimizers.SGD(0.1))
    x, y = problem()
    y[2, 1] = bad
    with pytest.raises(NonFiniteLossError, match=f"^The loss became {name} at gradient step 3 of 7"):
        learner.learn(x, y)


def test_each_shape_is_compiled_once():
    weights, bias = variables()
    traced = []

    def loss(x, y):
        traced.append(x.shape)  # Python runs only while TensorFlow traces
        return least_squares(weights, bias)(x, y)

    learner = FusedLearner(loss, [weights, bias], tf_keras.optimizers.SGD(0.1))
    learner.learn(*problem(0))
    once = len(traced)
    for seed in range(5):
        learner.learn(*problem(seed))
    assert len(traced) == once
    assert learner.learn(*problem(0, k=2)).shape == (2,)
    assert len(traced) == 2 * once
    learner.learn(*problem(1, k=2))
    learner.learn(*problem(1))
    assert len(traced) == 2 * once
