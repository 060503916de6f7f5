"""Targets and errors against NumPy written by hand."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from edgedqn.agents.losses import (
    TemporalDifference,
    half_square,
    huber,
    q_target,
    quantile_huber,
    select,
)

FLOATS = st.floats(-1e3, 1e3, width=32, allow_subnormal=False)  # TensorFlow may flush subnormals to zero
Batch = tuple[NDArray[Any], ...]


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    """r_t, discount_t, q_t, q_t_selector, a_tm1: [B], [B], [B, A], [B, A], [B]."""
    b, a = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    q = arrays(np.float32, (b, a), elements=FLOATS)
    return (
        draw(arrays(np.float32, b, elements=FLOATS)),
        draw(arrays(np.float32, b, elements=st.sampled_from([0.0, 0.5, np.float32(0.99), 1.0]))),
        draw(q),
        draw(q),
        draw(arrays(np.int32, b, elements=st.integers(0, a - 1))),
    )


@settings(max_examples=50, deadline=None)
@given(batches())
def test_the_target_of_one_network_is_its_largest_value(batch: Batch) -> None:
    r_t, discount_t, q_t, _, _ = batch
    expected = [r + d * max(q) for r, d, q in zip(r_t, discount_t, q_t, strict=True)]
    np.testing.assert_allclose(q_target(r_t, discount_t, q_t=q_t, q_t_selector=q_t), expected, rtol=1e-6, atol=1e-4)


@settings(max_examples=50, deadline=None)
@given(batches())
def test_q_target_is_chosen_by_one_network_and_valued_by_the_other(batch: Batch) -> None:
    r_t, discount_t, q_t, q_t_selector, _ = batch
    expected = [
        r + d * q[list(s).index(max(s))]  # the lowest index among equals
        for r, d, q, s in zip(r_t, discount_t, q_t, q_t_selector, strict=True)
    ]
    np.testing.assert_allclose(q_target(r_t, discount_t, q_t=q_t, q_t_selector=q_t_selector), expected, rtol=1e-6, atol=1e-4)


def test_the_two_targets_differ_where_the_networks_disagree() -> None:
    one = np.ones(1, np.float32)
    q_t, q_t_selector = np.array([[1, 5]], np.float32), np.array([[3, 2]], np.float32)
    assert q_target(one, one, q_t=q_t, q_t_selector=q_t_selector).numpy() == [2]
    assert q_target(one, one, q_t=q_t, q_t_selector=q_t).numpy() == [6]


@settings(max_examples=50, deadline=None)
@given(batches())
def test_select_is_indexing_and_its_gradient_reaches_that_entry_alone(batch: Batch) -> None:
    _, _, q, _, actions = batch
    rows = np.arange(len(q))
    variable = tf.Variable(q)
    with tf.GradientTape() as tape:
        chosen = select(variable, actions)
    np.testing.assert_array_equal(chosen, q[rows, actions])
    expected = np.zeros_like(q)
    expected[rows, actions] = 1
    np.testing.assert_array_equal(tape.gradient(chosen, variable), expected)


@settings(max_examples=50, deadline=None)
@given(arrays(np.float32, st.integers(1, 8), elements=st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False)))
def test_huber_and_its_gradient(error: NDArray[Any]) -> None:
    variable = tf.Variable(error)
    with tf.GradientTape() as tape:
        loss = huber(variable)
    expected = [e * e / 2 if abs(e) <= 1 else abs(e) - 0.5 for e in error.tolist()]
    np.testing.assert_allclose(loss, expected, rtol=1e-6, atol=1e-37)
    # "Error clipping": finite however large the error is.
    np.testing.assert_allclose(tape.gradient(loss, variable), np.clip(error, -1, 1), rtol=1e-6)


@pytest.mark.parametrize("error", [-1.0, 1.0, np.nextafter(np.float32(1), np.float32(2))])
def test_huber_has_no_jump_where_it_turns_linear(error: float) -> None:
    assert float(huber(tf.constant(error, tf.float32))) == pytest.approx(0.5)


def test_half_square_and_its_gradient() -> None:
    error = tf.Variable([-3.0, 0.0, 0.5, 1e4])
    with tf.GradientTape() as tape:
        loss = half_square(error)
    np.testing.assert_allclose(loss, [4.5, 0, 0.125, 5e7])
    np.testing.assert_array_equal(tape.gradient(loss, error), error)


@st.composite
def distributions(draw: st.DrawFn) -> Batch:
    """r_t, discount_t, quantiles_t, q_t_selector, quantiles, a_tm1: [B], [B], [B, A, N], [B, A], [B, A, N], [B]."""
    b, a, n = draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.integers(1, 5))
    floats = st.floats(-20, 20, width=32, allow_subnormal=False)
    return (
        draw(arrays(np.float32, b, elements=floats)),
        draw(arrays(np.float32, b, elements=st.sampled_from([0.0, 0.5, np.float32(0.99), 1.0]))),
        draw(arrays(np.float32, (b, a, n), elements=floats)),
        draw(arrays(np.float32, (b, a), elements=floats)),
        draw(arrays(np.float32, (b, a, n), elements=floats)),
        draw(arrays(np.int32, b, elements=st.integers(0, a - 1))),
    )


@settings(max_examples=50, deadline=None)
@given(distributions())
def test_the_target_of_quantiles_is_every_quantile_of_the_action_the_selector_ranks_first(batch: Batch) -> None:
    r_t, discount_t, quantiles_t, q_t_selector, quantiles, actions = batch
    expected = [
        [r + d * q for q in of_actions[list(s).index(max(s))]]
        for r, d, of_actions, s in zip(r_t, discount_t, quantiles_t, q_t_selector, strict=True)
    ]
    got = q_target(r_t[:, np.newaxis], discount_t[:, np.newaxis], q_t=quantiles_t, q_t_selector=q_t_selector)
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-4)
    np.testing.assert_array_equal(select(quantiles, actions), quantiles[np.arange(len(actions)), actions])


@settings(max_examples=50, deadline=None)
@given(distributions())
def test_quantile_huber_is_equation_10_and_its_gradient(batch: Batch) -> None:
    predicted, targets = batch[4][:, 0], batch[2][:, 0]  # [B, N], [B, N]
    b, n = predicted.shape
    variable = tf.Variable(predicted)
    with tf.GradientTape() as tape:
        loss = quantile_huber(variable, targets)
    expected, gradient = np.zeros(b), np.zeros((b, n))
    for k in range(b):
        for i in range(n):
            midpoint = (2 * i + 1) / (2 * n)
            for target in targets[k].tolist():
                error = target - float(predicted[k, i])
                weight = (1 - midpoint) if error < 0 else midpoint
                expected[k] += weight * (error**2 / 2 if abs(error) <= 1 else abs(error) - 0.5) / n
                gradient[k, i] -= weight * min(max(error, -1), 1) / n
    np.testing.assert_allclose(loss, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(tape.gradient(loss, variable), gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("double", [True, False])
def test_a_target_takes_the_largest_legal_value(double: bool) -> None:
    def network(x: Any, training: bool = False) -> Any:
        return tf.tile([[1.0, 5.0, 9.0]], (len(x), 1))

    network.output_shape = (None, 3)  # type: ignore[attr-defined]
    legal = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 1]], np.float32)
    s_t = np.hstack([np.zeros((3, 2), np.float32), legal])
    transitions = (s_t, np.zeros(3, np.int32), np.zeros(3, np.float32), np.ones(3, np.float32), s_t)
    loss = TemporalDifference(n_step=1, discount=1.0, double=double, square=False, masked=True)
    _, errors = loss(network, network, transitions)
    np.testing.assert_allclose(errors, [4, 0, 8])  # of a value of 1 now
