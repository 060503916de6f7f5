"""Nodes give their attributes in the type that is asked for; vectors know their order."""

from typing import Any

import numpy as np
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.importing.onnx_model.values import Signal


def test_attributes_have_their_types(node: Any) -> None:
    found = node("Gemm", "x w", "y", transB=1, alpha=0.5, axes=[1, 2], mode="a")
    assert (found.integer("transB", 0), found.integer("transA", 0)) == (1, 0)
    assert (found.number("alpha", 1.0), found.number("beta", 1.0)) == (0.5, 1.0)
    assert (found.integers("axes", []), found.text("mode", "b"), found.text("other", "b")) == ([1, 2], "a", "b")
    wrong: Any = (lambda: found.integer("alpha", 0), lambda: found.number("transB", 1.0), lambda: found.integers("mode", []))
    for ask in wrong:
        with pytest.raises(InputError, match="Gemm has"):
            ask()
    with pytest.raises(InputError, match="Gemm has another axes than a text"):
        found.text("axes", "")


def test_values_are_put_into_the_layers_order() -> None:
    order = np.array([2, 0, 1])
    signal = Signal(layer="a", shape=(3,), order=order)
    theirs = np.array([10.0, 20.0, 30.0])  # of ONNX's numbers 0, 1 and 2
    ours = signal.as_layer(theirs)
    np.testing.assert_array_equal(ours[order], theirs)
    assert signal.size == 3 and Signal(layer="a", shape=(3,)).as_layer(theirs) is theirs
