"""Convolutions and pools with every padding that layers here can say, against sums that are written out."""

from typing import Any

import numpy as np
import pytest

from edgedqn.agents.errors import InputError

X = np.random.default_rng(0).normal(size=(2, 2, 7, 6)).astype(np.float32)  # [B, C, H, W]
K = np.random.default_rng(1).normal(size=(3, 2, 3, 2)).astype(np.float32)  # [out, in, height, width]


def padded(margins: Any, value: float = 0.0) -> Any:
    return np.pad(X, [(0, 0), (0, 0), *margins], constant_values=value)


def windows(x: Any, size: tuple[int, int], strides: tuple[int, int]) -> Any:
    """[B, C, H, W, *size]."""
    return np.lib.stride_tricks.sliding_window_view(x, size, axis=(2, 3))[:, :, :: strides[0], :: strides[1]]


def head(y: Any) -> Any:
    count = int(np.prod(y.shape[1:]))
    return y.reshape(len(y), -1) @ np.linspace(-1, 1, count * 2).reshape(count, 2)


MARGINS: dict[str, Any] = {
    "none": ({}, [(0, 0), (0, 0)]),
    "as Keras pads": ({"pads": [1, 0, 1, 1]}, [(1, 1), (0, 1)]),
    "on both sides": ({"pads": [1, 1, 1, 1]}, [(1, 1), (1, 1)]),
    "on one side": ({"pads": [2, 0, 0, 0]}, [(2, 0), (0, 0)]),
    "upper": ({"auto_pad": "SAME_UPPER"}, [(1, 1), (0, 1)]),
    "lower": ({"auto_pad": "SAME_LOWER"}, [(1, 1), (1, 0)]),
    "valid": ({"auto_pad": "VALID"}, [(0, 0), (0, 0)]),
}


@pytest.mark.parametrize("name", MARGINS)
def test_convolutions(node: Any, computed: Any, name: str) -> None:
    attributes, margins = MARGINS[name]
    y = np.einsum("bchwij,ocij->bohw", windows(padded(margins), (3, 2), (1, 1)), K)
    got = computed(
        X.transpose(0, 2, 3, 1), (2, 7, 6), node("Conv", "x k", "y", **attributes), k=K, head=int(np.prod(y.shape[1:]))
    )
    np.testing.assert_allclose(got, head(y), rtol=0, atol=1e-4)


def test_same_depends_on_the_stride(node: Any, computed: Any) -> None:
    bias = np.array([1, 2, 3], np.float32)
    y = np.einsum("bchwij,ocij->bohw", windows(padded([(1, 1), (0, 0)]), (3, 2), (2, 2)), K) + bias[:, None, None]
    conv = node("Conv", "x k b", "y", strides=[2, 2], auto_pad="SAME_UPPER")
    got = computed(X.transpose(0, 2, 3, 1), (2, 7, 6), conv, k=K, b=bias, head=int(np.prod(y.shape[1:])))
    np.testing.assert_allclose(got, head(y), rtol=0, atol=1e-4)


POOLS: dict[str, Any] = {
    "largest": ("MaxPool", {}, [(0, 0), (0, 0)], -np.inf, np.max),
    "largest, as Keras pads": ("MaxPool", {"pads": [0, 0, 1, 1]}, [(0, 1), (0, 1)], -np.inf, np.max),
    "mean": ("AveragePool", {}, [(0, 0), (0, 0)], 0.0, np.mean),
    "mean with zeros": ("AveragePool", {"pads": [1, 1, 1, 1], "count_include_pad": 1}, [(1, 1), (1, 1)], 0.0, np.mean),
    "mean without them": ("AveragePool", {"pads": [0, 0, 1, 1]}, [(0, 1), (0, 1)], np.nan, np.nanmean),
}


@pytest.mark.parametrize("name", POOLS)
def test_pools(node: Any, computed: Any, name: str) -> None:
    operator, attributes, margins, value, reduce = POOLS[name]
    y = reduce(windows(padded(margins, value), (2, 2), (1, 1)), axis=(4, 5))
    pool = node(operator, "x", "y", kernel_shape=[2, 2], strides=[1, 1], **attributes)
    got = computed(X.transpose(0, 2, 3, 1), (2, 7, 6), pool, head=int(np.prod(y.shape[1:])))
    np.testing.assert_allclose(got, head(y), rtol=0, atol=1e-4)


REFUSED: dict[str, Any] = {
    "groups": ("Conv", {"group": 2}, "groups"),
    "dilations": ("Conv", {"dilations": [2, 1]}, "dilations"),
    "strides of nothing": ("Conv", {"strides": [0, 1]}, r"strides of \[0, 1\]"),
    "negative pads": ("Conv", {"pads": [-1, 0, 0, 0]}, r"Conv has pads of \[-1, 0, 0, 0\]"),
    "a kernel of another size": ("Conv", {"kernel_shape": [5, 5]}, r"windows of \[3, 2\]"),
    "windows beyond the image": ("MaxPool", {"kernel_shape": [9, 9]}, r"windows of \[9, 9\] do not fit"),
    "windows of one dimension": ("MaxPool", {"kernel_shape": [2]}, "windows that are not 2D"),
    "ceil_mode": ("MaxPool", {"kernel_shape": [2, 2], "ceil_mode": 1}, "ceil_mode"),
    "a largest with other pads": ("MaxPool", {"kernel_shape": [2, 2], "pads": [1, 1, 1, 1]}, r"pads of \[\[1, 1\], \[1, 1\]\]"),
}


@pytest.mark.parametrize(("operator", "attributes", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_understood_is_refused(node: Any, translated: Any, operator: str, attributes: Any, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        translated((2, 7, 6), node(operator, "x k" if operator == "Conv" else "x", "y", **attributes), k=K)


def test_kernels_that_are_none_are_refused(node: Any, translated: Any) -> None:
    for kernel in (K[0], K[:, :1]):
        with pytest.raises(InputError, match="Conv"):
            translated((2, 7, 6), node("Conv", "x k", "y"), k=kernel)
