import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.compression.recipes import RECIPES
from edgedqn.pipeline.sweeps.jobs import FileResult, FileWork, HopelessError, PatientLog, ProofWork, TeacherWork, perform
from edgedqn.pipeline.sweeps.store import Store

TEACHER = TeacherWork(environment={"id": "CartPole-v1"}, seed=0, training={"algorithm": "dqn", "steps": 100})
FILE = FileWork(teacher=TEACHER, recipe=RECIPES["qat-int8"].to_json())


def test_work_is_known_by_all_that_decides_it() -> None:
    works = [
        TEACHER,
        TeacherWork(environment={"id": "CartPole-v1"}, seed=1, training=TEACHER.training),
        TeacherWork(environment={"id": "CartPole-v1"}, seed=0, training={"algorithm": "dqn", "steps": 200}),
        FILE,
        FileWork(teacher=TEACHER, recipe=RECIPES["prune-qat-int8"].to_json()),
        ProofWork(file=FILE),
    ]
    assert len({work.key for work in works}) == len(works)
    for work in works:
        again = type(work).from_json(json.loads(json.dumps(work.to_json())))
        assert again.key == work.key


def test_what_is_done_is_a_run_that_can_be_gone_on_with(done: Path) -> None:
    store = Store(str(done))
    keys = sorted(path.stem for path in (done / "work").glob("*.json"))
    assert {key.split("-")[0] for key in keys} == {"teacher", "file", "proof"}
    for key in keys:
        folder = done / store.place(key)
        assert (folder / "run.json").is_file() and not (folder / ".lock").exists()
        assert not (folder / "agent" / "checkpoints").exists()
        assert (folder / "report.html").is_file() == key.startswith("proof")
        if key.startswith("file"):
            result = FileResult.from_json(store.result(key) or {})
            assert result.verdict in ("pass", "fail", "undecided")
            assert result.value("macs") in (12, 24, 48) and 0 < result.value("bytes") < 3_000 < result.value("arena") + 2_000


def test_a_training_that_comes_to_too_little_is_given_up(tmp_path: Path) -> None:
    log = PatientLog(tmp_path, ((1_000, 5.0), (3_000, 20.0)))
    log.evaluation(500, 1.0)
    log.evaluation(1_000, 6.0)
    log.evaluation(2_000, 2.0)  # its best counts
    with pytest.raises(HopelessError, match=r"Its best is below 20 after 3,000 steps\."):
        log.evaluation(3_000, 19.0)
    assert log.curve == [(500, 1.0), (1_000, 6.0), (2_000, 2.0), (3_000, 19.0)]


def test_what_does_not_fit_its_board_has_not_passed() -> None:
    fitting = FileResult(verdict="pass", reason="", kept=1, size_bytes=1, multiply_accumulates=1, arena_bytes=None, sha256="")
    assert fitting.passed and not replace(fitting, misfit="flash").passed and not replace(fitting, verdict="fail").passed


def test_an_arena_that_is_not_known_is_no_objective() -> None:
    unknown = FileResult(verdict="pass", reason="", kept=1, size_bytes=1, multiply_accumulates=1, arena_bytes=None, sha256="")
    with pytest.raises(InputError, match=r"The arena is an objective: expected the extra `micro`"):
        unknown.value("arena")


def test_what_is_done_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    Store(str(tmp_path)).put(TEACHER.key, tmp_path / "empty", {"score": 3.0})
    monkeypatch.setattr(TeacherWork, "do", lambda *_: pytest.fail("It was done."))
    assert perform("teacher", TEACHER.to_json(), str(tmp_path)) == {"score": 3.0}
