"""A policy as C and C++ sources for a microcontroller: the `.tflite` as an array, its settings, and one function per step.

`policy_step.cc` uses TFLite Micro. What surrounds the network, `policy_io.c`, is plain C without it, and so is the network
itself, `policy.c`, where dense layers and convolutions are all of it: a device needs one of the two.
"""

import math
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from edgedqn.agents.errors import InputError, require
from edgedqn.agents.files import write_text
from edgedqn.export.devices.microcontroller.fixed_point import Q16_16, input_macros
from edgedqn.export.devices.microcontroller.plain_c import c_array, memory, plain_c
from edgedqn.export.devices.microcontroller.preprocessing import input_units, legal_in_c, observe_in_c, observe_ram_bytes
from edgedqn.export.devices.microcontroller.sources import c_float, fill, harmless
from edgedqn.export.edge_policy import OPERATORS, Actions, PolicyFileError, VerifiedFile
from edgedqn.export.tflite_file.arena import ArenaBounds, arena_bounds
from edgedqn.export.tflite_file.integer_network import IntegerLayer, read_integer_network
from edgedqn.export.tflite_file.reader import quantization, read_operators


def write_microcontroller(file: VerifiedFile, folder: Path, *, units: Sequence[float] | None = None) -> tuple[str, ...]:
    """Writes the sources into `folder`, which is made where it is missing.

    Args:
      file: a policy with int8 input and output.
      folder: afterwards with `policy_settings.h`, `policy_flash.h`, `policy_io.h/.c`, `policy_observe.h/.c`,
        `policy_model.h/.cc` and `policy_step.h/.cc`; `policy.h/.c`, too, where `read_integer_network` takes the network, and
        `policy_action.h/.c` where the environment's own actions are no indices. The same policy gives the same bytes.
      units: the real value of one count of the sensors, as `input_units` takes them: `policy_observe` takes their integers
        then, and computes with integers alone. None: it takes real numbers, and `policy_quantize_q` those of Q16.16.
    Returns:
      The files' names, sorted.
    Raises:
      InputError: an end of the network is float, TFLM lacks an operator, the units fit no observation, or the extra `micro` is
        missing, which measures the arena.
    """
    layers = _layers(file)
    sources = {
        **_plain_sources(file, layers, units, arena_bounds(file.model)),
        "policy_model.h": fill("policy_model.h"),
        "policy_model.cc": fill(
            "policy_model.cc", {"sha256": file.file_sha256, "bytes": c_array(np.frombuffer(file.content, np.uint8))}
        ),
        **_step(file),
    }
    if file.device.actions is not None:
        sources |= _actions(file.device.actions, file.file_sha256)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in sources.items():
        write_text(folder / name, text)
    return tuple(sorted(sources))


def write_plain(file: VerifiedFile, folder: Path) -> None:
    """Writes what a firmware without TensorFlow Lite Micro is built of into `folder`, which is there; no arena is measured.

    Raises:
      InputError: an end of the network is float, or it has no plain C.
    """
    layers = _layers(file)
    require(bool(layers), "Expected a network of dense layers and convolutions. Got one without plain C.")
    for name, text in _plain_sources(file, layers, None, ArenaBounds(0, 0, 0, 0)).items():
        write_text(folder / name, text)


def readme() -> str:
    """What a bundle's README says of the sources, after its heading."""
    return fill("README.md")


def resolver_lines(codes: Iterable[int]) -> list[str]:
    """The methods of MicroMutableOpResolver that bring the kernels of `OPERATORS`, each once, in the order of the codes."""
    names = [OPERATORS[code] for code in sorted(set(codes))]
    return [f"Add{name.title().replace('_', '')}" for name in names]  # CONV_2D: AddConv2D


def _layers(file: VerifiedFile) -> Sequence[IntegerLayer]:
    """The network, empty where it has no plain C. InputError: an end is float."""
    ends = (file.model.input.dtype, file.model.output.dtype)
    if ends != ("int8", "int8"):
        raise InputError(
            "policy_step() wants integers: expected int8 input and output, as the recipes qat-int8 and ptq-int8 write. "
            f"Got {' and '.join(ends)}."
        )
    try:
        return read_integer_network(file.model)
    except PolicyFileError:  # pooling, for one: TFLite Micro is its only way
        return ()


def _plain_sources(
    file: VerifiedFile, layers: Sequence[IntegerLayer], units: Sequence[float] | None, arena: ArenaBounds
) -> dict[str, str]:
    """What needs no TensorFlow Lite Micro, by the files' names; `policy.h/.c` where there are layers."""
    inputs = math.prod(file.model.input.shape)
    return {
        "policy_settings.h": _settings(file, layers, units, arena),
        **{name: fill(name) for name in ("policy_flash.h", "policy_io.h", "policy_io.c")},
        **observe_in_c(file.device, inputs, counts=units is not None, sha256=file.file_sha256),
        **(plain_c(layers, file.file_sha256) if layers else {}),
    }


def _settings(file: VerifiedFile, layers: Sequence[IntegerLayer], units: Sequence[float] | None, arena: ArenaBounds) -> str:
    device, output = file.device, quantization(file.model.output)
    # Where observations number states, only the file says how many there are.
    shape = device.input_shape(math.prod(file.model.input.shape))
    scale, offset = np.array(device.scale, np.float32), np.array(device.offset, np.float32)
    real = np.array([Q16_16]) if units is None else input_units(device, math.prod(shape), units)
    values = {
        "sha256": file.file_sha256,
        "environment": harmless(device.env_id),
        "shape": ", ".join(map(str, shape)),
        "preprocessing": ", ".join(map(str, device.preprocessing)) or "nothing",
        "inputs": math.prod(shape),
        "actions": device.n_actions,
        **input_macros(scale, offset, real),
        "meaning": device.meaning,
        "output_scale": c_float(output.scale),
        "output_zero_point": output.zero_point,
        "arena_reference": arena.reference,
        "arena_cmsis_nn": arena.cmsis_nn,
        "arena_esp_nn": arena.esp_nn,
        "arena": arena.largest,
        "memory": memory(layers) if layers else "/* No policy.c: TFLite Micro alone has its operators. */\n",
        "observe_ram": observe_ram_bytes(device, math.prod(shape), counts=units is not None),
        "model_bytes": len(file.content),
        "crc": f"0x{zlib.crc32(file.content):08x}u",
    }
    return fill("policy_settings.h", values)


def _step(file: VerifiedFile) -> dict[str, str]:
    """`policy_step.h` and `policy_step.cc`."""
    lines = resolver_lines(operator.code for operator in read_operators(file.model))
    values = {
        "operator_count": len(lines),
        "resolver_lines": " &&\n         ".join(f"resolver.{line}() == kTfLiteOk" for line in lines),
        **legal_in_c(file.device, "interpreter->output(0)->data.int8"),
    }
    return {name: fill(name, values) for name in ("policy_step.h", "policy_step.cc")}


def _actions(actions: Actions, sha256: str) -> dict[str, str]:
    """`policy_action.h` and `policy_action.c`."""
    values = {
        "sha256": sha256,
        "size": len(actions.levels),
        "shape": ", ".join(map(str, actions.shape)),
        "dtype": actions.dtype,
        "levels": ", ".join(c_float(float(np.float32(level))) for each in actions.levels for level in each),
        "counts": ", ".join(str(len(each)) for each in actions.levels),
    }
    return {name: fill(name, values) for name in ("policy_action.h", "policy_action.c")}
