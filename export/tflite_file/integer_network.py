"""An int8 MLP read out of a `.tflite`, as TFLite Micro computes it.

The constants are those that TFLM's kernels prepare at start: one multiplier and one shift for each scale of the weights,
computed in double.

Source: tensorflow/lite/kernels/internal/{common.h, quantization_util.cc}, gemmlowp/fixedpoint/fixedpoint.h.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgedqn.export.edge_policy import PolicyFileError, Tensor, TfliteModel, element
from edgedqn.export.tflite_file.reader import FULLY_CONNECTED, read_data, read_operators, read_quantization

NO_ACTIVATION, RELU = 0, 1  # ActivationFunctionType of the TFLite schema
INT32_MAX = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class IntegerLayer:
    """A FULLY_CONNECTED: out = clamp(zero_point + scaled(bias + weights @ in), lowest, 127).

    Attributes:
      weights: int8 [outputs, inputs]; their zero point is 0.
      bias: int32 [outputs], with the input's zero point folded in: -zero_in * sum(weights) is the same for every input.
      multipliers: int32 [outputs], or [1] for weights of one scale; in 2**30 .. 2**31 - 1, or 0.
      shifts: int8, as many: the product is scaled by multiplier / 2**31 * 2**shift.
      zero_point: of the output.
      lowest: the output's lower clamp, which is the ReLU: its zero point then, else -128.
    """

    weights: NDArray[np.int8]
    bias: NDArray[np.int32]
    multipliers: NDArray[np.int32]
    shifts: NDArray[np.int8]
    zero_point: int
    lowest: int


def read_integer_network(model: TfliteModel) -> tuple[IntegerLayer, ...]:
    """The layers, in the order they run, of an int8 MLP with one input [1, F] and one output [1, A].

    Raises:
      PolicyFileError: the file is damaged, or is no chain of int8 FULLY_CONNECTED with no activation or ReLU, or its sums
        could leave 32 bits, where TFLM's result is undefined.
    """
    (current,), (last,) = model.inputs, model.outputs
    layers = []
    for operator in read_operators(model):
        if operator.code != FULLY_CONNECTED or len(operator.inputs) != 3 or operator.inputs[0] != current:
            raise PolicyFileError(
                f"No plain MLP: expected a chain of FULLY_CONNECTED with bias. Got the operator {operator.code}."
            )
        current = element(operator.outputs, 0)
        layers.append(
            _layer(model, [element(model.tensors, index) for index in (*operator.inputs, current)], operator.activation)
        )
    if not layers or current != last:
        raise PolicyFileError("No plain MLP: expected a chain of FULLY_CONNECTED that ends at the output. Got another graph.")
    return tuple(layers)


def quantized_multiplier(real: float) -> tuple[int, int]:
    """A positive real number as (multiplier, shift): real = multiplier / 2**31 * 2**shift, as TFLM's QuantizeMultiplier."""
    fraction, shift = math.frexp(real)
    multiplier = math.floor(fraction * 2**31 + 0.5)  # C's round() for what is positive; Python's rounds halves to even
    if multiplier == 2**31:
        multiplier, shift = 2**30, shift + 1
    return (multiplier, shift) if shift >= -31 else (0, 0)


def _layer(model: TfliteModel, tensors: list[Tensor], activation: int) -> IntegerLayer:
    given, kernel, bias, result = tensors
    dtypes = [tensor.dtype for tensor in tensors]
    if dtypes != ["int8", "int8", "int32", "int8"]:
        raise PolicyFileError(f"No int8 layer: expected int8, int8, int32, int8. Got {dtypes}.")
    if activation not in (NO_ACTIVATION, RELU):
        raise PolicyFileError(f"Unknown activation: expected none or ReLU. Got {activation}.")
    (scale_in,), zero_in = _quantization(given)
    scales, zero_weights = _quantization(kernel)
    (scale_out,), zero_out = _quantization(result)
    shape = kernel.shape
    if zero_weights != 0 or len(shape) != 2 or len(scales) not in (1, shape[0]):
        raise PolicyFileError(f"No int8 kernel: expected [outputs, inputs], zero point 0. Got {list(shape)}, {zero_weights}.")
    weights = np.frombuffer(read_data(model, kernel), np.int8)
    offsets = np.frombuffer(read_data(model, bias), "<i4").astype(np.int64)
    if weights.size != math.prod(shape) or offsets.size != shape[0]:
        raise PolicyFileError(f"The layer has the wrong size: expected {list(shape)}. Got {weights.size} and {offsets.size}.")
    weights = weights.reshape(shape)
    folded = offsets - zero_in * weights.sum(1, dtype=np.int64)  # [outputs]
    constants = [quantized_multiplier(scale_in * scale / scale_out) for scale in scales]
    multipliers, shifts = (np.array(values, np.int64) for values in zip(*constants, strict=True))
    # Partial sums, too: a compiler may add in any order only because none of them can overflow.
    largest = np.abs(folded) + 128 * np.abs(weights.astype(np.int64)).sum(1)  # [outputs]
    if (largest << np.maximum(shifts, 0)).max() > INT32_MAX or shifts.max() > 16:
        raise PolicyFileError(
            f"The sums are too large: expected {INT32_MAX} at most. Got {largest.max()}, shift {shifts.max()}."
        )
    return IntegerLayer(
        weights=weights,
        bias=folded.astype(np.int32),
        multipliers=multipliers.astype(np.int32),
        shifts=shifts.astype(np.int8),
        zero_point=zero_out,
        lowest=zero_out if activation == RELU else -128,
    )


def _quantization(tensor: Tensor) -> tuple[tuple[float, ...], int]:
    """The scales, as doubles, and the one zero point."""
    scales, each = read_quantization(tensor)
    zero_points = set(each)
    if len(zero_points) != 1 or not scales or not all(math.isfinite(scale) and scale > 0 for scale in scales):
        raise PolicyFileError(f"Bad quantization: expected positive scales, one zero point. Got {scales}, {zero_points}.")
    return scales, zero_points.pop()
