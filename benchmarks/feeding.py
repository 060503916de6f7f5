"""How an observation becomes the input of a file without a manifest: as the file and the environment say."""

import math
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.playing.spec import EnvironmentSpec, spec_of
from edgedqn.export.edge_policy import PolicyFileError, VerifiedFile
from edgedqn.export.tflite_file.manifest import device_part
from edgedqn.export.tflite_file.reader import allocated_shape, quantization

BYTE = 255.0


class ScaleError(InputError):
    """What is said of the observations that a network saw does not fit them, or nothing is and has to be."""


def fed(
    file: VerifiedFile, env: gymnasium.Env[Any, Any], *, source: EnvironmentSource, scale: tuple[float, ...] | None = None
) -> VerifiedFile:
    """A file that `read_foreign` read, with the device part of an environment: what plays there is the file as it is.

    Images are stacked and flattened, and the number of a state becomes one-hot, where the input's shape asks for that. A float
    input takes an observation's numbers times `scale`; an integer one takes what its own quantization makes of it, saturated.

    Args:
      file: it has Q-values, or anything else whose largest wins, per action, and an input for the whole observation.
      env: as `make_environment` makes it.
      source: of it.
      scale: see `ForeignFile`.
    Raises:
      PolicyFileError: the file takes or gives another number of numbers, with what was expected.
      ScaleError: `scale` does not fit the observations, or has to be given.
    """
    spec = _spec_for(file, env, source)
    output = allocated_shape(file.model.output)
    if output != (1, spec.n_actions):
        raise PolicyFileError(
            f"{file.path}: Wrong output for {source.id}: expected a number for each action, [1, {spec.n_actions}]. "
            f"Got {list(output)}."
        )
    stored = quantization(file.model.input)
    factors = np.array(factors_of(file, spec) if scale is None else _fitting(scale, spec), np.float64)
    device = device_part(
        spec,
        scale=(factors / stored.scale).astype(np.float32),
        offset=np.array([stored.zero_point], np.float32),
        meaning="q_values",
        recipe="",
    )
    return VerifiedFile(path=file.path, model=file.model, device=device, evidence={})


def factors_of(file: VerifiedFile, spec: EnvironmentSpec) -> tuple[float, ...]:
    """What an observation's numbers are multiplied by where nobody says: by 1, so that the network sees them as they are.

    But bytes, 0 to 255, by 1/255 where the input's quantization holds less than half of them: then it was calibrated on such.

    Raises:
      ScaleError: it holds negative numbers as well, so that bytes became something else, which nothing here names.
    """
    bytes_come = spec.observation_dtype == "uint8" and set(spec.observation_high) == {BYTE}
    if file.model.input.dtype == "float32" or not bytes_come:
        return (1.0,)
    low, high = holds(file)
    if high >= BYTE / 2:
        return (1.0,)
    if low < -0.1 * high:
        raise ScaleError(
            f"{file.path} holds {low:.4g} to {high:.4g} at its input, and {spec.id} gives bytes from 0 to 255: "
            "expected a scale that says what the network saw of them. Got none."
        )
    return (1 / BYTE,)


def holds(file: VerifiedFile) -> tuple[float, float]:
    """The least and the largest real number that the input can stand for; infinite of a float one."""
    if file.model.input.dtype == "float32":
        return -math.inf, math.inf
    stored, limits = quantization(file.model.input), np.iinfo(file.model.input.dtype)
    return stored.scale * (limits.min - stored.zero_point), stored.scale * (limits.max - stored.zero_point)


def describe_feeding(file: VerifiedFile, observations: NDArray[Any] | None = None) -> str:
    """A sentence on what a file that was `fed` makes of an observation, and how much of `observations`, as the network sees
    them, [N, *input_shape], its input cannot hold."""
    stored, (low, high) = quantization(file.model.input), holds(file)
    factors = [scale * stored.scale for scale in file.device.scale]
    times = "as they are" if np.allclose(factors, 1) else f"times {', '.join(f'{each:.4g}' for each in factors[:8])}"
    more = ", ..." if len(factors) > 8 else ""
    within = "" if math.isinf(high) else f", within {low:.4g} to {high:.4g}"
    text = f"No manifest: its {file.model.input.dtype} input takes the numbers of an observation {times}{more}{within}."
    if observations is None or math.isinf(high):
        return text
    real = observations.astype(np.float64) * np.array(factors)
    outside = float(((real < low - stored.scale / 2) | (real > high + stored.scale / 2)).mean())
    return text if outside < 0.005 else f"{text} {outside:.0%} of them lie outside of that: is the scale right?"


def _spec_for(file: VerifiedFile, env: gymnasium.Env[Any, Any], source: EnvironmentSource) -> EnvironmentSpec:
    """The spec whose network takes the file's input, axes of length 1 aside."""
    shape = allocated_shape(file.model.input)[1:]
    wanted = tuple(size for size in shape if size > 1)
    seen = tuple(env.observation_space.shape or ())
    image = len(seen) in (2, 3)
    channels = seen[2] if len(seen) == 3 else 1
    stack = shape[-1] // channels if image and len(shape) == 3 and shape[-1] % channels == 0 else 1
    flatten = len(seen) > 1 and len(wanted) < 2
    spec = spec_of(env, source, frame_stack=max(stack, 1), flatten=flatten or len(seen) > 3)
    if tuple(size for size in spec.input_shape if size > 1) != wanted:
        expected = spec_of(env, source, flatten=len(seen) > 3).input_shape
        flat = f" or [1, {math.prod(expected)}]" if len(expected) > 1 else ""
        raise PolicyFileError(f"{file.path}: Wrong input for {source.id}: expected {[1, *expected]}{flat}. Got {[1, *shape]}.")
    return spec


def _fitting(scale: tuple[float, ...], spec: EnvironmentSpec) -> tuple[float, ...]:
    features = spec.input_shape[-1]
    if len(scale) not in (1, features):
        each = "feature" if len(spec.input_shape) == 1 else "channel"
        raise ScaleError(
            f"Wrong scale for {spec.id}, and not one for all: expected {features} numbers, one per {each}. Got {len(scale)}."
        )
    return scale
