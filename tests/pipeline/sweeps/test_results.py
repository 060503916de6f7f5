import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.benchmarks.rows import BenchmarkRow
from edgedqn.pipeline.sweeps.jobs import FileResult, FileWork, ProofWork, TeacherWork
from edgedqn.pipeline.sweeps.results import Proven, SweepResult, best_of, proven_of, read_fronts, render
from edgedqn.pipeline.sweeps.store import Store
from edgedqn.pipeline.sweeps.sweep_file import Sweep
from edgedqn.pipeline.sweeps.trials import Found, Proof, Tried

FILE = FileResult(
    verdict="pass",
    reason="",
    kept=1.0,
    size_bytes=700,
    multiply_accumulates=10,
    arena_bytes=None,
    sha256="ab",
)


def proven(trial: int, size: float, returns: tuple[float, ...], passed: bool = True) -> Proven:
    runs = tuple(f"work/{trial}-{seed}" for seed, _ in enumerate(returns))
    return Proven(
        trial=trial,
        settings={"recipe": "r", "stage.width": trial},
        passed=passed,
        returns=returns,
        floats=(500.0,) * len(returns),
        size_bytes=size,
        runs=runs,
        files=("models/r.tflite",) * len(returns),
    )


@pytest.fixture
def result(tmp_path: Path) -> SweepResult:
    value: dict[str, Any] = {"environments": ["CartPole-v1", "Acrobot-v1"], "trials": 3}
    tried = tuple(Tried(i, {"stage.width": i}, (), (FILE,)) for i in range(3))
    found = {
        "CartPole-v1": Found("CartPole-v1", {}, (*tried[:2], Tried(2, {"stage.width": 2}, (), error="It cannot be done."))),
        "Acrobot-v1": Found("Acrobot-v1", {}, error="No agent of Acrobot-v1 could be trained: expected one."),
    }
    fronts = {
        "CartPole-v1": (proven(2, 600, (90.0,), passed=False), proven(0, 704, (499.0, 500.0)), proven(1, 800, (500.0, 500.0))),
        "Acrobot-v1": (),
    }
    return SweepResult(Store(str(tmp_path)), Sweep.from_json(value), found, fronts)


def test_the_best_has_passed_and_is_the_smallest_or_plays_best(result: SweepResult) -> None:
    assert result.best("CartPole-v1").trial == 0
    assert result.best("CartPole-v1", "return").trial == 1
    with pytest.raises(InputError, match=r"Nothing to take for Acrobot-v1: expected a file that passed its gate"):
        result.best("Acrobot-v1")
    with pytest.raises(InputError, match="Nothing to take for CartPole-v1"):  # none was timed
        result.best("CartPole-v1", "latency")
    fast = replace(result.proven["CartPole-v1"][2], latency_us=1.0)
    slow = replace(result.proven["CartPole-v1"][1], latency_us=2.0)
    assert replace(result, proven={"CartPole-v1": (slow, fast)}).best("CartPole-v1", "latency") == fast
    with pytest.raises(InputError, match=r"Expected the best by size, return, latency\. Got 'speed'"):
        result.best("CartPole-v1", "speed")


def test_all_is_told(result: SweepResult, tmp_path: Path) -> None:
    assert render(result, tmp_path).splitlines() == [
        "CartPole-v1: 3 trials, 1 could not be done, 2 passed; on the front, proven:",
        "        600 B       90.0 of 500.0  did not pass: trial 2, recipe=r, stage.width=2",
        "        704 B      499.5 of 500.0  passed: trial 0, recipe=r, stage.width=0",
        "        800 B      500.0 of 500.0  passed: trial 1, recipe=r, stage.width=1",
        "",
        "Acrobot-v1: No agent of Acrobot-v1 could be trained: expected one.",
        "",
        f"All files: {tmp_path}",
    ]


def test_as_json_it_has_what_was_tried_and_what_was_proven(result: SweepResult) -> None:
    value = result.to_json()["environments"]
    assert [trial["error"] for trial in value["CartPole-v1"]["trials"]] == [None, None, "It cannot be done."]
    assert value["CartPole-v1"]["trials"][0]["values"] == {"return": 1.0, "bytes": 700}
    assert [each["trial"] for each in value["CartPole-v1"]["front"]] == [2, 0, 1]
    assert value["Acrobot-v1"]["error"]


def test_what_is_written_is_read_again(result: SweepResult) -> None:
    with pytest.raises(InputError, match=r"Nothing to take from .*: expected the results\.json of a sweep that is done"):
        read_fronts(result.store)
    result.store.write_text("results.json", json.dumps(result.to_json()))
    fronts = read_fronts(result.store)
    assert fronts == result.proven and best_of(fronts, "CartPole-v1", "return") == result.best("CartPole-v1", "return")
    for text in ("{", "[]", "{}", '{"environments": {"a": {"front": [{}]}}}'):
        result.store.write_text("results.json", text)
        with pytest.raises(InputError, match=r"results\.json is damaged"):
            read_fronts(result.store)


def test_what_lacks_a_seed_has_not_passed_and_the_others_are_kept(tmp_path: Path) -> None:
    works = tuple(
        FileWork(teacher=TeacherWork(environment={"id": "x"}, seed=seed, training={}), recipe={"name": "r"}) for seed in (0, 1)
    )
    row = BenchmarkRow(name="r", file="models/r.tflite", status="ok", gate="pass")
    work = ProofWork(file=works[0])
    store = Store(str(tmp_path / "store"))
    (tmp_path / "empty").mkdir()
    store.put(work.key, tmp_path / "empty", {})
    trial = Tried(0, {}, works, (FILE, None), error="Seed 1: It cannot be done.")
    (found,) = proven_of(Found("x", {}, (trial,), {0: (Proof(work, (row,)),)}), store)
    assert not found.passed and found.errors == ("Seed 1: It cannot be done.",) and found.size_bytes == 700
