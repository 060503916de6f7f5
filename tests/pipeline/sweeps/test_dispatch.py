from pathlib import Path

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.processes import WorkerDiedError
from edgedqn.pipeline.sweeps.dispatch import RETRIES, Dispatcher, Steps, results_of
from edgedqn.pipeline.sweeps.engines import Answer
from edgedqn.pipeline.sweeps.jobs import FileResult, TeacherResult, TeacherWork, Work
from edgedqn.pipeline.sweeps.store import Store


class Answering:
    """An engine that gives the answers of a list, first come first served, and keeps nothing."""

    def __init__(self, *answers: Answer):
        self.submitted: list[Work] = []
        self._answers, self._numbers = list(answers), list[int]()

    def submit(self, number: int, work: Work, url: str) -> None:
        self.submitted.append(work)
        self._numbers.append(number)

    def next(self) -> tuple[int, Answer]:
        return self._numbers.pop(0), self._answers.pop(0)

    def end(self) -> None:
        self._numbers.clear()


def teacher(seed: int) -> TeacherWork:
    return TeacherWork(environment={"id": "CartPole-v1"}, seed=seed, training={})


def asking(*seeds: int) -> Steps[list[object]]:
    """A search that asks for teachers once, and returns what they came to."""
    outcomes = yield [teacher(seed) for seed in seeds]
    return list(outcomes)


def test_what_two_searches_ask_for_is_done_once(tmp_path: Path) -> None:
    engine = Answering({"score": 1.0}, {"score": 2.0})
    found = Dispatcher(Store(str(tmp_path)), engine, total=3).run({"a": asking(0, 1), "b": asking(1)})
    assert found == {"a": [TeacherResult(1.0), TeacherResult(2.0)], "b": [TeacherResult(2.0)]}
    assert [work.key for work in engine.submitted] == [teacher(0).key, teacher(1).key]


def test_what_the_store_has_is_asked_of_nobody(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    Store(str(tmp_path)).put(teacher(0).key, tmp_path / "empty", {"score": 3.0})
    engine = Answering()
    assert Dispatcher(Store(str(tmp_path)), engine, total=1).run({"a": asking(0)}) == {"a": [TeacherResult(3.0)]}
    assert not engine.submitted


def test_who_dies_is_replaced_a_few_times(tmp_path: Path) -> None:
    gone = WorkerDiedError("gone")
    engine = Answering(gone, {"score": 1.0})
    assert Dispatcher(Store(str(tmp_path)), engine, total=1).run({"a": asking(0)}) == {"a": [TeacherResult(1.0)]}
    engine = Answering(*[gone] * (1 + RETRIES))
    assert Dispatcher(Store(str(tmp_path)), engine, total=1).run({"a": asking(0)}) == {"a": [gone]}


def test_a_search_that_asks_for_nothing_goes_on(tmp_path: Path) -> None:
    assert Dispatcher(Store(str(tmp_path)), Answering(), total=0).run({"a": asking()}) == {"a": []}


def test_a_full_disk_stops_everything(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space"):
        Dispatcher(Store(str(tmp_path)), Answering(OSError(28, "No space")), total=1).run({"a": asking(0)})


def test_results_are_told_from_errors() -> None:
    good = TeacherResult(1.0)
    assert results_of([good, good], TeacherResult) == ((good, good), "")
    assert results_of([good, InputError("bad\ninput"), InputError("other")], TeacherResult) == ((good,), "bad input")
    assert results_of([good], FileResult) == ((), "")
