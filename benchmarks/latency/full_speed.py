"""Whether the core that times runs at full speed, told by a piece of work that never changes.

Two processors of a virtual machine's host share one core, and what runs on the other one is somebody else's: for milliseconds
or for many seconds everything takes a third longer, and some kernels more so than others, which moves ratios too. What a
candidate took cannot tell that from its own nature, so it is not asked: a yardstick before and after it is. A throttled core
shows in the same way. A process that is let in between two calls does not, and stays in their highest percentiles.

A short run may lie in a slow stretch as a whole, so the fastest that this processor has been seen is remembered for a day.
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
      fastest: the lowest reading so far, the remembered one included, in ns: what full speed is measured by.
    """

    def __init__(self, patience_s: float, cores: Cores | None = None) -> None:
        self._patience_ns = round(patience_s * 1e9)
        self._cores = cores
        self._recalled = recall()
        self._seen = read()
        self.fastest = self._seen if self._recalled is None else min(self._recalled, self._seen)

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

        Args:
          work: changes nothing that matters when it is repeated.
        Returns:
          What the last attempt gave, and the slower of the readings on both sides of it, in ns.
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

    def remember(self) -> None:
        """Leaves the fastest reading for the runs to come, where it is news and can be written.

        What was remembered is forgotten where patience ran out without a reading near it: it was a moment's turbo, say.
        """
        out_of_reach = self.impatient and not self.reached(self._seen)
        if self._recalled is None or self.fastest < self._recalled or out_of_reach:
            remember(self._seen if out_of_reach else self.fastest)

    def _read(self) -> int:
        reading = read()
        self._seen = min(self._seen, reading)
        self.fastest = min(self.fastest, reading)
        return reading


def read() -> int:
    """Time of the yardstick, in ns: the fastest of three, for one alone is lengthened by what came before it."""
    fastest = 1 << 62
    for _ in range(READS):
        start = clock()
        hashlib.blake2b(WORK).digest()
        fastest = min(fastest, clock() - start)
    return fastest


def memory() -> Path:
    """Where the fastest reading is kept: `$XDG_CACHE_HOME` or `~/.cache`, then `edgedqn/full_speed.json`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgedqn" / "full_speed.json"


def recall() -> int | None:
    """The fastest reading of this processor and Python during the last day, in ns; None where nobody has left one."""
    try:
        if time.time() - memory().stat().st_mtime > REMEMBERED_S:
            return None
        found = read_json(memory(), SCHEMA)
    except (OSError, RuntimeError, InputError):  # RuntimeError: nobody has a home here
        return None
    fastest = found.get("fastest_ns")
    return fastest if found.get("of") == _self() and isinstance(fastest, int) and fastest > 0 else None


def remember(fastest_ns: int) -> None:
    """Keeps a reading of this processor and Python for a day, where there is a folder for it."""
    try:
        memory().parent.mkdir(parents=True, exist_ok=True)
        write_json(memory(), {"schema": SCHEMA, "of": _self(), "fastest_ns": fastest_ns})
    except (OSError, RuntimeError):
        return


def _self() -> str:
    return f"{cpu()}, {platform.machine()}, Python {platform.python_version()}"
