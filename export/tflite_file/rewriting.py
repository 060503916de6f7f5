"""Other ends for a policy file: operators put before and behind its network.

The integers in between stay, but for convolutions that pad: an input half-way between two integers may round to the other one.
"""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedqn.export.edge_policy import OPERATORS, TWIN_OF, DeviceManifest, PolicyFileError, TfliteModel
from edgedqn.export.tflite_file.manifest import embed
from edgedqn.export.tflite_file.reader import quantization, read_operators, rewrite, stripped


def float_twin(model: TfliteModel, device: DeviceManifest) -> tuple[bytes, DeviceManifest]:
    """The same policy with float ends: the file that browsers take, and the faster one through Python on many boards.

    Returns:
      The twin of a finished file, stripped, and its own device part, which is inside it, too. That says `twin_of`, the
      SHA-256 of the file, where every integer is the same, so that `EdgePolicy.load` may run the twin in its place.
    Raises:
      PolicyFileError: the file is damaged, or has no integer input.
    """
    content, ends = with_float_ends(model, device)
    twin = TfliteModel(content)
    if _rounds_as_a_device(twin):
        ends = replace(ends, source={**ends.to_json(), TWIN_OF: sha256(model.content).hexdigest()})
    return embed(stripped(twin), ends), ends


def with_float_ends(model: TfliteModel, device: DeviceManifest) -> tuple[bytes, DeviceManifest]:
    """The same before it is stripped and gets a manifest: what an exporter goes on with.

    The scaling and the rounding of the device become operators, in its order: MUL, ADD, QUANTIZE; behind the network stands
    DEQUANTIZE. So that the QUANTIZE rounds just what a device rounds, its step is 1: the first layer gets that as its
    input's scale, and its own scales take up the factor. That product is the first thing that XNNPACK computes of them, in
    float32, too, hence every later integer is that of the integer file.

    Args:
      model: with an int8 input, its output int8 or float32; without a manifest.
      device: its manifest's device part; observation * scale + offset, rounded and clamped, is the input.
    Raises:
      PolicyFileError: the input is no int8, or the operator that reads it has no scale to change.
    """
    scale, offset = np.array(device.scale, np.float32), np.array(device.offset, np.float32)
    if model.input.dtype != "int8":
        raise PolicyFileError(f"Nothing to scale inside the file: expected an int8 input. Got {model.input.dtype}.")

    def change(parts: Any) -> None:
        graph = _Graph(parts)
        schema, tensors = graph.schema, graph.graph.tensors
        given, output = int(graph.graph.inputs[0]), int(graph.graph.outputs[0])
        shape = tensors[given].shape
        kept = graph.with_unit_step(given)
        at = observation = graph.tensor("FLOAT32", shape)
        before = []
        for code, options, values, neutral in (
            ("MUL", schema.MulOptionsT(), scale, 1),
            ("ADD", schema.AddOptionsT(), offset - np.float32(kept), 0),
        ):
            if (values != neutral).any():
                result = graph.tensor("FLOAT32", shape)
                before.append(graph.operator(code, [at, graph.constant(values)], result, options))
                at = result
        before.append(graph.operator("QUANTIZE", [at], given, schema.QuantizeOptionsT()))
        graph.graph.operators = before + graph.graph.operators
        graph.set_end("inputs", observation)
        if model.output.dtype == "int8":
            real = graph.tensor("FLOAT32", tensors[output].shape)
            graph.graph.operators.append(graph.operator("DEQUANTIZE", [output], real, schema.DequantizeOptionsT()))
            graph.set_end("outputs", real)

    return rewrite(model, change), replace(device, scale=(1.0,), offset=(0.0,))


def _rounds_as_a_device(twin: TfliteModel) -> bool:
    """Whether nothing is added behind the rounding in front."""
    rounded = next(each for each in read_operators(twin) if OPERATORS.get(each.code) == "QUANTIZE")
    return quantization(twin.tensors[rounded.outputs[0]]).zero_point == 0


def with_action_output(model: TfliteModel) -> bytes:
    """A file whose output [1, A] becomes the index of the largest, int32 [1], the lowest among equals; without a manifest."""

    def change(parts: Any) -> None:
        graph = _Graph(parts)
        schema = graph.schema
        axis = graph.constant(np.array(1, np.int32))
        action = graph.tensor("INT32", [1])
        options = schema.ArgMaxOptionsT(outputType=schema.TensorType.INT32)
        graph.graph.operators.append(graph.operator("ARG_MAX", [int(graph.graph.outputs[0]), axis], action, options))
        graph.set_end("outputs", action)

    return rewrite(model, change)


