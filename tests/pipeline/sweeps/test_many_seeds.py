import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgedqn.agents.playing.statistics import Interval
from edgedqn.benchmarks.rows import BenchmarkRow
from edgedqn.compression.recipes import RECIPES
from edgedqn.pipeline.sweeps.jobs import FileWork, ProofWork, TeacherWork
from edgedqn.pipeline.sweeps.many_seeds import across, as_good, render, to_json
from edgedqn.pipeline.sweeps.trials import Found, Proof, Tried

RETURNS = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=6)


def row(name: str, mean: float, gate: str | None, size_bytes: int) -> BenchmarkRow:
    returned = Interval(mean, mean, mean)
    value = {"name": name, "file": "x.tflite", "status": "ok", "gate": gate, "size_bytes": size_bytes}
    return BenchmarkRow.from_json({**value, "return": {**returned.to_json(), "episodes": 300}})


@pytest.fixture
def found() -> Found:
    """Two seeds and two recipes, of which the second could not be done with seed 1."""
    trials, proofs = [], {}
    for number, name in enumerate(("qat-int8", "prune-qat-int8")):
        works = tuple(
            FileWork(
                teacher=TeacherWork(environment={"id": "CartPole-v1"}, seed=seed, training={}), recipe=RECIPES[name].to_json()
            )
            for seed in (0, 1)
        )
        trials.append(Tried(number, {"recipe": name}, works))
        several = []
        for seed, work in enumerate(works):
            if name == "prune-qat-int8" and seed == 1:
                several.append(Proof(ProofWork(file=work), error="gone"))
                continue
            rows = (
                row("float32", 500.0 - seed, None, 9_000),
                row("ptq-int8", 100.0, "fail", 2_500),
                row(name, 499.5, "pass", 1_000 + seed),
            )
            several.append(Proof(ProofWork(file=work), rows))
        proofs[number] = tuple(several)
    return Found("CartPole-v1", {}, tuple(trials), proofs)


def test_each_file_is_told_once_with_all_its_seeds(found: Found) -> None:
    files = {each.name: each for each in across(found)}
    assert list(files) == ["float32", "ptq-int8", "qat-int8", "prune-qat-int8"]
    assert files["float32"].returns == (500.0, 499.0) and files["float32"].gates == ()
    assert files["qat-int8"].gates == ("pass", "pass") and files["qat-int8"].size_bytes == (1_000, 1_001)
    assert files["qat-int8"].middle.mean == 499.5 and files["qat-int8"].as_good.mean == 0.5  # above one, below the other
    assert files["ptq-int8"].as_good.mean == 0 and files["float32"].as_good.mean == 0.5
    assert files["prune-qat-int8"].seeds == (0,)


def test_all_is_told(found: Found) -> None:
    files = across(found)
    lines = render(files).splitlines()
    assert " ".join(lines[0].split()) == "file seeds return, middle half [95 %] as good as float [95 %] passed bytes"
    assert " ".join(lines[3].split()) == "qat-int8 2 499.5 [499.5, 499.5] 50% [50%, 50%] 2 of 2 1,000 to 1,001"
    value = json.loads(json.dumps(to_json(files, ["gone"])))
    assert [each["name"] for each in value["files"]] == [each.name for each in files] and value["errors"] == ["gone"]


@given(mine=RETURNS, theirs=RETURNS)
def test_as_good_is_how_often_it_is_higher_and_half_of_how_often_equal(mine: list[float], theirs: list[float]) -> None:
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a in mine for b in theirs]
    found = as_good(mine, theirs)
    assert found.mean == pytest.approx(sum(pairs) / len(pairs))
    assert found.mean + as_good(theirs, mine).mean == pytest.approx(1)
    assert -1e-9 <= found.low <= found.high <= 1 + 1e-9
