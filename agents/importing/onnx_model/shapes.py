"""Operators that move no number, or only its place."""

import math
from dataclasses import replace

import numpy as np

from edgedqn.agents.importing.onnx_model.constants import axes_of
from edgedqn.agents.importing.onnx_model.operands import IMAGE, Operands, to_vector
from edgedqn.agents.importing.onnx_model.values import BATCH, Action, Signal


def flatten(given: Operands) -> Signal:
    signal = given.signal()
    axis = given.node.integer("axis", 1)
    if axis not in (1, -len(signal.shape)):
        raise given.refuse(f"axis={axis}")
    return to_vector(given, signal)


def reshape(given: Operands) -> Signal:
    signal = given.signal()
    wanted = [int(size) for size in given.constant(1).reshape(-1)]
    if given.node.integer("allowzero", 0) and 0 in wanted:
        raise given.refuse("allowzero")
    sizes = [signal.shape[i - 1] if size == 0 and 0 < i <= len(signal.shape) else size for i, size in enumerate(wanted)]
    rest = sizes[1:]
    if rest.count(-1) == 1 and sizes[0] != -1:
        others = math.prod(size for size in rest if size != -1)
        rest[rest.index(-1)] = signal.size // others if others > 0 else 0
    if not rest or sizes[0] not in (0, 1, -1, BATCH) or min(rest) < 1 or math.prod(rest) != signal.size:
        raise given.refuse(f"{wanted} of {signal.shape}")
    shape = tuple(rest)
    if shape == signal.shape:
        return signal
    if sum(side != 1 for side in shape) <= 1:
        return to_vector(given, signal).with_shape(shape)
    if signal.axes or signal.order is not None or len(shape) > 3:
        raise given.refuse(f"{wanted} of {signal.shape}")
    return given.write("Reshape", signal, shape=shape, axes=tuple(range(len(shape))), target_shape=list(shape))


def transpose(given: Operands) -> Signal:
    signal = given.signal()
    rank = len(signal.shape) + 1
    order = given.node.integers("perm", list(range(rank))[::-1])
    if sorted(order) != list(range(rank)) or order[0] != 0:
        raise given.refuse(f"perm={order}")
    axes = tuple(signal.axes[axis - 1] for axis in order[1:]) if signal.axes else ()
    return replace(signal, shape=tuple(signal.shape[axis - 1] for axis in order[1:]), axes=axes)


def squeeze(given: Operands) -> Signal | Action:
    if isinstance(given.values[0], Action):
        return given.values[0]
    signal = given.signal()
    rank = len(signal.shape) + 1
    axes = sorted(axis % rank for axis in axes_of(given.node, [np.zeros(0), *given.constants()]))
    if not axes or 0 in axes or any(signal.shape[axis - 1] != 1 for axis in axes) or signal.axes or len(axes) >= rank - 1:
        raise given.refuse(f"axes={axes} of {signal.shape}")
    return signal.with_shape(tuple(side for axis, side in enumerate(signal.shape, 1) if axis not in axes))


def unsqueeze(given: Operands) -> Signal:
    signal = given.signal()
    axes = axes_of(given.node, [np.zeros(0), *given.constants()])
    if len(axes) == 1 and axes[0] > 0 and not signal.axes and axes[0] <= len(signal.shape) + 1:
        return signal.with_shape((*signal.shape[: axes[0] - 1], 1, *signal.shape[axes[0] - 1 :]))
    if axes == [1] and signal.axes == (0, 1):  # an image without its one channel
        return given.write("Reshape", signal, shape=(1, *signal.shape), axes=IMAGE, target_shape=[*signal.shape, 1])
    raise given.refuse(f"axes={axes} of {signal.shape}")
