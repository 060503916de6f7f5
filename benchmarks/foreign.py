"""Files without a manifest: nothing says what they are for, so they are weighed and timed, and not played."""

import math
from pathlib import Path

from edgedqn.export.edge_policy import (
    DeviceManifest,
    PolicyFileError,
    TfliteModel,
    VerifiedFile,
    check_tensors,
    find_block,
    read_file,
)
from edgedqn.export.tflite_file.reader import quantization


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
        given = quantization(model.input)
        if not 0 < given.scale < math.inf:
            raise PolicyFileError(f"Impossible input scale: expected a positive number. Got {given.scale}.")
        for side, tensor in (("input", model.input), ("output", model.output)):
            if min(tensor.shape, default=1) < 1:
                raise PolicyFileError(f"Bad {side} batch: expected a static batch of 1. Got shape {list(tensor.shape)}.")
        device = DeviceManifest(
            env_id="",
            observation_shape=model.input.shape[1:] or (1,),
            observation_dtype="float32",
            n_actions=math.prod(model.output.shape),
            preprocessing=(),
            scale=(1 / given.scale,),
            offset=(float(given.zero_point),),
            meaning="q_values",
            recipe="",
        )
        check_tensors(model, device)
    except PolicyFileError as error:
        raise PolicyFileError(f"{path}: {error}") from error
    return VerifiedFile(path=path, model=model, device=device, evidence={})
