import fcntl
import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.pipeline.sweeps.experiment import _asked, _ended_by_sigterm, _tidied, copy_best, run_experiment
from edgedqn.pipeline.sweeps.store import Store


def trials(folder: Path) -> Any:
    """What was tried, with the SHA-256 of each file."""
    return json.loads((folder / "results.json").read_text())["environments"]["CartPole-v1"]["trials"]


def test_two_processes_come_to_the_same_files_as_one(done: Path, tiny: dict[str, Any], tmp_path: Path) -> None:
    result = run_experiment(tiny, out=str(tmp_path / "two"), workers=2)
    assert trials(tmp_path / "two") == trials(done)
    assert len(trials(done)) == 4 and all(trial["sha256"] for trial in trials(done))
    assert not (done / "scratch").exists()
    (front,) = result.proven.values()
    for each in front:
        assert (tmp_path / "two" / each.runs[0] / "report.html").is_file()
    best = result.best("CartPole-v1")
    assert best.passed and best.size_bytes == min(each.size_bytes for each in front if each.passed)
    assert copy_best(result.store, best, tmp_path / "bundle")
    assert (tmp_path / "bundle" / "policy.tflite").read_bytes() == (
        tmp_path / "two" / best.runs[0] / best.files[0]
    ).read_bytes()


def test_a_cluster_that_loses_a_machine_comes_to_the_same_files(
    done: Path, tiny: dict[str, Any], tmp_path: Path, cluster: Any, postgresql: str
) -> None:
    """With Optuna's record in a database."""
    (lost,) = cluster.worker_nodes
    over = threading.Event()

    def lose() -> None:
        while not over.wait(0.2):
            if list((tmp_path / "ray" / "work").glob("file-*.json")):  # it is in the midst of the trials
                cluster.remove_node(lost)
                return

    losing = threading.Thread(target=lose)
    losing.start()
    try:
        run_experiment(tiny, out=str(tmp_path / "ray"), engine="ray", address=cluster.address, storage=postgresql)
    finally:
        over.set()
        losing.join()
    assert trials(tmp_path / "ray") == trials(done)
    assert not cluster.worker_nodes


def test_a_folder_is_gone_on_with_by_itself(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = trials(done)
    result = run_experiment(done, workers=1)
    assert trials(done) == before
    assert result.sweep.trials == 4


def test_a_folder_holds_one_sweep(done: Path, tiny: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds another sweep: expected seeds as it is there, and more"):
        run_experiment({**tiny, "seeds": [1]}, out=str(done))
    assert _asked(Store(str(done)), {**tiny, "seeds": [1, 0]})[1].seeds == (1, 0)
    with pytest.raises(InputError, match=r"is no folder of a sweep: expected a sweep\.json in it"):
        run_experiment(tmp_path)
    (tmp_path / "sweep.json").write_text("[1]")
    with pytest.raises(InputError, match=r"sweep\.json is damaged"):
        run_experiment(tmp_path)


def test_an_arena_that_no_file_could_be_asked_for_is_refused_before_anything_is_done(
    tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgedqn.pipeline.sweeps.experiment.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"^The arena is an objective: expected the extra `micro`"):
        run_experiment({**tiny, "objectives": ["return", "arena"]}, out=str(tmp_path / "sweep"))
    assert not (tmp_path / "sweep").exists()


def test_a_recipe_of_ones_own_is_part_of_the_sweep(tiny: dict[str, Any], tmp_path: Path) -> None:
    recipe, out = tmp_path / "mine.toml", Store(str(tmp_path / "x"))
    text = 'name = "mine"\nconversion = "qat-int8"\n[[stages]]\nstage = "scale_input"\n[[stages]]\nstage = "quantize"\n'
    recipe.write_text(text)
    value, sweep = _asked(out, {**tiny, "recipes": [{"recipe": str(recipe)}]})
    assert value["recipes"][0]["recipe"] == json.loads(json.dumps(sweep.recipes[0].recipe.to_json()))
    out.write_text("sweep.json", json.dumps(value))
    assert _asked(out, {**tiny, "recipes": [{"recipe": str(recipe)}]})[1] == sweep
    recipe.write_text(text + "rungs = ['round']\n")
    with pytest.raises(InputError, match="expected recipes as it is there"):
        _asked(out, {**tiny, "recipes": [{"recipe": str(recipe)}]})
    recipe.unlink()
    assert _asked(out, tmp_path / "x")[1] == sweep


def test_sigterm_ends_it_as_an_exception_does() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)  # Ray sets its own
    try:
        with pytest.raises(SystemExit) as end, _ended_by_sigterm():
            os.kill(os.getpid(), signal.SIGTERM)
        assert end.value.code == 143 and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


def test_what_was_begun_is_removed_but_for_trainings(tmp_path: Path) -> None:
    for name in ("teacher-1", "file-1", "proof-1"):
        (tmp_path / "scratch" / name / "run").mkdir(parents=True)
    _tidied(Store(str(tmp_path)))
    assert [path.name for path in (tmp_path / "scratch").iterdir()] == ["teacher-1"]
    _tidied(Store(str(tmp_path)), is_done=True)
    assert not (tmp_path / "scratch").exists()


def test_one_process_drives_a_sweep(done: Path) -> None:
    with (done / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="is in use by a running process"):
            run_experiment(done, workers=1)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"engine": "slurm"}, r"Expected an engine of local, ray\. Got 'slurm'"),
        ({"workers": 0}, r"Expected 1 worker or more\. Got 0"),
        ({"address": "x:1"}, "Expected --engine ray beside it"),
        ({"engine": "ray", "workers": 2}, "Expected no --workers"),
        ({"out": None}, "Expected out, where a sweep of no file is to go"),
        ({"out": "memory://sweep"}, "Workers are other processes: expected a folder or a URL that they reach, too"),
        ({"out": "data:,x"}, "Expected --storage, the URL of a database"),
    ],
)
def test_what_cannot_be_done_is_refused(tiny: dict[str, Any], tmp_path: Path, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        run_experiment(tiny, **{"out": str(tmp_path / "x"), **settings})
