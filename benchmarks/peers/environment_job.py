"""One environment, learned as a user would, in a process of its own: trained, rounded, and written as a verified `.tflite`.

`python -m edgedqn.benchmarks.peers.environment_job ENV_ID FOLDER STATES [OPTION ...]`, with options of `edgedqn train`, ends
with EdgeDQN's own exit code; `environments_survey` starts it.
"""

import json
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from unittest.mock import patch

import edgedqn
from edgedqn.agents.errors import InputError

LATE = "after the training: "  # begins a refusal that came too late to be one


def learn(env_id: str, folder: Path, *, states: int, options: Sequence[str]) -> Path:
    """Trains an agent with the command `edgedqn train`, and makes a file of it by the recipe `ptq-int8`.

    Nothing is proven by playing: the export compares the file with its network on the states that were gathered, and refuses
    one that differs.

    Args:
      env_id: as the command takes it.
      folder: where the run `run` and the file go.
      states: how many on-policy states are gathered after the training, in place of EdgeDQN's own 10,000: a slow simulator
        takes minutes for those.
      options: of the command.
    Returns:
      The file.
    Raises:
      SystemExit: the command ended with another exit code than 0.
      InputError: the agent cannot be rounded or exported, or the file was not compared with its network.
    """
    with patch("edgedqn.pipeline.training.ON_POLICY_STATES", states):
        command(["train", env_id, "--out", str(folder / "run"), *options])
    policy = edgedqn.compress(edgedqn.TrainedAgent.load(folder / "run" / "agent"), "ptq-int8")
    file = edgedqn.export_tflite(policy, folder / "policy.tflite")
    edgedqn.EdgePolicy.load(file)
    compared = json.loads(file.with_suffix(".json").read_text())["evidence"]["verification"]["xnnpack"]
    if "skipped" in compared:
        raise InputError(f"The file was not compared with its network: {compared['skipped']}.")
    return file


def command(arguments: Sequence[str]) -> None:
    """Runs the command `edgedqn` that is installed, in this process. Raises SystemExit where its exit code is not 0."""
    (edgedqn_command,) = entry_points(group="console_scripts", name="edgedqn")
    with patch.object(sys, "argv", ["edgedqn", *arguments]):
        try:
            edgedqn_command.load()()
        except SystemExit as end:
            if end.code:
                raise


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code, 0 or 2."""
    env_id, folder, states, *options = arguments
    try:
        learn(env_id, Path(folder), states=int(states), options=options)
    except (InputError, edgedqn.PolicyFileError) as error:
        print(f"edgedqn: {LATE}{' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
