"""Operators that move no number: which number is where behind them, or a refusal."""

from typing import Any

import numpy as np
import pytest

from edgedqn.agents.errors import InputError

X = np.random.default_rng(0).normal(size=(3, 2, 3, 4)).astype(np.float32)  # [B, C, H, W]
HEAD = np.linspace(-1, 1, 48, dtype=np.float32).reshape(24, 2)


def last(images: Any) -> Any:
    return images.transpose(0, 2, 3, 1)


@pytest.mark.parametrize("perm", [[0, 1, 2, 3], [0, 2, 3, 1], [0, 3, 2, 1]])
def test_a_flatten_behind_a_transpose_keeps_onnxs_order(node: Any, computed: Any, perm: list[int]) -> None:
    nodes = [node("MaxPool", "x", "p", kernel_shape=[1, 1]), node("Transpose", "p", "y", perm=perm)]
    got = computed(last(X), (2, 3, 4), *nodes, head=24)
    np.testing.assert_allclose(got, X.transpose(perm).reshape(3, -1) @ HEAD, rtol=1e-4, atol=1e-5)


def test_a_pool_behind_a_reshaped_vector_sees_an_image(node: Any, computed: Any) -> None:
    flat = X.reshape(3, -1)
    nodes = [node("Reshape", "x s", "i"), node("GlobalAveragePool", "i", "y")]
    got = computed(flat, (24,), *nodes, s=[0, 2, 3, 4], head=2)
    np.testing.assert_allclose(got, X.mean((2, 3)) @ [[-1, -1 / 3], [1 / 3, 1]], rtol=1e-4, atol=1e-5)


def test_an_image_without_its_one_channel(node: Any, computed: Any) -> None:
    kernel = np.ones((1, 1, 2, 2), np.float32)
    x = X[:, 0]
    got = computed(x[..., None], (3, 4), node("Unsqueeze", "x a", "i"), node("Conv", "i k", "y"), a=[1], k=kernel, head=6)
    windows = x[:, :-1, :-1] + x[:, 1:, :-1] + x[:, :-1, 1:] + x[:, 1:, 1:]
    np.testing.assert_allclose(got, windows.reshape(3, 6) @ np.linspace(-1, 1, 12).reshape(6, 2), rtol=1e-4, atol=1e-4)


def test_axes_of_one_come_and_go(node: Any, computed: Any) -> None:
    nodes = [node("GlobalAveragePool", "x", "g"), node("Squeeze", "g a", "s"), node("Unsqueeze", "s b", "y")]
    got = computed(last(X), (2, 3, 4), *nodes, a=[2, 3], b=[2], head=2)
    np.testing.assert_allclose(got, X.mean((2, 3)) @ [[-1, -1 / 3], [1 / 3, 1]], rtol=1e-4, atol=1e-5)


REFUSED: dict[str, Any] = {
    "the batch is moved": (("Transpose", "x", {"perm": [1, 0, 2, 3]}), r"perm=\[1, 0, 2, 3\]"),
    "axes twice": (("Transpose", "x", {"perm": [0, 1, 1, 3]}), "perm="),
    "a flatten of the batch": (("Flatten", "x", {"axis": 0}), "axis=0"),
    "a flatten of half": (("Flatten", "x", {"axis": 2}), "axis=2"),
    "a reshape into the batch": (("Reshape", "x a", {}), r"\[6, 12\]"),
    "a reshape to more": (("Reshape", "x b", {}), r"\[-1, 25\]"),
    "a reshape to nothing": (("Reshape", "x c", {}), r"\[-1\]"),
    "a reshape of images": (("Reshape", "x d", {}), r"\[0, 3, 8\]"),
    "a reshape to what is not known": (("Reshape", "x e", {}), r"\[-1, -1\]"),
    "a batch that is squeezed": (("Squeeze", "x f", {}), r"axes=\[0\]"),
    "an image that is squeezed": (("Squeeze", "x g", {}), r"axes=\[1\]"),
    "an image with one more axis": (("Unsqueeze", "x g", {}), r"axes=\[1\]"),
}


@pytest.mark.parametrize(("given", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_understood_is_refused(node: Any, translated: Any, given: Any, reason: str) -> None:
    operator, inputs, attributes = given
    shapes = {"a": [6, 12], "b": [-1, 25], "c": [-1], "d": [0, 3, 8], "e": [-1, -1], "f": [0], "g": [1]}
    with pytest.raises(InputError, match=f"the operator {operator} is not understood with {reason}"):
        translated((2, 3, 4), node(operator, inputs, "y", **attributes), **shapes)
