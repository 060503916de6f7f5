"""Layers and weights become a network where they fit; shapes are known before anything is allocated."""

import json
from typing import Any

import numpy as np
import pytest
import tf_keras

from edgedqn.agents.errors import InputError
from edgedqn.agents.importing.building import build

INPUT = {"layer": "InputLayer", "name": "in", "shape": [6, 5, 2]}


def after(layer: str, name: str, *inputs: str, **settings: Any) -> dict[str, Any]:
    return {"layer": layer, "name": name, "inputs": list(inputs), **settings}


def dense(name: str, source: str, units: int) -> dict[str, Any]:
    return after("Dense", name, source, units=units, activation="linear", use_bias=False)


def some(*shape: int) -> Any:
    return np.random.default_rng(0).random(shape, np.float32) + 0.5


EACH: dict[str, Any] = {
    "LeakyReLU": ({"alpha": 0.2}, []),
    "ELU": ({"alpha": 0.7}, []),
    "BatchNormalization": ({"epsilon": 0.01}, [some(2)] * 4),
    "LayerNormalization": ({"epsilon": 0.01}, [some(2)] * 2),
    "MaxPooling2D": ({"pool_size": [2, 3], "strides": [2, 1], "padding": "same"}, []),
    "AveragePooling2D": ({"pool_size": [2, 2], "strides": [2, 2], "padding": "valid"}, []),
    "GlobalAveragePooling2D": ({}, []),
    "ZeroPadding2D": ({"padding": [[1, 0], [2, 1]]}, []),
    "Permute": ({"dims": [3, 1, 2]}, []),
    "Rescaling": ({"scale": [2.0, 3.0], "offset": [1.0, -1.0]}, []),
    "Conv2D": (
        {"filters": 3, "kernel_size": [3, 2], "strides": [2, 1], "padding": "same", "activation": "relu", "use_bias": True},
        [some(3, 2, 2, 3), some(3)],
    ),
}


@pytest.mark.parametrize("kind", EACH)
def test_the_shape_behind_each_layer_is_the_one_that_keras_makes(kind: str) -> None:
    settings, own = EACH[kind]
    given = {**settings, "padding": tuple(map(tuple, settings["padding"]))} if kind == "ZeroPadding2D" else settings
    layer = getattr(tf_keras.layers, kind)(**given)
    size = int(np.prod(layer.compute_output_shape((None, 6, 5, 2))[1:]))
    kernel = some(size, 3)
    layers = [INPUT, after(kind, "each", "in", **settings), after("Flatten", "flat", "each"), dense("q", "flat", 3)]
    network = build(json.loads(json.dumps(layers)), {"each": own, "q": [kernel]})
    observations = some(4, 6, 5, 2)
    hidden = np.asarray(layer(observations))
    if own:
        layer.set_weights(own)
        hidden = np.asarray(layer(observations))
    np.testing.assert_allclose(network(observations), hidden.reshape(4, -1) @ kernel, rtol=1e-4)


def test_branches_keep_their_own_weights() -> None:
    layers = [
        {"layer": "InputLayer", "name": "in", "shape": [4]},
        dense("a", "in", 4),
        after("Add", "sum", "in", "a"),
        dense("deep", "sum", 4),
        dense("v", "sum", 1),
        dense("adv", "deep", 3),
        after("DuelingMerge", "q", "v", "adv", n_actions=3, quantiles=0),
    ]
    rng = np.random.default_rng(0)
    kernels = {"a": (4, 4), "deep": (4, 4), "v": (4, 1), "adv": (4, 3)}
    weights = {name: [rng.normal(size=shape).astype(np.float32)] for name, shape in kernels.items()}
    x = rng.normal(size=(5, 4)).astype(np.float32)
    common = x + x @ weights["a"][0]
    advantage = common @ weights["deep"][0] @ weights["adv"][0]
    expected = common @ weights["v"][0] + advantage - advantage.mean(1, keepdims=True)
    np.testing.assert_allclose(build(layers, weights)(x), expected, rtol=1e-4, atol=1e-5)


def test_an_axis_of_one_before_a_flatten_is_left_out() -> None:
    for shape, wanted in (([1, 4], (None, 4)), ([2, 4], (None, 2, 4, 1))):
        size = int(np.prod(shape))
        layers = [{"layer": "InputLayer", "name": "in", "shape": shape}, after("Flatten", "flat", "in"), dense("q", "flat", 2)]
        assert build(layers, {"q": [some(size, 2)]}).input_shape == wanted


MISFITS = {
    "two shapes that are added": (
        [after("Flatten", "flat", "in"), after("Add", "sum", "in", "flat")],
        "expected two of one shape",
    ),
    "one that is added": ([after("Add", "sum", "in")], "expected two of one shape"),
    "a source that comes later": ([after("Flatten", "flat", "q")], "takes the output of"),
    "two inputs": ([after("Flatten", "flat", "in", "in")], "takes 2 inputs: expected one"),
    "a reshape to more": ([after("Reshape", "r", "in", target_shape=[2**24, 2])], r"makes \(16777216, 2\) of \(6, 5, 2\)"),
    "axes that are not there": ([after("Permute", "p", "in", dims=[2, 1])], r"orders \[2, 1\] of \(6, 5, 2\)"),
    "margins beyond the image": ([after("ZeroPadding2D", "z", "in", padding=[[2**20, 0], [0, 0]])], "expected less than that"),
    "a window beyond the image": (
        [after("MaxPooling2D", "m", "in", pool_size=[99, 2], strides=[1, 1], padding="same")],
        "expected at most twice the image",
    ),
    "a pool of a vector": (
        [after("Flatten", "flat", "in"), after("GlobalAveragePooling2D", "g", "flat")],
        "expected an image of height, width and channels",
    ),
    "scales of other features": (
        [after("Rescaling", "s", "in", scale=[1.0, 2.0, 3.0], offset=0.0)],
        "has 3 values of scale: expected 1 or 2",
    ),
    "an image at the end": ([after("LeakyReLU", "l", "in", alpha=0.1)], "expected one Q-value per action"),
}


@pytest.mark.parametrize(("layers", "reason"), MISFITS.values(), ids=MISFITS)
def test_what_does_not_fit_is_refused(layers: Any, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        build([INPUT, *layers], {})
