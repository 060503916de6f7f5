"""Layers that lead nowhere are left out; biases and ReLUs move into the layer before them, where nobody else reads that."""

from typing import Any

import numpy as np

from edgedqn.agents.importing.onnx_model.tidying import tidy


def layer(kind: str, name: str, *inputs: str, **settings: Any) -> Any:
    return {"layer": kind, "name": name, "inputs": list(inputs), **settings}


INPUT = {"layer": "InputLayer", "name": "in", "shape": [4]}
DENSE = {"units": 2, "activation": "linear", "use_bias": False}
RELU = {"activation": "relu"}


def test_a_bias_and_a_relu_move_into_the_kernel() -> None:
    layers = [
        INPUT,
        layer("Dense", "d", "in", **DENSE),
        layer("Rescaling", "b", "d", scale=1.0, offset=[1.0, 2.0]),
        layer("Activation", "r", "b", **RELU),
        layer("Dense", "unused", "r", **DENSE),
        layer("Dense", "q", "r", **DENSE),
    ]
    kernel = np.ones((4, 2), np.float32)
    found, weights = tidy((layers, {"d": [kernel], "q": [kernel], "unused": [kernel]}), "q")
    assert [each["name"] for each in found] == ["in", "d", "q_values"]
    assert found[1]["activation"] == "relu" and found[1]["use_bias"] and found[2]["inputs"] == ["d"]
    np.testing.assert_array_equal(weights["d"][1], [1, 2])
    assert set(weights) == {"d", "q_values"}


def test_what_somebody_else_reads_stays() -> None:
    layers = [
        INPUT,
        layer("Dense", "d", "in", **DENSE),
        layer("Activation", "r", "d", **RELU),
        layer("Add", "q", "d", "r"),
    ]
    found, _ = tidy((layers, {"d": [np.ones((4, 2), np.float32)]}), "q")
    assert [each["layer"] for each in found] == ["InputLayer", "Dense", "Activation", "Add"]
    assert found[-1]["inputs"] == ["d", "r"]


def test_a_scale_and_a_second_activation_stay() -> None:
    layers = [
        INPUT,
        layer("Dense", "d", "in", **{**DENSE, "activation": "relu"}),
        layer("Rescaling", "s", "d", scale=2.0, offset=0.0),
        layer("Activation", "r", "s", **RELU),
    ]
    found, _ = tidy((layers, {"d": [np.ones((4, 2), np.float32)]}), "r")
    assert [each["layer"] for each in found] == ["InputLayer", "Dense", "Rescaling", "Activation"]
