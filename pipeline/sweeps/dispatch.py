"""Several searches that ask for work, and an engine that does it."""

import errno
import itertools
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from tqdm import tqdm

from edgedqn.agents.playing.processes import WorkerDiedError
from edgedqn.pipeline.sweeps.engines import Engine
from edgedqn.pipeline.sweeps.jobs import Result, Work
from edgedqn.pipeline.sweeps.store import Store

RETRIES = 2  # of a piece of work whose process or machine is gone
FULL = (errno.ENOSPC, errno.EDQUOT)  # no other work could be kept either
T = TypeVar("T")
Outcome: TypeAlias = Result | Exception  # what a piece of work came to, or why it could not be done


@dataclass(frozen=True)
class Needed:
    """What a search asks for.

    Attributes:
      works: it waits until all of them are done.
      ahead: what it will ask for later if what that needs can be done; begun after these, and after what it needs.
    """

    works: Sequence[Work]
    ahead: Sequence[Work] = ()


Steps: TypeAlias = Generator[Needed, Sequence[Outcome], T]  # asks for work, is sent what it came to


class Dispatcher:
    """Lets an engine do what several searches ask for; what is done, or under way for another, is not done again."""

    def __init__(self, store: Store, engine: Engine, *, total: int):
        """`total` is how many pieces of work there are to come, for the progress bar."""
        self._store, self._engine = store, engine
        self._there = store.keys()  # what is done from here on is told by the engine
        self._numbers = itertools.count()
        self._running: dict[int, tuple[Work, int]] = {}  # with how often it was begun
        self._waiting: dict[str, list[Work]] = {}  # by the key of the work that they need
        self._pending: set[str] = set()  # the keys of both
        self._outcomes: dict[str, Outcome] = {}  # by the key of the work
        self._asked: dict[str, Sequence[Work]] = {}  # by the name of the search
        self._bar = tqdm(total=total, desc="sweep", unit=" files", disable=None, mininterval=0.5)
        self._failed = 0

    def run(self, searches: Mapping[str, Steps[T]]) -> dict[str, T]:
        """What each search returns. An OSError where the disk is full."""
        found: dict[str, T] = {}
        ready = list(searches)
        with self._bar:
            while len(found) < len(searches):
                for name in ready:
                    asked, steps = self._asked.pop(name, None), searches[name]
                    try:
                        self._ask(name, next(steps) if asked is None else steps.send([self._outcomes[w.key] for w in asked]))
                    except StopIteration as end:
                        found[name] = end.value
                ready = [name for name, works in self._asked.items() if all(work.key in self._outcomes for work in works)]
                if self._asked and not ready:
                    self._wait()
        return {name: found[name] for name in searches}

    def _ask(self, name: str, needed: Needed) -> None:
        self._asked[name] = needed.works
        # The order changes no result: who begins with the longest waits less for the last.
        for work in (*sorted(needed.works, key=lambda work: not work.is_long), *needed.ahead):
            self._want(work)

    def _want(self, work: Work) -> None:
        if work.key in self._outcomes or work.key in self._pending:
            return
        done = self._store.result(work.key) if work.key in self._there else None
        if done is not None:
            self._finish(work, work.comes_to.from_json(done))
            return
        self._pending.add(work.key)
        if work.needs is not None and work.needs.key in self._pending:
            self._waiting.setdefault(work.needs.key, []).append(work)
        else:
            self._begin(work, times=1)

    def _begin(self, work: Work, *, times: int) -> None:
        number = next(self._numbers)
        self._running[number] = work, times
        self._engine.submit(number, work, self._store.url)

    def _wait(self) -> None:
        number, outcome = self._engine.next()
        work, times = self._running.pop(number)
        if isinstance(outcome, OSError) and outcome.errno in FULL:
            raise outcome
        if isinstance(outcome, WorkerDiedError) and times <= RETRIES:
            self._begin(work, times=times + 1)
        else:
            self._finish(work, outcome if isinstance(outcome, Exception) else work.comes_to.from_json(outcome))

    def _finish(self, work: Work, outcome: Outcome) -> None:
        self._outcomes[work.key] = outcome
        self._pending.discard(work.key)
        self._failed += isinstance(outcome, Exception)
        self._bar.set_postfix({"running": len(self._running), "failed": self._failed}, refresh=False)
        self._bar.update()
        for waiting in self._waiting.pop(work.key, []):
            if isinstance(outcome, Exception):
                self._finish(waiting, outcome)
            else:
                self._begin(waiting, times=1)
