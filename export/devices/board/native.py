"""A policy's whole step as one C file for Python, with the one rounding of XNNPACK; who wants it compiles it on the board."""

from collections.abc import Sequence
from importlib import resources
from string import Template
from textwrap import indent
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedqn.export.devices.microcontroller.plain_c import c_array
from edgedqn.export.devices.microcontroller.sources import c_float
from edgedqn.export.edge_policy import PolicyFileError, TfliteModel, VerifiedFile
from edgedqn.export.tflite_file.integer_network import IntegerConvolution, IntegerLayer, read_integer_network, sum_bounds
from edgedqn.export.tflite_file.reader import RESHAPE, quantization, read_operators, read_quantization

SOURCE = "policy_native.c"
LARGEST = 2**22  # of a scaled sum: above that the trick that rounds it fails
MOST_WEIGHTS = 20_000  # with more, and with convolutions, the kernels of XNNPACK are the faster ones
LANES = 8  # int16 of the smallest vector registers: rows of weights are filled up to as many with zeros


def native_c(file: VerifiedFile) -> str | None:
    """The file's step in C, `policy_native.c`; None where it has none.

    It has one where both ends are int8, the network is a chain of dense layers of up to `MOST_WEIGHTS`, and no scaled sum can
    reach 2**22. The same file gives the same text.
    """
    if {file.model.input.dtype, file.model.output.dtype} != {"int8"}:
        return None
    try:
        layers = read_integer_network(file.model)
    except PolicyFileError:  # pooling, for one
        return None
    if any(isinstance(layer, IntegerConvolution) for layer in layers) or sum(x.weights.size for x in layers) > MOST_WEIGHTS:
        return None
    factors = _factors(file.model)
    scaled = [max(map(abs, sum_bounds(each))) * float(factor.max()) for each, factor in zip(layers, factors, strict=True)]
    if max(scaled) >= LARGEST:
        return None
    inputs, outputs = layers[0].inputs, layers[-1].outputs
    sizes = {"input": inputs, **{f"row_{i}": layer.outputs for i, layer in enumerate(layers[:-1])}, "output": outputs}
    scale, offset = (np.resize(np.array(each, np.float32), inputs) for each in (file.device.scale, file.device.offset))
    values = {
        "sha256": file.file_sha256,
        "inputs": inputs,
        "outputs": outputs,
        "scale": _floats(scale),
        "offset": _floats(offset),
        "constants": "\n".join(map(_constants, range(len(layers)), layers, factors)),
        "buffers": ", ".join(f"{name}[{_padded(size)}] = {{0}}" for name, size in sizes.items()),
        "calls": indent("\n".join(_calls(layers, list(sizes))), "  "),
    }
    text = (resources.files("edgedqn.export.devices.board.scripts") / SOURCE).read_text(encoding="utf-8")
    return Template(text).substitute(values)


def _factors(model: TfliteModel) -> list[NDArray[np.float32]]:
    """Of each layer [outputs], or [1]: what its sums are multiplied by, computed as XNNPACK does, in float32."""
    found = []
    for operator in read_operators(model):
        if operator.code != RESHAPE:
            given, kernel, result = (model.tensors[index] for index in (*operator.inputs[:2], operator.outputs[0]))
            ends = [np.float32(quantization(each).scale) for each in (given, result)]
            found.append(ends[0] * np.array(read_quantization(kernel)[0], np.float32) / ends[1])
    return found


def _constants(index: int, layer: IntegerLayer, factors: NDArray[np.float32]) -> str:
    weights = np.zeros((layer.outputs, _padded(layer.inputs)), np.int16)
    weights[:, : layer.inputs] = layer.weights
    return (
        f"static const int16_t weights_{index}[{weights.size}] = {{\n{c_array(weights)}\n}};\n"
        f"static const int32_t bias_{index}[{layer.bias.size}] = {{\n{c_array(layer.bias)}\n}};\n"
        f"static const float factors_{index}[{layer.outputs}] = {{\n{_floats(np.resize(factors, layer.outputs))}\n}};"
    )


def _calls(layers: Sequence[IntegerLayer], names: Sequence[str]) -> list[str]:
    """Lines that compute one layer after the other, from buffer to buffer."""
    lines = []
    for i, layer in enumerate(layers):
        tables = (
            f"weights_{i}, bias_{i}, factors_{i}, {_padded(layer.inputs)}, {layer.outputs}, {layer.lowest}, {layer.zero_point}"
        )
        lines.append(f"dense({names[i]}, {tables}, {names[i + 1]});")
    return lines


def _padded(size: int) -> int:
    return -(-size // LANES) * LANES


def _floats(values: NDArray[Any]) -> str:
    return "\n".join("  " + ", ".join(map(c_float, row.tolist())) + "," for row in np.array_split(values, -(-values.size // 8)))
