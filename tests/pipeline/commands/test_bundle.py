"""`bundle` of files and of runs."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from edgedqn.export.devices.browser import bundle as browser
from edgedqn.pipeline.cli import main
from edgedqn.pipeline.job import RunResult

CommandLine = Callable[..., subprocess.CompletedProcess[str]]


def test_a_bundle_is_completed_when_somebody_asks_for_it(
    tiny_run: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def remember(fetch: object) -> dict[str, bytes]:
        asked.append(fetch)
        return {"litert.js": b""}

    monkeypatch.setattr(browser, "runtime_files", remember)
    monkeypatch.chdir(tmp_path)
    best = tiny_run.best or pytest.fail("the tiny run has a best file")
    shutil.copytree(tiny_run.folder, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "device")
    assert main(["bundle", "run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["bundle"] == "run/device" and [part["there"] for part in told["parts"]] == [True, True, True]
    proven = (tmp_path / "run" / best["file"]).read_bytes()
    assert (tmp_path / "run" / "device" / "policy.tflite").read_bytes() == proven
    assert main(["bundle", f"run/{best['file']}"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head == "Bundle: device" and [line.split()[0] for line in lines] == ["Linux", "microcontroller", "browser"]
    assert (tmp_path / "device" / "browser" / "index.html").exists() and asked == [True, True]


def test_a_run_has_its_own_place_for_a_bundle_and_nothing_to_ship_unless_it_passed(
    tiny_run: RunResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bundle", str(tiny_run.folder), "--out", str(tmp_path / "x")]) == 2
    assert "expected no --out, or a .tflite" in capsys.readouterr().err
    folder = tmp_path / "run"
    shutil.copytree(tiny_run.folder, folder)
    benchmark = json.loads((folder / "benchmark.json").read_text())
    for row in benchmark["rows"]:
        row["gate"] = row["gate"] and "fail"
    (folder / "benchmark.json").write_text(json.dumps(benchmark))
    before = sorted(folder.rglob("*"))
    assert main(["bundle", str(folder)]) == 2
    told = capsys.readouterr().err
    assert "nothing to ship" in told and told.count("\n") == 1
    assert sorted(folder.rglob("*")) == before
