"""What stands in a `.tflite`, read from its bytes, and what an export rewrites: names, and a metadata buffer."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedqn.export.edge_policy import PolicyFileError, Table, Tensor, TfliteModel, element, unpack

# BuiltinOperator of the TFLite schema: the operators with a kernel, their weights being input 1, and what may stand between.
CONV_2D, DEPTHWISE_CONV_2D, DEQUANTIZE, FULLY_CONNECTED, RESHAPE = 3, 4, 6, 9, 22
# The schema aligns each buffer at 16 bytes (`force_align`), which kernels on small cores rely on.
BUFFER_ALIGNMENT = 16


ModelT = Any  # of ai_edge_litert.schema_py_generated, which has no types


@dataclass(frozen=True, kw_only=True)
class Window:
    """How a CONV_2D moves over its input: by Padding of the TFLite schema, and (down, across) in pixels."""

    padding: int
    strides: tuple[int, int]
    dilations: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Operator:
    """A step of the network. Tensors are named by their index.

    Attributes:
      code: BuiltinOperator of the TFLite schema.
      inputs: -1 for one that is left out.
      outputs: at least one.
      activation: ActivationFunctionType of a FULLY_CONNECTED or a CONV_2D; 0, none, of any other.
      window: of a CONV_2D; None of any other.
    """

    code: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    activation: int
    window: Window | None


@dataclass(frozen=True)
class Kernel:
    """The weights of one layer, as stored.

    Attributes:
      name: of the tensor.
      values: int8 [outputs, inputs] of a FULLY_CONNECTED, [outputs, height, width, inputs] of a CONV_2D,
        [1, height, width, outputs] of a DEPTHWISE_CONV_2D; or float32, or float16.
    """

    name: str
    values: NDArray[Any]

    @property
    def weights(self) -> int:
        """How many entries there are."""
        return self.values.size

    @property
    def nonzero_weights(self) -> int:
        """How many are not zero. TFLite stores int8 kernels symmetrically, so a zero is the integer 0."""
        return int(np.count_nonzero(self.values))


@dataclass(frozen=True)
class Quantization:
    """How a whole tensor stores real numbers: real = scale * (value - zero_point). A float tensor has 1 and 0."""

    scale: float
    zero_point: int


def read_operators(model: TfliteModel) -> tuple[Operator, ...]:
    """All of the graph, in the order they run. PolicyFileError: the file is damaged."""
    return tuple(_operator(model, table) for table in model.graph.tables(3))


def read_name(tensor: Tensor) -> str:
    """The tensor's name, empty where it was left out."""
    return _blob(tensor.table, 3).decode("utf-8", "replace")


def allocated_shape(tensor: Tensor) -> tuple[int, ...]:
    """The shape that an interpreter gives a tensor: 1 in place of what is dynamic, where a plain TFLiteConverter made it."""
    shape: tuple[int, ...] = tensor.table.numbers(0, "i")
    return shape


