"""Each operator that a layer computes, against NumPy; its settings that none computes are refused."""

import math
from typing import Any

import numpy as np
import pytest

from edgedqn.agents.errors import InputError

X = np.random.default_rng(0).normal(0, 2, size=(20, 4)).astype(np.float32)
W = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
B = np.array([1.0, -2, 3], np.float32)
G, H = np.array([1.0, 2, 3, 4], np.float32), np.array([0.5, 0.4, 0.3, 0.2], np.float32)
ERF = np.vectorize(math.erf)

EACH: dict[str, Any] = {
    "Relu": ({}, lambda x: np.maximum(x, 0)),
    "Tanh": ({}, np.tanh),
    "Sigmoid": ({}, lambda x: 1 / (1 + np.exp(-x))),
    "Softplus": ({}, lambda x: np.log1p(np.exp(x))),
    "LeakyRelu": ({"alpha": 0.2}, lambda x: np.where(x > 0, x, 0.2 * x)),
    "Elu": ({"alpha": 0.7}, lambda x: np.where(x > 0, x, 0.7 * np.expm1(x))),
    "Selu": ({}, lambda x: 1.05070098 * np.where(x > 0, x, 1.67326324 * np.expm1(x))),
    "Gelu": ({}, lambda x: x * 0.5 * (1 + ERF(x / math.sqrt(2)))),
    "Clip": ({"min": 0.0, "max": 6.0}, lambda x: np.clip(x, 0, 6)),
    "Identity": ({}, lambda x: x),
    "Dropout": ({}, lambda x: x),
    "Cast": ({"to": 1}, lambda x: x),
}


@pytest.mark.parametrize("operator", EACH)
def test_each_activation(node: Any, computed: Any, operator: str) -> None:
    attributes, function = EACH[operator]
    got = computed(X, (4,), node(operator, "x", "h", **attributes), node("MatMul", "h w", "y"), w=W)
    np.testing.assert_allclose(got, function(X) @ W, rtol=1e-4, atol=1e-4)


def test_gelu_by_tanh(node: Any, computed: Any) -> None:
    got = computed(X, (4,), node("Gelu", "x", "h", approximate="tanh"), node("MatMul", "h w", "y"), w=W)
    gelu = X * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (X + 0.044715 * X**3)))
    np.testing.assert_allclose(got, gelu @ W, rtol=1e-4, atol=1e-4)


def test_kernels(node: Any, computed: Any) -> None:
    expected = 0.5 * (X @ W) + 2 * B
    got = computed(X, (4,), node("Gemm", "x w b", "y", transB=1, alpha=0.5, beta=2.0), w=W.T, b=B)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
    got = computed(X, (4,), node("Gemm", "x w", "y"), w=W)
    np.testing.assert_allclose(got, X @ W, rtol=1e-4, atol=1e-4)
    got = computed(X, (4,), node("MatMul", "x w", "h"), node("Add", "h b", "y"), w=W, b=B)
    np.testing.assert_allclose(got, X @ W + B, rtol=1e-4, atol=1e-4)


def test_normalizations(node: Any, computed: Any) -> None:
    nodes = [node("LayerNormalization", "x g h", "n", epsilon=0.01), node("MatMul", "n w", "y")]
    normal = (X - X.mean(1, keepdims=True)) / np.sqrt(X.var(1, keepdims=True) + 0.01) * G + H
    np.testing.assert_allclose(computed(X, (4,), *nodes, g=G, h=H, w=W), normal @ W, rtol=1e-3, atol=1e-4)
    nodes = [node("BatchNormalization", "x g h m v", "n", epsilon=0.01), node("MatMul", "n w", "y")]
    normal = (X - H) / np.sqrt(G + 0.01) * G + H
    np.testing.assert_allclose(computed(X, (4,), *nodes, g=G, h=H, m=H, v=G, w=W), normal @ W, rtol=1e-3, atol=1e-4)


REFUSED: dict[str, Any] = {
    "a transposed observation": (("Gemm", "x w", {"transA": 1}), "Gemm is not understood with transA"),
    "a kernel of others": (("MatMul", "x g", {}), r"a kernel of \[4\] behind 4 numbers"),
    "a kernel of integers": (("MatMul", "x i", {}), "a kernel of"),
    "a kernel before": (("MatMul", "w x", {}), "MatMul"),
    "a bias of others": (("Gemm", "x w g", {}), r"a bias of \[4\] for 3 numbers"),
    "a bias that is computed": (("Gemm", "x w x", {}), "understood with constants only: its input 2 is none"),
    "other limits": (("Clip", "x", {"min": -1.0, "max": 1.0}), "limits of -1.0 and 1.0"),
    "another selu": (("Selu", "x", {"alpha": 1.0}), "alpha=1.0"),
    "another gelu": (("Gelu", "x", {"approximate": "sigmoid"}), "approximate=sigmoid"),
    "half precision": (("Cast", "x", {"to": 10}), "another type than float"),
    "a dropout that drops": (("Dropout", "x g g", {}), "training_mode"),
    "training": (("BatchNormalization", "x g g g g", {"training_mode": 1}), "training, or weights"),
    "another scale": (("LayerNormalization", "x b", {}), r"a scale of \[3\] and \(4,\)"),
    "another axis": (("LayerNormalization", "x g", {"axis": 0}), "a scale of"),
    "the largest of a batch": (("ArgMax", "x", {"axis": 0}), "another axis than the actions"),
}


@pytest.mark.parametrize(("given", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_understood_is_refused(node: Any, translated: Any, given: Any, reason: str) -> None:
    operator, inputs, attributes = given
    with pytest.raises(InputError, match=reason):
        translated((4,), node(operator, inputs, "y", **attributes), w=W, g=G, b=B, i=W.astype(np.int64))
