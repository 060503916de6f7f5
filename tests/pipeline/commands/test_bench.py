"""`bench` of files and of runs."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgedqn.benchmarks.rows import ROW_KEYS
from edgedqn.pipeline.cli import main
from edgedqn.pipeline.job import RunResult

CommandLine = Callable[..., subprocess.CompletedProcess[str]]


def test_bench_of_a_finished_run_prints_its_benchmark(edgedqn: CommandLine, tiny_run: RunResult) -> None:
    answer = edgedqn("bench", tiny_run.folder, "--json")
    assert answer.returncode == (0 if tiny_run.best else 3) and answer.stderr == ""
    assert json.loads(answer.stdout) == tiny_run.benchmark


def test_bench_of_files_compares_them(edgedqn: CommandLine, tiny_run: RunResult) -> None:
    models = tiny_run.folder / "models"
    answer = edgedqn("bench", models / "float32.tflite", models / "qat-int8.tflite", "--no-play", "--json")
    assert (answer.returncode, answer.stderr) == (0, "")
    benchmark = json.loads(answer.stdout)
    assert [row["name"] for row in benchmark["rows"]] == ["float32", "qat-int8"]
    assert all(set(row) == set(ROW_KEYS) and row["return"] is None and row["speedup"] for row in benchmark["rows"])


def test_what_became_worse_since_an_earlier_benchmark_is_named_and_may_fail(
    tiny_run: RunResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, earlier = str(tiny_run.folder), tmp_path / "earlier.json"
    ends = 0 if tiny_run.best else 3
    earlier.write_text(json.dumps(tiny_run.benchmark))
    assert main(["bench", run, "--against", str(earlier), "--fail-on-regression"]) == ends
    assert "beyond noise" in capsys.readouterr().out
    better = json.loads(json.dumps(tiny_run.benchmark))
    better["rows"][2]["size_bytes"] -= 1
    earlier.write_text(json.dumps(better))
    assert main(["bench", run, "--against", str(earlier)]) == ends
    assert "worse    qat-int8, size: " in capsys.readouterr().out
    assert main(["bench", run, "--against", str(earlier), "--fail-on-regression", "--json"]) == 3
    (found,) = json.loads(capsys.readouterr().out)["against"]["regressions"]
    assert (found["name"], found["what"]) == ("qat-int8", "size")
    for arguments in (["--fail-on-regression"], ["--against", str(tmp_path / "absent.json")]):
        assert main(["bench", run, *arguments]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_what_a_board_measured_is_shown_beside_the_hosts_rows(
    tiny_run: RunResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(tiny_run.folder, folder)
    bundle = [sys.executable, "bench_on_device.py", str(tmp_path / "board.json"), "--calls", "20"]
    subprocess.run(bundle, cwd=folder / "device", capture_output=True, check=True)
    assert main(["bench", str(folder), "--merge", str(tmp_path / "board.json")]) == 0
    assert "\nOn " in capsys.readouterr().out and "<h2>On " in (folder / "report.html").read_text()
    benchmark = json.loads((folder / "benchmark.json").read_text())
    assert benchmark["rows"] == tiny_run.benchmark["rows"]
    ((policy, twin),) = (device["rows"] for device in benchmark["devices"])
    best = tiny_run.best or pytest.fail("the tiny run has a best file")
    assert policy["sha256"] == best["sha256"] and policy["name"] == twin["name"] == best["name"]
    model = str(folder / best["file"])
    assert main(["bench", model, "--no-play", "--merge", str(tmp_path / "board.json"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["devices"] == benchmark["devices"]
    before = (folder / "benchmark.json").read_bytes()
    (tmp_path / "board.json").write_text("{")
    assert main(["bench", str(folder), "--merge", str(tmp_path / "board.json")]) == 2
    assert capsys.readouterr().err.count("\n") == 1 and (folder / "benchmark.json").read_bytes() == before


def test_a_file_alone_imports_nothing_from_the_current_folder(edgedqn: CommandLine, own_file: Path, tmp_path: Path) -> None:
    answer = edgedqn("bench", own_file, "--json")
    assert answer.returncode == 0 and "Not played: The module of 'own:Base-v0' cannot be imported" in answer.stderr
    assert json.loads(answer.stdout)["rows"][0]["return"] is None and not (tmp_path / "imported").exists()
    answer = edgedqn("bench", own_file, "--env", "own:Base-v0", "--json")
    assert json.loads(answer.stdout)["rows"][0]["return"]["mean"] > 0, answer.stderr
