"""Sums and products: scalings, residuals, dueling heads, swish and GELU; everything else is refused."""

import math
from typing import Any

import numpy as np
import pytest

from edgedqn.agents.errors import InputError

X = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
C = np.array([1.0, 2, -3, 4], np.float32)
W = np.random.default_rng(1).normal(size=(4, 4)).astype(np.float32)
V = W[:, :1]


SCALINGS: dict[str, Any] = {
    "x + c": (("Add", "x c"), X + C),
    "c + x": (("Add", "c x"), X + C),
    "x - c": (("Sub", "x c"), X - C),
    "c - x": (("Sub", "c x"), C - X),
    "x * c": (("Mul", "x c"), X * C),
    "x / c": (("Div", "x c"), X / C),
    "x / 2": (("Div", "x two"), X / 2),
}


@pytest.mark.parametrize("name", SCALINGS)
def test_constants_scale_each_feature(node: Any, computed: Any, name: str) -> None:
    (operator, inputs), expected = SCALINGS[name]
    got = computed(X, (4,), node(operator, inputs, "s"), node("MatMul", "s w", "y"), c=C, two=np.float32(2), w=W)
    np.testing.assert_allclose(got, expected @ W, rtol=1e-4, atol=1e-4)


def test_constants_scale_each_channel_and_each_number_behind_a_flatten(node: Any, computed: Any) -> None:
    images = np.random.default_rng(0).normal(size=(3, 2, 2, 2)).astype(np.float32)  # [B, C, H, W]
    channels, numbers = np.array([2, 3], np.float32).reshape(1, 2, 1, 1), np.arange(8, dtype=np.float32)
    nodes = [
        node("MaxPool", "x", "p", kernel_shape=[1, 1]),
        node("Mul", "p c", "s"),
        node("Flatten", "s", "f"),
        node("Add", "f n", "y"),
    ]
    got = computed(images.transpose(0, 2, 3, 1), (2, 2, 2), *nodes, c=channels, n=numbers, head=8)
    expected = ((images * channels).reshape(3, 8) + numbers) @ np.linspace(-1, 1, 16).reshape(8, 2)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("sum_first", "swapped"), [(True, False), (True, True), (False, False), (False, True)])
def test_dueling_heads(node: Any, computed: Any, sum_first: bool, swapped: bool) -> None:
    streams = [node("MatMul", "x v", "value"), node("MatMul", "x w", "adv"), node("ReduceMean", "adv a", "mean")]

    def pair(*names: str) -> str:
        return " ".join(reversed(names) if swapped else names)

    if sum_first:
        ends = [node("Add", pair("value", "adv"), "sum"), node("Sub", "sum mean", "y")]
    else:
        ends = [node("Sub", "adv mean", "centred"), node("Add", pair("value", "centred"), "y")]
    got = computed(X, (4,), *streams, *ends, v=V, w=W, a=[1])
    advantage = X @ W
    np.testing.assert_allclose(got, X @ V + advantage - advantage.mean(1, keepdims=True), rtol=1e-4, atol=1e-5)


def test_a_mean_over_the_batch_is_one_of_a_single_observation_alone(node: Any, computed: Any, translated: Any) -> None:
    nodes = [
        node("MatMul", "x v", "value"),
        node("MatMul", "x w", "adv"),
        node("ReduceMean", "adv", "mean", keepdims=0),
        node("Add", "value adv", "sum"),
        node("Sub", "sum mean", "y"),
    ]
    got = computed(X[:1], (4,), *nodes, v=V, w=W, is_single=True)
    advantage = X[:1] @ W
    np.testing.assert_allclose(got, X[:1] @ V + advantage - advantage.mean(), rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match="ReduceMean is not understood with axes"):
        translated((4,), *nodes, v=V, w=W)


def test_quantiles_are_averaged_by_the_head(node: Any, computed: Any) -> None:
    nodes = [node("Reshape", "x s", "r"), node("ReduceMean", "r a", "y", keepdims=0)]
    got = computed(X, (4,), *nodes, s=[-1, 2, 2], a=[2])
    np.testing.assert_allclose(got.mean(2), X.reshape(-1, 2, 2).mean(2), rtol=1e-5)


@pytest.mark.parametrize("gate_first", [True, False])
def test_swish(node: Any, computed: Any, gate_first: bool) -> None:
    product = node("Mul", "g x" if gate_first else "x g", "s")
    got = computed(X, (4,), node("Sigmoid", "x", "g"), product, node("MatMul", "s w", "y"), w=W)
    np.testing.assert_allclose(got, (X / (1 + np.exp(-X))) @ W, rtol=1e-4, atol=1e-5)


ORDERS = {
    "half of the product": [("Mul", "x e1", "p"), ("Mul", "p half", "g")],
    "half of x": [("Mul", "x half", "h"), ("Mul", "h e1", "g")],
    "half of the bell": [("Mul", "e1 half", "h"), ("Mul", "h x", "g")],
}


