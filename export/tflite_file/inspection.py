"""What a `.tflite` holds and where it runs, read from its bytes alone: no interpreter sees a file that nothing has proven."""

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgedqn.export.edge_policy import (
    DTYPES,
    OPERATORS,
    DeviceManifest,
    Json,
    PolicyFileError,
    Tensor,
    TfliteModel,
    element,
    find_block,
    read_file,
    read_verified,
)
from edgedqn.export.tflite_file.reader import (
    CONV_2D,
    DEPTHWISE_CONV_2D,
    FULLY_CONNECTED,
    Operator,
    allocated_shape,
    kernels,
    read_data,
    read_name,
    read_operators,
    read_quantization,
)
from edgedqn.export.tflite_file.tflm import MicroUnavailableError, arena_bytes

SCHEMA = 1
LAYERS = (CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED)
ALIGNMENT = 16  # of each tensor in an arena
SCALES_SHOWN = 8


def inspect(path: Path) -> Json:
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
        proven = read_verified(path) if find_block(content) is not None or path.with_suffix(".json").exists() else None
        model, device = (proven.model, proven.device) if proven else (TfliteModel(content), None)
        operators = read_operators(model)
        return {
            "schema": SCHEMA,
            "file": path.name,
            "sha256": hashlib.sha256(model.content).hexdigest(),
            "size_bytes": len(model.content),
            "inputs": list(model.inputs),
            "outputs": list(model.outputs),
            "operators": [
                {
                    "operator": _name(operator),
                    "inputs": list(operator.inputs),
                    "outputs": list(operator.outputs),
                    "multiply_accumulates": _work(model, operator),
                }
                for operator in operators
            ],
            "operator_counts": dict(sorted(Counter(map(_name, operators)).items())),
            "tensors": [_describe_tensor(model, tensor) for tensor in model.tensors],
            **_describe_kernels(model),
            "multiply_accumulates": multiply_accumulates(model),
            "live_bytes": _live_bytes(model, operators),
            **_arena(model.content, device),
            "devices": _devices(model, operators, device),
            "manifest": None if device is None else device.to_json(),
        }
    except PolicyFileError as error:
        text = str(error)
        raise PolicyFileError(text if text.startswith(f"{path}: ") else f"{path}: {text}") from error


def multiply_accumulates(model: TfliteModel) -> int:
    """Of one step, in all layers that have kernels. PolicyFileError: the file is damaged."""
    return sum(_work(model, operator) for operator in read_operators(model))


def _name(operator: Operator) -> str:
    return OPERATORS.get(operator.code, f"builtin {operator.code}")


def _work(model: TfliteModel, operator: Operator) -> int:
    """Multiply-accumulates of one step."""
    if operator.code not in LAYERS:
        return 0
    kernel = element(model.tensors, element(operator.inputs, 1)).shape  # outputs first, or 1 where each channel is alone
    result = allocated_shape(element(model.tensors, element(operator.outputs, 0)))
    return math.prod(result) * math.prod(kernel[1:-1] if operator.code == DEPTHWISE_CONV_2D else kernel[1:])


def _describe_tensor(model: TfliteModel, tensor: Tensor) -> dict[str, object]:
    scales, zero_points = read_quantization(tensor)
    shown = [value if math.isfinite(value) else None for value in scales[:SCALES_SHOWN]]
    described = {"scales": len(scales), "scale": shown, "zero_point": list(zero_points[:SCALES_SHOWN])}
    return {
        "name": read_name(tensor),
        "dtype": tensor.dtype,
        "shape": list(tensor.shape),
        "stored_bytes": len(read_data(model, tensor)),
        "quantization": described if scales else None,
        "sparse": tensor.is_sparse,
    }


def _describe_kernels(model: TfliteModel) -> dict[str, object]:
    try:
        found = kernels(model)
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


def _live_bytes(model: TfliteModel, operators: Sequence[Operator]) -> int:
    """The largest sum, over the operators, of the tensors that are there at once; each fills whole blocks of 16 bytes."""
    last = len(operators)
    born, dies = dict.fromkeys(model.inputs, 0), dict.fromkeys(model.outputs, last)
    for at, operator in enumerate(operators):
        for index in operator.outputs:
            born.setdefault(index, at)
        for index in operator.inputs:
            dies[index] = max(dies.get(index, 0), at)
    sizes = {}
    for index in born:
        tensor = element(model.tensors, index)
        width = np.dtype(tensor.dtype).itemsize if tensor.dtype in DTYPES.values() else 1
        sizes[index] = -(-math.prod(allocated_shape(tensor)) * width // ALIGNMENT) * ALIGNMENT
    return max((sum(sizes[i] for i in born if born[i] <= at <= dies.get(i, born[i])) for at in range(last)), default=0)


def _arena(content: bytes, device: DeviceManifest | None) -> dict[str, object]:
    """By TFLite Micro's interpreter, in one more process; a file that nothing proves is not given to it."""
    if device is None:
        return {"arena_bytes": None, "arena_unmeasured": "No manifest proves this file whole, so it is not run."}
    try:
        return {"arena_bytes": arena_bytes(content), "arena_unmeasured": None}
    except MicroUnavailableError as error:
        return {"arena_bytes": None, "arena_unmeasured": str(error)}


def _devices(model: TfliteModel, operators: Sequence[Operator], device: DeviceManifest | None) -> dict[str, object]:
    unknown = sorted({_name(operator) for operator in operators}.difference(OPERATORS.values()))
    common = [f"Operators that no policy is made of: {', '.join(unknown)}."] if unknown else []
    common += ["Sparse kernels: XNNPACK reads past their end."] if any(each.is_sparse for each in model.tensors) else []
    source, sink = model.input.dtype, model.output.dtype
    foreign = ["It has no manifest, so how to scale an observation is unknown."] if device is None else []
    board, small, page = ([*foreign, *common] for _ in range(3))
    if (source, sink) == ("float32", "float32"):
        board = common  # any interpreter takes the numbers as they are
    if (source, sink) != ("int8", "int8"):
        small.append(f"It takes {source} and gives {sink}: policy_step() wants int8 for both.")
    if any(tensor.dtype == "float16" for tensor in model.tensors):
        small.append("Half-precision weights: TFLite Micro widens none.")
    for operator in operators:
        types = [model.tensors[i].dtype for i in operator.inputs[:2] if 0 <= i < len(model.tensors)]
        if types == ["float32", "int8"] and _work(model, operator):
            small.append("Integer weights for float numbers (dynamic): TFLite Micro has no such kernels.")
            break
    if (source, sink) != ("float32", "float32"):
        page.append(f"It takes {source} and gives {sink}: LiteRT.js wants float32, see --float-io.")
    found = (("linux_board", board), ("microcontroller", small), ("browser", page))
    return {kind: {"runs": not reasons, "reasons": reasons} for kind, reasons in found}
