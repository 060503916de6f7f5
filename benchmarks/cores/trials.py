"""What a policy's C is tried with on a core, and the rows of TFLite Micro's interpreter that it must give."""

import itertools
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedqn.benchmarks.cores.core import Core
from edgedqn.benchmarks.cores.programs import TIMEOUT_S
from edgedqn.benchmarks.cores.stepping import Steps, Task, run_steps
from edgedqn.export.edge_policy import DeviceManifest, VerifiedFile
from edgedqn.export.tflite_file.tflm import int8_inputs, tflm_rows

SEED, MOST_CORNERS, RANDOM = 0, 256, 256
Q16_16 = 2.0**16  # counts per one
INT32 = np.iinfo(np.int32)
# By how much the roundings of policy_quantize_q may move a number, as policy_io.h says: nearer to a half, either side is right.
UNDECIDED = 6 / 2**24


@dataclass(frozen=True)
class Trial:
    """What a policy is tried with.

    Attributes:
      tasks: [N], as `Task.written` gives them.
      rows: that they must give, int8 [N, I + A], input and output of the network side by side.
      inputs: I.
    """

    tasks: tuple[bytes, ...]
    rows: NDArray[np.int8]
    inputs: int

    def of(self, kinds: Collection[Task]) -> "Trial":
        """The tasks of these kinds alone."""
        kept = [at for at, task in enumerate(self.tasks) if task[0] in kinds]
        return Trial(tuple(self.tasks[at] for at in kept), self.rows[kept], self.inputs)

    def every(self, n: int) -> "Trial":
        """One task of n, from all over."""
        return Trial(self.tasks[::n], self.rows[::n], self.inputs)

    def wrong(self, core: Core, program: Path, *, timeout_s: float = TIMEOUT_S) -> int:
        """How many steps a program of `build_stepping` gets wrong, as `wrong_steps` counts. Raises as `run_steps`."""
        return wrong_steps(run_steps(core, program, self.tasks, inputs=self.inputs, timeout_s=timeout_s), self.rows)


def trial_of(file: VerifiedFile, observations: NDArray[Any]) -> Trial:
    """All that a file with int8 ends is tried with.

    Args:
      file: a policy whose frames are not stacked, and without action masks.
      observations: [N, ...] as the environment gives them.
    Returns:
      The observations, from floats and in Q16.16; of each feature the rounding halves, and the least and the largest count; of
      the network's input the corners, and random ones.
    Raises:
      MicroUnavailableError: TFLite Micro is not installed.
    """
    shape = observations.shape[1:]
    tasks: list[bytes] = []
    inputs: list[NDArray[np.int8]] = []
    for task, values, expected in _given(file.device, observations, shape):
        tasks += map(task.written, values)
        inputs.append(expected.reshape(len(values), -1))
    network_inputs = np.concatenate(inputs)  # [N, I]
    return Trial(tuple(tasks), expected_rows(file.content, network_inputs), network_inputs.shape[1])


def expected_rows(content: bytes, inputs: NDArray[np.int8]) -> NDArray[np.int8]:
    """Inputs [N, I] and TFLite Micro's outputs for them side by side, int8 [N, I + A]. Raises as `tflm_rows`."""
    return np.concatenate([inputs, tflm_rows(content, inputs)], axis=1)


def wrong_steps(found: Steps, rows: NDArray[np.int8]) -> int:
    """In how many steps a number differs from that of the rows, or the action is not the first of the largest outputs."""
    actions = rows[:, found.inputs.shape[1] :].argmax(1)
    return int(((found.rows != rows).any(1) | (found.actions != actions)).sum())


def _given(
    device: DeviceManifest, observations: NDArray[Any], shape: tuple[int, ...]
) -> Iterator[tuple[Task, NDArray[Any], NDArray[np.int8]]]:
    """Values of each kind of task, [N, ...], and the network's input for them, [N, ...]."""
    yield Task.OBSERVATION, observations, int8_inputs(device, observations)
    on_halves = halves(device, shape)
    yield Task.REALS, on_halves, int8_inputs(device, on_halves)
    extremes = np.stack([np.full(shape, INT32.min), np.full(shape, INT32.max)])
    in_counts = np.rint(np.clip(observations * Q16_16, INT32.min, INT32.max))
    yield Task.COUNTS, *decided(device, np.concatenate([in_counts, extremes]))
    in_corners = corners(math.prod(shape))
    yield Task.INPUT, in_corners, in_corners
    drawn = np.random.default_rng(SEED).integers(-128, 128, (RANDOM, math.prod(shape))).astype(np.int8)
    yield Task.INPUT, drawn, drawn


def halves(device: DeviceManifest, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Observations [774, *shape] that land on each half from -128.5 to 128.5, on the float32 below, and on the one above."""
    steps = np.arange(-129, 129, dtype=np.float32).reshape(-1, *[1] * len(shape)) + np.float32(0.5)
    scale, offset = np.array(device.scale, np.float32), np.array(device.offset, np.float32)
    on = np.broadcast_to((steps - offset) / scale, (len(steps), *shape))
    return np.concatenate([on, *(np.nextafter(on, np.float32(side)) for side in (-np.inf, np.inf))])


def decided(device: DeviceManifest, counts: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    """Of counts [N, ...] in Q16.16 those whose int8 are all certain, and these: doubles are as good as exact here."""
    real = counts / Q16_16 * np.array(device.scale) + np.array(device.offset)
    certain = (np.abs(real - np.floor(real) - 0.5) > UNDECIDED).reshape(len(counts), -1).all(1)
    return counts[certain], np.rint(np.clip(real[certain], -128, 127)).astype(np.int8)


def corners(inputs: int) -> NDArray[np.int8]:
    """Rows [N, inputs] of -128, -127 and 127, of the extremes alone where those are too many, else 256 random ones."""
    for values in ((-128, -127, 127), (-128, 127)):
        if len(values) ** inputs <= MOST_CORNERS:
            return np.array(list(itertools.product(values, repeat=inputs)), np.int8)
    return np.random.default_rng(SEED).choice(np.array([-128, -127, 127], np.int8), (MOST_CORNERS, inputs))
