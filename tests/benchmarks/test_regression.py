"""What counts as worse, on benchmarks whose differences are known."""

import copy
import json

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.benchmarks.regression import changed_machine, compared, read_earlier, regressions, render_against
from edgedqn.benchmarks.rows import ROW_KEYS


def ratio(median, spread=0.01):
    return {"median": median, "ci95": [median - spread, median + spread]}


@pytest.fixture
def benchmark():
    def row(name, **fields):
        made = {
            "status": "ok",
            "size_bytes": 1_000,
            "speedup": ratio(2.0),
            "step_speedup": ratio(1.2),
            "return": {"mean": 490.0, "ci95": [486.08, 493.92], "episodes": 300},
            "gate": "pass",
        }
        return {**dict.fromkeys(ROW_KEYS), "name": name, **made, **fields}

    machine = {"cpu": "AMD EPYC", "numpy": "2.4", "pinned_cores": [1]}
    return {"schema": 1, "machine": machine, "baseline": "float32", "rows": [row("float32", gate=None), row("int8")]}


def after(benchmark, **fields):
    now = copy.deepcopy(benchmark)
    now["rows"][1].update(fields)
    return [(each.name, each.what) for each in regressions(benchmark, now)]


def test_the_same_is_not_worse(benchmark):
    assert after(benchmark) == []


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"speedup": ratio(1.8)}, "invoke"),
        ({"step_speedup": ratio(1.0)}, "step"),
        ({"return": {"mean": 480.0, "ci95": [476.08, 483.92], "episodes": 300}}, "return"),
        ({"gate": "undecided"}, "gate"),
        ({"gate": "fail"}, "gate"),
        ({"size_bytes": 1_001}, "size"),
        ({"status": "failed", "reason": "NaN"}, "row"),
    ],
)
def test_what_is_worse_is_named(benchmark, fields, what):
    assert after(benchmark, **fields) == [("int8", what)]


@pytest.mark.parametrize(
    "fields",
    [
        {"speedup": ratio(1.91)},  # intervals apart, but within what two runs differ by
        {"speedup": ratio(1.5, spread=0.5)},  # far, but nobody knows
        {"speedup": ratio(3.0)},
        {"return": {"mean": 484.0, "ci95": [480.08, 487.92], "episodes": 300}},  # 2.1 standard errors
        {"return": None, "gate": None},  # not played this time
        {"size_bytes": 999},
    ],
)
def test_noise_and_gains_are_not(benchmark, fields):
    assert after(benchmark, **fields) == []


def test_returns_without_any_spread_are_compared_too(benchmark):
    certain = {"mean": 500.0, "ci95": [500.0, 500.0], "episodes": 300}
    benchmark["rows"][1]["return"] = certain
    assert after(benchmark) == []
    assert after(benchmark, **{"return": {**certain, "mean": 499.9, "ci95": [499.9, 499.9]}}) == [("int8", "return")]


def test_rows_that_went_are_worse_and_new_ones_and_failed_ones_of_old_are_not(benchmark):
    now = copy.deepcopy(benchmark)
    new = now["rows"].pop()
    now["rows"].append({**new, "name": "other"})
    assert [(each.name, each.what) for each in regressions(benchmark, now)] == [("int8", "row")]
    benchmark["rows"][1]["status"] = "failed"
    assert regressions(benchmark, now) == []


def test_an_earlier_benchmark_without_the_newer_keys_compares(benchmark):
    old = copy.deepcopy(benchmark)
    for row in old["rows"]:
        del row["twin_step_speedup"]
    assert regressions(old, benchmark) == []


def test_another_baseline_is_refused(benchmark):
    with pytest.raises(InputError, match=r"expected float32\. Got int8"):
        regressions(benchmark, {**benchmark, "baseline": "int8"})


def test_what_differs_between_the_machines_is_told(benchmark):
    now = {**benchmark, "machine": {"cpu": "AMD EPYC", "numpy": "2.5", "pinned_cores": [0], "threads": 1}}
    assert changed_machine(benchmark, now) == ["numpy: 2.4 -> 2.5"]


def test_a_person_reads_what_is_worse_and_what_else_is_different(benchmark, tmp_path):
    now = copy.deepcopy(benchmark)
    now["machine"]["numpy"] = "2.5"
    told = render_against(compared(benchmark, now)["against"], tmp_path / "old.json")
    assert "nothing became slower or worse beyond noise" in told
    assert "numpy: 2.4 -> 2.5" in told
    now["rows"][1]["speedup"] = ratio(1.5)
    told = render_against(compared(benchmark, now)["against"], tmp_path / "old.json")
    assert "worse    int8, invoke: 2.00x -> 1.50x the baseline's speed" in told
    assert "nothing" not in told


@pytest.mark.parametrize(
    "content", [{"schema": 1}, {"schema": 1, "rows": [3]}, {"schema": 2}, {"schema": 1, "rows": [{"name": 1}]}]
)
def test_what_is_no_benchmark_is_refused_by_name(tmp_path, content, benchmark):
    path = tmp_path / "old.json"
    path.write_text(json.dumps(benchmark))
    assert read_earlier(path) == benchmark
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"old\.json"):
        read_earlier(path)


@pytest.mark.parametrize("when", ["earlier", "now"])
def test_speeds_that_met_a_slow_core_are_not_compared_and_it_is_told(benchmark, when):
    now = copy.deepcopy(benchmark)
    now["rows"][1].update(speedup=ratio(1.8), size_bytes=1_001)
    (benchmark if when == "earlier" else now)["rows"][0]["latency_us"] = {"p50": 1.0, "full_speed": 0.3}
    against = compared(benchmark, now)["against"]
    assert [each["what"] for each in against["regressions"]] == ["size"]
    assert against["incomparable"] == {"invoke": f"the core was slow {when}"}
    assert f"unknown  speed of invoke: the core was slow {when}" in render_against(against, "earlier.json")


@pytest.mark.parametrize(
    ("field", "why"),
    [
        ({"cpu": "Cortex-A72"}, "another cpu"),
        ({"threads": 2, "xnnpack": False}, "another threads, xnnpack"),
        (None, "another baseline"),
    ],
)
def test_speeds_of_another_machine_runtime_or_baseline_are_not_compared(benchmark, field, why):
    now = copy.deepcopy(benchmark)
    now["rows"][1]["speedup"] = ratio(1.0)
    if field:
        now["machine"].update(field)
    else:
        now["rows"][0]["sha256"] = "another"
    against = compared(benchmark, now)["against"]
    assert against["regressions"] == []
    assert set(against["incomparable"].values()) == {why}
    assert "nothing that was compared became worse beyond noise" in render_against(against, "earlier.json")
