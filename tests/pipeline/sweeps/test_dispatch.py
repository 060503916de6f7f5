from pathlib import Path

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.processes import WorkerDiedError
from edgedqn.compression.recipes import RECIPES
from edgedqn.pipeline.sweeps.dispatch import RETRIES, Dispatcher, Needed, Steps
from edgedqn.pipeline.sweeps.engines import Answer
from edgedqn.pipeline.sweeps.jobs import FileWork, ProofWork, TeacherResult, TeacherWork, Work
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
    outcomes = yield Needed([teacher(seed) for seed in seeds])
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


def ahead(*seeds: int) -> Steps[list[object]]:
    """A search that says early what it will ask of these teachers."""
    files = {seed: FileWork(teacher=teacher(seed), recipe=RECIPES["qat-int8"].to_json()) for seed in seeds}
    later = [*files.values(), *(ProofWork(file=file) for file in files.values())]
    outcomes: list[object] = list((yield Needed([teacher(seed) for seed in seeds], later)))
    done = [files[seed] for seed, outcome in zip(seeds, outcomes, strict=True) if not isinstance(outcome, Exception)]
    outcomes += yield Needed(done)
    outcomes += yield Needed([ProofWork(file=file) for file in done])
    return outcomes


FILE = {**dict.fromkeys(("verdict", "reason", "sha256"), ""), **dict.fromkeys(("kept", "size_bytes"), 1)}
FILE |= {"multiply_accumulates": 1, "arena_bytes": None}


def test_what_is_certain_to_come_does_not_wait_for_others(tmp_path: Path) -> None:
    engine = Answering({"score": 1.0}, {"score": 2.0}, FILE, FILE, {"rows": []}, {"rows": []})
    found = Dispatcher(Store(str(tmp_path)), engine, total=6).run({"a": ahead(0, 1)})["a"]
    assert [work.kind for work in engine.submitted] == ["teacher", "teacher", "file", "file", "proof", "proof"]
    assert len(found) == 6 and not [each for each in found if isinstance(each, Exception)]
    # The file of the first agent is begun before the second agent is done.
    engine = Answering({"score": 1.0}, InputError("bad"), FILE, {"rows": []})
    found = Dispatcher(Store(str(tmp_path)), engine, total=6).run({"a": ahead(2, 3)})["a"]
    assert [work.kind for work in engine.submitted] == ["teacher", "teacher", "file", "proof"]
    assert len(found) == 4 and isinstance(found[1], InputError)


def test_what_takes_longest_is_begun_first(tmp_path: Path) -> None:
    def asks() -> Steps[None]:
        yield Needed([FileWork(teacher=teacher(0), recipe=RECIPES[name].to_json()) for name in ("qat-int8", "auto-int8")])

    engine = Answering(FILE, FILE)
    Dispatcher(Store(str(tmp_path)), engine, total=2).run({"a": asks()})
    assert [work.is_long for work in engine.submitted] == [True, False]
