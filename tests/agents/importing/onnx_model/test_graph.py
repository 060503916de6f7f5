"""Nodes become layers in their order; what is not there or not understood is named."""

from typing import Any

import numpy as np
import pytest

from edgedqn.agents.errors import InputError

W = np.arange(8, dtype=np.float32).reshape(4, 2)


def test_a_constant_in_a_node_and_a_shape(node: Any, computed: Any) -> None:
    x = np.random.default_rng(0).normal(size=(3, 2, 2)).astype(np.float32)
    nodes = [
        node("Constant", "", "w", value=W),
        node("Shape", "x", "s", start=0, end=1),
        node("Constant", "", "n", value_ints=[-1]),
        node("Concat", "s n", "both", axis=0),
        node("Reshape", "x both", "flat"),
        node("MatMul", "flat w", "y"),
    ]
    np.testing.assert_allclose(computed(x[..., None], (2, 2), *nodes), x.reshape(3, 4) @ W, rtol=1e-5)


def test_the_largest_of_the_values_is_what_it_is_the_largest_of(node: Any, computed: Any) -> None:
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    got = computed(x, (4,), node("MatMul", "x w", "q"), node("ArgMax", "q", "y", axis=1), w=W)
    np.testing.assert_allclose(got, x @ W, rtol=1e-5)


def test_images_that_are_turned_at_once_come_channels_last(node: Any, translated: Any) -> None:
    kernel = np.ones((3, 2, 2, 2), np.float32)
    turned = [node("Transpose", "x", "t", perm=[0, 3, 1, 2]), node("Conv", "t k", "y")]
    layers, _ = translated((5, 4, 2), *turned, k=kernel, head=36)
    assert layers[0]["shape"] == [5, 4, 2] and [layer["layer"] for layer in layers] == [
        "InputLayer",
        "Conv2D",
        "Flatten",
        "Dense",
    ]
    layers, _ = translated((2, 5, 4), node("Conv", "x k", "y"), k=kernel, head=36)
    assert layers[0]["shape"] == [5, 4, 2]


REFUSED: dict[str, Any] = {
    "an unknown operator": ([("Mish", "x", "y")], "the operator 'Mish' is not understood: expected Add, ArgMax"),
    "one of constants": ([("Expand", "w w", "y")], "'Expand' is not understood of constants"),
    "a source that is not there": ([("Relu", "z", "y")], r"'Relu' takes \['z'\], which no node before it gives"),
    "no output": ([("Relu", "x", "z")], "its output 'y' is none of a network"),
    "a constant as the output": ([("Identity", "w", "y")], "its output 'y' is none of a network"),
    "half of a dueling head": ([("ReduceMean", "x", "y")], r"ReduceMean is not understood with axes=\[0, 1\]"),
    "the same name twice": ([("Relu", "x", "y"), ("Relu", "x", "y")], "two nodes give 'y'"),
    "a constant without a value": ([("Constant", "", "c"), ("Add", "x c", "y")], "a Constant has no value"),
    "the shape of what is no layer": ([("ArgMax", "x", "a"), ("Shape", "a", "y")], "operator Shape is understood of"),
}


@pytest.mark.parametrize(("nodes", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_understood_is_refused(node: Any, translated: Any, nodes: Any, reason: str) -> None:
    axis = {"ArgMax": {"axis": 1}}
    made = [node(*each, **axis.get(each[0], {})) for each in nodes]
    with pytest.raises(InputError, match=reason):
        translated((4,), *made, w=W)


def test_settings_that_are_not_known_are_refused(node: Any, translated: Any) -> None:
    for operator, name in (("Relu", "surprise"), ("BatchNormalization", "spatial"), ("Add", "broadcast")):
        with pytest.raises(InputError, match=rf"the operator {operator} is not understood with \['{name}'\]"):
            translated((4,), node(operator, "x", "y", **{name: 1}))


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div", "Sigmoid", "MatMul"])
def test_what_is_computed_of_integers_is_refused(node: Any, translated: Any, operator: str) -> None:
    """In ONNX 200 * 2 of bytes is 144, and 7 / 2 of integers 3."""
    count = node(operator, "x" if operator == "Sigmoid" else "x c", "a")
    nodes = [node("Identity", "x", "i"), count, node("Cast", "a", "f", to=1), node("MatMul", "f w", "y")]
    with pytest.raises(InputError, match=f"{operator} is not understood of integers: expected a Cast to float before it"):
        translated((4,), *nodes, c=np.full(4, 2, np.uint8), w=W, dtype="uint8")


def test_integers_are_moved_and_cast(node: Any, computed: Any) -> None:
    x = np.array([[-3, 4, 5, -128]], np.float32)
    nodes = [node("Relu", "x", "r"), node("Cast", "r", "f", to=1), node("Mul", "f c", "m"), node("MatMul", "m w", "y")]
    got = computed(x, (4,), *nodes, c=np.float32(2), w=W, dtype="uint8")
    np.testing.assert_allclose(got, np.maximum(x, 0) * 2 @ W)


BATCHES: dict[str, Any] = {
    "a factor": [("Cast", "b", "f", {"to": 1}), ("Mul", "x f", "y", {})],
    "a sum": [("Add", "b one", "y", {})],
    "a short integer": [("Cast", "b", "y", {"to": 6})],
    "a piece": [("Slice", "w zero b", "y", {})],
    "one of several": [("Gather", "w b", "y", {})],
}


@pytest.mark.parametrize("name", BATCHES)
def test_the_size_of_the_batch_is_no_number(node: Any, translated: Any, name: str) -> None:
    size = [node("Shape", "x", "s"), node("Gather", "s zero", "b")]
    nodes = [node(operator, inputs, output, **settings) for operator, inputs, output, settings in BATCHES[name]]
    with pytest.raises(InputError, match="counts with the size of the batch"):
        translated((4,), *size, *nodes, w=W, zero=np.array(0), one=np.array(1))


MALFORMED = {
    "a limit of two numbers": [("Clip", "x two", "y")],
    "one summand": [("Add", "x", "y")],
    "three factors": [("Mul", "x x x", "y")],
    "no axis": [("MatMul", "x w", "q"), ("ReduceMean", "q nan", "y")],
    "no size": [("Reshape", "x nan", "y")],
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_node_that_cannot_be_is_named(node: Any, translated: Any, name: str) -> None:
    constants = {"two": np.zeros(2, np.float32), "nan": np.array([np.nan], np.float32), "w": W}
    with pytest.raises(InputError, match=f"the node '{MALFORMED[name][-1][0]}' that gives 'y' has inputs or settings"):
        translated((4,), *(node(*each) for each in MALFORMED[name]), **constants)


def test_an_image_is_no_output(node: Any, translated: Any) -> None:
    with pytest.raises(InputError, match=r"its output is \(2, 2\): expected one Q-value per action"):
        translated((2, 2), node("Relu", "x", "y"))


def test_vectors_out_of_order_are_no_output(node: Any, translated: Any) -> None:
    with pytest.raises(InputError, match="none of a network"):
        translated((2, 3, 4), node("MaxPool", "x", "p", kernel_shape=[1, 1]), node("Flatten", "p", "y"))
