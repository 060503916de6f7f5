import itertools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.processes import WorkerDiedError
from edgedqn.benchmarks.rows import BenchmarkRow
from edgedqn.pipeline.sweeps.engines import Answer
from edgedqn.pipeline.sweeps.jobs import FileResult, FileWork, ProofWork, TeacherWork, Work
from edgedqn.pipeline.sweeps.record import open_storage
from edgedqn.pipeline.sweeps.store import Store
from edgedqn.pipeline.sweeps.sweep import run_sweep
from edgedqn.pipeline.sweeps.sweep_file import Sweep
from edgedqn.pipeline.sweeps.trials import Found, front

SWEEP: dict[str, Any] = {
    "environments": ["CartPole-v1", "MountainCar-v0"],
    "seeds": [0, 1],
    "trials": 6,
    "batch": 3,
    "teacher": {"trials": 2, "sampler": "grid", "settings": {"learning_rate": {"choice": [1e-3, 1e-2]}}},
    "recipes": [{"recipe": "student-qat-int8", "settings": {"new_student.hidden": {"choice": [[2], [4], [8], [16], [32]]}}}],
}


class Killed(BaseException):
    """In the place of a signal."""


class MadeUp:
    """An engine that makes results up from what the work says, and finishes it in any order."""

    def __init__(
        self,
        seed: int = 0,
        *,
        dies: Callable[[int], bool] = lambda _: False,
        killed_at: int = -1,
        answers: Callable[[Work], Answer] | None = None,
    ):
        self.done: list[Work] = []
        self._answers = answers or made_up
        self._rng, self._dies, self._killed_at = random.Random(seed), dies, killed_at
        self._waiting: list[tuple[int, Work, str]] = []
        self._count = itertools.count()

    def submit(self, number: int, work: Work, url: str) -> None:
        self._waiting.append((number, work, url))

    def next(self) -> tuple[int, Answer]:
        count = next(self._count)
        if count == self._killed_at:
            raise Killed
        number, work, url = self._waiting.pop(self._rng.randrange(len(self._waiting)))
        if self._dies(count):
            return number, WorkerDiedError("Who did it is gone.")
        outcome = self._answers(work)
        self.done.append(work)
        if isinstance(outcome, dict):
            folder = Path(url) / "empty"
            folder.mkdir(parents=True, exist_ok=True)
            Store(url).put(work.key, folder, outcome)
        return number, outcome

    def end(self) -> None:
        self._waiting.clear()


def made_up(work: Work) -> Answer:
    if isinstance(work, TeacherWork):
        return {"score": 100 * float(str(work.training["learning_rate"]))}
    if isinstance(work, FileWork):
        hidden = work.recipe["stages"][1]["hidden"][0]  # type: ignore[index]
        if hidden == 4:
            return InputError("It cannot be done.")
        kept = 1 - 1 / hidden
        return file_result(verdict="pass" if hidden > 2 else "fail", kept=kept, size_bytes=100 * hidden).to_json()
    assert isinstance(work, ProofWork)
    row = BenchmarkRow(name=str(work.file.recipe["name"]), file="models/x.tflite", status="ok", gate="pass")
    return {"rows": [row.to_json()]}


def file_result(*, verdict: str, kept: float, size_bytes: int) -> FileResult:
    return FileResult(
        verdict=verdict,
        reason="",
        kept=kept,
        size_bytes=size_bytes,
        multiply_accumulates=10,
        arena_bytes=None,
        sha256=f"{size_bytes:064x}",
    )


def run(folder: Path, engine: MadeUp, change: dict[str, Any] | None = None, *, retry_failed: bool = False) -> dict[str, Found]:
    folder.mkdir(exist_ok=True)
    sweep = Sweep.from_json(SWEEP | (change or {}))
    with open_storage(folder / "journal.log") as storage:
        return run_sweep(sweep, store=Store(str(folder)), storage=storage, engine=engine, retry_failed=retry_failed)


def test_each_environment_has_its_search_and_the_front_is_proven(tmp_path: Path) -> None:
    found = run(tmp_path / "a", MadeUp())
    assert list(found) == SWEEP["environments"]
    for env_id, each in found.items():
        assert each.teacher == {"learning_rate": 1e-2}  # it scored higher
        assert [trial.number for trial in each.trials] == list(range(6))
        assert {work.teacher.environment["id"] for trial in each.trials for work in trial.works} == {env_id}
        assert all([work.teacher.seed for work in trial.works] == [0, 1] for trial in each.trials)
        assert set(each.proofs) == {trial.number for trial in front(each.trials, ("return", "bytes"))}
        assert all(
            proof.own_row is not None and proof.own_row.gate == "pass" for proofs in each.proofs.values() for proof in proofs
        )


