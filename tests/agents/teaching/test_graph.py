"""Networks that are no chain, in NumPy, against Keras."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tf_keras

from edgedqn.agents.architecture import SETTINGS, DuelingMerge, describe, rebuild
from edgedqn.agents.teaching.graph import ACTIVATIONS, NumpyGraph

layers = tf_keras.layers


def randomized(network: Any) -> Any:
    rng = np.random.default_rng(1)
    weights = [rng.normal(0, 1 / np.sqrt(np.prod(w.shape[:-1]) or 1), w.shape) for w in network.get_weights()]
    are_variances = ["variance" in variable.name for variable in network.weights]
    network.set_weights([np.abs(w) + 0.5 if is_variance else w for w, is_variance in zip(weights, are_variances, strict=True)])
    return network


def in_a_row(shape: tuple[int, ...], *parts: Any) -> Any:
    observation = x = tf_keras.Input(shape)
    for part in parts:
        x = part(x)
    return randomized(tf_keras.Model(observation, x))


def residual() -> Any:
    observation = tf_keras.Input((5,))
    x = layers.Dense(6, "relu")(observation)
    y = layers.Dense(6)(layers.LayerNormalization()(x))
    return randomized(tf_keras.Model(observation, layers.Dense(3)(layers.Add()([x, y]))))


def dueling(quantiles: int) -> Any:
    observation = tf_keras.Input((5,))
    x = layers.Activation("tanh")(layers.Dense(8)(observation))
    value, advantages = layers.Dense(max(1, quantiles))(x), layers.Dense(3 * max(1, quantiles))(x)
    return randomized(tf_keras.Model(observation, DuelingMerge(3, quantiles)([value, advantages])))


def of_activation(name: str) -> Any:
    described: list[dict[str, Any]] = [
        {"layer": "InputLayer", "name": "x", "shape": [4]},
        {"layer": "Dense", "name": "a", "units": 6, "activation": "linear", "use_bias": True, "inputs": ["x"]},
        {"layer": "Activation", "name": "b", "activation": name, "inputs": ["a"]},
        {"layer": "Dense", "name": "c", "units": 2, "activation": "linear", "use_bias": False, "inputs": ["b"]},
    ]
    return randomized(rebuild(described))


NETWORKS: dict[str, Callable[[], Any]] = {
    "residual": residual,
    "dueling": lambda: dueling(0),
    "dueling quantiles": lambda: dueling(5),
    "quantiles": lambda: in_a_row((4,), layers.Dense(6, "relu"), layers.Dense(3 * 5), layers.Reshape((3, 5))),
    "leaky": lambda: in_a_row((4,), layers.Dense(6), layers.LeakyReLU(0.2), layers.Dense(6), layers.ELU(0.7), layers.Dense(2)),
    "images": lambda: in_a_row(
        (9, 8, 3), layers.Rescaling([0.5, 1.0, 2.0], [0.0, 1.0, 0.0]), layers.ZeroPadding2D(((1, 2), (0, 1))),
        layers.Conv2D(4, 3, 2, "same", use_bias=False), layers.BatchNormalization(), layers.ReLU(), layers.Flatten(),
        layers.Dropout(0.5), layers.Dense(2),
    ),
    "pooled": lambda: in_a_row(
        (9, 8, 2), layers.MaxPooling2D(3, 2, "same"), layers.AveragePooling2D(2, 2, "same"),
        layers.Conv2D(4, 2, activation="relu"), layers.AveragePooling2D((2, 1), 1), layers.GlobalAveragePooling2D(),
        layers.Dense(2),
    ),
    "channels first": lambda: in_a_row(
        (2, 7, 6), layers.Permute((2, 3, 1)), layers.Conv2D(3, 3), layers.MaxPooling2D(2), layers.Flatten(), layers.Dense(2)
    ),
    **{name: lambda name=name: of_activation(name) for name in ACTIVATIONS},  # type: ignore[misc]
}  # fmt: skip


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_it_computes_what_keras_computes(make: Callable[[], Any]) -> None:
    network = make()
    described = describe(network)
    graph = NumpyGraph(described, network.get_weights())
    x = np.random.default_rng(0).normal(size=(3, 2, *network.input_shape[1:])).astype(np.float32)
    wanted = network(x.reshape(6, *x.shape[2:])).numpy()
    wanted = (wanted.mean(axis=2) if wanted.ndim == 3 else wanted).reshape(3, 2, -1)
    np.testing.assert_allclose(graph.q_values(x), wanted, rtol=1e-4, atol=1e-4)
    assert [graph(observation) for observation in x[0]] == graph.actions(x[0]).tolist() == wanted[0].argmax(axis=1).tolist()
    again = rebuild(described)
    again.set_weights(network.get_weights())
    assert describe(again) == described


def test_it_knows_each_layer() -> None:
    described = [layer for make in NETWORKS.values() for layer in describe(make())]
    assert {layer["layer"] for layer in described} == set(SETTINGS)


def test_only_legal_actions_are_taken() -> None:
    network = in_a_row((5,), layers.Dense(6, "relu"), layers.LayerNormalization(), layers.Dense(3))
    graph = NumpyGraph(describe(network), network.get_weights(), masked=True)
    x = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    x[:, 2:] = np.eye(3)[np.arange(40) % 3]
    assert graph.actions(x).tolist() == (np.arange(40) % 3).tolist()
