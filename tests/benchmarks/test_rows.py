"""`benchmark.json` as values and back, of this version and of earlier ones; and which row is shipped."""

import json
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.benchmarks.cores.budget import find_budget
from edgedqn.benchmarks.cores.fit import Fit, FitTest
from edgedqn.benchmarks.rows import Benchmark, BenchmarkRow, best_passing, read_benchmark

LATENCY = {"p50": 1.0, "p90": 2.0, "p99": 3.0, "mean": 1.5, "n": 10, "timer_us": 0.04}
WRITTEN = [key for key in BenchmarkRow.keys().values() if key not in BenchmarkRow.LEFT_OUT]
ROW = dict.fromkeys(WRITTEN) | {
    "name": "int8",
    "file": "models/int8.tflite",
    "status": "ok",
    "delegation": {"operators": 4, "xnnpack": 3},
    "latency_us": LATENCY | {"full_speed": 0.9, "histogram": {"from_us": 1.0, "to_us": 3.0, "counts": [6, 3, 1]}},
    "mlperf_latency_us": {"windows_us": [1.0, 2.0], "median_us": 1.5},
    "speedup": {"median": 2.0, "ci95": [1.9, 2.1]},
    "return": {"mean": 490.0, "ci95": [486.08, 493.92], "episodes": 300},
    "return_delta": {"mean": -1.0, "ci95": [-2.0, 0.5]},
    "output_range": {"low": -1.0, "high": 1.0, "median_gap": 0.3},
}
MACHINE = {"cpu": "AMD EPYC", "cores": 2, "architecture": "x86_64", "governor": None, "os": "Linux 6.1", "python": "3.12.1"}
MACHINE |= {"numpy": "2.4", "gymnasium": "1.4", "ai-edge-litert": "2.3", "xnnpack": True, "threads": 1, "pinned_cores": [1]}
DEVICE_ROW = {"name": "int8", "file": "policy.tflite", "sha256": "aa", "recipe": "int8", "size_bytes": 700}
DEVICE = {"machine": {"cpu": "Cortex-A72"}, "rows": [DEVICE_ROW | {"latency_us": LATENCY, "step_latency_us": LATENCY}]}
BENCHMARK = {"schema": 1, "machine": MACHINE, "baseline": "int8", "rows": [ROW], "devices": [DEVICE]}


def row(name: str, size: int, gate: str | None = "pass", *, gzip: int = 1, **more: Any) -> BenchmarkRow:
    return BenchmarkRow(name=name, file=name, size_bytes=size, gzip_bytes=gzip, gate=gate, input_dtype="int8", **more)


def test_the_smallest_int8_file_that_passed_ships() -> None:
    floats = replace(row("dynamic", 1), input_dtype="float32")
    rows = [row("float32", 1, None), floats, row("big", 9), row("ptq-int8", 5), row("lost", 2, "fail")]
    best = best_passing(rows)
    assert best is not None and best.name == "ptq-int8"
    assert best_passing([*rows[:2], row("open", 2, "undecided"), rows[-1]]) is None
    assert best_passing([]) is None


def test_where_a_board_is_the_limit_a_file_that_does_not_fit_it_does_not_ship() -> None:
    rows = [row("small", 1), row("fits", 2)]
    found = (Fit(name="small", reason="cycles: 2 of 1 per step"), Fit(name="fits"))
    limit, asked = (FitTest(budget=find_budget("uno"), is_limit=is_limit, files=found) for is_limit in (True, False))
    shipped = [best_passing(rows, fits) for fits in ([limit, asked], [asked])]
    assert [best and best.name for best in shipped] == ["fits", "small"]
    assert Benchmark.from_json(BENCHMARK | {"fits": [limit.to_json()]}).fits == (limit,)


def test_of_equally_large_files_the_better_ships_then_the_one_that_packs_smaller_then_the_first_by_name() -> None:
    def chosen(*rows: BenchmarkRow) -> str:
        found = {best.name for order in permutations(rows) if (best := best_passing(order)) is not None}
        (name,) = found
        return name

    assert chosen(row("a", 5, gzip=1), row("b", 5, gzip=9, better_than=("a",)), row("c", 5, gzip=2, better_than=("a",))) == "c"
    assert chosen(row("a", 5, gzip=2), row("b", 5, gzip=1)) == "b"
    assert chosen(row("b", 5), row("a", 5)) == "a"
    assert chosen(row("a", 5, better_than=("b",)), row("b", 4)) == "b"  # a smaller one is none of its equals


def test_what_is_read_is_written_again_in_the_same_order() -> None:
    assert json.dumps(Benchmark.from_json(BENCHMARK).to_json()) == json.dumps(BENCHMARK)
    without = {key: value for key, value in BENCHMARK.items() if key != "devices"}
    assert Benchmark.from_json(without).to_json() == without


def test_a_value_has_names() -> None:
    (found,) = Benchmark.from_json(BENCHMARK).rows
    assert found.episode_return is not None
    assert (found.episode_return.low, found.episode_return.episodes) == (486.08, 300)
    assert found.speedup is not None
    assert found.latency_us is not None
    assert found.latency_us.histogram is not None
    assert (found.speedup.high, found.latency_us.histogram.counts) == (2.1, (6, 3, 1))


def test_an_earlier_benchmark_is_completed_with_nothing() -> None:
    earlier = BenchmarkRow.from_json({"name": "a", "file": "a.tflite", "status": "ok", "size_bytes": 3})
    assert list(earlier.to_json()) == WRITTEN
    assert (earlier.name, earlier.size_bytes, earlier.twin_step_speedup) == ("a", 3, None)


@pytest.mark.parametrize(
    "content", [{"schema": 1}, {"schema": 1, "rows": [3]}, {"schema": 2}, {"schema": 1, "rows": [{"name": 1}]}]
)
def test_what_is_no_benchmark_is_refused_by_name(tmp_path: Path, content: dict[str, Any]) -> None:
    path = tmp_path / "old.json"
    path.write_text(json.dumps(BENCHMARK))
    assert read_benchmark(path).to_json() == BENCHMARK
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"old\.json"):
        read_benchmark(path)
