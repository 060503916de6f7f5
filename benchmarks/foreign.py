"""Files without a manifest, as anybody's converter writes them: what their own bytes say they take and give."""

import math
from dataclasses import dataclass
from pathlib import Path

from edgedqn.agents.errors import InputError, require
from edgedqn.export.edge_policy import (
    DeviceManifest,
    PolicyFileError,
    TfliteModel,
    VerifiedFile,
    find_block,
    read_file,
)
from edgedqn.export.tflite_file.reader import Quantization, allocated_shape, quantization

ENDS = ("float32", "int8", "uint8", "int16")  # types of inputs and outputs
OTHERS = {  # what people have beside a `.tflite`, by the end of its name
    ".onnx": "an ONNX network",
    **dict.fromkeys((".pth", ".pt", ".cleanrl_model"), "a file of PyTorch"),
    ".keras": "a Keras model",
    **dict.fromkeys((".h5", ".hdf5"), "a Keras model, or its weights"),
    ".zip": "an archive, as Stable-Baselines3 makes them",
}
PICKLES = (".pkl", ".pickle", ".joblib")


@dataclass(frozen=True)
class ForeignFile:
    """A `.tflite` without a manifest, and what its network saw of an observation.

    Attributes:
      path: of the file.
      scale: what its numbers were multiplied by before the network saw them: one for each feature, or one for all. (1.0,):
        they were left as they are. None: as `feeding.factors_of` decides from the file.
    """

    path: str | Path
    scale: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.scale is not None:  # a list or an array does as well
            object.__setattr__(self, "scale", tuple(map(float, self.scale)))
        finite = self.scale is None or (len(self.scale) > 0 and all(map(math.isfinite, self.scale)))
        require(finite, f"A scale is a finite number for each feature, or one for all. Got {self.scale}.")


def is_foreign(path: Path) -> bool:
    """Whether neither the file nor a sidecar beside it has a manifest. A file that is not there is not foreign, but missing."""
    return path.exists() and find_block(path.read_bytes()) is None and not path.with_suffix(".json").exists()


def refuse_other_kind(path: Path) -> None:
    """InputError, where the name is not that of a `.tflite` but of what `edgedqn import` takes: says so."""
    kind = path.suffix.lower()
    if kind in OTHERS and path.exists():
        raise InputError(
            f"{path} is {OTHERS[kind]}: expected a .tflite. `edgedqn import {path} ENV_ID` makes a run of it, which has some."
        )
    if kind in PICKLES:
        raise InputError(
            f"{path} is a pickle, which may run code when it is opened: expected a .tflite. "
            "`edgedqn import module:function ENV_ID` takes a policy as a function, which may open it."
        )


def read_foreign(path: Path) -> VerifiedFile:
    """A file with the device part that its own bytes speak for: observations of its input's shape, an action for each output.

    Its environment's id and its recipe are empty: nothing names them; see `feeding.fed`.

    Args:
      path: a `.tflite` that nothing has proven. Run it in a process that may die.
    Raises:
      PolicyFileError: the file is damaged, has several inputs, outputs or signatures, a batch other than 1, is of other types,
        or sparse.
    """
    try:
        model = TfliteModel(read_file(path))
        given = _check(model)
        device = DeviceManifest(
            env_id="",
            observation_shape=allocated_shape(model.input)[1:] or (1,),
            observation_dtype="float32",
            n_actions=math.prod(allocated_shape(model.output)),
            preprocessing=(),
            scale=(1 / given.scale,),
            offset=(float(given.zero_point),),
            meaning="q_values",
            recipe="",
        )
    except PolicyFileError as error:
        raise PolicyFileError(f"{path}: {error}") from error
    return VerifiedFile(path=path, model=model, device=device, evidence={})


def _check(model: TfliteModel) -> Quantization:
    """How the input stores real numbers, of a model that can be run and asked."""
    signatures = len(model.root.tables(7))
    if signatures > 1:
        raise PolicyFileError(f"Several signatures: expected one network. Got {signatures}.")
    if any(tensor.is_sparse for tensor in model.tensors):
        raise PolicyFileError("A kernel is sparsely encoded: expected dense ones, because XNNPACK reads past others.")
    for side, tensor in (("input", model.input), ("output", model.output)):
        shape, stored = allocated_shape(tensor), quantization(tensor)
        if shape[:1] != (1,) or min(shape) < 1:
            raise PolicyFileError(f"Bad {side} batch: expected 1, or -1 that is allocated as 1. Got shape {list(shape)}.")
        if tensor.dtype not in ENDS:
            raise PolicyFileError(f"Wrong {side} type: expected one of {', '.join(ENDS)}. Got {tensor.dtype}.")
        if tensor.dtype != "float32" and not 0 < stored.scale < math.inf:
            raise PolicyFileError(f"Impossible {side} scale: expected a positive number. Got {stored.scale}.")
    return quantization(model.input)
