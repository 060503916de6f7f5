"""The figures that a device writes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edgedqn.benchmarks.machine import describe_machine
from edgedqn.export.devices.board.bundle import TWIN
from edgedqn.export.edge_policy import read_verified

OnTheBoard = Callable[..., str]
Files = tuple[Path, Path]


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--calls", "0", "expected 1 or more, got 0"),
        ("--calls", "many", "invalid count value: 'many'"),
    ],
)
def test_a_number_that_is_none_is_refused_in_one_line(
    on_the_board: OnTheBoard, bundle: Path, option: str, value: str, expected: str
) -> None:
    told = on_the_board(bundle, "bench_on_device.py", option, value)
    assert "Traceback" not in told
    assert told.startswith("exit 2: ") and told.splitlines()[-1].endswith(f"argument {option}: {expected}")


def test_times_both_files_in_the_words_of_the_hosts_benchmark(
    on_the_board: OnTheBoard, bundle: Path, cartpole_files: Files
) -> None:
    on_the_board(bundle, "bench_on_device.py", "figures.json", "--calls", "20")
    measured = json.loads((bundle / "figures.json").read_text())
    assert [row["file"] for row in measured["rows"]] == ["policy.tflite", f"board/{TWIN}"]
    for row, path in zip(measured["rows"], cartpole_files, strict=True):
        assert row["sha256"] == read_verified(path).file_sha256
        for key in ("latency_us", "step_latency_us"):
            assert set(row[key]) == {"p50", "p90", "p99", "mean", "n", "timer_us"}
            assert row[key]["n"] == 10 * 20 and row[key]["p50"] <= row[key]["p90"] <= row[key]["p99"]
    host = describe_machine(1).to_json()
    assert measured["machine"].items() <= host.items()
