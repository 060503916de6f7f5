"""Distillation through convolutions."""

from typing import Any

import numpy as np
import tf_keras

from edgedqn.agents.networks import q_network
from edgedqn.compression.methods.distillation import fit_output_layer


def image_network(seed: int) -> tf_keras.Model:
    rng = np.random.default_rng(seed)
    network = q_network((6, 5, 2), 3, hidden=(8,), rng=rng, torso=convolution)
    network.set_weights([rng.normal(0, 0.3, array.shape) for array in network.get_weights()])
    return network


def convolution(x: Any, rng: np.random.Generator) -> Any:
    return tf_keras.layers.Flatten()(tf_keras.layers.Conv2D(4, 3, activation="relu")(x))


def test_fit_output_layer_goes_through_convolutions() -> None:
    rng = np.random.default_rng(30)
    network = image_network(31)
    images = rng.uniform(0, 1, (400, 6, 5, 2)).astype(np.float32)
    *trunk, kernel, bias = network.get_weights()
    other = [*trunk, rng.normal(size=kernel.shape).astype(np.float32), bias + 1]
    network.set_weights(other)
    target = network(images).numpy()
    network.set_weights([*trunk, kernel, bias])
    fitted = fit_output_layer(network, np.array_split(images, 3), preferences=target, ridge=1e-12)
    for array, kept in zip(fitted[:-2], trunk, strict=True):
        np.testing.assert_array_equal(array, kept)
    network.set_weights(fitted)
    np.testing.assert_allclose(network(images), target, atol=1e-4 * np.abs(target).max())
