"""A policy as C and C++ sources for a microcontroller: the `.tflite` as an array, its settings, and one function per step.

`policy_step.cc` uses TFLite Micro. What surrounds the network, `policy_io.c`, is plain C without it, and for an MLP so is the
network itself, `policy.c`: a device needs one of the two.
"""

import math
import re
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError
from edgedqn.agents.files import write_text
from edgedqn.export.devices.microcontroller.plain_c import c_array, plain_c
from edgedqn.export.devices.microcontroller.sources import fill
from edgedqn.export.edge_policy import OPERATORS, Actions, PolicyFileError, VerifiedFile
from edgedqn.export.tflite_file.arena import arena_bounds
from edgedqn.export.tflite_file.integer_network import read_integer_network
from edgedqn.export.tflite_file.reader import quantization, read_operators

# The last inputs say which actions are legal.
LEGAL_CHOICE = "policy_argmax_legal(interpreter->output(0)->data.int8, observation + POLICY_INPUTS - POLICY_ACTIONS)"


def write_microcontroller(file: VerifiedFile, folder: Path) -> tuple[str, ...]:
    """Writes the sources into `folder`, which is made where it is missing.

    Args:
      file: a policy with int8 input and output.
      folder: afterwards with `policy_settings.h`, `policy_io.h/.c`, `policy_model.h/.cc` and `policy_step.h/.cc`; for an MLP
        `policy.h/.c`, too, and `policy_action.h/.c` where the environment's own actions are no indices. The same
        policy gives the same bytes.
    Returns:
      The files' names, sorted.
    Raises:
      InputError: an end of the network is float, TFLM lacks an operator, or the extra `micro` is missing, which measures
        the arena.
    """
    ends = (file.model.input.dtype, file.model.output.dtype)
    if ends != ("int8", "int8"):
        raise InputError(
            "policy_step() wants integers: expected int8 input and output, as the recipes qat-int8 and ptq-int8 write. "
            f"Got {' and '.join(ends)}."
        )
    lines = resolver_lines(operator.code for operator in read_operators(file.model))
    sources = {
        "policy_settings.h": _settings(file),
        **{name: fill(name) for name in ("policy_io.h", "policy_io.c", "policy_model.h", "policy_step.h")},
        "policy_model.cc": fill(
            "policy_model.cc", {"sha256": file.file_sha256, "bytes": c_array(np.frombuffer(file.content, np.uint8))}
        ),
        "policy_step.cc": fill(
            "policy_step.cc",
            {
                "operator_count": len(lines),
                "choice": LEGAL_CHOICE if file.device.masked else "policy_argmax(interpreter->output(0)->data.int8)",
                "resolver_lines": " &&\n         ".join(f"resolver.{line}() == kTfLiteOk" for line in lines),
            },
        ),
    }
    if file.device.actions is not None:
        sources |= _actions(file.device.actions, file.file_sha256)
    try:
        layers = read_integer_network(file.model)
    except PolicyFileError:  # a convolution, for one: TFLite Micro is its only way
        pass
    else:
        sources |= plain_c(layers, file.file_sha256)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in sources.items():
        write_text(folder / name, text)
    return tuple(sorted(sources))


def readme() -> str:
    """What a bundle's README says of the sources, after its heading."""
    return fill("README.md")


def resolver_lines(codes: Iterable[int]) -> list[str]:
    """The methods of MicroMutableOpResolver that bring the kernels of `OPERATORS`, each once, in the order of the codes."""
    names = [OPERATORS[code] for code in sorted(set(codes))]
    return [f"Add{name.title().replace('_', '')}" for name in names]  # CONV_2D: AddConv2D


def _settings(file: VerifiedFile) -> str:
    device, arena, output = file.device, arena_bounds(file.model), quantization(file.model.output)
    # Where observations number states, only the file says how many there are.
    shape = device.input_shape(math.prod(file.model.input.shape))
    scale, offset = np.array(device.scale, np.float32), np.array(device.offset, np.float32)
    pairs = max(scale.size, offset.size)
    values = {
        "sha256": file.file_sha256,
        "environment": _in_comment(device.env_id),
        "shape": ", ".join(map(str, shape)),
        "preprocessing": ", ".join(map(str, device.preprocessing)) or "nothing",
        "inputs": math.prod(shape),
        "actions": device.n_actions,
        "pairs": pairs,
        "scale": _floats(np.broadcast_to(scale, pairs)),
        "offset": _floats(np.broadcast_to(offset, pairs)),
        "meaning": device.meaning,
        "output_scale": _float(output.scale),
        "output_zero_point": output.zero_point,
        "arena_reference": arena.reference,
        "arena_cmsis_nn": arena.cmsis_nn,
        "arena_esp_nn": arena.esp_nn,
        "arena": arena.largest,
        "model_bytes": len(file.content),
        "crc": f"0x{zlib.crc32(file.content):08x}u",
    }
    return fill("policy_settings.h", values)


def _actions(actions: Actions, sha256: str) -> dict[str, str]:
    """`policy_action.h` and `policy_action.c`."""
    values = {
        "sha256": sha256,
        "size": len(actions.levels),
        "shape": ", ".join(map(str, actions.shape)),
        "dtype": actions.dtype,
        "levels": ", ".join(_float(float(np.float32(level))) for each in actions.levels for level in each),
        "counts": ", ".join(str(len(each)) for each in actions.levels),
    }
    return {name: fill(name, values) for name in ("policy_action.h", "policy_action.c")}


def _in_comment(text: str) -> str:
    """An environment's id as it may stand in a C comment: what ids are not made of becomes `_`, so nothing ends the comment."""
    return re.sub(r"[^\w.:/-]", "_", text, flags=re.ASCII)


def _floats(values: NDArray[np.float32]) -> str:
    return ", ".join(_float(float(value)) for value in values)


def _float(value: float) -> str:
    """A C literal of exactly this float32: nine digits tell any two of them apart."""
    text = f"{value:.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"
