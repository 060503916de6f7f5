"""Pruning and quantization-aware training of convolutions, and making a trained network again."""

from collections.abc import Callable

import numpy as np
import pytest
import tf_keras
from numpy.typing import NDArray

from edgedqn.agents.networks import q_network
from edgedqn.compression.folding import InputScaling, kernels_of
from edgedqn.compression.methods.distillation import Distillation, Distiller
from edgedqn.compression.tfmot.fake_quantization import quantization_aware, settle, start_ranges
from edgedqn.compression.tfmot.wrappers import Schedule, reset_pruning, strip, wrap_for_clustering, wrap_for_pruning

SHORT = Distillation(steps=50, learning_rate=1e-2)


def image_network(zeros: float = 0.0) -> tf_keras.Model:
    """[7, 6, 2] -> 3 by two convolutions, one of which pads, and two dense layers."""
    x = image = tf_keras.Input((7, 6, 2))
    x = tf_keras.layers.Conv2D(8, 3, 2, "same", activation="relu", name="conv_a")(x)
    x = tf_keras.layers.Conv2D(5, 2, activation="relu", name="conv_b")(x)
    x = tf_keras.layers.Flatten(name="flatten")(x)
    x = tf_keras.layers.Dense(9, "relu", name="hidden")(x)
    network = tf_keras.Model(image, tf_keras.layers.Dense(3, name="out")(x))
    rng = np.random.default_rng(12)
    weights = [rng.normal(0, 0.3, array.shape).astype(np.float32) for array in network.get_weights()]
    network.set_weights([np.where(np.abs(a) < np.quantile(np.abs(a), zeros), 0, a) if a.ndim > 1 else a for a in weights])
    return network


def dense_network(zeros: float) -> tf_keras.Model:
    """4-16-2."""
    network = q_network((4,), 2, hidden=(16,), rng=np.random.default_rng(16))
    network.set_weights([np.where(np.abs(a) < np.quantile(np.abs(a), zeros), 0, a) for a in network.get_weights()])
    return network


def images() -> NDArray[np.float32]:
    return np.random.default_rng(13).uniform(0, 1, (300, 7, 6, 2)).astype(np.float32)


def train_on_images(network: tf_keras.Model) -> None:
    preferences = np.random.default_rng(14).uniform(-1, 1, (300, 3)).astype(np.float32)
    Distiller(network, InputScaling.identity(), config=SHORT).train(
        images(), preferences, rng=np.random.default_rng(15), label="test"
    )


def test_convolutions_are_pruned_to_what_was_asked() -> None:
    asked = (0.5, 0.0, 0.8, 0.25)
    network = image_network()
    wrapped = wrap_for_pruning(network, asked, schedule=Schedule(0, 30, 10))
    np.testing.assert_array_equal(wrapped(images()), network(images()))
    reset_pruning(wrapped)
    train_on_images(wrapped)
    stripped = strip(wrapped, network)
    assert [type(layer) for layer in stripped.layers] == [type(layer) for layer in network.layers]
    for kernel, start, sparsity in zip(kernels_of(stripped), kernels_of(network), asked, strict=True):
        assert abs((kernel == 0).mean() - sparsity) <= 0.005 + 0.5 / kernel.size
        assert (kernel != start).any()


def test_the_ranges_of_convolutions_are_those_of_the_activations_seen() -> None:
    network = image_network()
    quantized = quantization_aware(network, (0.0, 1.0))
    start_ranges(quantized, network, inputs=np.split(images(), [1, 120]))
    expected, x = [], images()
    for layer in network.layers[1:]:
        x = layer(x)
        if layer.weights:
            expected.append((min(0.0, float(np.min(x))), max(0.0, float(np.max(x)))))
    found = [
        [float(v.numpy()) for v in quantized.weights if v.name.endswith(f"post_activation_{side}:0")] for side in ("min", "max")
    ]
    np.testing.assert_allclose(np.transpose(found), expected, rtol=1e-5)


@pytest.mark.parametrize("keep_zeros", [False, True])
def test_each_filter_of_a_convolution_has_its_own_scale(keep_zeros: bool) -> None:
    network = image_network(0.5)
    zeros = [kernel == 0 for kernel in kernels_of(network)]
    quantized = quantization_aware(network, (0.0, 1.0), keep_zeros=keep_zeros)
    start_ranges(quantized, network, inputs=[images()])
    train_on_images(quantized)
    sizes = {v.name.rpartition("quant_")[2]: v.shape.num_elements() for v in quantized.weights if "kernel_max" in v.name}
    assert sizes == {"conv_a/kernel_max:0": 8, "conv_b/kernel_max:0": 5, "hidden/kernel_max:0": 1, "out/kernel_max:0": 1}
    learned = [variable.numpy() for variable in quantized.trainable_variables if len(variable.shape) > 1]
    assert [kernel.shape for kernel in learned] == [kernel.shape for kernel in kernels_of(network)]
    for zero, kernel in zip(zeros, learned, strict=True):
        assert 0.4 < zero.mean() < 0.6
        assert (kernel[zero] == 0).all() == keep_zeros


@pytest.mark.parametrize(("keep_zeros", "keep_clusters"), [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("make", [image_network, dense_network])
def test_what_settles_computes_the_same_without_what_kept_it(
    make: Callable[[float], tf_keras.Model], keep_zeros: bool, keep_clusters: bool
) -> None:
    network = make(0.5)
    if keep_clusters:
        network = strip(
            wrap_for_clustering(network, [True] * len(kernels_of(network)), clusters=4, keep_zeros=keep_zeros), network
        )
    quantized = quantization_aware(network, (0.0, 1.0), keep_zeros=keep_zeros, keep_clusters=keep_clusters)
    inputs = images() if make is image_network else images().reshape(-1, 4)
    start_ranges(quantized, network, inputs=[inputs])
    for _ in range(3):  # as in training: other weights and ranges, and what held on to zeros and clusters does its part
        for variable in quantized.trainable_variables:
            variable.assign(variable * np.float32(1.1))
        quantized(inputs, training=True)
    settled = settle(quantized, network, keep_zeros=keep_zeros)
    np.testing.assert_array_equal(settled(inputs, training=False), quantized(inputs, training=False))
    after = [array for array in settled.get_weights() if array.ndim > 1]
    for before, kernel in zip(kernels_of(network), after, strict=True):
        assert not keep_zeros or (kernel[before == 0] == 0).all()
        assert not keep_clusters or len(np.unique(kernel)) <= 4
    # It is an ordinary network: its weights fit one that is made anew.
    again = quantization_aware(network, None)
    again.set_weights(settled.get_weights())
    np.testing.assert_array_equal(again(inputs, training=False), settled(inputs, training=False))
