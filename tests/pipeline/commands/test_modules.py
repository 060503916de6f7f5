"""The current folder is a place of modules only where one is named."""

import json
import os
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest

from edgedqn.pipeline.commands.modules import names_own
from edgedqn.pipeline.commands.parser import build_parser
from edgedqn.pipeline.job import RunResult

CommandLine = Callable[..., subprocess.CompletedProcess[str]]


def parsed(*arguments: str | Path) -> Namespace:
    return build_parser().parse_args(list(map(str, arguments)))


def test_what_the_command_line_names_counts() -> None:
    assert not names_own(parsed("run", "CartPole-v1")) and names_own(parsed("run", "own:Base-v0"))
    assert names_own(parsed("train", "CartPole-v1", "--network", "own:layers"))
    assert names_own(parsed("train", "CartPole-v1", "--wrapper", "own:Cut"))
    assert names_own(parsed("import", "model.keras", "own:Base-v0"))
    assert names_own(parsed("bench", "a.tflite", "--env", "own:Base-v0"))
    for alone in (["inspect", "a.tflite"], ["doctor"], ["compress", "--list"], ["bench", "a.tflite"], ["play", "a.tflite"]):
        assert not names_own(parsed(*alone))


@pytest.mark.parametrize("command", ["compress", "export", "report", "bench", "bundle", "evaluate", "play"])
def test_so_does_the_environment_of_a_run_or_an_agent(command: str, tmp_path: Path) -> None:
    for i, env_id in enumerate(("CartPole-v1", "own:Base-v0")):
        for name, content in (("run", {"env_id": env_id}), ("agent", {"environment": {"id": env_id}})):
            folder = tmp_path / env_id / name
            folder.mkdir(parents=True)
            (folder / f"{name}.json").write_text(json.dumps(content))
            assert names_own(parsed(command, folder)) == bool(i)
            (folder / f"{name}.json").write_text("{")
            assert not names_own(parsed(command, folder))
    wrapped = {"env_id": "CartPole-v1", "environment": {"wrappers": [{"name": "own:Cut", "arguments": {}}]}}
    (tmp_path / "run.json").write_text(json.dumps(wrapped))
    assert names_own(parsed(command, tmp_path))


@pytest.mark.parametrize("found", ["-c", "PYTHONPATH"])
def test_nothing_that_lies_beside_a_file_is_run(found: str, tiny_run: RunResult, tmp_path: Path) -> None:
    """Where Python itself would look there first, too."""
    for name in ("numbers", "flatbuffers", "tflite_micro"):
        (tmp_path / f"{name}.py").write_text("open('imported', 'w').close()\n")
    safe, paths = ["-P"] if found == "PYTHONPATH" else [], os.environ.get("PYTHONPATH", "")
    environment = {**os.environ, "PYTHONPATH": f":{paths}" if found == "PYTHONPATH" else paths}
    code, path = "from edgedqn.pipeline.cli import console; console()", tiny_run.folder / "models" / "qat-int8.tflite"
    command = [sys.executable, *safe, "-c", code, "inspect", str(path)]
    answer = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (0, ""), answer.stderr
    assert not (tmp_path / "imported").exists()


def test_a_named_module_does_not_replace_what_is_installed(edgedqn: CommandLine, own: str, tmp_path: Path) -> None:
    for name in ("numbers", "tf_keras"):
        (tmp_path / f"{name}.py").write_text("open('imported', 'w').close()\n")
    answer = edgedqn("train", f"{own}:Base-v0", "--steps", "1500", "--out", "run", "--json")
    assert answer.returncode == 0, answer.stderr
    assert not (tmp_path / "imported").exists()


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ('environments = ["CartPole-v1"]', False),
        ('environments = ["my_env:Mine-v0"]', True),
        ('environments = [{ id = "CartPole-v1", wrappers = [{ name = "mine:Wrapper" }] }]', True),
        ('environments = ["CartPole-v1"]\n[teacher.settings]\nnetwork = "mine:network"', True),
        ("environments = 3", False),
        ("nothing", False),
    ],
)
def test_a_sweep_may_name_a_module(tmp_path: Path, text: str, own: bool) -> None:
    (tmp_path / "a.toml").write_text(text)
    assert names_own(Namespace(path=tmp_path / "a.toml")) == own