@pytest.mark.parametrize("name", ORDERS)
def test_gelu_in_pieces(node: Any, computed: Any, name: str) -> None:
    nodes = [node("Div", "x root", "d"), node("Erf", "d", "e"), node("Add", "e one", "e1")]
    nodes += [node(*each) for each in ORDERS[name]]
    constants = {"root": np.float32(math.sqrt(2)), "one": np.float32(1), "half": np.float32(0.5), "w": W}
    got = computed(X, (4,), *nodes, node("MatMul", "g w", "y"), **constants)
    gelu = X * 0.5 * (1 + np.vectorize(math.erf)(X / math.sqrt(2)))
    np.testing.assert_allclose(got, gelu @ W, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("limit", [20.0, 1.0])
def test_softplus_in_pieces(node: Any, computed: Any, limit: float) -> None:
    nodes = [
        node("Mul", "x one", "scaled"),
        node("Softplus", "scaled", "s"),
        node("Greater", "scaled limit", "beyond"),
        node("Where", "beyond x s", "chosen"),
        node("MatMul", "chosen w", "y"),
    ]
    constants = {"one": np.float32(1), "limit": np.float32(limit), "w": W}
    if limit < 15:  # there they differ
        with pytest.raises(InputError, match="Where is not understood with anything but the pieces of a softplus"):
            computed(X, (4,), *nodes, **constants)
    else:
        np.testing.assert_allclose(computed(X, (4,), *nodes, **constants), np.log1p(np.exp(X)) @ W, rtol=1e-4, atol=1e-5)


def test_a_residual_of_flattened_images(node: Any, computed: Any) -> None:
    images = np.random.default_rng(0).normal(size=(3, 2, 2, 2)).astype(np.float32)
    pooled = node("MaxPool", "x", "p", kernel_shape=[1, 1])
    nodes = [pooled, node("Flatten", "p", "f"), node("Relu", "f", "r"), node("Add", "f r", "y")]
    flat = images.reshape(3, 8)
    expected = (flat + np.maximum(flat, 0)) @ np.linspace(-1, 1, 16).reshape(8, 2)
    got = computed(images.transpose(0, 2, 3, 1), (2, 2, 2), *nodes, head=8)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


GATES = {  # of a square image, behind which comes what turns it
    "x * sigmoid(x).T": [("Sigmoid", "c", "s"), ("Transpose", "s", "t"), ("Mul", "c t", "y")],
    "a softplus that is turned": [
        ("Softplus", "c", "s"),
        ("Transpose", "s", "t"),
        ("Greater", "c limit", "above"),
        ("Where", "above c t", "y"),
    ],
    "a sum": [("Transpose", "c", "t"), ("Add", "c t", "y")],
}


@pytest.mark.parametrize("name", GATES)
def test_two_values_meet_number_by_number_or_not_at_all(node: Any, translated: Any, name: str) -> None:
    turn = {"Transpose": {"perm": [0, 1, 3, 2]}}
    nodes = [node("Conv", "x k", "c"), *(node(*each, **turn.get(each[0], {})) for each in GATES[name])]
    with pytest.raises(InputError, match="is not understood with"):
        translated((1, 3, 3), *nodes, k=np.ones((2, 1, 1, 1), np.float32), limit=np.float32(20), head=18)


REFUSED: dict[str, Any] = {
    "a constant of another size": ([("Add", "x c3")], r"Add is not understood with a constant of \[3\] and \(4,\)"),
    "a constant of a batch": ([("Mul", "x batch")], r"constant of \[2, 4\]"),
    "a gate of another": ([("Sigmoid", "x", "g"), ("MatMul", "x w", "h"), ("Mul", "h g")], "Mul is not understood"),
    "a square": ([("Mul", "x x")], "Mul is not understood"),
    "a constant by x": ([("Div", "c4 x")], "Div is understood with constants only"),
    "a difference": ([("MatMul", "x w", "h"), ("Sub", "x h")], "Sub is not understood"),
    "an erf of x": ([("Erf", "x")], "Erf is not understood with anything but x / sqrt 2"),
    "half a GELU": ([("Mul", "x root", "d"), ("Erf", "d")], "none of a network"),
    "a mean of another vector": (
        [("MatMul", "x w", "h"), ("ReduceMean", "h one", "m"), ("Sub", "x m")],
        "Sub is not understood",
    ),
    "a mean alone": ([("ReduceMean", "x one")], "none of a network"),
    "an infinite scale": ([("Div", "x zero", "d"), ("MatMul", "d w")], "cannot have scale="),
}


@pytest.mark.parametrize(("nodes", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_understood_is_refused(node: Any, computed: Any, nodes: Any, reason: str) -> None:
    made = [node(each[0], each[1], each[2] if len(each) > 2 else "y") for each in nodes]
    constants = {"c3": C[:3], "c4": C, "batch": np.stack([C, C]), "w": W, "one": np.array([1]), "zero": np.float32(0)}
    with pytest.raises(InputError, match=reason):
        computed(X, (4,), *made, root=np.float32(1 / math.sqrt(2)), **constants)