def with_dense_kernels(
    model: TfliteModel, layers: Sequence[tuple[NDArray[np.int8], NDArray[np.float32], NDArray[np.float32]]]
) -> bytes:
    """A file whose dense layers of int8, in order, have these kernels [in, out], scales [out] and biases [out].

    The biases are real numbers; they become int32 in units of the input's scale times the kernel's.
    """

    def change(parts: Any) -> None:
        graph = _Graph(parts)
        schema, tensors = graph.schema, graph.graph.tensors
        dense = (each for each in graph.graph.operators if graph.code(each) == schema.BuiltinOperator.FULLY_CONNECTED)
        operands = [[tensors[index] for index in operator.inputs] for operator in dense]
        rounded = [each for each in operands if each[1].type == schema.TensorType.INT8]
        for (given, kernel, bias), (values, scales, biases) in zip(rounded, layers, strict=True):
            graph.store(kernel, values.T)
            kernel.quantization = schema.QuantizationParametersT(scale=scales, zeroPoint=np.zeros(scales.shape, np.int64))
            unit = scales * np.float32(given.quantization.scale[0])
            graph.store(bias, np.rint(biases / unit).astype(np.int32))
            bias.quantization = schema.QuantizationParametersT(scale=unit, zeroPoint=np.zeros(unit.shape, np.int64))

    return rewrite(model, change)


