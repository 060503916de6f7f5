"""Sums and products: scalings, residuals, and the pieces of a dueling head, of a swish and of a GELU."""

import math
from dataclasses import replace

import numpy as np

from edgedqn.agents.files import Json
from edgedqn.agents.importing.onnx_model.constants import axes_of
from edgedqn.agents.importing.onnx_model.operands import IMAGE, Operands
from edgedqn.agents.importing.onnx_model.values import (
    Above,
    Centred,
    Constant,
    Mean,
    PartialGelu,
    Quantiles,
    Signal,
    Sum,
    Value,
)
from edgedqn.agents.importing.onnx_model.windows import global_average

ONE, NONE = np.ones(()), np.zeros(())


def add(given: Operands) -> Value:
    first, second = given.values
    if isinstance(first, np.ndarray):
        first, second = second, first
    match first, second:
        case Signal(), np.ndarray():
            return affine(given, first, ONE, second)
        case PartialGelu(), np.ndarray() if second.size == 1 and first == PartialGelu(first.of):
            if float(second.reshape(())) == 1:
                return first._replace(plus_one=True)
        case (Signal(), Centred()) | (Centred(), Signal()):
            value, advantages = (first, second) if isinstance(first, Signal) else (second, first)
            if isinstance(value, Signal) and isinstance(advantages, Centred):
                return _dueling(given, value, advantages.of)
        case Signal(), Signal() if first.shape == second.shape:
            return _residual(given, first, second)
        case Signal(), Signal() if not first.axes and not second.axes and 1 in (first.size, second.size):
            value, of_actions = (first, second) if first.size == 1 else (second, first)
            return Sum(value, of_actions)
    raise given.refuse("what it is given here")


def subtract(given: Operands) -> Value:
    first, second = given.values
    match first, second:
        case Signal(), np.ndarray():
            return affine(given, first, ONE, -second)
        case np.ndarray(), Signal():
            return affine(given, second, -ONE, first)
        case Signal(), Mean() if first == second.of:
            return Centred(first)
        case Sum(), Mean() if first.advantages == second.of:
            return _dueling(given, first.value, first.advantages)
    raise given.refuse("what it is given here")


def multiply(given: Operands) -> Value:
    first, second = given.values
    if isinstance(first, np.ndarray | PartialGelu):
        first, second = second, first
    match first, second:
        case Signal(), np.ndarray():
            return affine(given, first, second, NONE)
        case (PartialGelu(), np.ndarray()) | (np.ndarray(), PartialGelu()):
            gelu, factor = (first, second) if isinstance(first, PartialGelu) else (second, first)
            if isinstance(gelu, PartialGelu) and isinstance(factor, np.ndarray) and factor.size == 1:
                return _finished(given, gelu._replace(factor=gelu.factor * float(factor.reshape(()))))
        case Signal(), PartialGelu() if second.plus_one and not second.times_x:
            source, multiple = (first, 1.0) if first == second.of else _scaled(given, first)
            if source == second.of:
                return _finished(given, second._replace(times_x=True, factor=second.factor * multiple))
        case Signal(), Signal():
            for gate, x in ((first, second), (second, first)):
                written = _layer(given, gate.layer)
                if written.get("activation") == "sigmoid" and written["inputs"] == [x.layer] and gate.is_laid_out_as(x):
                    swish = given.write("Activation", x, shape=x.shape, axes=x.axes, activation="swish")
                    return replace(swish, order=x.order)
    raise given.refuse("what it is given here")


def divide(given: Operands) -> Value:
    divisor = given.constant(1).astype(np.float64)
    with np.errstate(all="ignore"):
        return affine(given, given.signal(), 1 / divisor, NONE)


def greater(given: Operands) -> Above:
    limit = given.constant(1)
    if limit.size != 1:
        raise given.refuse(f"limits of {list(limit.shape)}")
    return Above(given.signal(), float(limit.reshape(())))


def where(given: Operands) -> Signal:
    """A softplus of x, and x itself where that is the same in float32."""
    condition, x, otherwise = given.values[0], given.signal(1), given.signal(2)
    written = _layer(given, otherwise.layer)
    is_softplus = written.get("activation") == "softplus" and written["inputs"] == [x.layer] and otherwise.is_laid_out_as(x)
    if not isinstance(condition, Above) or condition.of != x or condition.limit < 15 or not is_softplus:
        raise given.refuse("anything but the pieces of a softplus")
    return otherwise


