"""Real files, a real environment, and the object of `benchmark.json` that comes of them."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.environments import make_environment
from edgedqn.agents.playing.gate import Gate
from edgedqn.benchmarks.comparison import Candidates, compare
from edgedqn.benchmarks.latency.interleaved import LatencyConfig
from edgedqn.benchmarks.playing import Play
from edgedqn.benchmarks.rows import BenchmarkRow, best_passing

QUICK = LatencyConfig(blocks=4, invokes_per_block=5, patience_s=0)
GATE = Gate(looks=(30, 60))
# The contract of DESIGN.md, written out once more on purpose.
# fmt: off
CONTRACT = [
    "name", "file", "sha256", "recipe", "target", "status", "reason",
    "size_bytes", "gzip_bytes", "stripped_bytes", "weights", "nonzero_weights", "distinct_values", "multiply_accumulates",
    "arena_bytes", "resident_bytes", "delegation",
    "latency_us", "step_latency_us", "twin_step_latency_us", "cold_start_us", "mlperf_latency_us",
    "speedup", "step_speedup", "twin_step_speedup",
    "return", "return_delta", "action_agreement", "gap_weighted_agreement", "tie_rate",
    "output_range", "gate", "input_dtype", "better_than",
]
# fmt: on
LATENCY = ["p50", "p90", "p99", "mean", "n", "timer_us", "full_speed", "histogram"]
OBSERVATIONS = np.random.default_rng(1).normal(size=(300, 4)).astype(np.float32)


def run(
    models: Path,
    names: Any,
    env_id: str | None = None,
    baseline: str = "float32",
    observations: Any = OBSERVATIONS,
    workers: int = 1,
    **fields: Any,
) -> Any:
    play = None
    if env_id is not None:
        make = partial(make_environment, env_id)
        play = Play(make_environment=make, seeds=range(100, 160), gate=GATE, random_seed=5, workers=workers)
    files = [models / f"{name}.tflite" for name in names]
    given = {"on_gate": fields.pop("on_gate")} if "on_gate" in fields else {}
    candidates = Candidates(paths=tuple(files), baseline=baseline, **fields)
    return compare(candidates, QUICK, rng=np.random.default_rng(0), observations=observations, play=play, **given).to_json()


def by_name(result: Any) -> dict[str, Any]:
    return {row["name"]: row for row in result["rows"]}


def test_the_object_of_the_contract(models: Path, steer: str) -> None:
    result = run(models, ["int8", "float32", "reversed"], f"{steer}:Steer-v0", relative_to=models.parent)
    json.loads(json.dumps(result, allow_nan=False))
    assert list(result) == ["schema", "machine", "baseline", "rows"]
    assert (result["schema"], result["baseline"]) == (1, "float32")
    assert [row["name"] for row in result["rows"]] == ["int8", "float32", "reversed"]
    for row in result["rows"]:
        assert [*CONTRACT, *BenchmarkRow.LEFT_OUT] == list(BenchmarkRow.keys().values())
        unusual = () if row["name"] == "float32" else BenchmarkRow.LEFT_OUT  # the gate's looks, here
        assert list(row) == [*CONTRACT, *unusual]
        assert row["status"] == "ok"
        assert list(row["latency_us"]) == list(row["step_latency_us"]) == LATENCY
        assert list(row["cold_start_us"]) == LATENCY
        assert row["latency_us"]["n"] == 20
        assert sum(row["latency_us"]["histogram"]["counts"]) == 20
        assert row["mlperf_latency_us"] is None
        assert row["delegation"]["operators"] == row["delegation"]["xnnpack"] > 0
        assert row["multiply_accumulates"] == row["weights"] == 48
        assert row["stripped_bytes"] < row["size_bytes"]
        assert row["resident_bytes"] is None or 20e6 < row["resident_bytes"] < 100e6
        assert list(row["speedup"]) == list(row["step_speedup"]) == ["median", "ci95"]
        assert list(row["return"]) == ["mean", "ci95", "episodes"]
        assert list(row["return_delta"]) == ["mean", "ci95"]
        assert row["output_range"]["low"] < row["output_range"]["high"]
        assert 0 < row["output_range"]["median_gap"] < row["output_range"]["high"] - row["output_range"]["low"]
        assert row["file"] == f"{models.name}/{row['name']}.tflite"
        assert row["recipe"] == row["name"]
        assert row["size_bytes"] == (models / f"{row['name']}.tflite").stat().st_size


def test_what_is_known_beforehand_is_measured(models: Path, steer: str) -> None:
    rows = by_name(run(models, ["float32", "int8", "reversed"], f"{steer}:Steer-v0"))
    assert rows["float32"]["return"]["mean"] == 10.0
    assert rows["reversed"]["return"] == {"mean": 0.0, "ci95": [0.0, 0.0], "episodes": 30}
    assert rows["float32"]["return_delta"] == {"mean": 0.0, "ci95": [0.0, 0.0]}
    assert rows["float32"]["speedup"] == {"median": 1.0, "ci95": [1.0, 1.0]}
    assert (rows["float32"]["action_agreement"], rows["float32"]["gate"]) == (1.0, None)
    assert rows["reversed"]["return_delta"]["mean"] == -10.0
    assert rows["reversed"]["gate"] == "fail"
    assert rows["reversed"]["action_agreement"] == rows["reversed"]["gap_weighted_agreement"] == 0.0
    assert rows["int8"]["gap_weighted_agreement"] > rows["int8"]["action_agreement"] > 0.9
    assert 0 < rows["int8"]["tie_rate"] < 0.1
    assert rows["int8"]["weights"] == rows["float32"]["weights"] == 48
    assert rows["float32"]["nonzero_weights"] == 12


def test_any_number_of_workers_gives_the_same_rows(models: Path, steer: str) -> None:
    alone, several = (run(models, ["float32", "int8"], f"{steer}:Steer-v0", workers=n)["rows"] for n in (1, 2))
    for one, two in zip(alone, several, strict=True):
        for key in ("return", "return_delta", "gate", "action_agreement", "tie_rate"):
            assert one[key] == two[key]


def test_a_failing_file_leaves_the_others_whole(models: Path, steer: str, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.tflite"
    content = bytearray((models / "int8.tflite").read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    missing = tmp_path / "missing.tflite"
    files = [damaged, models / "nan.tflite", missing, models / "float32.tflite", models / "int8.tflite"]
    make = partial(make_environment, f"{steer}:Steer-v0")
    play = Play(make_environment=make, seeds=range(60), gate=GATE, random_seed=5)
    candidates = Candidates(paths=tuple(files), baseline="float32")
    rows = by_name(compare(candidates, QUICK, rng=np.random.default_rng(0), observations=OBSERVATIONS, play=play).to_json())
    assert [row["status"] for row in rows.values()] == ["failed"] * 3 + ["ok"] * 2
    assert "changed after" in rows["damaged"]["reason"]
    assert "finite" in rows["nan"]["reason"]
    assert "missing.tflite" in rows["missing"]["reason"]
    for name in ("damaged", "nan", "missing"):
        assert list(rows[name]) == CONTRACT
        assert rows[name]["gate"] is rows[name]["return"] is rows[name]["latency_us"] is None
        assert "\n" not in rows[name]["reason"]
    assert rows["nan"]["size_bytes"] > 0
    assert rows["int8"]["gate"] in ("pass", "fail", "undecided")


def test_a_network_that_computes_nan_fails_without_observations_too(models: Path) -> None:
    row = by_name(run(models, ["float32", "nan"], observations=None))["nan"]
    assert row["status"] == "failed"
    assert "NaN" in row["reason"]


def test_a_dying_process_fails_its_file_and_no_other(models: Path, steer: str) -> None:
    rows = by_name(run(models, ["float32", "reversed", "int8"], f"{steer}:Deadly-v0", observations=None, workers=2))
    assert rows["reversed"]["status"] == "failed"
    assert "process" in rows["reversed"]["reason"]
    assert rows["float32"]["return"]["mean"] == 10.0


def test_without_an_environment_nothing_is_played(models: Path) -> None:
    for row in run(models, ["float32", "int8"], observations=None)["rows"]:
        for key in ("return", "return_delta", "action_agreement", "gap_weighted_agreement", "tie_rate", "gate"):
            assert row[key] is None
        assert row["status"] == "ok"
        assert row["speedup"]["median"] > 0


def test_a_failed_baseline_is_bad_input(models: Path, steer: str) -> None:
    with pytest.raises(InputError, match="baseline nan cannot be measured"):
        run(models, ["float32", "nan"], baseline="nan")
    with pytest.raises(InputError, match="step 3"):
        run(models, ["float32", "int8"], f"{steer}:Broken-v0")


def test_no_baseline_or_two_files_of_one_name_are_bad_input(models: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected one named 'float64'\. Got float32"):
        run(models, ["float32"], baseline="float64")
    with pytest.raises(InputError, match="Got no files"):
        run(models, [])
    with pytest.raises(InputError, match="int8 more than once"):
        run(models, ["float32", "int8", "int8"])


def test_another_environments_file_fails_with_both_shapes(models: Path, steer: str) -> None:
    with pytest.raises(InputError, match=r"expected observations \[5\] and 2 actions\. Got \[4\] and 2"):
        run(models, ["float32"], f"{steer}:Wide-v0")


def test_no_margin_leaves_the_gate_undecided(models: Path, steer: str) -> None:
    rows = by_name(run(models, ["reversed", "int8"], f"{steer}:Steer-v0", baseline="reversed"))
    assert rows["int8"]["gate"] == "undecided"
    assert rows["int8"]["reason"].startswith("the float agent is not better than random")
    assert best_passing([BenchmarkRow.from_json(row) for row in rows.values()]) is None


def test_a_file_outside_the_folder_goes_by_its_name(models: Path, tmp_path: Path) -> None:
    (row,) = run(models, ["float32"], relative_to=tmp_path)["rows"]
    assert row["file"] == "float32.tflite"


def test_the_machine_is_described_without_naming_it(models: Path) -> None:
    machine = run(models, ["float32"])["machine"]
    assert machine["threads"] == 1
    assert machine["xnnpack"] is True
    assert {"cpu", "cores", "governor", "os", "python", "numpy", "ai-edge-litert"} <= set(machine)
    assert str(Path.home()) not in json.dumps(machine)


def test_verdicts_come_with_their_margin(models: Path, steer: str) -> None:
    told: dict[str, Any] = {}
    run(models, ["float32", "reversed"], f"{steer}:Steer-v0", on_gate=told.__setitem__)
    assert list(told) == ["reversed"]
    assert told["reversed"].verdict == "fail"
    assert told["reversed"].margin == pytest.approx(0.02 * 5, rel=0.15)
    assert told["reversed"].episodes == 30


@pytest.mark.parametrize("module", ["comparison", "report.page", "report.table"])
def test_runs_without_tensorflow_and_loads_no_vega(module: str) -> None:
    code = f"import sys; sys.modules.update(tensorflow=None, vl_convert=None); import edgedqn.benchmarks.{module}"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
