"""`run`, the stages one by one, and agents that are played."""

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


def test_unknown_environment_names_the_nearest(assert_refused: Refused, edgedqn: CommandLine, tmp_path: Path) -> None:
    assert_refused(edgedqn("run", "CartPol-v1"), "Unknown environment 'CartPol-v1'", "Nearest: CartPole-v1")
    assert_refused(
        edgedqn("run", "no_such_module:Thing-v0"), "no_such_module", "Expected no_such_module.py in the current folder"
    )
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Unbounded", "expected finite bounds. Got Box"),
        ("Many", "expected at most 512. Got 1,024 of MultiBinary(10)"),
        ("Text", "observations without numbers: expected some. Got Text"),
        ("SeveralAgents", "expected Discrete, MultiDiscrete, MultiBinary, Box. Got Tuple"),
    ],
)
def test_spaces_that_cannot_be_learned_are_refused(
    assert_refused: Refused, name: str, said: str, edgedqn: CommandLine, own: str, tmp_path: Path
) -> None:
    assert_refused(edgedqn("run", f"{own}:{name}-v0"), said)
    assert not (tmp_path / "runs").exists()


def test_unknown_recipe_gives_the_choices(assert_refused: Refused, edgedqn: CommandLine, tmp_path: Path) -> None:
    assert_refused(edgedqn("run", "CartPole-v1", "--recipes", "int4"), "Unknown recipe 'int4'", "`edgedqn recipes` lists")
    assert not (tmp_path / "runs").exists()


def test_another_run_in_the_folder_is_refused_and_left_alone(
    assert_refused: Refused, edgedqn: CommandLine, tiny_run: RunResult
) -> None:
    before = {path: path.stat().st_mtime_ns for path in tiny_run.folder.rglob("*")}
    assert_refused(edgedqn("run", "CartPole-v1", "--seed", "5", "--out", tiny_run.folder), "holds another run", "seed=5")
    longer = edgedqn("run", "CartPole-v1", "--steps", "40000", "--out", tiny_run.folder)
    assert_refused(longer, "steps=40000", "A training that was begun is not prolonged. Choose another --out, or --force")
    assert_refused(edgedqn("run", "Acrobot-v1", "--out", tiny_run.folder), "holds another run", "env_id=Acrobot-v1")
    assert {path: path.stat().st_mtime_ns for path in tiny_run.folder.rglob("*")} == before


