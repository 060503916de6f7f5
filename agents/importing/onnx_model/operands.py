"""What an operator is given, and the layers that it writes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgedqn.agents.errors import InputError, require
from edgedqn.agents.importing.building import LARGEST_ACTIVATION
from edgedqn.agents.importing.foreign_files import Array
from edgedqn.agents.importing.layer_writer import LayerWriter
from edgedqn.agents.importing.onnx_model.values import Constant, Node, Signal, Value

IMAGE = (2, 0, 1)  # ONNX's channels, height and width in a layer's [H, W, C]


@dataclass(frozen=True, kw_only=True)
class Operands:
    """A node, its inputs, and where layers are written."""

    node: Node
    values: Sequence[Value | None]
    writer: LayerWriter
    is_single: bool  # whether the batch is fixed at 1

    def signal(self, index: int = 0) -> Signal:
        value = self.values[index] if index < len(self.values) else None
        if not isinstance(value, Signal):
            raise InputError(f"the operator {self.node.operator} is not understood of what it is given here.")
        return value

    def constant(self, index: int) -> Constant:
        value = self.optional(index)
        if value is None:
            raise InputError(f"the operator {self.node.operator} is understood with constants only: its input {index} is none.")
        return value

    def optional(self, index: int) -> Constant | None:
        value = self.values[index] if index < len(self.values) else None
        if value is not None and not isinstance(value, np.ndarray):
            raise InputError(f"the operator {self.node.operator} is understood with constants only: its input {index} is none.")
        return value

    def constants(self) -> list[Constant]:
        return [each for each in self.values if isinstance(each, np.ndarray)]

    def vector(self, index: int = 0) -> Signal:
        signal = self.signal(index)
        if signal.axes or len(signal.shape) != 1:
            raise InputError(f"the operator {self.node.operator} takes {signal.shape}: expected a vector.")
        return signal

    def image(self) -> Signal:
        """The first input, its channels last in the layer."""
        signal = self.signal()
        require(len(signal.axes) == 3, f"the operator {self.node.operator} takes {signal.shape}: expected an image.")
        if signal.axes == IMAGE:
            return signal
        channels, height, width = signal.axes
        return self.write("Permute", signal, axes=IMAGE, shape=signal.shape, dims=[height + 1, width + 1, channels + 1])

    def write(
        self,
        kind: str,
        source: Signal,
        weights: Sequence[Array] = (),
        *,
        shape: tuple[int, ...],
        axes: tuple[int, ...] = (),
        **settings: object,
    ) -> Signal:
        """Writes a layer on the output of another one. `shape` and `axes` are those of a Signal."""
        if math.prod(shape) > LARGEST_ACTIVATION:
            raise self.refuse(f"an output of {shape}; expected at most {LARGEST_ACTIVATION:,} numbers")
        name = f"{kind.lower()}_{len(self.writer.layers)}"
        self.writer.at = source.layer
        self.writer.add(kind, name, weights, **settings)
        return Signal(layer=name, shape=shape, axes=axes)

    def refuse(self, what: str) -> InputError:
        return InputError(f"the operator {self.node.operator} is not understood with {what}.")


def elementwise(given: Operands, kind: str, **settings: object) -> Signal:
    """A layer that treats each number alike."""
    signal = given.signal()
    written = given.write(kind, signal, (), shape=signal.shape, axes=signal.axes, **settings)
    return replace(written, order=signal.order)


def to_vector(given: Operands, signal: Signal) -> Signal:
    """A Flatten, and which number is where behind it."""
    if not signal.axes:
        return signal.with_shape((signal.size,))
    sides = [signal.shape[signal.axes.index(axis)] for axis in range(len(signal.axes))]
    order = np.arange(signal.size).reshape(sides).transpose(signal.axes).reshape(-1)
    written = given.write("Flatten", signal, shape=(signal.size,))
    return written if (order == np.arange(signal.size)).all() else replace(written, order=order)