class _Graph:
    """A model in the schema's object form, and what is put into its only subgraph. What is added has no name yet."""

    def __init__(self, model: Any) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.schema, self.model, self.graph = schema, model, model.subgraphs[0]
        code = schema.BuiltinOperator
        self.layers = (code.FULLY_CONNECTED, code.CONV_2D, code.DEPTHWISE_CONV_2D)
        self.movers = (code.RESHAPE, code.MAX_POOL_2D)  # they hand each value on as it is

    def tensor(self, dtype: str, shape: Any, buffer: int = 0) -> int:
        """Adds a tensor and returns its index."""
        kind = getattr(self.schema.TensorType, dtype)
        self.graph.tensors.append(self.schema.TensorT(shape=np.array(shape, np.int32), type=kind, buffer=buffer))
        return len(self.graph.tensors) - 1

    def constant(self, values: NDArray[Any]) -> int:
        """Adds a tensor with these values, float32 or int32, and returns its index."""
        return self.tensor(values.dtype.name.upper(), values.shape, self.buffer(values))

    def buffer(self, values: NDArray[Any]) -> int:
        """Adds a buffer and returns its index."""
        data = np.frombuffer(values.astype(values.dtype.newbyteorder("<")).tobytes(), np.uint8)
        self.model.buffers.append(self.schema.BufferT(data=data))
        return len(self.model.buffers) - 1

    def store(self, tensor: Any, values: NDArray[Any]) -> None:
        """Gives a tensor other values; one that shares its buffer keeps the old ones."""
        buffer = self.buffer(values)
        if sum(each.buffer == tensor.buffer for each in self.graph.tensors) == 1:
            self.model.buffers[tensor.buffer] = self.model.buffers.pop()
        else:
            tensor.buffer = buffer

    def operator(self, code: str, inputs: list[int], output: int, options: Any) -> Any:
        """Makes an operator, which the caller puts in its place; `options` is an object of the schema, `MulOptionsT()`."""
        builtin = getattr(self.schema.BuiltinOperator, code)
        known = [each.builtinCode for each in self.model.operatorCodes]
        if builtin not in known:
            version = 2 if code in ("ARG_MAX", "DEQUANTIZE") else 1  # 2: of int8
            made = self.schema.OperatorCodeT(deprecatedBuiltinCode=builtin, builtinCode=builtin, version=version)
            self.model.operatorCodes.append(made)
            known.append(builtin)
        return self.schema.OperatorT(
            opcodeIndex=known.index(builtin),
            inputs=np.array(inputs, np.int32),
            outputs=np.array([output], np.int32),
            builtinOptionsType=getattr(self.schema.BuiltinOptions, type(options).__name__.removesuffix("T")),
            builtinOptions=options,
        )

    def code(self, operator: Any) -> int:
        """Its BuiltinOperator."""
        return int(self.model.operatorCodes[operator.opcodeIndex].builtinCode)

    def set_end(self, side: str, tensor: int) -> None:
        """Makes a tensor the only input or output; the signature, where there is one, follows."""
        setattr(self.graph, side, np.array([tensor], np.int32))
        for signature in self.model.signatureDefs or []:
            for end in getattr(signature, side):
                end.tensorIndex = tensor

    def with_unit_step(self, index: int) -> int:
        """Gives the input the scale 1 and moves its old one into the kernels that read it; returns its new zero point.

        Of dense layers, and of convolutions that pad nothing, that is 0: their zero point moves into the bias, so that what
        is rounded is the very number a device rounds. Adding a zero point after rounding half to even would be another
        rounding where it is odd. A convolution that pads does so with its zero point, and keeps it; then the numbers are the
        same unless they fall on a half.
        """
        tensors, readers = self.graph.tensors, self._readers(index)
        carriers = {index, *(int(operator.outputs[0]) for operator, kind in readers if kind in self.movers)}
        layers = [(operator, kind) for operator, kind in readers if kind in self.layers]
        scale, zero_point = np.float32(tensors[index].quantization.scale[0]), int(tensors[index].quantization.zeroPoint[0])
        movable = all(self._pads_nothing(operator, kind) for operator, kind in layers)
        for operator, _ in layers:
            weights = tensors[operator.inputs[1]].quantization
            weights.scale = scale * np.asarray(weights.scale, np.float32)
            if movable:
                self._move_zero_point(operator, zero_point)
        kept = 0 if movable else zero_point
        for each in carriers:
            tensors[each].quantization = self.schema.QuantizationParametersT(
                scale=np.array([1], np.float32), zeroPoint=np.array([kept], np.int64)
            )
        return kept

    def _readers(self, index: int) -> list[tuple[Any, int]]:
        """The operators that read a tensor, itself or reshaped or pooled, each with its code."""
        found, pending = [], [index]
        while pending:
            at = pending.pop()
            for operator in self.graph.operators:
                if at not in operator.inputs:
                    continue
                kind = self.code(operator)
                if kind not in (*self.layers, *self.movers) or operator.inputs[0] != at:
                    raise PolicyFileError(
                        "The input cannot be scaled inside the file: expected a dense or convolutional layer to read it. "
                        f"Got builtin operator {kind}."
                    )
                found.append((operator, kind))
                pending += [int(operator.outputs[0])] if kind in self.movers else []
        return found

    def _pads_nothing(self, operator: Any, kind: int) -> bool:
        """Of a dense layer or a convolution; a depthwise one, whose kernel is laid out otherwise, is taken to pad."""
        code = self.schema.BuiltinOperator
        valid = kind == code.CONV_2D and operator.builtinOptions.padding == self.schema.Padding.VALID
        return valid or kind == code.FULLY_CONNECTED

    def _move_zero_point(self, operator: Any, zero_point: int) -> None:
        """sum (q - z) w + b = sum q w + (b - z sum w): the bias becomes what stands in brackets."""
        kernel = self.graph.tensors[operator.inputs[1]]
        if kernel.sparsity is not None:
            raise PolicyFileError("The input cannot be scaled inside a sparse file: expected dense kernels. Got a sparse one.")
        weights = np.frombuffer(bytes(self.model.buffers[kernel.buffer].data), np.int8).reshape(
            kernel.shape[0], -1
        )  # [out, in]
        moved = -zero_point * weights.sum(axis=1, dtype=np.int64)  # [out]
        if len(operator.inputs) > 2 and operator.inputs[2] >= 0:
            bias = self.graph.tensors[operator.inputs[2]]
            moved += np.frombuffer(bytes(self.model.buffers[bias.buffer].data), "<i4")
        else:
            bias = self.graph.tensors[self.tensor("INT32", moved.shape)]
            scale = np.asarray(kernel.quantization.scale, np.float32)  # the input's is in it by now
            bias.quantization = self.schema.QuantizationParametersT(scale=scale, zeroPoint=np.zeros(scale.shape, np.int64))
            operator.inputs = np.array([*operator.inputs[:2], len(self.graph.tensors) - 1], np.int32)
        bias.buffer = self.buffer(moved.astype(np.int32))  # another one: equal biases may share theirs
