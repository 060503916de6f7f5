"""One core for what is timed: a process that is moved from core to core takes half as long again for a step."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

STATISTICS = Path("/proc/stat")
WATCHED_S = 0.2


class Cores:
    """As many of the `allowed` cores as `threads` need, to which this thread keeps.

    Attributes:
      used: the cores kept to so far, in ascending order.
    """

    def __init__(self, allowed: set[int], threads: int) -> None:
        self._order = quietest(allowed)
        self._chosen = self._order[:threads]
        os.sched_setaffinity(0, self._chosen)
        self.used = sorted(self._chosen)

    def move_on(self) -> None:
        """Goes to the next core that there is. Several threads stay: an interpreter's are running already, and would be left
        behind."""
        if len(self._chosen) == 1:
            at = (self._order.index(self._chosen[0]) + 1) % len(self._order)
            self._chosen = [self._order[at]]
            with suppress(OSError):  # it was taken offline
                os.sched_setaffinity(0, self._chosen)
                self.used = sorted({*self.used, *self._chosen})


@contextmanager
def pinned(threads: int) -> Iterator[Cores | None]:
    """Keeps this thread, and those that it starts meanwhile, on as many cores as `threads` need: the ones that had least to do.

    Yields the cores, or None where the system does not let a process choose.
    """
    if not hasattr(os, "sched_setaffinity"):  # macOS
        yield None
        return
    before = os.sched_getaffinity(0)
    try:
        cores = Cores(before, threads)
    except OSError:  # a container that forbids it
        yield None
        return
    try:
        yield cores
    finally:
        os.sched_setaffinity(0, before)


def quietest(cores: set[int]) -> list[int]:
    """The cores in the order of how long they idled during a fifth of a second, the idlest first; of equals the last one,
    because the first serves the devices."""
    before = _idle()
    time.sleep(WATCHED_S)
    after = _idle()
    return sorted(cores, key=lambda core: (after.get(core, 0) - before.get(core, 0), core), reverse=True)


def _idle() -> dict[int, int]:
    """Since the start of the system, in hundredths of a second; nothing where that cannot be read."""
    try:
        lines = [line.split() for line in STATISTICS.read_text().splitlines()]
    except OSError:
        return {}
    return {int(line[0][3:]): int(line[4]) for line in lines if line and line[0].startswith("cpu") and line[0] != "cpu"}
