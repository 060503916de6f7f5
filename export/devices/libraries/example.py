"""The example of every library: an observation that is built in, and the action that the policy must give for it."""

import math
import textwrap
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgedqn.export.devices.libraries.templates import fill
from edgedqn.export.devices.microcontroller.preprocessing import element_in_c
from edgedqn.export.devices.microcontroller.sources import c_float
from edgedqn.export.edge_policy import EdgePolicy, VerifiedFile
from edgedqn.export.tflite_file.tflm import MicroInterpreter

CANDIDATES = 16  # observations; the interpreter takes a tenth of a second for an image
MOST_STEPS = 100  # of the 127 to each side of zero, so that little is saturated
LARGEST = 1e30  # which a float32 holds
NEAR_HALF = 1e-3  # more than the arithmetic of integers differs from that of floats (policy_io.h)


def observation_header(file: VerifiedFile, units: Sequence[float] | None = None) -> str:
    """`observation.h`, with `observation`, `legal` where the caller says which actions are, and `EXPECTED_ACTION`, that of
    `EdgePolicy` on TensorFlow Lite Micro's interpreter for the first observation of an episode.

    The same file gives the same text. Where one of some random observations leads to another action than 0, it is such a one,
    because a device that computes nothing at all gives 0, too.

    Args:
      file: the policy.
      units: of sensors that give integers, as `write_microcontroller` takes them.
    Raises:
      MicroUnavailableError: as `tflm_rows`.
    """
    device, rng = file.device, np.random.default_rng(0)
    policy = EdgePolicy(MicroInterpreter(file.content), device)
    legal = None
    for _ in range(CANDIDATES):
        observation = _drawn_observation(file, units, rng)
        if device.masked:
            legal = (rng.random(device.n_actions) < 0.5).astype(int)
            legal[rng.integers(device.n_actions)] = 1
        policy.reset()
        # The number of a state is its own unit, and has no dimension to multiply along.
        real = observation if units is None or not device.observation_shape else observation * np.array(units)
        if action := policy(real, legal):
            break
    numbers = [c_float(x) if isinstance(x, float) else str(x) for x in observation.ravel().tolist()]
    lines = textwrap.wrap(", ".join(numbers), 100, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
    told = "" if legal is None else f"static const uint8_t legal[POLICY_ACTIONS] = {{{', '.join(map(str, legal))}}};\n"
    return fill("observation.h", {"action": action, "numbers": "\n".join(lines), "legal": told})


def _drawn_observation(file: VerifiedFile, units: Sequence[float] | None, rng: np.random.Generator) -> NDArray[np.generic]:
    """One that the input's scale fits, of `policy_element`s: floats of four digits, which a float32 holds, or integers."""
    device, size = file.device, math.prod(file.model.input.shape)
    shape, taken = device.observation_shape, device.input_shape(size)
    if not shape:
        return np.array(rng.integers(size - device.n_actions * device.masked))
    # What the network takes begins with the observation's own numbers, whatever is stacked or put behind them.
    scale, offset = (
        np.broadcast_to(values, taken).ravel()[: math.prod(shape)].reshape(shape) for values in (device.scale, device.offset)
    )
    per_count = scale if units is None else scale * np.array(units)
    steps = rng.integers(-MOST_STEPS, MOST_STEPS + 1, shape)
    x = np.divide(steps - offset, per_count, out=np.zeros(shape), where=per_count != 0).clip(-LARGEST, LARGEST)
    element, _ = element_in_c(device, counts=units is not None)
    if element == "float" and device.observation_dtype.startswith("float"):
        return np.array([float(f"{value:.4g}") for value in x.ravel()]).reshape(shape)
    x = np.rint(x)
    if units is not None:
        x += np.abs((x * per_count + offset) % 1 - 0.5) < NEAR_HALF
    if element == "float":
        return x
    lowest, highest = (
        (0, 1) if device.observation_dtype == "bool" else (0, 255) if element == "uint8_t" else (-(2**31), 2**31 - 1)
    )
    return x.clip(lowest, highest).astype(np.int64)
