"""Files without a manifest: nothing says what they are for, so they are weighed and timed, and not played."""

import hashlib
import math
from pathlib import Path

from edgedqn.export.edge_policy import (
    DeviceManifest,
    PolicyFileError,
    VerifiedFile,
    element,
    find_block,
    read_file,
    read_subgraph,
    tensor_shape,
)
from edgedqn.export.tflite_file.reader import io_quantization

TYPES = ("int8", "float32")


def is_foreign(path: Path) -> bool:
    """Whether neither the file nor a sidecar beside it has a manifest. A file that is not there is not foreign, but missing."""
    return path.exists() and find_block(path.read_bytes()) is None and not path.with_suffix(".json").exists()


def read_foreign(path: Path) -> VerifiedFile:
    """A file with the device part that its own bytes speak for: observations of its input's shape, an action for each output.

    Its environment's id and its recipe are empty: nothing names them.

    Args:
      path: a `.tflite` that nothing has proven. Run it in a process that may die.
    Raises:
      PolicyFileError: the file is damaged, has several inputs or outputs, no static batch of 1, or ends of other types.
    """
    content = read_file(path)
    try:
        graph, ends = read_subgraph(content)[1], io_quantization(content)
        shapes = [tensor_shape(element(graph.tables(0), graph.numbers(field, "i")[0])) for field in (1, 2)]
        if any(tensor.table(6) is not None for tensor in graph.tables(0)):
            raise PolicyFileError("A kernel is sparsely encoded: expected dense ones, because XNNPACK reads past others.")
        for side, shape, end in zip(("input", "output"), shapes, (ends.input, ends.output), strict=True):
            if shape[:1] != (1,) or min(shape) < 1 or end.dtype not in TYPES:
                raise PolicyFileError(
                    f"Bad {side}: expected a static batch of 1, int8 or float32. Got shape {list(shape)}, {end.dtype}."
                )
        if not 0 < ends.input.scale < math.inf:
            raise PolicyFileError(f"Impossible input scale: expected a positive number. Got {ends.input.scale}.")
        device = DeviceManifest(
            env_id="",
            observation_shape=tuple(shapes[0][1:]) or (1,),
            observation_dtype="float32",
            n_actions=math.prod(shapes[1]),
            preprocessing=(),
            scale=(1 / ends.input.scale,),
            offset=(float(ends.input.zero_point),),
            meaning="q_values",
            recipe="",
        )
    except PolicyFileError as error:
        raise PolicyFileError(f"{path}: {error}") from error
    return VerifiedFile(content, device, None, hashlib.sha256(content).hexdigest(), {})
