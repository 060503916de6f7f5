"""Keras' weights without their layers, in layers that are told."""

import importlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tf_keras

from edgedqn.agents.errors import InputError
from edgedqn.agents.importing.agents import ModelOptions, read_model
from edgedqn.agents.importing.building import build
from edgedqn.agents.importing.keras_model.keras_weights import read_keras_weights

LIBRARIES = {"keras-2": "tf_keras", "keras-3": "keras"}
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")


def model_of(keras: Any, activation: str = "relu", depth: int = 2) -> Any:
    hidden = [keras.layers.Dense(8, activation) for _ in range(depth)]
    model = keras.Sequential([keras.Input((4,)), *hidden, keras.layers.Dense(2)])
    rng = np.random.default_rng(3)
    model.set_weights([rng.normal(size=w.shape).astype(np.float32) for w in model.get_weights()])
    return model


def saved(model: Any, path: Path) -> Path:
    if path.name.endswith(".weights.h5") or "tf_keras" in type(model).__module__:
        model.save_weights(path)
    else:
        importlib.import_module("keras.src.legacy.saving.legacy_h5_format").save_weights_to_hdf5_group(
            importlib.import_module("h5py").File(path, "w"), model
        )
    return path


X = np.random.default_rng(1).normal(size=(30, 4)).astype(np.float32)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", ["w.h5", "w.weights.h5"])
def test_weights_in_a_chain_that_is_told(tmp_path: Path, library: str, name: str) -> None:
    if (library, name) == ("keras-3", "w.h5"):
        pytest.skip("Keras 3 writes .weights.h5 alone")
    keras = importlib.import_module(LIBRARIES[library])
    model = model_of(keras, depth=12)  # of which the tenth sorts before the second
    path = saved(model, tmp_path / name)
    expected = np.asarray(model(X))
    (tmp_path / "model.json").write_text(model.to_json())
    options: Any
    for options in ({"hidden": (8,) * 12}, {"model_json": tmp_path / "model.json"}):
        found = read_model(path, ModelOptions(**options))
        np.testing.assert_allclose(found.network(X), expected, rtol=0, atol=1e-5 * max(1, np.abs(expected).max()))
        assert ("a relu behind each hidden layer" in found.assumed) == ("hidden" in options)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", ["w.h5", "w.weights.h5"])
@pytest.mark.parametrize("network", ["image", "vector"])
def test_weights_of_other_layers(
    tmp_path: Path, library: str, name: str, network: str, make: Any, observe: Any, assert_same: Any
) -> None:
    if (library, name) == ("keras-3", "w.h5"):
        pytest.skip("Keras 3 writes .weights.h5 alone")
    model = make(importlib.import_module(LIBRARIES[library]), network)
    (tmp_path / "model.json").write_text(model.to_json())
    got = read_model(saved(model, tmp_path / name), ModelOptions(model_json=tmp_path / "model.json"))
    assert_same(got.network, model, observe(network))


def test_another_activation(tmp_path: Path) -> None:
    model = model_of(tf_keras, "tanh")
    path = saved(model, tmp_path / "w.h5")
    layers, assumed = read_keras_weights(path.read_bytes(), hidden=(8, 8), activation="tanh")
    assert assumed[0] == "a tanh behind each hidden layer"
    network = build(*layers)
    np.testing.assert_allclose(network(X), model(X), rtol=1e-4, atol=1e-5)


class Subclassed(tf_keras.Model):  # type: ignore[misc]
    """Whose layers' names are not in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = (tf_keras.layers.Dense(width, "relu") for width in (8, 8, 8))
        self.z = tf_keras.layers.Dense(2)

    def call(self, x: Any) -> Any:
        return self.z(self.three(self.two(self.one(x))))


def test_an_order_that_is_assumed_is_told(tmp_path: Path) -> None:
    model = Subclassed()
    model(X)
    model.save_weights(tmp_path / "w.weights.h5")
    _, assumed = read_keras_weights((tmp_path / "w.weights.h5").read_bytes(), hidden=(8, 8, 8))
    assert re.search(r"in this order: (\S+/)?one, (\S+/)?three, (\S+/)?two, (\S+/)?z; .* swapped: (\S+/)?three, ", assumed[1])


def test_other_layers_are_refused(tmp_path: Path) -> None:
    content = saved(model_of(tf_keras), tmp_path / "w.h5").read_bytes()
    with pytest.raises(InputError, match=r"hidden widths of \(8, 9\)\. Got kernels of \[4, 8\], \[8, 8\], \[8, 2\]"):
        read_keras_weights(content, hidden=(8, 9))
    with pytest.raises(InputError, match=r"expected hidden= or the model's JSON beside weights alone"):
        read_keras_weights(content)
    with pytest.raises(InputError, match=r"expected the weights of 4 layers\. Got those of 3"):
        read_keras_weights(content, model_json=model_of(tf_keras, depth=3).to_json())
    with pytest.raises(InputError, match="the model's JSON in it is no JSON"):
        read_keras_weights(content, model_json="{")
    with pytest.raises(InputError, match="weights alone need their layers, hidden="):
        read_model(tmp_path / "w.h5")
