"""`evaluate` and `play` of a float agent, in a run or in a folder of its own."""

import sys
from argparse import Namespace
from functools import partial
from pathlib import Path

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.environments import agent_view, make_environment
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.pipeline.commands.evaluate import print_evaluation
from edgedqn.pipeline.commands.play import show
from edgedqn.pipeline.run_folder import RunFolder
from edgedqn.pipeline.viewing.play import Player


def evaluate(arguments: Namespace) -> int:
    """Prints the return of the agent."""
    return print_evaluation(_load(arguments), arguments)


def play(arguments: Namespace) -> int:
    """Plays the agent."""
    return show(partial(_load, arguments), arguments)


def load_agent(path: Path, render_mode: str | None = None) -> Player:
    """The agent in a folder, or in a run: its best checkpoint so far where the training is not done.

    Raises:
      InputError: there is none, or its environment cannot be made.
    """
    if (path / "run.json").exists():
        folder = RunFolder.open(path)
        path = folder.agent
        if not folder.is_done("train"):
            path = folder.best_checkpoint
            print(f"The training is not done: this is its best checkpoint so far, {path}.", file=sys.stderr)
    if not (path / "agent.json").exists():
        raise InputError(f"No policy in {path}: expected a .tflite, an agent folder, or a run folder with a trained agent.")
    agent = TrainedAgent.load(path)
    return Player(agent.policy, agent_view(make_environment(agent.spec.id, render_mode), agent.spec), agent.spec.id)


def _load(arguments: Namespace, render_mode: str | None = None) -> Player:
    if arguments.env is not None:
        raise InputError(f"An agent plays where it was trained. Expected no --env, or a .tflite. Got {arguments.env}.")
    return load_agent(arguments.path, render_mode)
