"""An int8 network read out of a `.tflite`, as TFLite Micro computes it: a chain of dense layers and convolutions.

The constants are those that TFLM's kernels prepare at start: one multiplier and one shift for each scale of the weights,
computed in double.

Source: tensorflow/lite/kernels/{padding.h, kernel_util.cc}, tensorflow/lite/kernels/internal/{common.h, quantization_util.cc},
tensorflow/lite/kernels/internal/reference/integer_ops/conv.h, gemmlowp/fixedpoint/fixedpoint.h.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgedqn.export.edge_policy import OPERATORS, PolicyFileError, Tensor, TfliteModel, element
from edgedqn.export.tflite_file.reader import (
    CONV_2D,
    FULLY_CONNECTED,
    RESHAPE,
    Operator,
    allocated_shape,
    read_data,
    read_operators,
    read_quantization,
)

NO_ACTIVATION, RELU = 0, 1  # ActivationFunctionType of the TFLite schema
SAME, VALID = 0, 1  # Padding, likewise
LARGEST_SUM = 2**31 - 1 - 128  # of a sum shifted to the left: the zero point is added to what is scaled, which is no larger


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
      least_input: what comes in is in least_input .. 127.
    """

    weights: NDArray[np.int8]
    bias: NDArray[np.int32]
    multipliers: NDArray[np.int32]
    shifts: NDArray[np.int8]
    zero_point: int
    lowest: int
    least_input: int = -128

    @property
    def outputs(self) -> int:
        """How many int8 it writes."""
        return len(self.weights)

    @property
    def inputs(self) -> int:
        """How many int8 it reads."""
        return self.weights.shape[1]


@dataclass(frozen=True, kw_only=True)
class IntegerConvolution(IntegerLayer):
    """A CONV_2D: at each place of the output what an `IntegerLayer` does with the window of the input that lies there.

    Attributes:
      weights: int8 [channels out, kernel height, kernel width, channels in].
      input_shape: (height, width, channels).
      output_shape: likewise.
      strides: (down, across), in pixels of the input.
      padding: (above, left): how far the first window reaches beyond the input, in pixels.
      input_zero_point: what stands for the pixels beyond the input, at all four sides.
    """

    input_shape: tuple[int, int, int]
    output_shape: tuple[int, int, int]
    strides: tuple[int, int]
    padding: tuple[int, int]
    input_zero_point: int

    @property
    def outputs(self) -> int:
        """How many int8 it writes: height * width * channels."""
        return math.prod(self.output_shape)

    @property
    def inputs(self) -> int:
        """How many int8 it reads."""
        return math.prod(self.input_shape)


def read_integer_network(model: TfliteModel) -> tuple[IntegerLayer, ...]:
    """The layers, in the order they run, of an int8 network with one input and one output [1, A]; a RESHAPE moves nothing.

    Raises:
      PolicyFileError: the file is damaged, or is no chain of int8 FULLY_CONNECTED, CONV_2D without dilation or groups, and
        RESHAPE, with no activation or ReLU; or a sum could leave 32 bits, where TFLM's result is undefined.
    """
    (current,), (last,) = model.inputs, model.outputs
    layers: list[IntegerLayer] = []
    for operator in read_operators(model):
        if operator.inputs[:1] != (current,):
            raise PolicyFileError("No plain network: expected a chain, each layer reading the one before. Got another graph.")
        result = element(operator.outputs, 0)
        if operator.code == RESHAPE:
            sizes = [math.prod(allocated_shape(element(model.tensors, index))) for index in (current, result)]
            if sizes[0] != sizes[1]:
                raise PolicyFileError(f"The file is damaged: expected a RESHAPE of {sizes[0]} entries. Got {sizes[1]}.")
        elif operator.code in (FULLY_CONNECTED, CONV_2D):
            layers.append(_layer(model, operator, layers[-1].lowest if layers else -128))
        else:
            name = OPERATORS.get(operator.code, operator.code)
            raise PolicyFileError(f"No plain network: expected FULLY_CONNECTED, CONV_2D and RESHAPE. Got the operator {name}.")
        current = result
    if not layers or current != last:
        raise PolicyFileError("No plain network: expected a chain that ends at the output. Got another graph.")
    return tuple(layers)


def quantized_multiplier(real: float) -> tuple[int, int]:
    """A positive real number as (multiplier, shift): real = multiplier / 2**31 * 2**shift, as TFLM's QuantizeMultiplier."""
    fraction, shift = math.frexp(real)
    multiplier = math.floor(fraction * 2**31 + 0.5)  # C's round() for what is positive; Python's rounds halves to even
    if multiplier == 2**31:
        multiplier, shift = 2**30, shift + 1
    return (multiplier, shift) if shift >= -31 else (0, 0)


def sum_bounds(layer: IntegerLayer) -> tuple[int, int]:
    """The least and the largest number that any sum of a layer passes through, whatever comes in, in any order of adding.

    Each end is reached: by the input that makes each product least or largest, added in the order of their signs.
    """
    weights = layer.weights.reshape(len(layer.weights), -1).astype(np.int64)  # [outputs, terms]
    ends = np.stack([weights * layer.least_input, weights * 127])  # of each product
    bias = layer.bias.astype(np.int64)
    least = np.minimum(bias, 0) + np.minimum(ends.min(0), 0).sum(1)  # [outputs]
    largest = np.maximum(bias, 0) + np.maximum(ends.max(0), 0).sum(1)
    return int(least.min()), int(largest.max())


