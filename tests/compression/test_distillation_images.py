"""Distillation through convolutions."""

from typing import Any

import numpy as np
import pytest
import tf_keras

from edgedqn.agents.learner import FusedLearner
from edgedqn.agents.networks import mlp, q_network
from edgedqn.compression import distillation
from edgedqn.compression.distillation import Distillation, distil, fit_output_layer
from edgedqn.compression.folding import InputScaling


def image_network(seed: int) -> tf_keras.Model:
    rng = np.random.default_rng(seed)
    network = q_network((6, 5, 2), 3, (8,), rng, convolution)
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
    fitted = fit_output_layer(network, np.array_split(images, 3), target, ridge=1e-12)
    for array, kept in zip(fitted[:-2], trunk, strict=True):
        np.testing.assert_array_equal(array, kept)
    network.set_weights(fitted)
    np.testing.assert_allclose(network(images), target, atol=1e-4 * np.abs(target).max())


@pytest.mark.parametrize(
    ("make", "compiled"), [(lambda: image_network(35), False), (lambda: mlp((3,), 3, (), np.random.default_rng(0)), True)]
)
def test_convolutions_are_not_compiled_by_xla(monkeypatch: pytest.MonkeyPatch, make: Any, compiled: bool) -> None:
    asked = []

    class Watched(FusedLearner):
        def __init__(self, *arguments: Any, jit_compile: bool = True) -> None:
            asked.append(jit_compile)
            super().__init__(*arguments, jit_compile=jit_compile)

    monkeypatch.setattr(distillation, "FusedLearner", Watched)
    network = make()
    states = np.zeros((4, *network.input_shape[1:]), np.float32)
    distil(
        network,
        InputScaling.identity(),
        states,
        np.zeros((4, 3), np.float32),
        Distillation(1),
        np.random.default_rng(0),
        "test",
    )
    assert asked == [compiled]
