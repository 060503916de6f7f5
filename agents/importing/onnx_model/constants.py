"""What a node computes of constants alone: transposed kernels, and the shapes that exporters compute."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from edgedqn.agents.errors import InputError, one_line
from edgedqn.agents.importing.onnx_model.values import Constant, Node

LARGEST = 2**26  # numbers

_DTYPES: dict[int, type[np.generic]] = {  # TensorProto.DataType
    1: np.float32,
    11: np.float64,
    2: np.uint8,
    3: np.int8,
    6: np.int32,
    7: np.int64,
    9: np.bool_,
}


def fold(node: Node, inputs: Sequence[Constant | None]) -> Constant | None:
    """The node's output, or None where it is not computed here.

    Raises:
      InputError: the inputs do not fit, or the output would be too large.
    """
    rule = _RULES.get(node.operator)
    if rule is None:
        return None
    try:
        given = [each for each in inputs if each is not None]
        total = sum(each.size for each in given)
        if node.operator in ("Add", "Sub", "Mul", "Div"):
            total = math.prod(np.broadcast_shapes(*(each.shape for each in given)))
        if total > LARGEST:
            raise InputError(f"{node.operator} of constants gives {total} numbers: expected at most {LARGEST:,}.")
        with np.errstate(all="ignore"):
            return np.asarray(rule(node, given))
    except (ValueError, IndexError, TypeError, KeyError, OverflowError, ZeroDivisionError, MemoryError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{node.operator} of constants cannot be computed: {one_line(error)[:200]}.") from error


def axes_of(node: Node, given: Sequence[Constant]) -> list[int]:
    """Axes as newer ONNX has them, an input, or as older did, an attribute."""
    return [int(axis) for axis in given[1].reshape(-1)] if len(given) > 1 else node.integers("axes", [])


def _cast(node: Node, given: Sequence[Constant]) -> Constant:
    return given[0].astype(_DTYPES[node.integer("to", 0)])


def _slice(node: Node, given: Sequence[Constant]) -> Constant:
    data, starts, ends, *rest = given
    axes = rest[0].reshape(-1) if rest else range(len(starts))
    steps = rest[1].reshape(-1) if len(rest) > 1 else [1] * len(starts)
    index = [slice(None)] * data.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        index[int(axis)] = slice(int(start), int(end), int(step))
    return data[tuple(index)]


def _squeeze(node: Node, given: Sequence[Constant]) -> Constant:
    axes = axes_of(node, given)
    return given[0].squeeze(tuple(axes)) if axes else given[0].squeeze()


def _divide(node: Node, given: Sequence[Constant]) -> Constant:
    first, second = given
    if first.dtype.kind not in "iu":
        return first / second
    if not second.all():
        raise ZeroDivisionError("a division of integers by 0")
    down = first // second
    return down + ((first % second != 0) & ((first < 0) != (second < 0))).astype(first.dtype)  # truncated, as in C


_RULES: dict[str, Callable[[Node, Sequence[Constant]], Constant]] = {
    "Identity": lambda node, given: given[0],
    "Cast": _cast,
    "Transpose": lambda node, given: given[0].transpose(node.integers("perm", list(range(given[0].ndim))[::-1])),
    "Unsqueeze": lambda node, given: np.expand_dims(given[0], tuple(axes_of(node, given))),
    "Squeeze": _squeeze,
    "Gather": lambda node, given: np.take(given[0], given[1], axis=node.integer("axis", 0)),
    "Concat": lambda node, given: np.concatenate(given, axis=node.integer("axis", 0)),
    "Slice": _slice,
    "Reshape": lambda node, given: given[0].reshape([int(each) for each in given[1]]),
    "Add": lambda node, given: given[0] + given[1],
    "Sub": lambda node, given: given[0] - given[1],
    "Mul": lambda node, given: given[0] * given[1],
    "Div": _divide,
    "Sqrt": lambda node, given: np.sqrt(given[0]),
    "Neg": lambda node, given: -given[0],
}
