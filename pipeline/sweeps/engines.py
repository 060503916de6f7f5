"""Who does the work of a sweep: processes of this machine, or a Ray cluster."""

from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeAlias, cast

from edgedqn.agents.files import Json
from edgedqn.agents.playing.processes import WorkerDiedError, Workers
from edgedqn.pipeline.collection.cluster import join_cluster
from edgedqn.pipeline.sweeps.jobs import Work, perform

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
        self._workers = Workers(workers)

    def submit(self, number: int, work: Work, url: str) -> None:
        self._workers.submit(number, _call(work, url))

    def next(self) -> tuple[int, Answer]:
        number, answer = self._workers.next()
        return number, cast(Answer, answer)

    def end(self) -> None:
        self._workers.end()


class RayEngine:
    """Tasks of a Ray cluster, with one core each."""

    def __init__(self, address: str | None):
        """Joins the cluster of this address; `auto` finds the one of this machine. InputError: there is none, or no Ray."""
        self._ray = ray = join_cluster(address)
        self._task = ray.remote(num_cpus=1, max_retries=0)(_answer)
        self._running: dict[object, int] = {}

    def submit(self, number: int, work: Work, url: str) -> None:
        self._running[self._task.remote(_call(work, url))] = number

    def next(self) -> tuple[int, Answer]:
        (done,), _ = self._ray.wait(list(self._running), num_returns=1)
        number = self._running.pop(done)
        try:
            return number, self._ray.get(done)
        except self._ray.exceptions.RayTaskError as error:
            cause = getattr(error, "cause", None)
            return number, cause if isinstance(cause, Exception) else error
        except self._ray.exceptions.RayError as error:  # its process or its machine is gone
            return number, WorkerDiedError(f"Who did it is gone: expected an answer. Got {type(error).__name__}.")

    def end(self) -> None:
        for task in self._running:
            self._ray.cancel(task, force=True)
        self._ray.shutdown()


def _call(work: Work, url: str) -> Callable[[], Json]:
    return partial(perform, work.kind, work.to_json(), url)


def _answer(call: Callable[[], Json]) -> Json:
    return call()
