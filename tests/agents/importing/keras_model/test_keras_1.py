"""What early versions of Keras wrote is read as what it meant."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.importing.agents import read_model
from edgedqn.agents.importing.keras_model.keras_1 import as_keras_2

RNG = np.random.default_rng(0)


def layer(kind: str, **settings: Any) -> Any:
    return {"class_name": kind, "config": {"trainable": True, **settings}}


def old_dense(name: str, units: int, activation: str, **more: Any) -> Any:
    """As keras/layers/core.py of 1.2.2 writes it."""
    config = {"output_dim": units, "init": "glorot_uniform", "activation": activation, "bias": True, "input_dim": None}
    config |= {"W_regularizer": None, "b_regularizer": None, "activity_regularizer": None}
    return layer("Dense", name=name, W_constraint=None, b_constraint=None, **config, **more)


def write(path: Path, layers: Any, weights: dict[str, dict[str, Any]], version: str) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": layers}).encode()
        file.attrs["keras_version"] = version
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = np.array([entry["config"]["name"].encode() for entry in layers])
        for entry in layers:
            own = group.create_group(entry["config"]["name"])
            named = weights.get(entry["config"]["name"], {})
            own.attrs["weight_names"] = np.array([name.encode() for name in named])
            for name, value in named.items():
                own[name] = value
    return path


def some(*shape: int) -> Any:
    return RNG.normal(size=shape).astype(np.float32)


def test_a_network_of_keras_1(tmp_path: Path) -> None:
    kernels = {"dense_1": some(4, 8), "dense_2": some(8, 2)}
    weights = {name: {f"{name}_W": kernel, f"{name}_b": some(kernel.shape[1])} for name, kernel in kernels.items()}
    layers = [
        old_dense("dense_1", 8, "linear", batch_input_shape=[None, 4], input_dtype="float32"),
        layer("Activation", name="activation_1", activation="relu"),
        layer("Dropout", name="dropout_1", p=0.2),
        old_dense("dense_2", 2, "linear"),
    ]
    model = read_model(write(tmp_path / "old.h5", layers, weights, "1.2.2"))
    x = some(20, 4)
    hidden = np.maximum(x @ kernels["dense_1"] + weights["dense_1"]["dense_1_b"], 0)
    expected = hidden @ kernels["dense_2"] + weights["dense_2"]["dense_2_b"]
    np.testing.assert_allclose(model.network(x), expected, rtol=1e-5, atol=1e-5)


def convolutional(ordering: str) -> tuple[Any, Any]:
    conv = {"nb_filter": 3, "nb_row": 3, "nb_col": 2, "subsample": [2, 1], "border_mode": "valid", "bias": True}
    conv |= {"init": "glorot_uniform", "activation": "relu", "W_regularizer": None, "W_constraint": None}
    layers = [
        layer("Convolution2D", name="c", dim_ordering=ordering, batch_input_shape=[None, 7, 5, 2], **conv),
        layer("Flatten", name="f"),
        old_dense("d", 2, "linear"),
    ]
    weights = {"c": {"c_W": some(3, 2, 2, 3), "c_b": some(3)}, "d": {"d_W": some(36, 2), "d_b": some(2)}}
    return layers, weights


def test_convolutions_of_keras_1(tmp_path: Path) -> None:
    layers, weights = convolutional("tf")
    model = read_model(write(tmp_path / "old.h5", layers, weights, "1.2.2"))
    x = some(2, 7, 5, 2)
    kernel = weights["c"]["c_W"]
    hidden = np.zeros((2, 3, 4, 3), np.float32)
    for i in range(3):
        for j in range(4):
            hidden[:, i, j] = np.tensordot(x[:, 2 * i : 2 * i + 3, j : j + 2], kernel, 3) + weights["c"]["c_b"]
    expected = np.maximum(hidden, 0).reshape(2, -1) @ weights["d"]["d_W"] + weights["d"]["d_b"]
    np.testing.assert_allclose(model.network(x), expected, rtol=1e-4, atol=1e-4)


def test_theanos_order_is_refused(tmp_path: Path) -> None:
    layers, weights = convolutional("th")
    with pytest.raises(InputError, match=r"dim_ordering='tf'\. Got 'th', of Theano"):
        read_model(write(tmp_path / "old.h5", layers, weights, "1.2.2"))


def test_a_list_of_layers_as_keras_2_1_wrote_it(tmp_path: Path) -> None:
    first = {
        "name": "a",
        "units": 3,
        "activation": "relu",
        "use_bias": True,
        "batch_input_shape": [None, 4],
        "dtype": "float32",
    }
    layers = [layer("Dense", **first), layer("Dense", name="b", units=2, activation="linear", use_bias=False)]
    weights = {"a": {"a/kernel:0": some(4, 3), "a/bias:0": some(3)}, "b": {"b/kernel:0": some(3, 2)}}
    model = read_model(write(tmp_path / "old.h5", layers, weights, "2.1.6"))
    x = some(5, 4)
    expected = np.maximum(x @ weights["a"]["a/kernel:0"] + weights["a"]["a/bias:0"], 0) @ weights["b"]["b/kernel:0"]
    np.testing.assert_allclose(model.network(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("entry", [None, 3, {}, {"class_name": "Dense"}, {"class_name": 3, "config": {}}, {"config": []}])
def test_what_is_no_layer_is_left_to_others(entry: Any) -> None:
    assert as_keras_2(entry) == entry
