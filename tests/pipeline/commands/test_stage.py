"""`train`, `compress`, `export` and `report` as a user types them."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgedqn.compression.policy import CompressedPolicy
from edgedqn.pipeline.cli import main
from edgedqn.pipeline.job import RunResult
from edgedqn.pipeline.run_folder import RunFolder
from edgedqn.pipeline.seeds import SeedStreams

CommandLine = Callable[..., subprocess.CompletedProcess[str]]
Refused = Callable[..., None]


@pytest.mark.parametrize("name", ["BadObservation", "BadReward"])
def test_a_nan_stops_the_training_with_the_step_and_keeps_the_best_checkpoint(
    name: str, edgedqn: CommandLine, own: str, tmp_path: Path
) -> None:
    # Training and checkpoint evaluation share the count that turns the environment bad.
    short = ("--steps=5000", "--hidden=8", "--learning-starts=100", "--evaluation-interval=400", "--evaluation-episodes=2")
    answer = edgedqn("train", f"{own}:{name}-v0", "--out", "run", *short)
    assert answer.returncode == 2
    what = "observation" if name == "BadObservation" else "reward"
    assert re.match(rf"edgedqn: .*{name}-v0.* gave a bad {what} at step \d+: expected", answer.stderr.splitlines()[-1])
    (stage,) = RunFolder.open(tmp_path / "run").description.stages
    assert (stage.name, stage.status, stage.seconds) == ("train", "failed", pytest.approx(0, abs=300))
    # What was kept is what was scored: the same episodes give the same return.
    kept = json.loads((tmp_path / "run" / "agent" / "checkpoints" / "best" / "agent.json").read_text())["statistics"]
    first = str(SeedStreams(0).first_reset_seed("select"))
    played = edgedqn("evaluate", "run", "--episodes", "2", "--seed", first, "--json")
    assert "best checkpoint so far" in played.stderr
    assert json.loads(played.stdout)["mean"] == kept["mean_return"]
    assert not (tmp_path / "run" / "agent" / "agent.json").exists()


def test_a_folder_in_use_is_refused(assert_refused: Refused, edgedqn: CommandLine, tiny_run: RunResult, tmp_path: Path) -> None:
    shutil.copytree(tiny_run.folder, tmp_path / "run")
    with RunFolder.open(tmp_path / "run").locked():
        assert_refused(edgedqn("report", tmp_path / "run", "--force"), "in use by a running process")


def test_resuming_what_was_never_begun_is_said(edgedqn: CommandLine, tmp_path: Path) -> None:
    answer = edgedqn(
        "train", "FrozenLake-v1", "--steps", "500", "--evaluation-episodes", "1", "--resume", "--out", tmp_path / "run"
    )
    assert answer.returncode == 0
    assert f"Nothing to resume in {tmp_path / 'run'}: training starts at step 0." in answer.stderr


def test_a_stage_whose_input_is_missing_is_refused(
    assert_refused: Refused, edgedqn: CommandLine, tiny_run: RunResult, tmp_path: Path
) -> None:
    assert_refused(edgedqn("compress", tmp_path / "nothing"), "cannot be read")
    shutil.copytree(tiny_run.folder, tmp_path / "run")
    description = json.loads((tmp_path / "run" / "run.json").read_text())
    description["stages"] = []
    (tmp_path / "run" / "run.json").write_text(json.dumps(description))
    assert_refused(edgedqn("export", tmp_path / "run"), "expected 'compress/float32' to be done", "edgedqn compress")


def test_compress_says_how_often_the_gate_was_asked(
    tiny_run: RunResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(tiny_run.folder, folder)
    *_, judged = CompressedPolicy.load(RunFolder.open(folder).compressed("qat-int8")).reports
    assert judged.stage == "quantize_judged"
    assert main(["compress", str(folder)]) == 0  # all is done: it only tells
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.lstrip().startswith("quantize_judged")]
    assert judged.findings.attempts is not None
    assert f"{len(judged.findings.attempts)} tried" in line and ("none passed" in line) == (not judged.findings.passed)


def test_interrupted_and_called_again_it_goes_on(tmp_path: Path) -> None:
    # A shell starts background jobs with SIGINT ignored, and they pass that on; this one is to hear it.
    hear = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = [sys.executable, "-c", f"{hear}; from edgedqn.pipeline.cli import console; console()"]
    command += ["train", "CartPole-v1", "--steps", "4000", "--out", "run"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as running:
        deadline = time.monotonic() + 120
        while not (tmp_path / "run" / "run.json").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        _, stderr = running.communicate(timeout=60)
    assert running.returncode == 130
    assert (
        stderr.startswith("Interrupted. What was finished is kept, and a training's last checkpoint;")
        and stderr.count("\n") == 1
    )
    assert RunFolder.open(tmp_path / "run").description.stages[0].status == "failed"
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=True)
    assert finished.stdout == "train done: run\n"
    assert not list((tmp_path / "run").rglob(".*.npz*"))


def test_lists_the_recipes_with_a_line_each(assert_refused: Refused, edgedqn: CommandLine) -> None:
    answer = edgedqn("compress", "--list")
    assert (answer.returncode, answer.stderr) == (0, "")
    lines = answer.stdout.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["ptq-int8", "dynamic"]
    assert all(len(line.split()) > 3 for line in lines)
    told = json.loads(edgedqn("compress", "--list", "--json").stdout)
    assert [recipe["name"] for recipe in told["recipes"]] == [line.split()[0] for line in lines]
    assert_refused(edgedqn("compress"), "Expected a run folder, or --list")


def test_writes_bare_files_by_a_recipe_of_ones_own(
    assert_refused: Refused, edgedqn: CommandLine, tiny_run: RunResult, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(tiny_run.folder, folder)
    (tmp_path / "mine.toml").write_text('conversion = "float16"\nstages = ["threshold"]\n')
    for command in (
        ["compress", folder, "--recipes", "mine.toml"],
        ["export", folder, "--strip", "--manifest", "beside"],
    ):
        answer = edgedqn(*command)
        assert (answer.returncode, answer.stderr) == (0, "")
        if command[0] == "compress":
            assert re.search(r"mine\n  threshold +\d+\.\d s  return \d+.*, agreement \d+\.\d%, zeros \d+%, ", answer.stdout)
    (report,) = json.loads(edgedqn("compress", folder, "--json").stdout)["reports"]["mine"]
    assert report["stage"] == "threshold" and len(report["sparsity_reached"]) == 3
    content = (folder / "models" / "mine.tflite").read_bytes()
    assert b"observation" not in content and b"EDGEDQN1" not in content
    assert (folder / "models" / "mine.json").exists()
    assert_refused(edgedqn("compress", folder, "--recipes", "nowhere.toml"), "nowhere.toml is no recipe")
