"""What flows between the nodes of an ONNX graph while it is translated: constants, outputs of layers, and half of a layer."""

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError, require
from edgedqn.agents.importing.foreign_files import Network

Constant: TypeAlias = NDArray[Any]
INT64 = 7  # in TensorProto.DataType
BATCH = 2**40 + 8_191  # stands for the batch in a shape; whatever is computed of it is no size


class Node(NamedTuple):
    """One node. Absent inputs are called ""."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, object]

    def integer(self, name: str, default: int) -> int:
        value = self.attributes.get(name, default)
        require(isinstance(value, int), f"{self.operator} has {name}={value!r}: expected an integer.")
        return int(value)  # type: ignore[call-overload]

    def number(self, name: str, default: float) -> float:
        value = self.attributes.get(name, default)
        require(isinstance(value, float), f"{self.operator} has {name}={value!r}: expected a number.")
        return float(value)  # type: ignore[arg-type]

    def text(self, name: str, default: str) -> str:
        value = self.attributes.get(name, default)
        require(isinstance(value, str), f"{self.operator} has another {name} than a text.")
        return str(value)

    def integers(self, name: str, default: list[int]) -> list[int]:
        value = self.attributes.get(name, default)
        if not isinstance(value, list) or not all(isinstance(each, int) for each in value) or len(value) > 8:
            raise InputError(f"{self.operator} has another {name} than a few integers.")
        return value


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A model, as far as it matters here."""

    nodes: list[Node]
    constants: dict[str, Constant]
    observation: str  # the input's name
    shape: tuple[int, ...]  # without the batch
    is_single: bool  # whether the batch is fixed at 1
    output: str
    dtype: str = "float32"  # of the input


class OnnxModel(NamedTuple):
    """What was read, and what it takes to run the file."""

    network: Network
    output: str
    axes: tuple[int, ...]  # of the file's input [B, *], the network's of each axis behind the batch
    dtype: str  # of the file's input


@dataclass(frozen=True, kw_only=True)
class Signal:
    """The output of a layer as ONNX sees it: images channels first, where the layer has them last."""

    layer: str
    shape: tuple[int, ...]  # as ONNX has it, without the batch
    axes: tuple[int, ...] = ()  # of each axis in `shape`, the layer's; none where the layer gives a vector
    order: NDArray[np.int64] | None = field(default=None, compare=False)  # of a vector: ONNX's i is the layer's order[i]
    is_integer: bool = False  # so that in ONNX what is computed of it wraps, and a quotient is rounded

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    def as_layer(self, values: Constant) -> Constant:
        """Values [F, ...] of each number of a vector, in the layer's order."""
        if self.order is None:
            return values
        ordered = np.empty_like(values)
        ordered[self.order] = values
        return ordered

    def with_shape(self, shape: tuple[int, ...]) -> "Signal":
        return replace(self, shape=shape)

    def is_laid_out_as(self, other: "Signal") -> bool:
        """Whether each number stands where the other's does, so that layers may take the two number by number."""
        first, second = (np.arange(each.size) if each.order is None else each.order for each in (self, other))
        return (self.shape, self.axes) == (other.shape, other.axes) and np.array_equal(first, second)


class Mean(NamedTuple):
    """The mean over the numbers of a vector."""

    of: Signal


class Centred(NamedTuple):
    """A vector less its mean."""

    of: Signal


class Sum(NamedTuple):
    """A number and a vector, added: half of a dueling head."""

    value: Signal
    advantages: Signal


class PartialGelu(NamedTuple):
    """factor * [x] * ([1 +] erf(x / sqrt 2)): a piece of a GELU."""

    of: Signal  # x
    factor: float = 1.0
    plus_one: bool = False
    times_x: bool = False


class Above(NamedTuple):
    """Where a signal is above a limit: PyTorch's softplus is the identity there."""

    of: Signal
    limit: float


class Quantiles(NamedTuple):
    """The mean over the N quantiles [A, N] of each action."""

    of: Signal


class Action(NamedTuple):
    """The largest of a vector, by its index."""

    of: Signal


Value: TypeAlias = Signal | Mean | Centred | Sum | PartialGelu | Above | Quantiles | Action | Constant
