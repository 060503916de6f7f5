"""Whether the core that times runs at full speed, measured by a piece of work that never changes.

Two processors of a virtual machine's host share one core, and what runs on the other one is somebody else's: for milliseconds
or for many seconds everything takes a third longer, and some kernels more so than others, which moves ratios too. The times of
a candidate cannot show that, so the reference work is timed before and after each block. A throttled core shows in the same
way. A process that runs between two calls does not, and stays in their highest percentiles.

A short run may lie in a slow stretch as a whole, so the fastest reading of this processor is kept in a file for a day.
"""

import hashlib
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from edgedqn.agents.errors import InputError
from edgedqn.agents.files import read_json, write_json
from edgedqn.benchmarks.latency.pinning import Cores
from edgedqn.benchmarks.machine import cpu

clock = time.perf_counter_ns

# Of six kinds of work this one varied least at full speed (on a virtual AMD EPYC nine in ten readings are within 2 % of the
# median, none is more than 2 % below it) and is lengthened as much as any beside a neighbour: by 35 % in the median.
WORK = bytes(range(256)) * 16
READS = 3
TOLERANCE = 1.12
SLOW_NS = 200_000_000  # thrown away on one core before the next is tried
REMEMBERED_S = 86_400
SCHEMA = 1
_T = TypeVar("_T")


class FullSpeed:
    """Repeats work until it ran at full speed, for as long as patience lasts.

    Args:
      patience_s: so many seconds of work that was too slow are thrown away; after that any speed will do.
      cores: that the work may move to when the one it is on stays slow; None: it stays where it is.

    Attributes:
      fastest: the lowest reading so far, the kept one included, in ns: full speed is measured by it.
    """

    def __init__(self, patience_s: float, cores: Cores | None = None) -> None:
        self._patience_ns = round(patience_s * 1e9)
        self._cores = cores
        self._loaded = load_reference_ns()
        self._seen = time_reference_work()
        self.fastest = self._seen if self._loaded is None else min(self._loaded, self._seen)

    @property
    def impatient(self) -> bool:
        """Whether no more may be thrown away."""
        return self._patience_ns <= 0

    def reached(self, reading: int) -> bool:
        """Whether a reading, in ns, is one of full speed as far as is known by now."""
        return reading <= TOLERANCE * self.fastest

    def waste(self, duration: int) -> None:
        """Takes work of so many ns, which is thrown away, off the patience."""
        self._patience_ns -= duration

    def run(self, work: Callable[[], _T]) -> tuple[_T, int]:
        """Does the work, again where the core was slower before or after it.

        Returns what the last attempt gave, and the slower of the readings on both sides of it, in ns.
        """
        before, here = self._read(), 0  # so much was thrown away on this core
        while True:
            start = clock()
            result = work()
            after = self._read()
            slower = max(before, after)
            if self.reached(slower) or self.impatient:
                return result, slower
            wasted = clock() - start
            self.waste(wasted)
            here += wasted
            if self._cores is not None and here > SLOW_NS:
                self._cores.move_on()
                after, here = self._read(), 0
            before = after

    def save_reference(self) -> None:
        """Writes the fastest reading for later runs, where it is a new one and can be written.

        Where patience ran out without a reading near the kept one, that is replaced: it was a moment's turbo, say.
        """
        out_of_reach = self.impatient and not self.reached(self._seen)
        if self._loaded is None or self.fastest < self._loaded or out_of_reach:
            save_reference_ns(self._seen if out_of_reach else self.fastest)

    def _read(self) -> int:
        reading = time_reference_work()
        self._seen = min(self._seen, reading)
        self.fastest = min(self.fastest, reading)
        return reading


def time_reference_work() -> int:
    """Time of the reference work, in ns: the fastest of three, for one alone is lengthened by what came before it."""
    fastest = 1 << 62
    for _ in range(READS):
        start = clock()
        hashlib.blake2b(WORK).digest()
        fastest = min(fastest, clock() - start)
    return fastest


def reference_file() -> Path:
    """Where the fastest reading is kept: `$XDG_CACHE_HOME` or `~/.cache`, then `edgedqn/full_speed.json`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgedqn" / "full_speed.json"


def load_reference_ns() -> int | None:
    """The fastest reading of this processor and Python during the last day, in ns; None where none was kept."""
    try:
        if time.time() - reference_file().stat().st_mtime > REMEMBERED_S:
            return None
        found = read_json(reference_file(), SCHEMA)
    except (OSError, RuntimeError, InputError):  # RuntimeError: there is no home folder
        return None
    fastest = found.get("fastest_ns")
    return fastest if found.get("of") == _self() and isinstance(fastest, int) and fastest > 0 else None


def save_reference_ns(fastest_ns: int) -> None:
    """Keeps a reading of this processor and Python for a day, where a folder for it can be made."""
    try:
        reference_file().parent.mkdir(parents=True, exist_ok=True)
        write_json(reference_file(), {"schema": SCHEMA, "of": _self(), "fastest_ns": fastest_ns})
    except (OSError, RuntimeError):
        return


def _self() -> str:
    return f"{cpu()}, {platform.machine()}, Python {platform.python_version()}"
