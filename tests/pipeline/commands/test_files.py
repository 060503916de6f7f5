"""`bench`, `bundle`, `evaluate` and `play` of files, and what runs share; films and windows are tested in `viewing`."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgedqn.benchmarks.cores.core import CORES, missing_tools
from edgedqn.benchmarks.rows import BenchmarkRow
from edgedqn.export.devices.browser import bundle as browser
from edgedqn.export.edge_policy import read_verified
from edgedqn.pipeline import proving, stages
from edgedqn.pipeline.cli import main
from edgedqn.pipeline.commands import files
from edgedqn.pipeline.job import RunResult

CommandLine = Callable[..., subprocess.CompletedProcess[str]]
Refused = Callable[..., None]


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
    assert all(
        set(row) == set(BenchmarkRow.keys().values()) - set(BenchmarkRow.LEFT_OUT) and row["return"] is None and row["speedup"]
        for row in benchmark["rows"]
    )


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


def test_stress_is_played_once_and_shown_beside_the_rows(
    tiny_run: RunResult, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proving, "STRESS_EPISODES", 3)
    monkeypatch.setattr(proving, "usable_cores", lambda: 1)
    folder = tmp_path / "run"
    shutil.copytree(tiny_run.folder, folder)
    assert main(["bench", str(folder), "--stress", "--json"]) == (0 if tiny_run.best else 3)
    found = json.loads(capsys.readouterr().out)
    stresses = found.pop("stress")["stresses"]
    assert found == tiny_run.benchmark and len(stresses) == 8
    assert all([each["name"] for each in stress["files"]] == [row["name"] for row in found["rows"]] for stress in stresses)
    assert "<h2>Under stress</h2>" in (folder / "report.html").read_text() and (folder / "stress.svg").exists()
    monkeypatch.setattr(proving, "measure_stress", lambda *_, **__: pytest.fail("played again"))
    main(["bench", str(folder), "--stress"])
    assert "Under stress, mean return of 3 episodes each:" in capsys.readouterr().out
    assert main(["bench", str(folder / "models" / "float32.tflite"), "--stress", "--no-play"]) == 2
    assert "expected no --no-play" in capsys.readouterr().err.lower()


def test_what_fits_a_board_is_measured_once_and_shown_beside_the_rows(
    tiny_run: RunResult, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if missing := missing_tools(CORES["atmega328p"]):
        pytest.skip(f"not installed: {', '.join(missing)}")
    folder = tmp_path / "run"
    shutil.copytree(tiny_run.folder, folder)
    assert main(["bench", str(folder), "--fit", "uno", "--rate", "50", "--json"]) == (0 if tiny_run.best else 3)
    found = json.loads(capsys.readouterr().out)
    (fits,) = found.pop("fits")
    assert found == tiny_run.benchmark and fits["budget"]["cycles"] == 320_000
    assert {each["name"]: each["reason"] is None for each in fits["files"]} == {
        row["name"]: row["name"] != "float32" for row in found["rows"]
    }
    assert "<h2>What fits uno at 50 Hz</h2>" in (folder / "report.html").read_text()
    monkeypatch.setattr(stages, "measure_fit", lambda *_, **__: pytest.fail("measured again"))
    main(["bench", str(folder), "--fit", "uno", "--rate", "50"])
    assert "On uno (atmega328p; 32,256 bytes of flash" in capsys.readouterr().out
    monkeypatch.undo()
    main(["bench", str(folder), "--force", "--json"])
    assert json.loads(capsys.readouterr().out)["fits"] == [fits]  # measured again, and not forgotten
    main(["bench", str(folder), "--fit", "uno", "--rate", "1000"])
    assert re.findall(r"(\d+) steps per second", capsys.readouterr().out) == ["1000"]  # of those asked for before nothing


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
    for module in ("tflite_micro", "multiprocessing"):  # what the processes that it starts import
        (tmp_path / f"{module}.py").write_text("open('imported', 'w').close()\n")
    answer = edgedqn("bench", own_file, "--json")
    assert answer.returncode == 0 and "Not played: The module of 'own:Base-v0' cannot be imported" in answer.stderr
    assert json.loads(answer.stdout)["rows"][0]["return"] is None and not (tmp_path / "imported").exists()
    (tmp_path / "own.py").write_text((tmp_path / "own.py").read_text().replace("open('imported', 'w').close()", ""))
    answer = edgedqn("bench", own_file, "--env", "own:Base-v0", "--json")
    assert not (tmp_path / "imported").exists()
    assert json.loads(answer.stdout)["rows"][0]["return"]["mean"] > 0, answer.stderr


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
    observe, integers = Path("microcontroller") / "policy_observe.h", "typedef int32_t policy_element;"
    assert integers not in (tmp_path / "run" / "device" / observe).read_text()
    assert main(["bundle", "run", "--sensor-units", "0.5", "--json"]) == 0
    assert integers in (tmp_path / "run" / "device" / observe).read_text()
    capsys.readouterr()
    assert main(["bundle", f"run/{best['file']}", "--sensor-units", "1", "2", "3", "-0.4"]) == 0
    assert integers in (tmp_path / "device" / observe).read_text()
    head, *lines = capsys.readouterr().out.splitlines()
    assert head == "Bundle: device" and [line.split()[0] for line in lines] == ["Linux", "microcontroller", "browser"]
    assert (tmp_path / "device" / "browser" / "index.html").exists() and asked == [True, True, True]
    assert main(["bundle", "run", "--as", "cmake"]) == 0
    assert capsys.readouterr().out == "Folder: libraries/cmake/EdgeDQN_CartPole_v1_run\n"


def test_an_npu_is_in_the_bundle_and_the_report_as_an_estimate_for_as_long_as_it_is_asked_for(
    tiny_run: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ethosu.vela", reason="the extra `npu` is not installed")
    monkeypatch.setattr(browser, "runtime_files", lambda fetch: {"litert.js": b""})
    run = tmp_path / "run"
    shutil.copytree(tiny_run.folder, run)
    assert main(["bundle", str(run), "--npu", "ethos-u55-128", "--memory-mode", "Sram_Only", "--json"]) == 0
    part = json.loads(capsys.readouterr().out)["parts"][3]
    assert part["device"] == "NPU" and part["remark"].endswith("*estimated*.")
    file = read_verified(run / "device" / "policy.tflite")
    found = file.evidence["npu"]
    assert found["source_sha256"] == file.file_sha256 and found["estimate"]["memory_mode"] == "Sram_Only"
    compiled = (run / "device" / found["file"]).read_bytes()
    assert hashlib.sha256(compiled).hexdigest() == found["file_sha256"]
    assert part["remark"] in (run / "device" / "README.md").read_text()
    told = f"{found['estimate']['cycles']:,} cycles"
    for report in ("report.html", "report.md"):
        text = (run / report).read_text()
        assert told in text and f"estimate of {found['estimate']['compiler']}: {found['label']}" in text
    assert main(["bundle", str(run)]) == 0  # without, all of it goes
    assert not (run / "device" / "npu").exists() and told not in (run / "report.md").read_text()
    assert "npu" not in read_verified(run / "device" / "policy.tflite").evidence
    capsys.readouterr()
    for arguments, said in (
        (["--npu", "u55"], "Unknown accelerator of an NPU: expected one of ethos-u55-32"),
        (["--memory-mode", "Sram_Only"], "expected --npu beside it"),
    ):
        assert main(["bundle", str(run), *arguments]) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1


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
    for library in ([], ["--as", "cmake", "--out", str(tmp_path)]):
        assert main(["bundle", str(folder), *library]) == 2
        told = capsys.readouterr().err
        assert "nothing to ship" in told and told.count("\n") == 1
    assert sorted(folder.rglob("*")) == before


def test_damaged_policy_files_are_refused(
    assert_refused: Refused, edgedqn: CommandLine, tiny_run: RunResult, tmp_path: Path
) -> None:
    good = (tiny_run.folder / "models" / "qat-int8.tflite").read_bytes()
    changed = bytearray(good)
    changed[len(good) // 2] ^= 1
    for name, content in (
        ("empty", b""),
        ("truncated", good[: len(good) // 2]),
        ("changed", bytes(changed)),
        ("foreign", b"x"),
    ):
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(content)
        assert_refused(edgedqn("evaluate", path), f"{name}.tflite")
        assert_refused(edgedqn("bench", path), f"{name}.tflite")
    assert_refused(edgedqn("evaluate", tmp_path / "missing.tflite"), "missing.tflite")


def test_a_manifest_of_a_newer_schema_is_refused(
    assert_refused: Refused, edgedqn: CommandLine, tiny_run: RunResult, tmp_path: Path
) -> None:
    for suffix in (".tflite", ".json"):
        shutil.copy(tiny_run.folder / "models" / f"qat-int8{suffix}", tmp_path)
    sidecar = json.loads((tmp_path / "qat-int8.json").read_text())
    (tmp_path / "qat-int8.json").write_text(json.dumps({**sidecar, "schema": 2}))
    assert_refused(edgedqn("evaluate", tmp_path / "qat-int8.tflite"), "schema", "2")


def test_evaluate_prints_the_contract_and_the_same_return_as_the_row(edgedqn: CommandLine, tiny_run: RunResult) -> None:
    row = tiny_run.benchmark["rows"][2]
    path = tiny_run.folder / row["file"]
    prove_seed = json.loads(path.with_suffix(".json").read_text())["evidence"]["prove_seed"]
    episodes = str(row["return"]["episodes"])
    answer = edgedqn("evaluate", path, "--episodes", episodes, "--seed", str(prove_seed), "--json")
    assert (answer.returncode, answer.stderr) == (0, "")
    result = json.loads(answer.stdout)
    assert set(result) == {"schema", "policy", "env_id", "mean", "ci95", "episodes", "seed", "returns"}
    assert (result["mean"], result["ci95"]) == (row["return"]["mean"], row["return"]["ci95"])
    assert len(result["returns"]) == row["return"]["episodes"]


def test_a_bundles_folder_stands_for_its_policy(
    tiny_run: RunResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for suffix in (".tflite", ".json"):
        shutil.copy(tiny_run.folder / "models" / f"qat-int8{suffix}", tmp_path / f"policy{suffix}")
    returns = []
    for path in (tmp_path, tmp_path / "policy.tflite"):
        assert main(["evaluate", str(path), "--env", "CartPole-v1", "--episodes", "2", "--json"]) == 0
        returns.append(json.loads(capsys.readouterr().out)["returns"])
    assert returns[0] == returns[1]
    assert main(["play", str(tmp_path), "--gif", str(tmp_path / "film.mp4")]) == 2
    assert "Expected --gif to name a file that ends in .gif" in capsys.readouterr().err  # and not: no agent
    assert main(["play", str(tmp_path), "--env", "Acrobot-v1", "--gif", str(tmp_path / "film.gif")]) == 2
    assert "The file is for another environment than Acrobot-v1" in capsys.readouterr().err


FOREIGN = Path(__file__).parents[2] / "benchmarks" / "default_converter_float.tflite"


def test_a_file_without_a_manifest_is_scored_where_it_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", str(FOREIGN), "--episodes", "3", "--json", "--env"]
    assert main([*command, "CartPole-v1"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert set(result) == {"schema", "policy", "env_id", "mean", "ci95", "episodes", "seed", "returns"}
    assert (result["env_id"], len(result["returns"])) == ("CartPole-v1", 3)
    assert main([*command, "CartPole-v1", "--scale", "float"]) == 0
    assert json.loads(capsys.readouterr().out) == result
    for arguments, said in (
        (["CartPole-v1", "--scale", "1,2"], "expected 4 numbers, one per feature. Got 2."),
        (["MountainCar-v0"], "expected [1, 2]. Got [1, 4]."),
    ):
        assert main([*command, *arguments]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line


def test_without_an_environment_or_to_be_watched_it_is_refused(
    own_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for arguments, said in (
        (["evaluate", str(FOREIGN)], "expected --env. Got none."),
        (["play", str(FOREIGN), "--gif", "x.gif"], "`edgedqn evaluate` and `bench` play it with --env ENV_ID"),
        (["evaluate", str(tmp_path), "--scale", "2"], "expected none for an agent. Got one."),
        (["evaluate", str(own_file), "--scale", "2"], "--scale is for files without a"),
    ):
        assert main(arguments) == 2
        assert said in capsys.readouterr().err
    monkeypatch.setattr(files, "wrong_with", lambda path, latency: "Expected an action within 60 seconds. Got none.")
    assert main(["evaluate", str(FOREIGN), "--env", "CartPole-v1"]) == 2
    assert "float.tflite: Expected an action within 60 seconds" in capsys.readouterr().err


def test_a_file_that_is_scored_imports_nothing_from_the_current_folder(
    assert_refused: Refused, edgedqn: CommandLine, own_file: Path, tmp_path: Path
) -> None:
    answer = edgedqn("evaluate", own_file)
    assert_refused(answer, "No module named 'own'", "--env own:Base-v0 does")
    assert not (tmp_path / "imported").exists()
    answer = edgedqn("evaluate", own_file, "--env", "own:Base-v0", "--episodes", "2", "--json")
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["env_id"] == "own:Base-v0" and (tmp_path / "imported").exists()
    assert_refused(edgedqn("evaluate", own_file, "--env", "CartPole-v1"), "for another environment than CartPole-v1")


def test_a_file_that_is_watched_imports_nothing_from_the_current_folder(
    assert_refused: Refused, edgedqn: CommandLine, own_file: Path, tmp_path: Path
) -> None:
    assert_refused(edgedqn("play", own_file, "--gif", "film.gif"), "No module named 'own'", "--env own:Base-v0 does")
    assert not (tmp_path / "imported").exists()
    assert_refused(edgedqn("play", own_file, "--gif", "film.gif", "--env", "own:Base-v0"), "cannot be rendered as 'rgb_array'")
    assert (tmp_path / "imported").exists()


def test_what_belongs_to_a_page_and_what_to_a_film_is_told_apart(assert_refused: Refused, edgedqn: CommandLine) -> None:
    assert_refused(edgedqn("play", "x.tflite", "--port", "80"), "Expected --browser beside --port")
    assert_refused(edgedqn("play", "x.tflite", "--browser", "--gif", "a.gif"), "Expected no --gif beside --browser")