def _layer(model: TfliteModel, operator: Operator, least_input: int) -> IntegerLayer:
    given, kernel, result = (element(model.tensors, index) for index in (*operator.inputs[:2], operator.outputs[0]))
    dtypes = [tensor.dtype for tensor in (given, kernel, result)]
    if dtypes != ["int8", "int8", "int8"] or kernel.is_sparse:
        raise PolicyFileError(f"No int8 layer: expected input, dense kernel and output of int8. Got {dtypes}.")
    if operator.activation not in (NO_ACTIVATION, RELU):
        raise PolicyFileError(f"Unknown activation: expected none or ReLU. Got {operator.activation}.")
    shape, rank = kernel.shape, 2 if operator.code == FULLY_CONNECTED else 4
    (scale_in,), zero_in = _quantization(given)
    scales, zero_weights = _quantization(kernel, shape[0] if shape else 1)
    (scale_out,), zero_out = _quantization(result)
    if zero_weights != 0 or len(shape) != rank:
        raise PolicyFileError(f"No int8 kernel: expected {rank} dimensions, zero point 0. Got {list(shape)}, {zero_weights}.")
    weights = np.frombuffer(read_data(model, kernel), np.int8)
    if weights.size != math.prod(shape) or not weights.size:
        raise PolicyFileError(f"The kernel has the wrong size: expected {list(shape)}. Got {weights.size}.")
    weights = weights.reshape(shape)
    folded = _bias(model, operator, shape[0]) - zero_in * weights.reshape(shape[0], -1).sum(1, dtype=np.int64)  # [outputs]
    constants = [quantized_multiplier(scale_in * scale / scale_out) for scale in scales]
    multipliers, shifts = (np.array(values, np.int64) for values in zip(*constants, strict=True))
    if np.abs(folded).max() > LARGEST_SUM or shifts.max() > 16:
        raise PolicyFileError(f"The sums are too large: expected {LARGEST_SUM} at most. Got a bias of {np.abs(folded).max()}.")
    dense = IntegerLayer(
        weights=weights,
        bias=folded.astype(np.int32),
        multipliers=multipliers.astype(np.int32),
        shifts=shifts.astype(np.int8),
        zero_point=zero_out,
        lowest=zero_out if operator.activation == RELU else -128,
        least_input=min(least_input, zero_in),  # which pads a convolution
    )
    sizes = (math.prod(allocated_shape(given)), math.prod(allocated_shape(result)))
    layer = dense if operator.code == FULLY_CONNECTED else _convolution(dense, operator, (given, result), zero_in=zero_in)
    if (layer.inputs, layer.outputs) != sizes:
        raise PolicyFileError(
            f"The layer does not fit: expected {layer.inputs} numbers in and {layer.outputs} out. Got {sizes[0]}, {sizes[1]}."
        )
    largest = max(map(abs, sum_bounds(layer))) << max(int(shifts.max()), 0)
    if largest > LARGEST_SUM:
        raise PolicyFileError(f"The sums are too large: expected {LARGEST_SUM} at most. Got up to {largest}.")
    return layer


def _bias(model: TfliteModel, operator: Operator, outputs: int) -> NDArray[np.int64]:
    """[outputs], of zeros where the converter left it out, as it does where all of it is zero."""
    if len(operator.inputs) == 2 or operator.inputs[2:] == (-1,):
        return np.zeros(outputs, np.int64)
    tensor = element(model.tensors, element(operator.inputs, 2))
    data = read_data(model, tensor)
    if tensor.dtype != "int32" or len(data) != 4 * outputs:
        raise PolicyFileError(f"No bias of this layer: expected int32 [{outputs}]. Got {tensor.dtype} of {len(data)} bytes.")
    return np.frombuffer(data, "<i4").astype(np.int64)


def _convolution(dense: IntegerLayer, operator: Operator, ends: Sequence[Tensor], *, zero_in: int) -> IntegerConvolution:
    """A layer whose weights are those of windows, with where these lie; `ends` are the input and the output."""
    shapes = [allocated_shape(tensor) for tensor in ends]
    window = operator.window
    if any(len(shape) != 4 or shape[0] != 1 for shape in shapes) or shapes[0][3] != dense.weights.shape[3]:
        got = f"{list(shapes[0])} for a kernel of {list(dense.weights.shape)}"
        raise PolicyFileError(f"No plain convolution: expected [1, height, width, channels], without groups. Got {got}.")
    if window is None or window.dilations != (1, 1) or window.padding not in (SAME, VALID) or min(window.strides) < 1:
        raise PolicyFileError(f"No plain convolution: expected a window without dilation. Got {window}.")
    places, padding = [], []
    for size, kernel, stride in zip(shapes[0][1:3], dense.weights.shape[1:3], window.strides, strict=True):
        count = -(-size // stride) if window.padding == SAME else (size - kernel) // stride + 1
        places.append(max(count, 0))
        padding.append(max((count - 1) * stride + kernel - size, 0) // 2)  # what is odd lies below and at the right
    (_, height, width, channels), filters = shapes[0], len(dense.weights)
    return IntegerConvolution(
        **vars(dense),
        input_shape=(height, width, channels),
        output_shape=(places[0], places[1], filters),
        strides=window.strides,
        padding=(padding[0], padding[1]),
        input_zero_point=zero_in,
    )


def _quantization(tensor: Tensor, outputs: int = 1) -> tuple[tuple[float, ...], int]:
    """The scales, as doubles, one for all or one for each output, and the one zero point, an int8."""
    scales, each = read_quantization(tensor)
    zero_points = set(each)
    sound = len(scales) in (1, outputs) and all(math.isfinite(scale) and scale > 0 for scale in scales)
    if not sound or len(zero_points) != 1 or not -128 <= min(zero_points) <= 127:
        raise PolicyFileError(
            f"Bad quantization: expected 1 or {outputs} positive scales, one int8 zero point. Got {scales}, {zero_points}."
        )
    return scales, zero_points.pop()
