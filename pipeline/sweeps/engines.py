"""Who does the work of a sweep: processes of this machine, or a Ray cluster."""

import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol, TypeAlias, cast

from edgedqn.agents.errors import InputError, one_line
from edgedqn.agents.files import Json, locked_folder
from edgedqn.agents.playing.processes import WorkerDiedError, Workers
from edgedqn.benchmarks.native_output import quiet
from edgedqn.pipeline.collection.cluster import is_joined, join_cluster, raised_by
from edgedqn.pipeline.native import load_tensorflow
from edgedqn.pipeline.sweeps.jobs import KINDS, Work
from edgedqn.pipeline.sweeps.store import Store

PATIENCE_S = 10.0  # for the tasks of a cluster to end when nobody wants them any more
UNNEEDED = ("checkpoints", ".lock")  # of a run folder, when it is done
SCRATCH = "scratch"  # of a sweep's folder: where work is done
Answer: TypeAlias = Json | Exception  # what a piece of work came to, or why it could not be done


class Engine(Protocol):
    """Does pieces of work, several at a time."""

    def submit(self, number: int, work: Work, url: str) -> None:
        """Does a piece of work when there is time; its files go into the store of this URL. A number tells pieces apart."""

    def next(self) -> tuple[int, Answer]:
        """The number of the first that is finished, and what came of it: a WorkerDiedError where who did it was killed."""

    def end(self) -> None:
        """Nobody works any more when this returns."""


class LocalEngine:
    """Processes of this machine, with one core each. They end with this process, however it ends."""

    def __init__(self, workers: int):
        # Theirs, because a process that is killed removes nothing.
        self._scratch = tempfile.TemporaryDirectory(prefix="edgedqn-", ignore_cleanup_errors=True)
        self._workers = Workers(workers)

    def submit(self, number: int, work: Work, url: str) -> None:
        self._workers.submit(number, partial(perform, work.kind, work.to_json(), url, scratch=self._scratch.name))

    def next(self) -> tuple[int, Answer]:
        number, answer = self._workers.next()
        return number, cast(Answer, answer)

    def end(self) -> None:
        self._workers.end()
        self._scratch.cleanup()


class RayEngine:
    """Tasks of a Ray cluster, with one core each."""

    def __init__(self, address: str | None):
        """Joins the cluster of this address; `auto` finds the one of this machine. InputError: there is none, or no Ray."""
        self._is_ours = not is_joined()
        self._ray = ray = join_cluster(address)
        self._task = ray.remote(num_cpus=1, max_retries=0)(_answer)
        self._running: dict[object, int] = {}

    def submit(self, number: int, work: Work, url: str) -> None:
        self._running[self._task.remote(partial(perform, work.kind, work.to_json(), url))] = number

    def next(self) -> tuple[int, Answer]:
        (done,), _ = self._ray.wait(list(self._running), num_returns=1)
        number = self._running.pop(done)
        try:
            return number, self._ray.get(done)
        except self._ray.exceptions.RayTaskError as error:
            return number, raised_by(error)
        except self._ray.exceptions.RayError as error:  # its process or its machine is gone
            return number, WorkerDiedError(f"Who did it is gone: expected an answer. Got: {one_line(error)}")

    def end(self) -> None:
        for task in self._running:
            self._ray.cancel(task)  # as Ctrl-C would: it removes what it has written
        if self._running:
            _, left = self._ray.wait(list(self._running), num_returns=len(self._running), timeout=PATIENCE_S)
            for task in left:
                self._ray.cancel(task, force=True)
        if self._is_ours:  # or who joined the cluster goes on there
            self._ray.shutdown()


def perform(kind: str, said: Json, url: str, scratch: str | None = None) -> Json:
    """Does a piece of work in this process, which does nothing else, with one core; returns what it came to. What is done
    already is not done again. `scratch` is a folder for temporary files."""
    os.environ["EDGEDQN_CORES"] = "1"
    work, store = KINDS[kind].from_json(said), Store(url)
    done, started, of_processor = store.result(work.key), time.monotonic(), _cpu_seconds()
    if done is not None:
        return done
    with quiet(), _place(work, store, scratch) as folder:
        load_tensorflow()
        result = work.do(store, folder).to_json()
        for name in UNNEEDED:
            for path in folder.rglob(name):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        store.put(work.key, folder, result, seconds=time.monotonic() - started, cpu_seconds=_cpu_seconds() - of_processor)
    return result


def _cpu_seconds() -> float:
    """Of this process and those that it has waited for."""
    return sum(sum(resource.getrusage(whose)[:2]) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


@contextmanager
def _place(work: Work, store: Store, scratch: str | None) -> Iterator[Path]:
    """A run folder to fill, and one for temporary files, below the store's if that is a folder of this machine: there the next
    one finds what one that was killed has left. An error leaves nothing."""
    with ExitStack() as stack:
        place = None if store.folder is None else store.folder / SCRATCH / work.key
        if place is not None:
            place.mkdir(parents=True, exist_ok=True)
            try:
                stack.enter_context(locked_folder(place))
            except InputError:  # another machine does it, which was thought to be gone
                place = None
        if place is None:
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgedqn-", dir=scratch)))
        run, temporary = place / "run", place / "tmp"
        for folder in (temporary,) if work.goes_on else (run, temporary):
            shutil.rmtree(folder, ignore_errors=True)
        for folder in (run, temporary):
            folder.mkdir(exist_ok=True)
        before, tempfile.tempdir = tempfile.tempdir, str(temporary)
        stack.callback(setattr, tempfile, "tempdir", before)
        try:
            yield run
        except Exception:
            shutil.rmtree(place, ignore_errors=True)
            raise
        shutil.rmtree(place, ignore_errors=True)


def _answer(call: Callable[[], Json]) -> Json:
    return call()
