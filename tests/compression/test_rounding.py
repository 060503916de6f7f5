"""Rounding by error beats rounding to the nearest."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tf_keras
from numpy.typing import NDArray

from edgedqn.compression.rewriting import without_common_value
from edgedqn.compression.rounding import _round_weights, round_network
from edgedqn.compression.saturation import fake_quantized

LIMITS = (-1.0, 1.0)


def batches_of(states: NDArray[np.float32]) -> Any:
    def batches() -> Iterator[NDArray[np.float32]]:
        yield from np.array_split(states, 3)

    return batches


@pytest.mark.parametrize("per_output", [True, False])
def test_weights_are_multiples_of_their_scales_and_of_int8(per_output: bool, network: Any, states: Any) -> None:
    rounded = round_network(network, batches_of(states), limits=LIMITS, per_output=per_output)
    layers = [layer for layer in network.layers if layer.weights]
    for layer, kernel, scales in zip(layers, rounded.weights[::2], rounded.scales, strict=True):
        integers = kernel / scales
        np.testing.assert_allclose(integers, np.rint(integers), atol=1e-3)
        assert np.abs(integers).max() <= 127.001
        if not per_output and isinstance(layer, tf_keras.layers.Dense):
            assert len(set(scales.tolist())) == 1
    assert all(low <= 0 < high for low, high in rounded.ranges)


def test_zeros_stay_where_they_are_asked_to(network: Any, states: Any) -> None:
    rng = np.random.default_rng(4)
    thinned = [w * (rng.random(w.shape) < 0.5) if w.ndim > 1 else w for w in network.get_weights()]
    network.set_weights(thinned)
    rounded = round_network(network, batches_of(states), limits=LIMITS, keep_zeros=True)
    for before, after in zip(thinned[::2], rounded.weights[::2], strict=True):
        assert (after[before == 0] == 0).all()
        assert (after[before != 0] != 0).mean() > 0.9


def test_errors_of_the_outputs_are_less_than_with_the_nearest_weights() -> None:
    """Against rounding to the nearest, on inputs that go together."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(500, 8)) @ rng.normal(size=(8, 64)) + 0.05 * rng.normal(size=(500, 64))  # [N, in]
    weights = rng.normal(size=(64, 16))
    scales = np.abs(weights).max(axis=0) / 7  # coarse
    gram = x.T @ x + 1e-2 * np.eye(64)
    found = _round_weights(weights, gram, scales=scales, free=np.ones_like(weights, bool))
    nearest = np.rint(weights / scales) * scales
    assert np.square(x @ (found - weights)).mean() < 0.2 * np.square(x @ (nearest - weights)).mean()


def test_inputs_that_do_not_go_together_are_rounded_to_the_nearest() -> None:
    weights = np.random.default_rng(6).normal(size=(10, 3))
    scales = np.abs(weights).max(axis=0) / 127
    found = _round_weights(weights, np.diag(np.arange(1.0, 11)), scales=scales, free=np.ones_like(weights, bool))
    np.testing.assert_allclose(found, np.rint(weights / scales) * scales)


def test_what_saturates_costs_no_decision(network: Any, states: Any) -> None:
    """Bad actions far below the best would take all levels of an int8 output."""
    weights = network.get_weights()
    weights[-1] = weights[-1] + np.array([0, 0, 0, -500], np.float32)  # an action nobody takes
    network.set_weights(weights)
    network.set_weights(without_common_value(network, batches_of(states)))
    wanted = network(states).numpy()
    rounded = round_network(network, batches_of(states), limits=LIMITS)
    low, high = rounded.ranges[-1]
    assert high - low < 100
    chosen = fake_quantized(wanted, (low, high)).numpy().argmax(axis=1)
    assert (chosen == wanted.argmax(axis=1)).mean() > 0.95


def test_a_linear_hidden_layer_keeps_what_is_negative_and_a_dead_one_raises_nothing() -> None:
    x = np.random.default_rng(7).uniform(-1, 1, (300, 3)).astype(np.float32)
    given = tf_keras.Input((3,))
    linear = tf_keras.layers.Dense(4)(given)
    dead = tf_keras.layers.Dense(4, "relu", bias_initializer=tf_keras.initializers.Constant(-100.0))(given)
    for hidden, fires in ((linear, True), (dead, False)):
        network = tf_keras.Model(given, tf_keras.layers.Dense(2)(hidden))
        rounded = round_network(network, batches_of(x), limits=LIMITS)
        assert all(np.isfinite(array).all() for array in rounded.weights)
        assert (rounded.ranges[0][0] < 0) == fires
