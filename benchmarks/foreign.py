"""Files without a manifest: nothing says what they are for, so they are weighed and timed, and not played."""

import hashlib
import math
from pathlib import Path

from edgedqn.export.edge_policy import DeviceManifest, PolicyFileError, TfliteModel, VerifiedFile, find_block, read_file
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
        model = TfliteModel(content)
        given, ends = model.input, io_quantization(model)
        if any(tensor.is_sparse for tensor in model.tensors):
            raise PolicyFileError("A kernel is sparsely encoded: expected dense ones, because XNNPACK reads past others.")
        for side, tensor, end in (("input", given, ends.input), ("output", model.output, ends.output)):
            shape = list(tensor.shape)
            if shape[:1] != [1] or min(shape) < 1 or end.dtype not in TYPES:
                raise PolicyFileError(
                    f"Bad {side}: expected a static batch of 1, int8 or float32. Got shape {shape}, {end.dtype}."
                )
        if not 0 < ends.input.scale < math.inf:
            raise PolicyFileError(f"Impossible input scale: expected a positive number. Got {ends.input.scale}.")
        device = DeviceManifest(
            env_id="",
            observation_shape=given.shape[1:] or (1,),
            observation_dtype="float32",
            n_actions=math.prod(model.output.shape),
            preprocessing=(),
            scale=(1 / ends.input.scale,),
            offset=(float(ends.input.zero_point),),
            meaning="q_values",
            recipe="",
        )
    except PolicyFileError as error:
        raise PolicyFileError(f"{path}: {error}") from error
    return VerifiedFile(
        path=path,
        content=content,
        model=model,
        device=device,
        digest=None,
        file_sha256=hashlib.sha256(content).hexdigest(),
        evidence={},
    )
