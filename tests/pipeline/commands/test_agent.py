"""`evaluate` of agents and runs."""

import json
import subprocess
from collections.abc import Callable

from edgedqn.pipeline.job import RunResult

CommandLine = Callable[..., subprocess.CompletedProcess[str]]
Refused = Callable[..., None]


def test_evaluate_takes_a_run_and_an_agent_folder(edgedqn: CommandLine, tiny_run: RunResult) -> None:
    returns = [
        json.loads(edgedqn("evaluate", path, "--episodes", "5", "--seed", "9", "--json").stdout)["returns"]
        for path in (tiny_run.folder, tiny_run.folder / "agent", tiny_run.folder / "models" / "float32.tflite")
    ]
    assert returns[0] == returns[1] == returns[2]


def test_an_agent_plays_where_it_was_trained(assert_refused: Refused, edgedqn: CommandLine, tiny_run: RunResult) -> None:
    assert_refused(edgedqn("evaluate", tiny_run.folder, "--env", "Acrobot-v1"), "Expected no --env, or a .tflite")
