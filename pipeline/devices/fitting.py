"""Which policy files fit a board: each as the firmware of its plain C, linked, weighed and run. Needs no TensorFlow."""

import math
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError, one_line, require
from edgedqn.benchmarks.cores.budget import TARGETS, Budget
from edgedqn.benchmarks.cores.core import missing_tools
from edgedqn.benchmarks.cores.fit import Fit, FitTest, fit_of
from edgedqn.export.devices.microcontroller.bundle import write_plain
from edgedqn.export.edge_policy import PolicyFileError, VerifiedFile, read_verified

# That a step is counted on: of many numbers fewer, because what one takes more another takes less, and an image takes long.
OBSERVATIONS, OF_MANY, MANY = 255, 16, 100
LARGEST = 1e30  # which a float32 holds
BYTES, STATE, REAL = np.dtype("u1"), np.dtype("<i4"), np.dtype("<f4")  # what `policy_element` is


def measure_fit(files: Mapping[str, Path], budget: Budget, *, is_limit: bool = False) -> FitTest:
    """Builds and weighs the firmware of each file, and runs it where it fits.

    Args:
      files: `.tflite` files by name. What is damaged, has no manifest, float ends or no plain C does not fit, with the reason.
      budget: of the board.
      is_limit: what does not fit may not ship.
    Raises:
      InputError: a compiler or an emulator is missing.
    """
    require_tools(budget)
    return FitTest(budget=budget, is_limit=is_limit, files=tuple(_fit(*each, budget) for each in files.items()))


def measure_fits(files: Mapping[str, Path], earlier: Sequence[FitTest], limit: Budget | None) -> tuple[FitTest, ...]:
    """The same for the limit, if there is one, and again for boards that were asked about earlier, as far as their tools are
    there."""
    found = [] if limit is None else [measure_fit(files, limit, is_limit=True)]
    for test in earlier:
        if not test.is_limit and test.budget != limit:
            with suppress(InputError):
                found.append(measure_fit(files, test.budget))
    return tuple(found)


def require_tools(budget: Budget) -> None:
    """InputError where a command is missing that builds a firmware for the board, or runs it."""
    missing = missing_tools(TARGETS[budget.core])
    expected = f"{budget.board} is emulated by its core, {budget.core}: expected its compiler and its emulator"
    require(not missing, f"{expected}. Missing: {', '.join(missing)}.")


def _fit(name: str, path: Path, budget: Budget) -> Fit:
    try:
        return fit_of_file(read_verified(path), budget, name=name)
    except PolicyFileError as error:
        return Fit(name=name, reason=one_line(error))


def fit_of_file(file: VerifiedFile, budget: Budget, *, name: str) -> Fit:
    """The same of one file. Raises as `benchmarks.cores.fit.fit_of`."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        try:
            write_plain(file, folder)
        except InputError as error:
            return Fit(name=name, reason=one_line(error))
        return fit_of(name, folder, budget, observations=_observations(file))


def _observations(file: VerifiedFile) -> list[bytes]:
    """Drawn from what the network's input holds and beside it, the same ones each time, as the bytes of `policy_element`s."""
    device, rng = file.device, np.random.default_rng(0)
    inputs, size = math.prod(file.model.input.shape), math.prod(device.observation_shape)
    shape = (OBSERVATIONS if size < MANY else OF_MANY, size)
    if not device.observation_shape:
        states = inputs - device.n_actions * device.masked
        drawn = rng.integers(states, size=shape).astype(STATE)
    elif device.observation_dtype in ("bool", "uint8"):
        drawn = rng.integers(2 if device.observation_dtype == "bool" else 256, size=shape).astype(BYTES)
    else:
        scale, offset = (np.resize(each, size) for each in (device.scale, device.offset))
        return [row.tobytes() for row in _reals(rng, shape, scale, offset)]
    return [row.tobytes() for row in drawn]


def _reals(rng: np.random.Generator, shape: tuple[int, int], scale: NDArray[Any], offset: NDArray[Any]) -> NDArray[np.float32]:
    """Of floats, [N, F]: rows within the input's range, far outside, of numbers that are next to nothing, and of such that the
    offset takes to a few steps: there a processor without floating point shifts longest, which was measured."""
    few, none = (np.exp2(rng.uniform(*powers, shape)) * rng.choice([-1, 1], shape) for powers in ((0, 2), (-24, 0)))
    kinds = np.stack(
        [rng.uniform(-128, 127, shape), rng.uniform(-2_000, 2_000, shape), none * scale + offset, none, *[few] * 4]
    )
    steps = kinds[rng.integers(len(kinds), size=shape[0]), np.arange(shape[0])]
    x = np.divide(steps - offset, scale, out=np.zeros(shape), where=scale != 0)
    return x.clip(-LARGEST, LARGEST).astype(REAL)
