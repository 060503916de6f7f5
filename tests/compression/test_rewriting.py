"""Exact rewrites change no decision."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import tf_keras
from numpy.typing import NDArray

from edgedqn.compression.rewriting import with_balanced_ranges, without_common_value


def batches_of(states: NDArray[np.float32]) -> Any:
    def batches() -> Iterator[NDArray[np.float32]]:
        yield from np.array_split(states, 3)

    return batches


def gaps(outputs: NDArray[np.float32]) -> NDArray[np.float32]:
    return outputs - outputs.max(axis=1, keepdims=True)


@pytest.mark.parametrize(
    "rewrite", [without_common_value, *(partial(with_balanced_ranges, share=share) for share in (0.0, 0.4, 1.0))]
)
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
    network.set_weights(with_balanced_ranges(network, batches_of(states), share=0.0))
    layers = [layer for layer in network.layers if layer.weights][:-1]
    for layer in layers:
        activation = tf_keras.Model(network.input, layer.output)(states).numpy()
        reach = activation.reshape(-1, activation.shape[-1]).max(axis=0)
        alive = reach[reach > 0]
        np.testing.assert_allclose(alive, alive.mean(), rtol=1e-3)


def test_the_larger_the_share_the_more_equal_are_outgoing_weights(network: Any, states: Any) -> None:
    layers = [layer for layer in network.layers if layer.weights]
    kernel = layers[-1].get_weights()[0] * np.geomspace(1, 50, layers[-1].get_weights()[0].shape[0])[:, np.newaxis]
    network.set_weights([*network.get_weights()[:-2], kernel, network.get_weights()[-1]])
    hidden = tf_keras.Model(network.input, layers[-1].input)(states).numpy()
    alive = hidden.max(axis=0) > 0.02 * hidden.max()

    def spread(share: float) -> float:  # of the largest weights without what outputs have in common, between neurons
        last = with_balanced_ranges(network, batches_of(states), share=share)[-2][alive]
        return float(np.log(np.abs(last - last.mean(axis=1, keepdims=True)).max(axis=1)).std())

    assert spread(0.0) > spread(0.4) > spread(1.0)
    assert spread(1.0) < 0.1


def test_a_neuron_that_hardly_ever_fires_keeps_its_weights(network: Any, states: Any) -> None:
    layer = next(layer for layer in network.layers if layer.weights)
    kernel, bias = layer.get_weights()
    factors = np.ones(kernel.shape[-1])
    factors[0] = 1e-5
    layer.set_weights([kernel * factors, bias * factors])
    rest = with_balanced_ranges(network, batches_of(states), share=0.0)
    np.testing.assert_array_equal(rest[0][..., 0], layer.get_weights()[0][..., 0])
    assert np.abs(rest[0]).max() < 100 * np.abs(kernel).max()
