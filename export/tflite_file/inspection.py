"""What a `.tflite` holds and where it runs, read from its bytes alone: no interpreter sees a file that nothing has proven."""

import hashlib
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from edgedqn.export.edge_policy import (
    DTYPES,
    OPERATORS,
    DeviceManifest,
    PolicyFileError,
    Table,
    element,
    find_block,
    operator_codes,
    read_file,
    read_subgraph,
    read_verified,
    tensor_shape,
)
from edgedqn.export.tflite_file.reader import CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED, io_quantization, kernels
from edgedqn.export.tflite_file.tflm import MicroUnavailableError, arena_bytes

SCHEMA = 1
LAYERS = (CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED)
ALIGNMENT = 16  # of each tensor in an arena
SCALES_SHOWN = 8


def inspect(path: Path) -> dict[str, Any]:
    """Looks into a file, ours or not.

    Args:
      path: a `.tflite`. One that carries a manifest, or has a sidecar, must be what that says.
    Returns:
      A JSON object. `manifest` is the device part, null where there is none and so nothing proves the file whole. Sizes are in
      bytes; `zero_fraction` is 0 to 1; `multiply_accumulates` are of one step; `live_bytes` is the most that tensors between
      operators take at once, which an arena cannot undercut; `arena_bytes` is TFLite Micro's, and `arena_unmeasured` says why
      it is null. `kernels_unread` says why `kernels` is empty. `devices` says of each kind whether it runs the file, and why
      not.
    Raises:
      PolicyFileError: the file is missing, damaged, or not of exactly one subgraph.
    """
    try:
        content = read_file(path)
        proven = find_block(content) is not None or path.with_suffix(".json").exists()
        device = read_verified(path).device if proven else None
        model, graph = read_subgraph(content)
        codes, tensors, buffers = operator_codes(model), graph.tables(0), model.tables(4)
        operators = [_operator(operator, codes, tensors) for operator in graph.tables(3)]
        ends = {side: [int(index) for index in graph.numbers(field, "i")] for side, field in (("inputs", 1), ("outputs", 2))}
        described = [_tensor(tensor, buffers) for tensor in tensors]
        return {
            "schema": SCHEMA,
            "file": path.name,
            "sha256": hashlib.sha256(content).hexdigest(),
            "size_bytes": len(content),
            **ends,
            "operators": operators,
            "operator_counts": dict(sorted(Counter(each["operator"] for each in operators).items())),
            "tensors": described,
            **_kernels(content),
            "multiply_accumulates": sum(each["multiply_accumulates"] for each in operators),
            "live_bytes": _live_bytes(operators, described, ends),
            **_arena(content, device),
            "devices": _devices(content, device, operators, described),
            "manifest": None if device is None else device.to_json(),
        }
    except PolicyFileError as error:
        text = str(error)
        raise PolicyFileError(text if text.startswith(f"{path}: ") else f"{path}: {text}") from error


def multiply_accumulates(content: bytes) -> int:
    """Of one step, in all layers that have kernels.

    Raises:
      PolicyFileError: the file is damaged, or not of exactly one subgraph.
    """
    model, graph = read_subgraph(content)
    codes, tensors = operator_codes(model), graph.tables(0)
    return sum(_operator(operator, codes, tensors)["multiply_accumulates"] for operator in graph.tables(3))


def _operator(operator: Table, codes: list[int], tensors: list[Table]) -> dict[str, Any]:
    code = element(codes, operator.scalar(0, "I", 0))
    inputs, outputs = operator.numbers(1, "i"), operator.numbers(2, "i")
    work = 0
    if code in LAYERS:
        kernel = tensor_shape(element(tensors, element(inputs, 1)))  # outputs first, or 1 where each channel is alone
        result = tensor_shape(element(tensors, element(outputs, 0)))
        work = math.prod(result) * math.prod(kernel[1:-1] if code == DEPTHWISE_CONV_2D else kernel[1:])
    return {
        "operator": OPERATORS.get(code, f"builtin {code}"),
        "inputs": [int(index) for index in inputs],
        "outputs": [int(index) for index in outputs],
        "multiply_accumulates": work,
    }


