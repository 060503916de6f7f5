"""A policy's C files on a core, step by step: from an observation, or what comes after it, to the action."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedqn.benchmarks.cores.core import Core
from edgedqn.benchmarks.cores.programs import SOURCES, TIMEOUT_S, build, run
from edgedqn.benchmarks.cores.stated import StatedMemory

FILES = ("policy.c", "policy_io.c", "policy_observe.c")


class Task(IntEnum):
    """What a step starts from, as `stepping.c` numbers it."""

    OBSERVATION = 1  # float32, as the environment gives it
    REALS = 2  # float32, one per input of the network
    COUNTS = 3  # int32, likewise, of the unit of `policy_quantize_q`
    INPUT = 4  # int8, the network's input itself

    def written(self, values: NDArray[Any]) -> bytes:
        """The task as the program reads it, of the values of one step, of any shape."""
        dtype = {Task.COUNTS: "<i4", Task.INPUT: "i1"}.get(self, "<f4")
        return bytes([self]) + values.astype(dtype).tobytes()


@dataclass(frozen=True)
class Steps:
    """What a core answered, N steps of a network with I inputs and A outputs.

    Attributes:
      inputs: int8 [N, I].
      outputs: int8 [N, A].
      actions: [N], 0 .. A - 1.
      units: [N], instructions or cycles, as the core counts, from the observation in memory to the action; 0 where it does not.
    """

    inputs: NDArray[np.int8]
    outputs: NDArray[np.int8]
    actions: NDArray[np.int64]
    units: NDArray[np.int64]

    @property
    def rows(self) -> NDArray[np.int8]:
        """Inputs and outputs side by side, int8 [N, I + A]."""
        return np.concatenate([self.inputs, self.outputs], axis=1)


def build_stepping(core: Core, folder: Path, into: Path, *, optimization: str = "-O2") -> Path:
    """Builds the program of a policy that has a `policy.c`; for the tasks `known_tasks` alone.

    Args:
      core: one of `CORES`.
      folder: with the C files of a bundle.
      into: a folder that is there, for what is built.
      optimization: as of `run_on`.
    Returns:
      The program, for `run_steps` and `playing_on`.
    Raises:
      InputError, TooLargeError, RuntimeError: as `run_on`.
    """
    lean = "" if Task.REALS in known_tasks(core, folder) else "#define LEAN\n"
    main = lean + (SOURCES / "stepping.c").read_text(encoding="utf-8")
    sources = [folder / name for name in FILES]
    return build(core, main, sources, includes=[folder], folder=into, optimization=optimization)


def known_tasks(core: Core, folder: Path) -> frozenset[Task]:
    """What a program of `build_stepping` can be given: not REALS and COUNTS where a chip has no room for them."""
    has_room = StatedMemory.read(folder).has_room_for_reals(core.ram_bytes)
    return frozenset(Task if has_room else (Task.OBSERVATION, Task.INPUT))


def run_steps(core: Core, program: Path, tasks: Sequence[bytes], *, inputs: int, timeout_s: float = TIMEOUT_S) -> Steps:
    """Runs a program of `build_stepping` once, for at least one task as `Task.written` gives them; `inputs` of the network.

    Raises:
      RuntimeError: as `run_on`; of a task that the policy refuses, as of a NaN, the status is 1.
    """
    answers = run(core, program, input_bytes=b"".join(tasks) + b"\0", timeout_s=timeout_s)
    return read_steps(core, answers.splitlines(), inputs)


def read_steps(core: Core, lines: Sequence[str], inputs: int) -> Steps:
    """The steps that a program wrote, a line each, at least one."""
    numbers = np.array([line.split() for line in lines], np.int64)  # [N, I + A + 2]
    rows = numbers[:, :-2].astype(np.int8)
    units = np.rint(numbers[:, -1] / core.ticks_per_unit).astype(np.int64)
    return Steps(rows[:, :inputs], rows[:, inputs:], numbers[:, -2], units)
