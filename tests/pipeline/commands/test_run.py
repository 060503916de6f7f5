"""`run`: real runs, and bad input refused in one line with nothing written."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from edgedqn.pipeline.job import RunResult

CommandLine = Callable[..., subprocess.CompletedProcess[str]]
Refused = Callable[..., None]


def test_unknown_environment_names_the_nearest(assert_refused: Refused, edgedqn: CommandLine, tmp_path: Path) -> None:
    assert_refused(edgedqn("run", "CartPol-v1"), "Unknown environment 'CartPol-v1'", "Nearest: CartPole-v1")
    assert_refused(edgedqn("run", "no_such_module:Thing-v0"), "no_such_module", "Expected module:Id")
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Continuous", "expected Discrete(n). Got Box"),
        ("MultiDiscrete", "expected Discrete(n). Got MultiDiscrete"),
        ("DictObservation", "expected a Box or Discrete. Got Dict"),
        ("TupleObservation", "expected a Box or Discrete. Got Tuple"),
    ],
)
def test_spaces_that_cannot_be_learned_are_refused(
    assert_refused: Refused, name: str, said: str, edgedqn: CommandLine, own: str, tmp_path: Path
) -> None:
    assert_refused(edgedqn("run", f"{own}:{name}-v0"), said)
    assert not (tmp_path / "runs").exists()


def test_unknown_recipe_gives_the_choices(assert_refused: Refused, edgedqn: CommandLine, tmp_path: Path) -> None:
    assert_refused(edgedqn("run", "CartPole-v1", "--recipes", "int4"), "Unknown recipe 'int4'", "qat-int8, prune-int8")
    assert not (tmp_path / "runs").exists()


def test_another_run_in_the_folder_is_refused_and_left_alone(
    assert_refused: Refused, edgedqn: CommandLine, tiny_run: RunResult
) -> None:
    before = {path: path.stat().st_mtime_ns for path in tiny_run.folder.rglob("*")}
    assert_refused(edgedqn("run", "CartPole-v1", "--seed", "5", "--out", tiny_run.folder), "holds another run", "seed=5")
    assert_refused(edgedqn("run", "Acrobot-v1", "--out", tiny_run.folder), "holds another run", "env_id=Acrobot-v1")
    assert {path: path.stat().st_mtime_ns for path in tiny_run.folder.rglob("*")} == before


def test_a_folder_that_cannot_be_written_is_refused(assert_refused: Refused, edgedqn: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert_refused(edgedqn("run", "CartPole-v1", "--out", tmp_path / "file" / "run"), "Cannot make a run")


def test_a_whole_run_of_an_own_environment_in_one_command(edgedqn: CommandLine, own: str, tmp_path: Path) -> None:
    answer = edgedqn("run", f"{own}:Base-v0", "--steps", "1500", "--recipes", "qat-int8", "--out", "run")
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == ""  # no chatter, and no progress bar where there is no terminal
    for name in ("float32", "ptq-int8", "qat-int8"):
        assert f"\n{name} " in answer.stdout
    assert "Deploy: run/device" in answer.stdout
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
    assert "No requested recipe, controls aside, passed its gate" in answer.stdout
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
