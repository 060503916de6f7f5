"""`evaluate` of a .tflite. Needs no TensorFlow."""

import json
from argparse import Namespace

from tqdm import tqdm

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.environments import make_environment
from edgedqn.agents.playing.evaluation import evaluate as evaluate_policy
from edgedqn.export.edge_policy import EdgePolicy
from edgedqn.pipeline.commands import SCHEMA
from edgedqn.pipeline.exit_codes import DONE
from edgedqn.pipeline.proving import spec_for
from edgedqn.pipeline.viewing.play import Player


def evaluate(arguments: Namespace) -> int:
    """Prints the return of the file."""
    return print_evaluation(load_file(arguments), arguments)


def load_file(arguments: Namespace, render_mode: str | None = None) -> Player:
    """The policy in a file, in the environment that the command line names, or else the manifest.

    Raises:
      InputError: the environment cannot be made, or is another one than the file was made for.
    """
    policy = EdgePolicy.load(arguments.path)
    env_id = arguments.env or policy.device.env_id
    try:
        env = make_environment(env_id, render_mode)
    except InputError as error:
        if arguments.env or ":" not in env_id:
            raise
        raise InputError(f"{error} A file alone imports nothing from the current folder; --env {env_id} does.") from error
    if arguments.env:
        try:
            spec_for(policy, env, env_id=env_id)
        except InputError:
            env.close()
            raise
    return Player(policy, env, env_id)


def print_evaluation(player: Player, arguments: Namespace) -> int:
    """Plays and prints the return; closes the environment."""
    seeds = range(arguments.seed, arguments.seed + arguments.episodes)
    try:
        bar = tqdm(seeds, desc="play", unit=" episodes", disable=None, leave=False)
        evaluation = evaluate_policy(player.policy, player.env, seeds=bar)
    finally:
        player.env.close()
    interval = evaluation.interval
    if arguments.json:
        found = {
            "schema": SCHEMA,
            "policy": str(arguments.path),
            "env_id": player.env_id,
            **interval.to_json(),
            "episodes": arguments.episodes,
            "seed": arguments.seed,
            "returns": list(evaluation.returns),
        }
        print(json.dumps(found))
    else:
        print(
            f"{player.env_id}: return {interval.mean:.2f}, 95 % interval [{interval.low:.2f}, {interval.high:.2f}], "
            f"{arguments.episodes} episodes from reset seed {arguments.seed}"
        )
    return DONE
