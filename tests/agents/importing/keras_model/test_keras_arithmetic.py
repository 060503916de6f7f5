"""Sums of layers are residuals or dueling heads; what is neither is refused."""

import importlib
import json
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from edgedqn.agents.errors import InputError
from edgedqn.agents.importing.building import build
from edgedqn.agents.importing.keras_model.keras_arithmetic import Centred, Mean, Sum, Written, combine, operation_of
from edgedqn.agents.importing.keras_model.keras_config import translate

LIBRARIES = ("tf_keras", "keras")
WIDTHS = {"value": 1, "actions": 3, "image": None, "x": 8}


@pytest.mark.parametrize("way", [0, 1, 2])
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_dueling_head(library: str, way: int, make: Any, observe: Any, assert_same: Any) -> None:
    model = make(importlib.import_module(library), "dueling", way=way)
    layers = translate(json.loads(model.to_json()))
    assert [layer.description["layer"] for layer in layers].count("DuelingMerge") == 1
    weights = {
        layer.description["name"]: model.get_layer(layer.description["name"]).get_weights() for layer in layers if layer.weights
    }
    assert_same(build([layer.description for layer in layers], weights), model, observe("dueling"))


def test_functions_and_numbers(assert_same: Any) -> None:
    keras: Any = importlib.import_module("keras")
    for library, of in ((tf_keras, tf), (keras, keras.ops)):
        x = observation = library.Input((4,))
        x = of.sigmoid(of.tanh(of.multiply(2.0, 1 - of.cast(x, "float32") / 4) + 0.5))
        model = library.Model(observation, of.nn.relu(x - 0.6) * 3)
        layers = [layer.description for layer in translate(json.loads(model.to_json()))]
        assert_same(build(layers, {}), model, np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32))


FOUND: list[tuple[str, list[Any], Any]] = [
    ("add", ["x", "x"], Written("Add", ("x", "x"), {})),
    ("add", ["image", "x"], Written("Add", ("image", "x"), {})),
    ("add", [2.0, "x"], Written("Rescaling", ("x",), {"scale": 1.0, "offset": 2.0})),
    ("subtract", ["x", 2.0], Written("Rescaling", ("x",), {"scale": 1.0, "offset": -2.0})),
    ("subtract", [2.0, "x"], Written("Rescaling", ("x",), {"scale": -1.0, "offset": 2.0})),
    ("divide", ["x", 4.0], Written("Rescaling", ("x",), {"scale": 0.25, "offset": 0.0})),
    ("add", ["actions", "value"], Sum("value", "actions")),
    ("subtract", ["actions", Mean("actions")], Centred("actions")),
    (
        "subtract",
        [Sum("value", "actions"), Mean("actions")],
        Written("DuelingMerge", ("value", "actions"), {"n_actions": 3, "quantiles": 0}),
    ),
]


@pytest.mark.parametrize(("what", "operands", "expected"), FOUND)
def test_pieces(what: str, operands: Any, expected: Any) -> None:
    assert combine(what, operands, options={}, widths=WIDTHS) == expected


REFUSED: list[tuple[str, list[Any], Any, str]] = [
    ("subtract", ["x", "x"], {}, "expected a sum of two layers"),
    ("subtract", ["x", Mean("actions")], {}, "expected a sum of two layers"),
    ("subtract", [Sum("value", "x"), Mean("actions")], {}, "expected a sum of two layers"),
    ("multiply", ["x", "x"], {}, "expected a sum of two layers"),
    ("divide", ["x", 0.0], {}, "expected a sum of two layers"),
    ("divide", [1.0, "x"], {}, "expected a sum of two layers"),
    ("add", ["x", Centred("actions")], {}, "expected one value of a state"),
    ("add", [Mean("x"), "x"], {}, "expected a sum of two layers"),
    ("add", ["x"], {}, "expected a sum of two layers"),
    ("mean", ["actions"], {"axis": 1}, "expected a sum of two layers"),
    ("mean", ["actions"], {"axis": 0, "keepdims": True}, "expected a sum of two layers"),
    ("mean", ["image"], {"axis": 1, "keepdims": True}, "expected a sum of two layers"),
    ("cast", ["x"], {"dtype": "float16"}, "expected a sum of two layers"),
    ("relu", ["x"], {"alpha": 0.1}, "expected no options. Got {'alpha': 0.1}"),
]


@pytest.mark.parametrize(("what", "operands", "options", "reason"), REFUSED)
def test_anything_else_is_refused(what: str, operands: Any, options: Any, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        combine(what, operands, options=options, widths=WIDTHS)


def test_a_model_that_ends_in_a_piece_or_goes_on_from_one_is_refused() -> None:
    x = tf_keras.Input((4,))
    centred = x - tf.reduce_mean(x, axis=1, keepdims=True)
    with pytest.raises(InputError, match="its output is a part of a dueling head"):
        translate(json.loads(tf_keras.Model(x, centred).to_json()))
    with pytest.raises(InputError, match="takes a part of a dueling head"):
        translate(json.loads(tf_keras.Model(x, tf_keras.layers.Dense(2)(centred)).to_json()))


def test_names() -> None:
    function = {"class_name": "TFOpLambda", "config": {"name": "odd", "function": "io.write_file"}}
    with pytest.raises(InputError, match=r"layer 'odd' is 'io.write_file' of TensorFlow: expected __operators__.add, "):
        operation_of(function)
    assert operation_of({"class_name": "Add", "module": "keras.src.ops.numpy", "config": {}}) == "add"
    others: list[Any] = [
        {"class_name": "Mean", "module": "mine"},
        {"class_name": ["Mean"]},
        {"class_name": "Dense"},
        {"class_name": "Subtract", "registered_name": "my>Subtract"},
    ]
    assert [operation_of({**other, "config": {}}) for other in others] == [None] * 4