def read_quantization(tensor: Tensor) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Scales and zero points: one for all, or one for each output; none where the tensor is not quantized."""
    table = tensor.table.table(4)
    return (table.numbers(2, "f"), table.numbers(3, "q")) if table is not None else ((), ())


def read_data(model: TfliteModel, tensor: Tensor) -> bytes:
    """The stored values of a tensor; empty where it is computed."""
    index = tensor.table.scalar(2, "I")
    at = model.root.target(4) + 4 + 4 * index
    return _blob(Table(model.content, at + element(model.root.numbers(4, "I"), index)), 0)


def kernels(model: TfliteModel) -> tuple[Kernel, ...]:
    """The kernels of all dense and convolutional operators, in the order the operators run; biases are left out.

    Returns:
      One entry per weight tensor: a shared one is counted once, as it is stored.
    Raises:
      PolicyFileError: the file is damaged, or a kernel is sparsely encoded, computed, or of a type not listed in `Kernel`.
    """
    dequantized: dict[int, int] = {}  # output tensor -> the stored one
    found: dict[int, Kernel] = {}
    for operator in read_operators(model):
        if operator.code == DEQUANTIZE:
            dequantized[element(operator.outputs, 0)] = element(operator.inputs, 0)
        elif operator.code in (CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED):
            # float16 files keep a kernel as float16 and widen it on the device.
            index = element(operator.inputs, 1)
            index = dequantized.get(index, index)
            if index not in found:
                found[index] = _kernel(model, element(model.tensors, index))
    return tuple(found.values())


def quantization(tensor: Tensor) -> Quantization:
    """How a tensor of one scale, or of none, stores real numbers. PolicyFileError: the file is damaged."""
    scales, zero_points = read_quantization(tensor)
    return Quantization(scales[0], element(zero_points, 0)) if scales else Quantization(1.0, 0)


def fix_names(model: TfliteModel, output_name: str) -> bytes:
    """The file with its tensors renamed by their position, so that one policy always becomes the same bytes.

    Keras numbers its layers over the life of a process, and the converter writes those names into the file. The input becomes
    `observation`, the others `t0`, `t1`, ...; signatures keep their keys and name the same tensors by the new names.
    """

    def rename(parts: ModelT) -> None:
        graph = parts.subgraphs[0]
        for index, tensor in enumerate(graph.tensors):
            tensor.name = f"t{index}"
        ends = {int(graph.inputs[0]): "observation", int(graph.outputs[0]): output_name}
        for index, name in ends.items():
            graph.tensors[index].name = name
        for signature in parts.signatureDefs or []:
            for end in [*signature.inputs, *signature.outputs]:
                end.name = ends[end.tensorIndex]

    return rewrite(model, rename)


def stripped(model: TfliteModel) -> bytes:
    """Without what no runtime reads: names, descriptions, signatures, metadata, calibration ranges, and buffers of nothing.

    The file computes the same. A manifest inside it is metadata, and goes, too.
    """

    def strip(parts: ModelT) -> None:
        graph = parts.subgraphs[0]
        graph.name = parts.description = parts.signatureDefs = parts.metadata = parts.metadataBuffer = None
        kept, moved = [parts.buffers[0]], {0: 0}
        for tensor in graph.tensors:
            tensor.name = tensor.shapeSignature = None
            if tensor.quantization is not None:
                tensor.quantization.min = tensor.quantization.max = None
                if tensor.quantization.scale is None:
                    tensor.quantization = None
            data = parts.buffers[tensor.buffer].data
            if data is None or len(data) == 0:
                tensor.buffer = 0  # the schema's own empty buffer
            elif tensor.buffer not in moved:
                kept.append(parts.buffers[tensor.buffer])
                moved[tensor.buffer] = len(kept) - 1
            tensor.buffer = moved[tensor.buffer]
        parts.buffers = kept

    return rewrite(model, strip)


def with_metadata(model: TfliteModel, name: str, *, payload: bytes) -> bytes:
    """Adds a metadata buffer of at least one byte; `name` is what TFLite's tools list it under.

    In the result the payload starts at a multiple of 16, its uint32 length right in front of it.
    """

    def add(parts: ModelT) -> None:
        from ai_edge_litert import schema_py_generated as schema

        parts.buffers.append(schema.BufferT(data=np.frombuffer(payload, np.uint8)))
        parts.metadata = [*(parts.metadata or []), schema.MetadataT(name=name, buffer=len(parts.buffers) - 1)]

    return rewrite(model, add)


def rewrite(model: TfliteModel, change: Callable[[ModelT], None]) -> bytes:
    """The file after `change` was made, in place, to its `schema_py_generated.ModelT`; the same arguments give the same bytes.

    Only of a parsed file: the generated reader checks no bounds. PolicyFileError: it has more than one input or output.
    """
    _ = model.input, model.output  # refuse what there is more than one of
    # Here and not above: together they cost 4.5 MB and a slow first import, and a board only reads.
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    class AlignedBuffer(schema.BufferT):  # type: ignore[misc]
        """The generated Pack() ignores the schema's alignment."""

        def Pack(self, builder: Any) -> int:  # noqa: N802
            if self.data is None:
                return int(super().Pack(builder))
            builder.StartVector(1, len(self.data), BUFFER_ALIGNMENT)
            builder.head -= len(self.data)
            builder.Bytes[builder.head : builder.head + len(self.data)] = bytes(self.data)
            data = builder.EndVector()
            schema.BufferStart(builder)
            schema.BufferAddData(builder, data)
            return int(schema.BufferEnd(builder))

    class SharingBuilder(flatbuffers.Builder):  # type: ignore[misc]
        """Writes equal vectors once: zero points of all outputs, shapes."""

        def __init__(self, size: int) -> None:
            super().__init__(size)
            self.written: dict[tuple[str, bytes], int] = {}

        def CreateNumpyVector(self, x: NDArray[Any]) -> int:  # noqa: N802
            key = x.dtype.str, x.tobytes()
            if key not in self.written:
                self.written[key] = int(super().CreateNumpyVector(x))
            return self.written[key]

    parts = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model.content))
    change(parts)
    parts.buffers = [AlignedBuffer(buffer.data, buffer.offset, buffer.size) for buffer in parts.buffers]
    builder = SharingBuilder(len(model.content))
    builder.Finish(parts.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _operator(model: TfliteModel, table: Table) -> Operator:
    code, options = element(model.operator_codes, table.scalar(0, "I")), table.table(4)
    activation, window = 0, None
    if options is not None and code == FULLY_CONNECTED:
        activation = options.scalar(0, "b")
    if options is not None and code == CONV_2D:
        activation = options.scalar(3, "b")
        window = Window(
            padding=options.scalar(0, "b"),
            strides=(options.scalar(2, "i"), options.scalar(1, "i")),
            dilations=(options.scalar(5, "i") or 1, options.scalar(4, "i") or 1),  # left out, it is 1
        )
    ends = table.numbers(1, "i"), table.numbers(2, "i")
    return Operator(code=code, inputs=ends[0], outputs=ends[1], activation=activation, window=window)


def _kernel(model: TfliteModel, tensor: Tensor) -> Kernel:
    name, dtype, shape = read_name(tensor), tensor.dtype, tensor.shape
    if tensor.is_sparse:
        raise PolicyFileError(f"The kernel {name!r} is sparsely encoded: expected a dense tensor. Convert it without sparsity.")
    if dtype not in ("int8", "float32", "float16"):
        raise PolicyFileError(f"The kernel {name!r} has no known type: expected int8, float32 or float16. Got {dtype}.")
    data = read_data(model, tensor)
    stored = np.dtype(dtype).newbyteorder("<")
    if min(shape, default=0) < 1 or math.prod(shape) * stored.itemsize != len(data):
        raise PolicyFileError(f"The kernel {name!r} has the wrong size: expected {dtype} {list(shape)}. Got {len(data)} bytes.")
    return Kernel(name, np.frombuffer(data, stored).reshape(shape))


def _blob(table: Table, field: int) -> bytes:
    at = table.target(field)
    return unpack(table.content, f"{unpack(table.content, 'I', at)[0]}s", at + 4)[0] if at else b""
