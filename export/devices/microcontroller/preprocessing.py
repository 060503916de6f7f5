"""What a device does before the network, as C: `policy_observe.h` and `policy_observe.c` for the steps a manifest names."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import require
from edgedqn.export.devices.microcontroller.sources import fill, harmless
from edgedqn.export.edge_policy import ACTION_MASK, ATARI, FLATTEN, ONE_HOT, DeviceManifest, Feature, shape_after

LEAST_UNIT, GREATEST_UNIT = 2.0**-96, 2.0**96  # so that every count but 0 stands for a normal float32


def observe_in_c(device: DeviceManifest, inputs: int, *, counts: bool, sha256: str) -> dict[str, str]:
    """`policy_observe.h` and `policy_observe.c`.

    Args:
      device: of the policy.
      inputs: how many numbers its network takes.
      counts: whether sensors give integers, of the units that policy_settings.h names; else real numbers.
      sha256: of the `.tflite`, in hexadecimal.
    """
    steps, shape = device.preprocessing, device.observation_shape
    states, at, frame = _frame(device, inputs)
    element, meaning = element_in_c(device, counts=counts)
    values = {
        "sha256": sha256,
        "shape": ", ".join(map(str, shape)),
        "dtype": device.observation_dtype,
        "preprocessing": ", ".join(map(str, steps)) or "nothing",
        "meaning": meaning + _indexed(device),
        "elements": math.prod(shape),
        "element": element,
        "masked": int(device.masked),
        "parameter": legal_in_c(device)["parameter"],
        "states": states,
        "frames": device.frame_stack,
        "frame": math.prod(frame),
        "channels": 1 if len(frame) == 2 else frame[-1],
        "legal_in_frame": int(device.frame_stack > 1 and ACTION_MASK in steps[:at]),
        "feature": "policy_feature_q(i, (int32_t)(x))" if counts else "policy_feature(i, (float)(x))",
    }
    return {name: fill(name, values) for name in ("policy_observe.h", "policy_observe.c")}


def observe_ram_bytes(device: DeviceManifest, inputs: int, *, counts: bool) -> int:
    """What an observation takes of RAM, and the ring of frames of `policy_observe.c`. Arguments as `observe_in_c`."""
    _, _, frame = _frame(device, inputs)
    stacked = device.frame_stack * math.prod(frame) if device.frame_stack > 1 else 0
    element, _ = element_in_c(device, counts=counts)
    return (math.prod(device.observation_shape) + stacked) * (1 if element == "uint8_t" else 4)


def _frame(device: DeviceManifest, inputs: int) -> tuple[int, int, tuple[int, ...]]:
    """How many states there are, 0 where observations are no numbers of them; after how many steps frames are stacked; and the
    shape of a frame."""
    steps = device.preprocessing
    states = inputs - device.n_actions * device.masked if ONE_HOT in steps else 0
    at = next((at for at, step in enumerate(steps) if step.frames > 1), len(steps))
    return states, at, shape_after(device.observation_shape, steps[:at], states=states, actions=device.n_actions)


def element_in_c(device: DeviceManifest, *, counts: bool) -> tuple[str, str]:
    """What an observation in C is made of, `policy_element`: its type, and what it is. Arguments as `observe_in_c`."""
    if ONE_HOT in device.preprocessing:
        return "int32_t", "the number of a state, from 0"
    given = "one vector" if device.features else "as the environment gives it"
    given += "; what `atari` stands for is done" if ATARI in device.preprocessing else ""
    if device.observation_dtype in ("bool", "uint8"):
        return "uint8_t", given
    return ("int32_t", "the sensors' integers, of the units that policy_settings.h names") if counts else ("float", given)


def in_order(device: DeviceManifest) -> str:
    """The features of a vector that the manifest names, in order, as they may stand in any text; empty where it has none."""
    return ", ".join(map(str, _named(device)))


def _indexed(device: DeviceManifest) -> str:
    """The same as lines of a comment, with the elements of an observation that each takes."""
    lines, at = [], 0
    for feature, name in zip(device.features, _named(device), strict=True):
        last = at + feature.size - 1
        lines.append(f"\n   {at if last == at else f'{at} .. {last}'}: {name}")
        at = last + 1
    return "".join([", in this order", *lines]) if lines else ""


def _named(device: DeviceManifest) -> list[Feature]:
    return [feature._replace(key=harmless(feature.key)) for feature in device.features]


def legal_in_c(device: DeviceManifest, row: str = "") -> dict[str, str]:
    """How C says which actions are legal, where the caller does: a `parameter` and an `argument` more, and the `choice` among
    the numbers of an output `row`."""
    if not device.masked:
        return {"parameter": "", "argument": "", "choice": f"policy_argmax({row})"}
    parameter = ", const uint8_t legal[POLICY_ACTIONS]"
    return {"parameter": parameter, "argument": ", legal", "choice": f"policy_argmax_legal({row}, legal)"}


def input_units(device: DeviceManifest, inputs: int, units: Sequence[float]) -> NDArray[np.float64]:
    """The units of what the network takes: of each feature or channel of its input, as its scales, or one for all, [1].

    Args:
      device: of the policy.
      inputs: how many numbers its network takes.
      units: the real value of one count of the sensor, for each feature of a vector or channel of an image, or one for all.
        The number of a state and which actions are legal have the unit 1.
    Raises:
      InputError: another number of units, or one that no sensor has.
    """
    steps, shape = device.preprocessing, device.observation_shape
    features = shape[-1] if len(shape) in (1, 3) or (shape and FLATTEN in steps) else 1
    expected = f"expected 1{f' or {features}' if features > 1 else ''}"
    require(len(units) in (1, features), f"Wrong number of sensor units: {expected}. Got {len(units)}.")
    for unit in units:
        sound = LEAST_UNIT <= abs(unit) <= GREATEST_UNIT if shape else unit == 1  # false of a NaN
        expected = f"the real value of one count, {LEAST_UNIT:.0e} to {GREATEST_UNIT:.0e}" if shape else "1 for states"
        require(sound, f"Impossible sensor unit: expected {expected}. Got {unit}.")
    x = np.broadcast_to(np.array(units, np.float64), shape or (1,))
    for step in steps:
        if step == ONE_HOT:
            x = np.ones(inputs - device.n_actions * device.masked)
        elif step == FLATTEN:
            x = x.ravel()
        elif step == ACTION_MASK:
            x = np.append(x, np.ones(device.n_actions))
        elif step != ATARI:
            x = np.concatenate([x[:, :, np.newaxis] if x.ndim == 2 else x] * step.frames, axis=-1)
    last = x.reshape(-1, x.shape[-1])[0]
    return last[:1] if (last == last[0]).all() else last
