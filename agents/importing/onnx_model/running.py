"""An ONNX model that was read, run by a library of its own, in a process of its own: ONNX Runtime, or else onnx's evaluator."""

import importlib
import io
import json
import sys
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.importing.keras_model.other_process import limit_memory, read_elsewhere
from edgedqn.agents.importing.onnx_model.values import OnnxModel

TIME_LIMIT = 300  # seconds; a small network takes one, but minutes where other work fills the processor
MEMORY_LIMIT = 2**32  # bytes, beside some copies of the file


def run_onnx(path: Path, model: OnnxModel, observations: NDArray[np.float32]) -> tuple[str, NDArray[np.generic]]:
    """What an ONNX file makes of observations.

    Args:
      path: of the file.
      model: as it was read of it.
      observations: [B, *shape], as the network of `model` takes them; or flattened, or with an axis of 1 more or less.
    Returns:
      The library's name and the model's output: Q-values [B, A], or the index of the largest one [B] or [B, 1].
    Raises:
      InputError: it failed, died, or took longer than `TIME_LIMIT`.
    """
    layers, _ = model.network
    images = observations.reshape(len(observations), *layers[0]["shape"])
    given = images.transpose(0, *(axis + 1 for axis in model.axes))
    content = io.BytesIO()
    np.save(content, given.astype(model.dtype))
    code = "from edgedqn.agents.importing.onnx_model.running import main; main()"
    argument = json.dumps([str(path.resolve()), model.output])
    answer = read_elsewhere(code, argument, what="the model", time_limit=TIME_LIMIT, content=content.getvalue())
    name, _, values = answer.partition(b"\n")
    return name.decode(), np.load(io.BytesIO(values), allow_pickle=False)


def main() -> None:
    """The other process: observations in NumPy's format on stdin; on stdout a line with the library's name, and the output."""
    path, output = json.loads(sys.argv[1])
    observations = np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False)
    limit_memory(MEMORY_LIMIT + 6 * Path(path).stat().st_size)
    onnx = importlib.import_module("onnx")
    graph = onnx.load(path, load_external_data=False).graph
    weights = {each.name for each in graph.initializer}
    (given,) = (each for each in graph.input if each.name not in weights)
    count = given.type.tensor_type.shape.dim[0].dim_value or len(observations)  # of the observations that it takes at once
    padded = np.resize(observations, (-(-len(observations) // count) * count, *observations.shape[1:]))
    name, session = _session(path)
    found = [session.run([output], {given.name: padded[i : i + count]})[0] for i in range(0, len(padded), count)]
    values = np.concatenate([np.reshape(each, (count, -1)) for each in found])[: len(observations)]
    sys.stdout.buffer.write(f"{name}\n".encode())
    np.save(sys.stdout.buffer, values)


class _Session(Protocol):
    """What both have."""

    def run(self, outputs: list[str], inputs: dict[str, NDArray[np.generic]]) -> list[NDArray[np.generic]]: ...


def _session(path: str) -> tuple[str, _Session]:
    try:
        runtime = importlib.import_module("onnxruntime")
    except ImportError:
        return "onnx's evaluator", importlib.import_module("onnx.reference").ReferenceEvaluator(path)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return "ONNX Runtime", runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
