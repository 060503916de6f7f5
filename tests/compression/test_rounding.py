"""Exact rewrites change no decision; rounding by error beats rounding to the nearest."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tf_keras
from numpy.typing import NDArray

from edgedqn.agents.networks import minatar_torso, q_network
from edgedqn.compression.folding import plain_network
from edgedqn.compression.rounding import (
    _round_weights,
    fake_quantized,
    round_network,
    with_equal_ranges,
    without_common_value,
)

LIMITS = (-1.0, 1.0)


def vectors() -> tf_keras.Model:
    return plain_network(q_network((6,), 4, hidden=(48, 32), rng=np.random.default_rng(0)))


def images() -> tf_keras.Model:
    network = q_network((10, 10, 3), 4, hidden=(32,), rng=np.random.default_rng(1), torso=minatar_torso)
    return plain_network(network)


@pytest.fixture(params=[vectors, images])
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


def batches_of(states: NDArray[np.float32]) -> Any:
    def batches() -> Iterator[NDArray[np.float32]]:
        yield from np.array_split(states, 3)

    return batches


def gaps(outputs: NDArray[np.float32]) -> NDArray[np.float32]:
    return outputs - outputs.max(axis=1, keepdims=True)


@pytest.mark.parametrize("rewrite", [without_common_value, with_equal_ranges])
def test_a_rewrite_keeps_all_gaps(rewrite: Any, network: Any, states: Any) -> None:
    before, weights = network(states).numpy(), network.get_weights()
    changed = rewrite(network, batches_of(states))
    for array, kept in zip(network.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(array, kept)
    network.set_weights(changed)
    np.testing.assert_allclose(gaps(network(states).numpy()), gaps(before), atol=1e-3)


def test_without_what_they_have_in_common_outputs_span_little(network: Any, states: Any) -> None:
    before = np.ptp(network(states).numpy())
    network.set_weights(without_common_value(network, batches_of(states)))
    after = network(states).numpy()
    assert np.abs(after.max(axis=1)).max() < 0.2 * before


def test_what_all_outputs_have_in_common_leaves_zeros_alone(network: Any, states: Any) -> None:
    *rest, kernel, bias = network.get_weights()
    kernel = np.where(np.arange(kernel.size).reshape(kernel.shape) % 5 == 0, 0, kernel)
    network.set_weights([*rest, kernel, bias])
    before = network(states).numpy()
    changed = without_common_value(network, batches_of(states), keep_zeros=True)
    np.testing.assert_array_equal(changed[-2] == 0, kernel == 0)
    network.set_weights(changed)
    after = network(states).numpy()
    np.testing.assert_allclose(gaps(after), gaps(before), atol=1e-3)
    assert np.abs(after.max(axis=1)).max() < np.abs(before.max(axis=1)).max()


def test_hidden_neurons_reach_equally_far(network: Any, states: Any) -> None:
    network.set_weights(with_equal_ranges(network, batches_of(states)))
    layers = [layer for layer in network.layers if layer.weights][:-1]
    for layer in layers:
        activation = tf_keras.Model(network.input, layer.output)(states).numpy()
        reach = activation.reshape(-1, activation.shape[-1]).max(axis=0)
        alive = reach[reach > 0]
        np.testing.assert_allclose(alive, alive.mean(), rtol=1e-3)


def test_a_neuron_that_hardly_ever_fires_keeps_its_weights(network: Any, states: Any) -> None:
    layer = next(layer for layer in network.layers if layer.weights)
    kernel, bias = layer.get_weights()
    factors = np.ones(kernel.shape[-1])
    factors[0] = 1e-5
    layer.set_weights([kernel * factors, bias * factors])
    rest = with_equal_ranges(network, batches_of(states))
    np.testing.assert_array_equal(rest[0][..., 0], layer.get_weights()[0][..., 0])
    assert np.abs(rest[0]).max() < 100 * np.abs(kernel).max()


@pytest.mark.parametrize("per_output", [True, False])
def test_weights_are_multiples_of_their_scales_and_of_int8(per_output: bool, network: Any, states: Any) -> None:
    rounded = round_network(network, batches_of(states), limits=LIMITS, gap=0.1, per_output=per_output)
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
    rounded = round_network(network, batches_of(states), limits=LIMITS, gap=0.1, keep_zeros=True)
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
    found = _round_weights(weights, gram, scales=scales, free=None)
    nearest = np.rint(weights / scales) * scales
    assert np.square(x @ (found - weights)).mean() < 0.2 * np.square(x @ (nearest - weights)).mean()


def test_inputs_that_do_not_go_together_are_rounded_to_the_nearest() -> None:
    weights = np.random.default_rng(6).normal(size=(10, 3))
    scales = np.abs(weights).max(axis=0) / 127
    found = _round_weights(weights, np.diag(np.arange(1.0, 11)), scales=scales, free=None)
    np.testing.assert_allclose(found, np.rint(weights / scales) * scales)


def test_what_saturates_costs_no_decision(network: Any, states: Any) -> None:
    """Bad actions far below the best would take all levels of an int8 output."""
    weights = network.get_weights()
    weights[-1] = weights[-1] + np.array([0, 0, 0, -500], np.float32)  # an action nobody takes
    network.set_weights(weights)
    network.set_weights(without_common_value(network, batches_of(states)))
    wanted = network(states).numpy()
    ordered = np.sort(wanted, axis=1)
    gap = float(np.median(ordered[:, -1] - ordered[:, -2]))
    rounded = round_network(network, batches_of(states), limits=LIMITS, gap=gap)
    low, high = rounded.ranges[-1]
    assert high - low < 100
    chosen = fake_quantized(wanted, (low, high)).numpy().argmax(axis=1)
    assert (chosen == wanted.argmax(axis=1)).mean() > 0.95
