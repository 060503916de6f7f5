import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.training.log import FileLog
from edgedqn.compression.recipes import RECIPES
from edgedqn.pipeline.config import RunSettings
from edgedqn.pipeline.sweeps.jobs import FileResult, FileWork, ProofWork, TeacherWork
from edgedqn.pipeline.sweeps.store import Store
from edgedqn.pipeline.sweeps.sweep_file import Sweep

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


def test_what_does_not_fit_its_board_has_not_passed() -> None:
    fitting = FileResult(verdict="pass", reason="", kept=1, size_bytes=1, multiply_accumulates=1, arena_bytes=None, sha256="")
    assert fitting.passed and not replace(fitting, misfit="flash").passed and not replace(fitting, verdict="fail").passed


def test_an_arena_that_is_not_known_is_no_objective() -> None:
    unknown = FileResult(verdict="pass", reason="", kept=1, size_bytes=1, multiply_accumulates=1, arena_bytes=None, sha256="")
    with pytest.raises(InputError, match=r"The arena is an objective: expected the extra `micro`"):
        unknown.value("arena")


class Ended(BaseException):
    """In the place of a signal."""


def teacher_of(sweep_file: dict[str, Any]) -> TeacherWork:
    sweep = Sweep.from_json(sweep_file)
    (source,) = sweep.environments
    first = {name: varied.ends[0] for name, varied in sweep.teacher.settings.items()}
    training = json.loads(json.dumps(RunSettings(training=sweep.training(source, first)).to_json()["training"]))
    return TeacherWork(environment=source.to_json(), seed=0, training=training)


def test_a_hopeless_training_is_given_up(tiny: dict[str, Any], tmp_path: Path, without_xla: None) -> None:
    work = replace(teacher_of(tiny), hopeless=((1_000, 501.0),))
    result = work.do(Store(str(tmp_path)), tmp_path)  # CartPole returns 500 at most
    assert result.given_up and [steps for steps, _ in result.curve] == [1_000] and result.score == result.curve[0][1]
    assert not (tmp_path / "agent" / "agent.json").exists() and not (tmp_path / "models").exists()


def test_a_training_that_is_killed_goes_on_to_the_same_end(
    tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = teacher_of({**tiny, "teacher": {"settings": {**tiny["teacher"]["settings"], "checkpoint_interval": 1_500}}})
    store, flush = Store(str(tmp_path)), FileLog.flush

    def ends(log: FileLog) -> None:
        flush(log)
        raise Ended

    (tmp_path / "whole").mkdir()
    whole = work.do(store, tmp_path / "whole")
    (tmp_path / "killed").mkdir()
    monkeypatch.setattr(FileLog, "flush", ends)
    with pytest.raises(Ended):
        work.do(store, tmp_path / "killed")
    monkeypatch.setattr(FileLog, "flush", flush)
    assert work.do(store, tmp_path / "killed") == whole and [steps for steps, _ in whole.curve] == [1_000, 2_000, 3_000]
    weights = [(tmp_path / name / "agent" / "weights.npz").read_bytes() for name in ("whole", "killed")]
    assert weights[0] == weights[1]
    assert len(list((tmp_path / "killed" / "agent").glob("events.*"))) == 2
