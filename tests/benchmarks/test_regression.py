"""What counts as worse, on benchmarks whose differences are known."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.benchmarks.regression import changed_machine, compare_with
from edgedqn.benchmarks.rows import Benchmark, BenchmarkRow


def ratio(median: float, spread: float = 0.01) -> dict[str, Any]:
    return {"median": median, "ci95": [median - spread, median + spread]}


@pytest.fixture
def benchmark() -> Benchmark:
    def row(name: str, gate: str | None) -> dict[str, Any]:
        found = {"name": name, "file": name, "status": "ok", "size_bytes": 1_000, "gate": gate}
        found |= {"speedup": ratio(2.0), "step_speedup": ratio(1.2)}
        return found | {"return": {"mean": 490.0, "ci95": [486.08, 493.92], "episodes": 300}}

    machine = {"cpu": "AMD EPYC", "numpy": "2.4", "pinned_cores": [1]}
    return Benchmark.from_json({"machine": machine, "baseline": "float32", "rows": [row("float32", None), row("int8", "pass")]})


def changed(benchmark: Benchmark, at: int = 1, **fields: Any) -> Benchmark:
    """With other values, as JSON has them, in one row."""
    rows = [row.to_json() for row in benchmark.rows]
    rows[at] |= fields
    return replace(benchmark, rows=tuple(map(BenchmarkRow.from_json, rows)))


def after(benchmark: Benchmark, **fields: Any) -> list[tuple[str, str]]:
    return [(each.name, each.what) for each in compare_with(benchmark, changed(benchmark, **fields)).regressions]


def test_the_same_is_not_worse(benchmark: Benchmark) -> None:
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
def test_what_is_worse_is_named(benchmark: Benchmark, fields: dict[str, Any], what: str) -> None:
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
def test_noise_and_gains_are_not(benchmark: Benchmark, fields: dict[str, Any]) -> None:
    assert after(benchmark, **fields) == []


def test_returns_without_any_spread_are_compared_too(benchmark: Benchmark) -> None:
    certain = {"mean": 500.0, "ci95": [500.0, 500.0], "episodes": 300}
    returned: dict[str, Any] = {"return": certain}
    benchmark = changed(benchmark, **returned)
    assert after(benchmark) == []
    assert after(benchmark, **{"return": {**certain, "mean": 499.9, "ci95": [499.9, 499.9]}}) == [("int8", "return")]


def test_rows_that_went_are_worse_and_new_ones_and_failed_ones_of_old_are_not(benchmark: Benchmark) -> None:
    now = changed(benchmark, name="other")
    assert [(each.name, each.what) for each in compare_with(benchmark, now).regressions] == [("int8", "row")]
    assert compare_with(changed(benchmark, status="failed"), now).regressions == ()


def test_an_earlier_benchmark_without_the_newer_keys_compares(benchmark: Benchmark) -> None:
    old = benchmark.to_json()
    for row in old["rows"]:
        del row["twin_step_speedup"]
    assert compare_with(Benchmark.from_json(old), benchmark).regressions == ()


def test_another_baseline_is_refused(benchmark: Benchmark) -> None:
    with pytest.raises(InputError, match=r"expected float32\. Got int8"):
        compare_with(benchmark, replace(benchmark, baseline="int8"))


def test_what_differs_between_the_machines_is_told(benchmark: Benchmark) -> None:
    now = replace(benchmark, machine=replace(benchmark.machine, numpy="2.5", pinned_cores=(0,), threads=1))
    assert changed_machine(benchmark, now) == ("numpy: 2.4 -> 2.5",)


def test_a_person_reads_what_is_worse_and_what_else_is_different(benchmark: Benchmark, tmp_path: Path) -> None:
    now = replace(benchmark, machine=replace(benchmark.machine, numpy="2.5"))
    text = compare_with(benchmark, now).render(tmp_path / "old.json")
    assert "nothing became slower or worse beyond noise" in text
    assert "numpy: 2.4 -> 2.5" in text
    text = compare_with(benchmark, changed(now, speedup=ratio(1.5))).render(tmp_path / "old.json")
    assert "worse    int8, invoke: 2.00x -> 1.50x the baseline's speed" in text
    assert "nothing" not in text


@pytest.mark.parametrize("when", ["earlier", "now"])
def test_speeds_that_met_a_slow_core_are_not_compared_and_it_is_told(benchmark: Benchmark, when: str) -> None:
    slow = {"p50": 1.0, "p90": 1.0, "p99": 1.0, "mean": 1.0, "n": 9, "timer_us": 0.1, "full_speed": 0.3}
    both = {"earlier": benchmark, "now": changed(benchmark, speedup=ratio(1.8), size_bytes=1_001)}
    both[when] = changed(both[when], at=0, latency_us=slow)
    against = compare_with(both["earlier"], both["now"])
    assert [each.what for each in against.regressions] == ["size"]
    assert against.incomparable == {"invoke": f"the core was slow {when}"}
    assert f"unknown  speed of invoke: the core was slow {when}" in against.render(Path("earlier.json"))


@pytest.mark.parametrize(
    ("field", "why"),
    [
        ({"cpu": "Cortex-A72"}, "another cpu"),
        ({"threads": 2, "xnnpack": False}, "another threads, xnnpack"),
        (None, "another baseline"),
    ],
)
def test_speeds_of_another_machine_runtime_or_baseline_are_not_compared(
    benchmark: Benchmark, field: dict[str, str] | dict[str, Any] | None, why: str
) -> None:
    now = changed(benchmark, speedup=ratio(1.0))
    now = replace(now, machine=replace(now.machine, **field)) if field else changed(now, at=0, sha256="another")
    against = compare_with(benchmark, now)
    assert against.regressions == ()
    assert set(against.incomparable.values()) == {why}
    assert "nothing that was compared became worse beyond noise" in against.render(Path("earlier.json"))