def test_a_training_that_is_worse_than_half_of_the_earlier_ones_is_given_up(tmp_path: Path) -> None:
    asked: list[TeacherWork] = []

    def trained(work: Work) -> Answer:
        if not isinstance(work, TeacherWork):
            return made_up(work)
        asked.append(work)
        rate = float(str(work.training["learning_rate"]))
        least = dict(work.hopeless).get(2_000, 0)
        return {"score": 100 * rate, "curve": [[1_000, 1.0], [2_000, 100 * rate]], "given_up": 100 * rate < least}

    rates = {"choice": [1e-2, 2e-2, 4e-2, 1e-3, 8e-2]}
    teacher = {"trials": 5, "sampler": "grid", "settings": {"learning_rate": rates}}
    found = run(tmp_path / "a", MadeUp(answers=trained), {"teacher": teacher})["CartPole-v1"]
    assert found.teacher == {"learning_rate": 8e-2}
    mine = {float(str(work.training["learning_rate"])): work.hopeless for work in asked if work.seed == 0}
    assert mine[4e-2] == ()  # nothing was known yet
    assert mine[1e-3] == mine[8e-2] == ((1_000, 1.0), (2_000, 2.0))
    with open_storage(tmp_path / "a" / "journal.log") as storage:
        study = optuna.load_study(study_name="CartPole-v1 teacher (seeds: 2)", storage=storage)
        states = [trial.state.name for trial in study.trials]
    assert states == ["COMPLETE", "COMPLETE", "COMPLETE", "PRUNED", "COMPLETE"]
    asked.clear()
    never = run(tmp_path / "b", MadeUp(answers=trained), {"teacher": {**teacher, "give_up": False}})
    assert never["CartPole-v1"].teacher == found.teacher and not any(work.hopeless for work in asked)


def test_two_sweeps_may_share_a_database(tmp_path: Path) -> None:
    with open_storage(tmp_path / "journal.log") as storage:
        for name, objectives in (("one", ["return", "bytes"]), ("two", ["return"])):
            sweep = Sweep.from_json({**SWEEP, "objectives": objectives})
            found = run_sweep(sweep, store=Store(str(tmp_path / name)), storage=storage, engine=MadeUp(), name=name)
            assert all(len(each.trials) == 6 for each in found.values())


def test_all_files_are_proven_where_that_is_asked(tmp_path: Path) -> None:
    found = run(tmp_path / "a", MadeUp(), {"prove": "all"})["CartPole-v1"]
    assert set(found.proofs) == {trial.number for trial in found.trials if trial.done}


def test_nothing_is_done_twice_and_the_order_does_not_matter(tmp_path: Path) -> None:
    engine = MadeUp(1)
    found = run(tmp_path / "a", engine)
    keys = [work.key for work in engine.done]
    assert len(set(keys)) == len(keys)
    assert found == run(tmp_path / "b", MadeUp(2))
    again = MadeUp()
    assert found == run(tmp_path / "a", again)
    assert not again.done  # nor what could not be done


@pytest.mark.parametrize("killed_at", [0, 3, 4, 7, 12, 20])
def test_a_driver_that_is_killed_goes_on(tmp_path: Path, killed_at: int) -> None:
    undisturbed = run(tmp_path / "a", MadeUp())
    first = MadeUp(killed_at=killed_at)
    with pytest.raises(Killed):
        run(tmp_path / "b", first)
    second = MadeUp(3)
    assert run(tmp_path / "b", second) == undisturbed
    finished = {work.key for work in first.done if isinstance(made_up(work), dict)}
    assert not finished & {work.key for work in second.done}
    assert run(tmp_path / "b", third := MadeUp()) == undisturbed
    assert not third.done


def test_what_could_not_be_done_is_told_and_stops_nothing(tmp_path: Path) -> None:
    change = {"recipes": [{"recipe": "student-qat-int8", "settings": {"new_student.hidden": {"choice": [[4], [8]]}}}]}
    trials = run(tmp_path / "a", MadeUp(), change)["CartPole-v1"].trials
    failed = [trial for trial in trials if trial.error]
    assert failed and len(failed) < len(trials)
    assert all(trial.error == "Seeds 0, 1: It cannot be done." and not trial.passed for trial in failed)


def test_who_dies_is_replaced_a_few_times(tmp_path: Path) -> None:
    assert run(tmp_path / "a", MadeUp(dies=lambda count: count % 4 == 0)) == run(tmp_path / "b", MadeUp())
    found = run(tmp_path / "c", MadeUp(dies=lambda _: True))
    words = "No agent of CartPole-v1 could be trained: expected one. Got: Seeds 0, 1: Who did it is gone."
    assert words in found["CartPole-v1"].error


def ill(*, kind: type[Work], seed: int) -> Callable[[Work], Answer]:
    """Answers of a machine where all work of a kind fails with a seed."""

    def answer(work: Work) -> Answer:
        its_seed = work.seed if isinstance(work, TeacherWork) else work.teacher.seed if isinstance(work, FileWork) else None
        return OSError("The module is missing.") if isinstance(work, kind) and its_seed == seed else made_up(work)

    return answer


