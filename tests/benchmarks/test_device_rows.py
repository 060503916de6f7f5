"""What a device measured is put beside the host's rows, or refused in a line."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedqn.agents.errors import InputError
from edgedqn.benchmarks.device_rows import merged, still_true
from edgedqn.benchmarks.machine import Machine
from edgedqn.benchmarks.report.table import render_devices
from edgedqn.benchmarks.rows import Benchmark, BenchmarkRow, Latency
from edgedqn.export.devices.board.bundle import write_board
from edgedqn.export.edge_policy import read_verified

LATENCY = {"p50": 10.0, "p90": 20.0, "p99": 30.0, "mean": 12.0, "n": 1_000, "timer_us": 0.1}


def measured(sha256: str = "aa", recipe: str = "qat-int8", **changes: Any) -> dict[str, Any]:
    row = {"file": "policy.tflite", "sha256": sha256, "recipe": recipe, "size_bytes": 700}
    rows = [row | {"latency_us": LATENCY, "step_latency_us": LATENCY}]
    return {"schema": 1, "machine": {"cpu": "Cortex-A72", "architecture": "aarch64"}, "rows": rows} | changes


def benchmark(**sha256: str) -> Benchmark:
    invoke, step = (Latency.from_json(LATENCY | {"p50": p50}) for p50 in (0.9, 4.0))
    rows = [
        BenchmarkRow(name=name, file=name, sha256=sha256, latency_us=invoke, step_latency_us=step)
        for name, sha256 in (sha256 or {"float32": "ff", "qat-int8": "aa"}).items()
    ]
    return Benchmark(Machine(cpu=None), "float32", (*rows, BenchmarkRow(name="broken", file="f", status="failed")))


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def to_file(value: Any, name: str = "board.json") -> Path:
        (tmp_path / name).write_text(value if isinstance(value, str) else json.dumps(value))
        return tmp_path / name

    return to_file


def test_takes_what_the_script_of_a_bundle_writes(models: Path, tmp_path: Path) -> None:
    (tmp_path / "device").mkdir()
    write_board(read_verified(models / "int8.tflite"), tmp_path / "device")
    command = [sys.executable, "bench_on_device.py", "board.json", "--calls", "20"]
    subprocess.run(command, cwd=tmp_path / "device", capture_output=True, check=True)
    sha256 = read_verified(models / "int8.tflite").file_sha256
    (device,) = merged(benchmark(int8=sha256), tmp_path / "device" / "board.json").devices
    told = json.loads((tmp_path / "device" / "board.json").read_text())
    assert device.to_json() == {
        "machine": {k: v and str(v) for k, v in told["machine"].items()},
        "rows": [{"name": "int8", **told["rows"][0]}],
    }


def test_the_hosts_rows_stay_and_a_twin_goes_by_its_policys_name(write: Any) -> None:
    given_ = measured()
    given_["rows"].append(given_["rows"][0] | {"file": "board/policy-float-io.tflite", "sha256": "bb"})
    before = benchmark()
    after = merged(before, write(given_))
    assert before == benchmark() and after.rows == before.rows
    assert [(row.name, row.sha256) for row in after.devices[0].rows] == [("qat-int8", "aa"), ("qat-int8", "bb")]


def test_the_same_machine_is_replaced_and_another_one_added(write: Any) -> None:
    slow, other = measured(), measured(machine={"cpu": "Cortex-A53", "architecture": "aarch64"})
    slow["rows"][0]["latency_us"] = LATENCY | {"p50": 11.0}
    after = benchmark()
    for each in (measured(), other, slow):
        after = merged(after, write(each))
    assert [device.machine["cpu"] for device in after.devices] == ["Cortex-A53", "Cortex-A72"]
    assert after.devices[1].rows[0].latency_us.p50 == 11.0


@pytest.mark.parametrize("rows", [[], measured("cc")["rows"], [*measured()["rows"], *measured("cc", "ptq-int8")["rows"]]])
def test_another_policys_figures_are_refused(write: Any, rows: list[Any]) -> None:
    with pytest.raises(InputError, match=r"is (of another policy|not of a device): expected") as error:
        merged(benchmark(), write(measured(rows=rows)))
    assert "\n" not in str(error.value)


BAD: list[Any] = [None, True, -1, 0, "1", float("nan"), float("inf"), [], {}]


@settings(deadline=None)
@given(st.sampled_from(["p50", "p90", "p99", "mean", "n", "timer_us"]), st.sampled_from(BAD))
def test_no_bad_number_gets_through(tmp_path_factory: pytest.TempPathFactory, key: str, bad: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "bad.json"
    given_ = measured()
    given_["rows"][0]["latency_us"] = LATENCY | {key: bad}
    path.write_text(json.dumps(given_))
    with pytest.raises(InputError, match=r"expected what bench_on_device\.py writes"):
        merged(benchmark(), path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        json.dumps(measured(schema=2)),
        json.dumps(measured(machine=[1])),
        json.dumps(measured(rows=[1])),
        json.dumps(measured(rows=[measured()["rows"][0] | {"size_bytes": 10**400}])),
        json.dumps(measured(machine={"cpu": "\x1b[2J"})),  # would clear a terminal
        json.dumps(measured(machine={"cpu": "x" * 201})),
    ],
)
def test_what_no_device_wrote_is_refused_in_a_line(write: Any, text: str) -> None:
    with pytest.raises(InputError, match="expected") as error:
        merged(benchmark(), write(text))
    assert str(error.value).isprintable()


def test_figures_of_files_that_are_gone_go(write: Any) -> None:
    devices = merged(benchmark(), write(measured())).devices
    assert still_true(devices, benchmark().rows) == devices
    assert still_true(devices, benchmark(float32="ff").rows) == ()


def test_the_table_shows_there_and_here(write: Any) -> None:
    given_ = measured()
    given_["rows"].append(given_["rows"][0] | {"file": "board/policy-float-io.tflite", "sha256": "bb"})
    assert render_devices(benchmark()) == ""
    name, head, _, policy, twin = render_devices(merged(benchmark(), write(given_))).splitlines()
    assert name == "On Cortex-A72 (aarch64):" and head.split("  ")[0] == "name"
    assert policy.split() == ["qat-int8", "policy.tflite", "10.00", "20.00", "0.90", "10.00", "20.00", "4.00"]
    assert twin.split() == ["qat-int8", "board/policy-float-io.tflite", "10.00", "20.00", "-", "10.00", "20.00", "-"]