def _tensor(tensor: Table, buffers: list[Table]) -> dict[str, Any]:
    code = tensor.scalar(1, "b", 0)
    parameters = tensor.table(4)
    scales = () if parameters is None else parameters.numbers(2, "f")
    quantization = None
    if parameters is not None and scales:
        shown = [float(value) if math.isfinite(value) else None for value in scales[:SCALES_SHOWN]]
        zero_points = [int(value) for value in parameters.numbers(3, "q")[:SCALES_SHOWN]]
        quantization = {"scales": len(scales), "scale": shown, "zero_point": zero_points}
    return {
        "name": tensor.blob(3).decode("utf-8", "replace"),
        "dtype": DTYPES.get(code, f"type {code}"),
        "shape": list(tensor_shape(tensor)),
        "stored_bytes": len(element(buffers, tensor.scalar(2, "I", 0)).blob(0)),
        "quantization": quantization,
        "sparse": tensor.table(6) is not None,
    }


def _kernels(content: bytes) -> dict[str, Any]:
    try:
        found = kernels(content)
    except PolicyFileError as error:  # a network of another kind may well be whole
        return {"kernels": [], "kernels_unread": str(error)}
    described = [
        {
            "name": kernel.name,
            "dtype": kernel.values.dtype.name,
            "shape": list(kernel.values.shape),
            "weights": kernel.weights,
            "zero_fraction": 1 - kernel.nonzero_weights / kernel.weights,
            "distinct_values": len(np.unique(kernel.values)),
        }
        for kernel in found
    ]
    return {"kernels": described, "kernels_unread": None}


def _live_bytes(operators: list[dict[str, Any]], tensors: list[dict[str, Any]], ends: dict[str, list[int]]) -> int:
    """The largest sum, over the operators, of the tensors that are there at once; each fills whole blocks of 16 bytes."""
    last = len(operators)
    born, dies = dict.fromkeys(ends["inputs"], 0), dict.fromkeys(ends["outputs"], last)
    for at, operator in enumerate(operators):
        for index in operator["outputs"]:
            born.setdefault(index, at)
        for index in operator["inputs"]:
            dies[index] = max(dies.get(index, 0), at)
    sizes = {}
    for index in born:
        tensor = element(tensors, index)
        name = tensor["dtype"]
        width = np.dtype(name).itemsize if name in DTYPES.values() else 1
        sizes[index] = -(-math.prod(tensor["shape"]) * width // ALIGNMENT) * ALIGNMENT
    return max(
        (sum(sizes[i] for i in born if born[i] <= at <= dies.get(i, born[i])) for at in range(last)),
        default=0,
    )


def _arena(content: bytes, device: DeviceManifest | None) -> dict[str, Any]:
    """By TFLite Micro's interpreter, in one more process; a file that nothing proves is not given to it."""
    if device is None:
        return {"arena_bytes": None, "arena_unmeasured": "No manifest proves this file whole, so it is not run."}
    try:
        return {"arena_bytes": arena_bytes(content), "arena_unmeasured": None}
    except MicroUnavailableError as error:
        return {"arena_bytes": None, "arena_unmeasured": str(error)}


def _devices(
    content: bytes, device: DeviceManifest | None, operators: list[dict[str, Any]], tensors: list[dict[str, Any]]
) -> dict[str, Any]:
    common = []
    if device is None:
        common.append("It has no manifest, so how to scale an observation is unknown.")
    unknown = sorted({each["operator"] for each in operators}.difference(OPERATORS.values()))
    common += [f"Operators that no policy is made of: {', '.join(unknown)}."] if unknown else []
    common += ["Sparse kernels: XNNPACK reads past their end."] if any(each["sparse"] for each in tensors) else []
    dtypes = {each["dtype"] for each in tensors}
    small, page = list(common), list(common)
    ends = io_quantization(content)
    source, sink = ends.input.dtype, ends.output.dtype
    if (source, sink) != ("int8", "int8"):
        small.append(f"It takes {source} and gives {sink}: policy_step() wants int8 for both.")
    if "float16" in dtypes:
        small.append("Half-precision weights: TFLite Micro widens none.")
    for each in operators:
        types = [tensors[i]["dtype"] for i in each["inputs"][:2] if 0 <= i < len(tensors)]
        if types == ["float32", "int8"] and each["multiply_accumulates"]:
            small.append("Integer weights for float numbers (dynamic): TFLite Micro has no such kernels.")
            break
    if (source, sink) != ("float32", "float32"):
        page.append(f"It takes {source} and gives {sink}: LiteRT.js wants float32, see --float-io.")
    found = (("linux_board", common), ("microcontroller", small), ("browser", page))
    return {kind: {"runs": not reasons, "reasons": reasons} for kind, reasons in found}