def test_a_seed_that_fails_loses_its_own_results_alone(tmp_path: Path) -> None:
    found = run(tmp_path / "a", MadeUp(answers=ill(kind=FileWork, seed=1)))["CartPole-v1"]
    assert all([result is None for result in trial.results] == [False, True] for trial in found.trials if trial.done)
    assert {"Seed 1: The module is missing."} == {trial.error for trial in found.trials if trial.done}
    assert not found.proofs  # a mean over fewer seeds is compared with nothing
    assert run(tmp_path / "a", again := MadeUp())["CartPole-v1"] == found and not again.done
    each = run(tmp_path / "b", MadeUp(answers=ill(kind=FileWork, seed=1)), {"prove": "all"})["CartPole-v1"]
    assert [[proof.work.file.teacher.seed for proof in proofs] for proofs in each.proofs.values()] == [[0]] * len(each.proofs)
    assert each.proofs


def test_without_an_agent_of_each_seed_nothing_is_searched_but_each_file_may_be_proven(tmp_path: Path) -> None:
    found = run(tmp_path / "a", MadeUp(answers=ill(kind=TeacherWork, seed=1)))["CartPole-v1"]
    assert found.error.endswith("Got: Seed 1: The module is missing.") and not found.trials
    teacher = {"settings": {"learning_rate": 1e-2}}
    change = {"prove": "all", "teacher": teacher}
    found = run(tmp_path / "b", MadeUp(answers=ill(kind=TeacherWork, seed=1)), change)["CartPole-v1"]
    assert not found.error and found.proofs
    assert all([work.teacher.seed for work in trial.works] == [0] and trial.error for trial in found.trials)
    mended = run(tmp_path / "b", MadeUp(), change, retry_failed=True)["CartPole-v1"]
    assert mended == run(tmp_path / "c", MadeUp(), change)["CartPole-v1"]


@pytest.mark.parametrize("kind", [TeacherWork, FileWork])
@pytest.mark.parametrize("sampler", ["random", "nsga2"])
def test_what_failed_is_tried_again_if_that_is_asked(tmp_path: Path, kind: type[Work], sampler: str) -> None:
    change = {"sampler": sampler}
    answer = ill(kind=kind, seed=1)
    broken = run(tmp_path / "a", ill_engine := MadeUp(answers=answer), change)
    assert run(tmp_path / "a", MadeUp(), change) == broken  # it is not done again by itself
    engine = MadeUp()
    mended = run(tmp_path / "a", engine, change, retry_failed=True)
    assert all({trial.error for trial in each.trials} <= {"", "Seeds 0, 1: It cannot be done."} for each in mended.values())
    assert not {work.key for work in ill_engine.done if isinstance(answer(work), dict)} & {work.key for work in engine.done}
    if sampler == "random" or kind is TeacherWork:  # nothing was chosen in the light of the failures
        assert mended == run(tmp_path / "b", MadeUp(), change)
    assert run(tmp_path / "a", again := MadeUp(), change) == mended and not again.done


def test_more_seeds_go_on_from_those_there_are(tmp_path: Path) -> None:
    change: dict[str, Any] = {"sampler": "random"}
    first = MadeUp()
    run(tmp_path / "a", first, change)
    second = MadeUp()
    more = run(tmp_path / "a", second, {**change, "seeds": [2, 0, 1]})
    assert more == run(tmp_path / "b", MadeUp(), {**change, "seeds": [2, 0, 1]})
    done = {work.key for work in first.done if isinstance(made_up(work), dict)}
    assert not done & {work.key for work in second.done}


def test_nobody_waits_where_nothing_is_learned(tmp_path: Path) -> None:
    """One piece of work alone is left at the end only: an agent's files do not wait for other agents, nor proofs for files."""
    left: list[int] = []

    def answer(work: Work) -> Answer:
        left.append(len(engine._waiting))
        return made_up(work)

    engine = MadeUp(answers=answer)
    change = {"sampler": "random", "prove": "all", "environments": ["CartPole-v1"], "batch": 1, "teacher": {}}
    run(tmp_path / "a", engine, change | {"teacher": {"settings": {"learning_rate": 1e-2}}})
    assert left[-1] == 0 and min(left[:-1]) > 0


def test_a_full_disk_stops_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = MadeUp()
    monkeypatch.setattr(engine, "next", lambda: (0, OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        run(tmp_path / "a", engine)


def test_more_trials_go_on_from_those_there_are(tmp_path: Path) -> None:
    few = run(tmp_path / "a", MadeUp())["CartPole-v1"].trials
    more = run(tmp_path / "a", MadeUp(), {"trials": 9})["CartPole-v1"].trials
    assert more[:6] == few and len(more) == 9


def test_after_its_minutes_no_other_batch_is_begun(tmp_path: Path) -> None:
    found = run(tmp_path / "a", MadeUp(), {"minutes": 1e-9})
    assert all(len(found[env_id].trials) == SWEEP["batch"] for env_id in found)
