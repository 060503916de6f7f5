"""Each kind of layer computes what it computed in Keras 2 and 3, or is refused by its name."""

import importlib
import json
from typing import Any

import numpy as np
import pytest
import tf_keras

from edgedqn.agents.errors import InputError
from edgedqn.agents.importing.building import build
from edgedqn.agents.importing.keras_model.keras_config import translate
from edgedqn.agents.importing.keras_model.keras_layers import LAYERS, read_layer

LIBRARIES = ("tf_keras", "keras")


def imported(model: Any) -> Any:
    found = translate(json.loads(model.to_json()))
    weights = {
        layer.description["name"]: layer.all_weights(model.get_layer(layer.description["name"]).get_weights())
        for layer in found
        if layer.weights
    }
    return build([layer.description for layer in found], weights)


@pytest.mark.parametrize("name", ["image", "vector", "normalized"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_layers_compute_what_they_computed(library: str, name: str, make: Any, observe: Any, assert_same: Any) -> None:
    model = make(importlib.import_module(library), name)
    assert_same(imported(model), model, observe(name))


@pytest.mark.parametrize(
    "activation", ["relu", "relu6", "tanh", "sigmoid", "softplus", "silu", "gelu", "elu", "selu", "leaky_relu"]
)
@pytest.mark.parametrize("library", LIBRARIES)
def test_so_do_activations(library: str, activation: str, assert_same: Any) -> None:
    keras = importlib.import_module(library)
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(9, activation, name="d"), keras.layers.Activation(activation)]
    )
    assert_same(imported(model), model, np.random.default_rng(0).normal(scale=4, size=(50, 4)).astype(np.float32))


def entry(kind: str, **config: Any) -> Any:
    made = getattr(tf_keras.layers, kind)
    required: Any = {"Dense": {"units": 3}, "GaussianNoise": {"stddev": 0.1}}.get(kind, {})
    return {"class_name": kind, "config": {**made(name="odd", **required).get_config(), **config}}


REFUSED: dict[str, tuple[Any, str]] = {
    "a Lambda": (
        {"class_name": "Lambda", "config": {"name": "odd"}},
        "is a Lambda, which is code and is not run. Put layers of",
    ),
    "another layer": (entry("PReLU"), "is a 'PReLU' of None: expected Keras' own InputLayer, .*, Add, Subtract"),
    "no layer of Keras": ({"class_name": "DuelingMerge", "config": {"name": "odd"}}, "is a 'DuelingMerge' of None"),
    "a noise of the user's own": (entry("GaussianNoise") | {"registered_name": "my>GaussianNoise"}, "of 'my>GaussianNoise'"),
    "a ReLU with another cap": (entry("ReLU", max_value=5.0), "expected max_value=None. Got max_value=5.0"),
    "a cap and a slope": (entry("ReLU", max_value=6.0, negative_slope=0.1), "expected negative_slope=0.0"),
    "renormalization": (entry("BatchNormalization", renorm=True), "expected renorm=False"),
    "samples of their own": (entry("BatchNormalization", mode=1), "expected mode=0"),
    "a root mean square": (entry("LayerNormalization", rms_scaling=True), "expected rms_scaling=False"),
    "an axis that is none": (entry("LayerNormalization", axis="last"), "cannot have axis='last'"),
    "a centre that is none": (entry("LayerNormalization", center=3), "cannot have center=3"),
    "an average that keeps its axes": (entry("GlobalAveragePooling2D", keepdims=True), "expected keepdims=False"),
    "windows of channels first": (entry("MaxPooling2D", data_format="channels_first"), "expected data_format=channels_last"),
}


@pytest.mark.parametrize(("layer", "reason"), REFUSED.values(), ids=REFUSED)
def test_others_are_refused(layer: Any, reason: str) -> None:
    with pytest.raises(InputError, match=f"^layer 'odd' .*{reason}"):
        read_layer(layer)


def test_the_weights_that_files_hold() -> None:
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    assert read_layer(entry("BatchNormalization")).weights == names
    assert read_layer(entry("BatchNormalization", scale=False)).weights == names[1:]
    assert read_layer(entry("LayerNormalization", center=False)).weights == ("gamma",)
    assert read_layer(entry("Dense", use_bias=False)).weights == ("kernel",)


def test_what_matters_in_training_only_is_left_out() -> None:
    for kind in ("GaussianNoise", "GaussianDropout", "AlphaDropout", "SpatialDropout2D"):
        config = getattr(tf_keras.layers, kind)(0.1, name="odd").get_config()
        assert (read_layer({"class_name": kind, "config": config}).description or {})["layer"] == "Dropout"
    assert (read_layer(entry("ActivityRegularization")).description or {})["layer"] == "Dropout"


def test_every_layer_that_a_message_lists_is_one_of_keras() -> None:
    assert all(hasattr(tf_keras.layers, kind) for kind in LAYERS)
