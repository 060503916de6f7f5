"""What is computed of constants alone is what NumPy computes, within bounds."""

from typing import Any

import numpy as np
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.importing.onnx_model import constants
from edgedqn.agents.importing.onnx_model.constants import fold

A = np.arange(6, dtype=np.float32).reshape(2, 3)
I64 = np.int64
RULES: dict[str, Any] = {
    "Identity": ([A], {}, A),
    "Cast": ([A], {"to": 7}, A.astype(I64)),
    "Transpose": ([A], {"perm": [1, 0]}, A.T),
    "Unsqueeze": ([A, np.array([1])], {}, A[:, None]),
    "Squeeze": ([A[:, None], np.array([1])], {}, A),
    "Gather": ([np.array([7, 8, 9]), np.array(1, I64)], {}, np.array(8)),
    "Concat": ([A, A], {"axis": 1}, np.concatenate([A, A], 1)),
    "Slice": ([A, np.array([1]), np.array([3]), np.array([1])], {}, A[:, 1:3]),
    "Reshape": ([A, np.array([3, -1])], {}, A.reshape(3, 2)),
    "Add": ([A, np.float32(2)], {}, A + 2),
    "Sub": ([A, np.float32(2)], {}, A - 2),
    "Mul": ([A, np.float32(2)], {}, A * 2),
    "Div": ([np.array([7, -7, 7, -8]), np.array([2, 2, -2, 2])], {}, np.array([3, -3, -3, -4])),
    "Sqrt": ([A], {}, np.sqrt(A)),
    "Neg": ([A], {}, -A),
}


@pytest.mark.parametrize("operator", RULES)
def test_each_operator(node: Any, operator: str) -> None:
    inputs, attributes, expected = RULES[operator]
    np.testing.assert_array_equal(fold(node(operator, "a", "y", **attributes), [np.asarray(each) for each in inputs]), expected)


@pytest.mark.parametrize(
    ("operator", "inputs", "to", "expected"),
    [
        ("Cast", [0.5, 0.0, np.nan], 9, [True, False, True]),  # not 0 is true
        ("Add", np.array([[200], [100]], np.uint8), 0, [44]),  # bytes wrap
        ("Div", np.array([[200], [3]], np.uint8), 0, [66]),
    ],
)
def test_integers_are_those_of_their_type(node: Any, operator: str, inputs: Any, to: int, expected: Any) -> None:
    given = [np.asarray(inputs, np.float32)] if operator == "Cast" else list(inputs)
    assert np.asarray(fold(node(operator, "a b", "y", to=to), given)).tolist() == expected


def test_older_axes_are_attributes(node: Any) -> None:
    np.testing.assert_array_equal(fold(node("Unsqueeze", "a", "y", axes=[0]), [A]), A[None])


def test_others_are_not_computed(node: Any) -> None:
    assert fold(node("Expand", "a b", "y"), [A, A]) is None


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes"),
    [
        ("Reshape", [A, np.array([7])], {}),
        ("Gather", [A, np.array(9)], {}),
        ("Concat", [A, A[0]], {}),
        ("Cast", [A], {"to": 8}),
        ("Transpose", [A], {"perm": [0, 0]}),
        ("Add", [A, A.T], {}),
        ("Div", [np.array([1]), np.array([0])], {}),
        ("Slice", [A], {}),
        ("Slice", [A, np.array([0]), np.array([1]), np.array([0]), np.array([0])], {}),
    ],
)
def test_what_does_not_fit_is_refused(node: Any, operator: str, inputs: Any, attributes: Any) -> None:
    with pytest.raises(InputError, match=f"{operator} of constants cannot be computed"):
        fold(node(operator, "a", "y", **attributes), inputs)


def test_outputs_stay_within_bounds(node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "LARGEST", 10)
    row = np.zeros(4, np.float32)
    for operator, inputs in (("Mul", [row, row[:, None]]), ("Concat", [row, row, row])):
        with pytest.raises(InputError, match="expected at most 10"):
            fold(node(operator, "a", "y"), inputs)