def test_a_folder_that_cannot_be_written_is_refused(assert_refused: Refused, edgedqn: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert_refused(edgedqn("run", "CartPole-v1", "--out", tmp_path / "file" / "run"), "Cannot make a run")


def test_a_whole_run_of_an_own_environment_in_one_command(edgedqn: CommandLine, own: str, tmp_path: Path) -> None:
    answer = edgedqn("run", f"{own}:Base-v0", "--steps", "1500", "--recipes", "qat-int8", "--out", "run")
    assert answer.returncode == 0, answer.stderr
    # No chatter, and no progress bar where there is no terminal. Of two files so small either may be the smaller.
    assert answer.stderr in ("", "Warning: the naive conversion is the smallest that passed: ptq-int8 ships.\n")
    for name in ("float32", "ptq-int8", "qat-int8"):
        assert f"\n{name} " in answer.stdout
    assert "Deploy: run/device" in answer.stdout
    *_, sentence, next_step = answer.stdout.splitlines()
    assert next_step == f"Try: edgedqn evaluate run/device/policy.tflite --env {own}:Base-v0"
    assert re.fullmatch(r"run/device/policy.tflite: [\d.]+ KB in place of [\d.]+ KB, .* on [\d,]+ episodes\.", sentence)
    scripts = {"edge_policy.py", "run_policy.py", "bench_on_device.py"}
    bundle = {path.name for path in (tmp_path / "run" / "device").iterdir()}
    assert bundle == {"policy.tflite", "policy.json", "README.md", *scripts, "board", "microcontroller"}
    assert "Not in it: browser. `edgedqn bundle run` adds what it can" in answer.stdout
    again = edgedqn("run", f"{own}:Base-v0", "--steps", "1500", "--recipes", "qat-int8", "--out", "run", "--json")
    assert again.returncode == 0 and json.loads(again.stdout)["best"] in ("ptq-int8", "qat-int8")
    (tmp_path / "own.py").unlink()  # what plays nothing does without the environment
    for stage in ("report", "export"):
        answer = edgedqn(stage, "run", "--force")
        assert (answer.returncode, answer.stdout) == (0, f"{stage} done: run\n"), answer.stderr


def test_nothing_that_passes_exits_with_3_and_makes_no_bundle(edgedqn: CommandLine, tmp_path: Path) -> None:
    # A policy that hardly learned is no better than a random one, so there is no margin to lose.
    hardly = ["--steps", "256", "--learning-starts", "255", "--gradient-steps", "1"]
    answer = edgedqn("run", "CartPole-v1", *hardly, "--recipes", "ptq-int8", "--out", "run")
    assert answer.returncode == 3, answer.stderr
    assert "No int8 file passed its gate" in answer.stdout
    assert not (tmp_path / "run" / "device").exists()
    assert (tmp_path / "run" / "models" / "ptq-int8.tflite").exists()


def test_a_tolerance_that_is_none_is_refused_everywhere(
    assert_refused: Refused, edgedqn: CommandLine, tiny_run: RunResult
) -> None:
    before = (tiny_run.folder / "run.json").read_bytes()
    file = tiny_run.folder / "models" / "float32.tflite"
    for command in (["run", "CartPole-v1", "--out", tiny_run.folder], ["bench", tiny_run.folder], ["bench", file]):
        assert_refused(edgedqn(*command, "--tolerance", "5"), "Expected it in (0, 1). Got 5")
    assert_refused(edgedqn("bench", file, "--no-play", "--tolerance", "0.1"), "Expected no --no-play beside it")
    assert (tiny_run.folder / "run.json").read_bytes() == before


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
    assert (stage.name, stage.status) == ("train", "failed") and 0 <= stage.seconds <= 300
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
    assert_refused(edgedqn("compress", tmp_path / "nothing"), "expected a run folder, or a .tflite. Got nothing there.")
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
    assert judged.stage == "quantize"
    assert main(["compress", str(folder)]) == 0  # all is done: it only tells
    line, *_ = [line for line in capsys.readouterr().out.splitlines() if line.lstrip().startswith("quantize ")]
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


@pytest.mark.parametrize(
    ("how", "command", "stage"),
    [(signal.SIGTERM, "compress", "fragility"), (signal.SIGHUP, "bench", "bench"), (signal.SIGKILL, "bench", "bench")],
)
def test_killed_it_leaves_no_process_and_called_again_it_goes_on(
    tiny_run: RunResult,
    edgedqn: CommandLine,
    of_session: Callable[[int], set[int]],
    tmp_path: Path,
    how: signal.Signals,
    command: str,
    stage: str,
) -> None:
    shutil.copytree(tiny_run.folder, tmp_path / "run")
    with RunFolder.open(tmp_path / "run").locked():
        folder = RunFolder.open(tmp_path / "run")
        folder.forget({stage})
        folder.save()
    code = "from edgedqn.pipeline.cli import console; console()"
    with subprocess.Popen([sys.executable, "-c", code, command, "run"], cwd=tmp_path, start_new_session=True) as running:
        deadline = time.monotonic() + 120
        while len(of_session(running.pid)) < 3 and running.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        running.send_signal(how)
    assert running.returncode == -how
    deadline = time.monotonic() + 5
    while of_session(running.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert of_session(running.pid) == set()
    assert not RunFolder.open(tmp_path / "run").is_done(stage)
    again = edgedqn(command, "run")
    assert again.returncode in (0, 3), again.stderr
    assert (again.stdout + again.stderr).count("This policy ") == (command == "compress")  # what to expect, said once
    assert RunFolder.open(tmp_path / "run").is_done(stage)
    assert not list((tmp_path / "run").rglob(".*.part"))


def test_lists_the_recipes_with_a_line_each(assert_refused: Refused, edgedqn: CommandLine) -> None:
    answer = edgedqn("compress", "--list")
    assert (answer.returncode, answer.stderr) == (0, "")
    names = [line.split()[0] for line in answer.stdout.split("\n\n")[0].splitlines() if not line.startswith(" ")]
    assert names[:2] == ["ptq-int8", "dynamic"]
    told = json.loads(edgedqn("compress", "--list", "--json").stdout)
    assert [recipe["name"] for recipe in told["recipes"]] == names
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


def test_evaluate_takes_a_run_and_an_agent_folder(edgedqn: CommandLine, tiny_run: RunResult) -> None:
    returns = [
        json.loads(edgedqn("evaluate", path, "--episodes", "5", "--seed", "9", "--json").stdout)["returns"]
        for path in (tiny_run.folder, tiny_run.folder / "agent", tiny_run.folder / "models" / "float32.tflite")
    ]
    assert returns[0] == returns[1] == returns[2]


def test_an_agent_plays_where_it_was_trained(assert_refused: Refused, edgedqn: CommandLine, tiny_run: RunResult) -> None:
    assert_refused(edgedqn("evaluate", tiny_run.folder, "--env", "Acrobot-v1"), "Expected no --env, or a .tflite")