def error_function(given: Operands) -> PartialGelu:
    """erf(x / sqrt 2), of which a GELU is made."""
    source, factor = _scaled(given, given.signal())
    if abs(factor * math.sqrt(2) - 1) > 1e-6:
        raise given.refuse("anything but x / sqrt 2")
    return PartialGelu(source)


def mean(given: Operands) -> Value:
    signal, node = given.signal(), given.node
    rank = len(signal.shape) + 1
    axes = sorted(axis % rank for axis in axes_of(node, [np.zeros(0), *given.constants()])) or list(range(rank))
    keeps = bool(node.integer("keepdims", 1))
    if node.integer("noop_with_empty_axes", 0):
        raise given.refuse("noop_with_empty_axes")
    if not signal.axes and rank == 2 and (axes == [1] or (axes == [0, 1] and given.is_single)) and (keeps or given.is_single):
        return Mean(signal)
    if rank == 3 and axes == [2] and signal.axes == (0, 1) and not keeps:
        return Quantiles(signal)
    if len(signal.axes) == 3 and sorted(signal.axes[axis - 1] for axis in axes if axis) == [0, 1] and axes[0]:
        pooled = global_average(given) if signal.axes == IMAGE else None
        if pooled is not None:
            return pooled if keeps else pooled.with_shape(signal.shape[:1])
    raise given.refuse(f"axes={axes}, keepdims={keeps} of {signal.shape}")


def affine(given: Operands, signal: Signal, scale: Constant, offset: Constant) -> Signal:
    """signal * scale + offset, each one number or one per feature; or per channel of an image."""
    settings = {"scale": _per_feature(given, signal, scale), "offset": _per_feature(given, signal, offset)}
    if settings == {"scale": 1.0, "offset": 0.0}:
        return signal
    written = given.write("Rescaling", signal, (), shape=signal.shape, axes=signal.axes, **settings)
    return replace(written, order=signal.order)


def _per_feature(given: Operands, signal: Signal, values: Constant) -> float | list[float]:
    if values.size == 1 and values.ndim <= len(signal.shape) + 1:
        return float(values.reshape(()))
    sides = list(values.shape)[::-1]
    wide = [i for i, side in enumerate(sides) if side != 1]  # counted from the last axis
    axis = len(signal.shape) - 1 - wide[0] if wide else -1
    fits = len(wide) == 1 and len(sides) <= len(signal.shape) + 1 and axis >= 0 and signal.shape[axis] == values.size
    if not fits or (signal.axes and signal.axes[axis] != len(signal.axes) - 1):
        raise given.refuse(f"a constant of {list(values.shape)} and {signal.shape}")
    flat = values.reshape(-1)
    return [float(value) for value in (flat if signal.axes else signal.as_layer(flat))]


def _layer(given: Operands, name: str) -> Json:
    return next(layer for layer in reversed(given.writer.layers) if layer["name"] == name)


def _scaled(given: Operands, signal: Signal) -> tuple[Signal, float]:
    """What a signal is a multiple of, and the factor."""
    layer = _layer(given, signal.layer)
    if layer["layer"] == "Rescaling" and layer["offset"] == 0 and isinstance(layer["scale"], float):
        return replace(signal, layer=layer["inputs"][0]), layer["scale"]
    return signal, 1.0


def _finished(given: Operands, gelu: PartialGelu) -> Value:
    """The GELU, where all of its pieces are there."""
    if not gelu.times_x or abs(gelu.factor - 0.5) > 1e-6:
        return gelu
    written = given.write("Activation", gelu.of, shape=gelu.of.shape, axes=gelu.of.axes, activation="gelu")
    return replace(written, order=gelu.of.order)


def _residual(given: Operands, first: Signal, second: Signal) -> Signal:
    if not first.is_laid_out_as(second):
        raise given.refuse("two values in another order")
    written = given.write("Add", first, shape=first.shape, axes=first.axes)
    given.writer.layers[-1]["inputs"] = [first.layer, second.layer]
    return replace(written, order=first.order)


def _dueling(given: Operands, value: Signal, advantages: Signal) -> Signal:
    if value.size != 1 or value.axes or advantages.axes or value.order is not None or advantages.order is not None:
        raise given.refuse("a value of more than one number")
    n_actions = advantages.size
    written = given.write("DuelingMerge", value, shape=(n_actions,), n_actions=n_actions, quantiles=0)
    given.writer.layers[-1]["inputs"] = [value.layer, advantages.layer]
    return written
