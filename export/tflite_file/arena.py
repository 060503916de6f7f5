"""How large an arena TFLite Micro must be given, whichever kernels the firmware is built with.

What the reference kernels take is measured here. Optimized kernels ask for scratch buffers beside it, whose sizes are published
functions of a layer's shapes. A sum is a bound: TFLite Micro plans scratch buffers together with the tensors, of which only
those of one operator are there at once.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from edgedqn.agents.errors import require
from edgedqn.export.edge_policy import PolicyFileError, TfliteModel, element
from edgedqn.export.tflite_file.reader import CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED, allocated_shape, read_operators
from edgedqn.export.tflite_file.tflm import arena_bytes

ALIGNMENT = 16  # of each buffer in an arena
HANDLE = 16  # what TFLite Micro keeps of a scratch buffer, at most


@dataclass(frozen=True)
class Layer:
    """The shapes of a CONV_2D; of a FULLY_CONNECTED, those of the convolution with a kernel of 1x1 that computes the same.

    Attributes:
      given: height, width and channels of the input.
      kernel: height and width.
      result: height, width and channels of the output.
      stride: vertical and horizontal.
      dense: whether it is a FULLY_CONNECTED.
    """

    given: tuple[int, int, int]
    kernel: tuple[int, int]
    result: tuple[int, int, int]
    stride: tuple[int, int] = (1, 1)
    dense: bool = False

    @property
    def window(self) -> int:
        """The numbers that one output is made of."""
        return self.kernel[0] * self.kernel[1] * self.given[2]

    @property
    def padding(self) -> tuple[int, int]:
        """Rows and columns of padding, on both sides together; the smaller half is in front. 0 where nothing is padded."""
        needed = zip(self.given, self.kernel, self.result, self.stride, strict=False)
        vertical, horizontal = (max(0, (results - 1) * step + size - numbers) for numbers, size, results, step in needed)
        return vertical, horizontal


@dataclass(frozen=True)
class ArenaBounds:
    """The arena to set aside, in bytes, each a multiple of 16 with its margin, by the kernels that the firmware has."""

    measured: int  # what the reference kernels take on this machine, without a margin
    reference: int
    cmsis_nn: int  # Arm's, on any Cortex-M
    esp_nn: int  # Espressif's, on any ESP32

    @property
    def largest(self) -> int:
        """Enough for any of them."""
        return max(self.reference, self.cmsis_nn, self.esp_nn)


def arena_bounds(model: TfliteModel) -> ArenaBounds:
    """What TFLite Micro can ask for this network.

    Measured where pointers have 64 bits: on a microcontroller it is less. The margin is a quarter of that and 256 bytes,
    because preparing takes short-lived memory beside the total.

    Raises:
      InputError: TFLite Micro is missing or does not run the file, or a layer has no published bound.
      PolicyFileError: the file is damaged.
    """
    measured, layers = arena_bytes(model.content), list(_layers(model))

    def bound(scratch: Callable[[Layer], int]) -> int:
        buffers = [size for layer in layers if (size := scratch(layer))]
        return _whole(measured + measured // 4 + 256) + sum(_whole(size) + HANDLE for size in buffers)

    return ArenaBounds(measured, bound(lambda _: 0), bound(cmsis_nn_scratch), bound(esp_nn_scratch))


def cmsis_nn_scratch(layer: Layer) -> int:
    """The largest scratch buffer, in bytes, that CMSIS-NN asks for an int8 layer on any Cortex-M.

    With vectors (MVE: Cortex-M55, M85) a dense layer keeps a sum of 4 bytes for each output, and a convolution four windows
    that fill whole vectors of 16 bytes. The others, with DSP instructions (M4, M7, M33) and without, keep nothing for a dense
    layer and two windows of 16-bit numbers for a convolution: no more. Kernels of 1x1 and one row high take as much or less.

    Source: ARM-software/CMSIS-NN, arm_fully_connected_get_buffer_sizes_s8.c V.1.1.0, arm_convolve_get_buffer_sizes_s8.c V.2.3.0
    and V.1.4.0; tensorflow/tflite-micro, micro/kernels/cmsis_nn/{conv,fully_connected}.cc.
    """
    return 4 * layer.result[2] if layer.dense else 4 * _whole(layer.window)


def esp_nn_scratch(layer: Layer) -> int:
    """The largest scratch buffer, in bytes, that a release of ESP-NN asks for an int8 layer on any chip.

    Only the ESP32-S3 and the chips with vectors (P4, S31) ask for any; the generic kernels (ESP32, C3, C6) ask for none, and no
    chip does for a dense layer.

    Source: espressif/esp-nn, esp_nn_get_conv_scratch_size of src/convolution/esp_nn_conv_{esp32s3,esp32p4,riscv_pie,opt}.c, in
    the state of 2022 (Arduino's tf_lite_esp32 has it), 1.1.2, 1.3.0 and later ones of 2026; espressif/esp-tflite-micro,
    micro/kernels/esp_nn/{conv,fully_connected}.cc.
    """
    if layer.dense:
        return 0
    pointwise = layer.kernel == layer.stride == (1, 1)
    return max(_pointwise_sizes(layer) if pointwise else _window_sizes(layer))


def _pointwise_sizes(layer: Layer) -> Iterator[int]:
    """Of kernels of 1x1 with stride 1."""
    (height, width, channels), outputs = layer.given, layer.result[2]
    filters, padded = channels * outputs, _whole(channels, 8)
    yield filters + 16 * channels + 32 if padded == channels else 2 * (filters + height * width * channels) + 16 * channels + 32
    yield (height * width * padded if padded > channels else 0) + padded * outputs + 16 * padded + 64  # 1.1 to 1.3
    yield max(16 * padded, 24 * channels + 8 * outputs, (filters > 24 * 1024) * (24 * channels + 16 * 1024)) + 64
    yield 20 * outputs + 64  # vectors of RISC-V


def _window_sizes(layer: Layer) -> Iterator[int]:
    """Of all other kernels."""
    (height, width, channels), (rows, columns), outputs = layer.given, layer.kernel, layer.result[2]
    window, sums = layer.window, 4 * outputs
    (vertical, horizontal), (down, across) = layer.padding, layer.stride
    wide = rows * columns * _whole(channels) * outputs  # the filters with their channels filled up
    aligned = rows * _whole(columns * channels) * outputs  # ... or with their rows filled up
    doubled = (height + 2 * (vertical // 2)) * (width + 2 * (horizontal // 2)) * channels * (max(vertical, horizontal) > 1)
    below, beside = layer.result[0] * down + rows - 1 - height, layer.result[1] * across + columns - 1 - width
    ends = (height + max(0, below)) * (width + max(0, beside)) * channels * (max(below, beside) > 0)
    whole = (height + vertical) * (width + horizontal) * channels * (max(vertical, horizontal) > 0)
    yield 2 * (window * outputs + height * width * channels) + 16 * channels + 32  # 2022
    yield doubled + wide + sums + 32  # 1.1
    if columns * channels < 16 <= window:
        yield (outputs + 1) * _whole(window) + sums + 96  # from 1.3 on, and between
    else:
        yield doubled + ends + wide + aligned + sums + 32  # between 1.1 and 1.3
        yield whole + wide + aligned + sums + 64  # 1.3.0
    if layer.kernel == (3, 3) and window * outputs > 24 * 1024:
        yield 40 * window + 16 * 1024 + 96  # after 1.3: 16 windows, and a panel of filters
    yield (17 if window <= 2304 else 1) * window + sums + 48  # vectors of RISC-V: 16 windows at once
    if window < 16:
        staged = max(height, (layer.result[0] - 1) * down + rows + vertical)
        yield 16 * (rows * columns * outputs + staged * (width + horizontal + 1)) + sums + 32


def _layers(model: TfliteModel) -> Iterator[Layer]:
    for operator, table in zip(read_operators(model), model.graph.tables(3), strict=True):
        require(operator.code != DEPTHWISE_CONV_2D, "The arena of a DEPTHWISE_CONV_2D is not known: expected none. Got one.")
        if operator.code == FULLY_CONNECTED:
            outputs, inputs = _shape(model, operator.inputs, 1, rank=2)
            yield Layer((1, 1, inputs), (1, 1), (1, 1, outputs), dense=True)
        elif operator.code == CONV_2D and (options := table.table(4)) is not None:
            _, height, width, channels = _shape(model, operator.inputs, 0, rank=4)
            _, rows, columns, _ = _shape(model, operator.inputs, 1, rank=4)
            _, high, wide, outputs = _shape(model, operator.outputs, 0, rank=4)
            stride = options.scalar(2, "i"), options.scalar(1, "i")
            yield Layer((height, width, channels), (rows, columns), (high, wide, outputs), stride)


def _shape(model: TfliteModel, indices: Sequence[int], place: int, *, rank: int) -> tuple[int, ...]:
    shape = allocated_shape(element(model.tensors, element(indices, place)))
    if len(shape) != rank:
        raise PolicyFileError(f"Impossible shape of a layer: expected {rank} dimensions. Got {list(shape)}.")
    return shape


def _whole(size: int, multiple: int = ALIGNMENT) -> int:
    return -(-size // multiple) * multiple
