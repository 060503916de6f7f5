"""An environment comes to a verified file by the installed command, or that command's own exit code and line come out."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("tensorflow", reason="trains")

from edgedqn.export.edge_policy import read_verified

SMALL = ["--steps", "200", "--learning-starts", "100", "--train-freq", "50", "--hidden", "4", "--evaluation-interval", "200"]
SMALL += ["--evaluation-episodes", "1", "--finalists", "1"]


def job(env_id: str, folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """In a process of its own, as the survey starts it: TensorFlow runs here with other threads."""
    command = [sys.executable, "-W", "ignore", "-m", "edgedqn.benchmarks.peers.environment_job", env_id, str(folder), "64"]
    return subprocess.run([*command, *options], capture_output=True, text=True, check=False)


def test_it_trains_and_comes_to_a_file_that_was_compared_with_its_network(tmp_path: Path) -> None:
    done = job("CartPole-v1", tmp_path, *SMALL)
    assert done.returncode == 0, done.stderr
    evidence = read_verified(tmp_path / "policy.tflite").evidence
    assert evidence["verification"]["xnnpack"]["states"] == 64
    assert evidence["recipe"]["name"] == "ptq-int8"


@pytest.mark.parametrize(
    ("env_id", "options", "told"),
    [("NoSuch-v0", SMALL, "Unknown environment 'NoSuch-v0'."), ("CartPole-v1", ["--no-such", "1"], "unexpected argument")],
)
def test_what_the_command_refuses_is_its_line_and_its_exit_code(
    tmp_path: Path, env_id: str, options: list[str], told: str
) -> None:
    done = job(env_id, tmp_path, *options)
    assert done.returncode == 2
    (line,) = [each for each in done.stderr.splitlines() if each.startswith("edgedqn: ")]
    assert told in line
    assert not (tmp_path / "run").exists()
