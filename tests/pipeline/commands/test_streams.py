"""What becomes of results and remarks where a stream is closed, full, or has lost its reader."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgedqn.pipeline.job import RunResult
from edgedqn.pipeline.run_folder import RunFolder

CommandLine = Callable[..., subprocess.CompletedProcess[str]]
CODE = "from edgedqn.pipeline.cli import console; console()"
FULL = Path("/dev/full")

# Prints in Python and in C, in every process that plays it.
LOUD = """
import ctypes
from own import Base
import gymnasium
class Loud(Base):
    def reset(self, **how):
        print("reset in Python", flush=True)
        libc = ctypes.CDLL(None)
        libc.puts(b"reset in C"); libc.fflush(None)
        return super().reset(**how)
gymnasium.register("Loud-v0", Loud)
"""


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command line with redirections; stdout ends with the exit code, of a pipe that of its first command."""
    line = f"edgedqn() {{ {sys.executable} -P -c '{CODE}' \"$@\"; }}; {command}; echo ${{PIPESTATUS[0]}}"
    return subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("edgedqn compress --list | true", 0),
        ("edgedqn compress nowhere 2>&1 | true", 2),
        ("edgedqn compress --list >&-", 0),
        ("edgedqn compress --list <&- >&- 2>&-", 0),
        ("edgedqn compress nowhere 2>&-", 2),
    ],
)
def test_nobody_has_to_read_what_is_said(command: str, code: int, tmp_path: Path) -> None:
    said = shell(command, tmp_path)
    assert (said.stdout, said.stderr) == (f"{code}\n", "")


def test_a_reader_who_has_enough_gets_what_he_read(tmp_path: Path) -> None:
    said = shell("edgedqn compress --list | head -1", tmp_path)
    assert said.stdout.startswith("ptq-int8 ") and said.stdout.endswith("\n0\n") and said.stderr == ""


@pytest.mark.skipif(not FULL.exists(), reason="/dev/full is Linux's")
@pytest.mark.parametrize("arguments", ["compress --list", "compress --list --json", "--help"])
def test_results_that_cannot_be_written_are_a_line_and_no_success(arguments: str, tmp_path: Path) -> None:
    said = shell(f"edgedqn {arguments} >{FULL}", tmp_path)
    assert said.stdout == "2\n"
    assert said.stderr == "edgedqn: Results cannot be written to stdout. Got: No space left on device.\n"


@pytest.mark.skipif(not FULL.exists(), reason="/dev/full is Linux's")
def test_nothing_of_a_training_is_lost_where_its_remarks_cannot_be_written(tmp_path: Path) -> None:
    said = shell(f"edgedqn train CartPole-v1 --steps 1500 --resume --out run 2>{FULL}", tmp_path)
    assert said.stdout == "train done: run\n0\n"
    assert RunFolder.open(tmp_path / "run").is_done("train")


def test_what_an_environment_prints_is_no_result(edgedqn: CommandLine, own: str, tmp_path: Path) -> None:
    """In this process, and from C; what the processes that play print goes nowhere."""
    (tmp_path / "loud.py").write_text(LOUD)
    answer = edgedqn("run", "loud:Loud-v0", "--steps", "1500", "--recipes", "ptq-int8", "--out", "run", "--json")
    assert answer.returncode in (0, 3), answer.stderr
    assert json.loads(answer.stdout)["run"] == "run"
    assert answer.stderr.count("reset in Python") > 100 < answer.stderr.count("reset in C")
    for chatter in ("oneDNN", "XNNPACK", "fully_quantize"):
        assert chatter not in answer.stderr


def test_the_command_line_is_quiet(edgedqn: CommandLine, tiny_run: RunResult) -> None:
    answer = edgedqn("bench", tiny_run.folder / "models" / "float32.tflite", "--no-play", "--json")
    assert (answer.returncode, answer.stderr) == (0, "")
