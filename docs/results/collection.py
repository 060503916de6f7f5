"""What two actors of a Ray cluster gain a training, and what they cost it.

python docs/results/collection.py cartpole    # CartPole-v1, the whole training: steps/s, and the return of what comes out
python docs/results/collection.py waiting     # CartPole-v1 that waits 5 ms in each step
python docs/results/collection.py computing   # CartPole-v1 that computes 5 ms in each step
python docs/results/collection.py minatar     # the first 60,000 steps of MinAtar/Breakout-v1

A few minutes each, and but for `waiting` on a machine that does nothing else. Each is done by one process, by two actors that
play in float, and by two in int8; `edgedqn train` does it, and a cluster of this machine is started for it. Steps/s are counted
from the first episode that ended after 2,000 steps (MinAtar: 10,000), when all is compiled, to the last one that ended; no
evaluation falls in between, but in CartPole's whole training. The share of acting is the time of a step without learning over
that of a step of one process. Writes docs/results/collection.json.
"""

import csv
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from dataclasses import dataclass
from pathlib import Path

from edgedqn.agents.files import Json, read_json, write_json
from edgedqn.benchmarks.machine import describe_machine

HERE = Path(__file__).parent
RESULTS = Path(__file__).with_suffix(".json")
PROGRAM = [sys.executable, "-c", "from edgedqn.pipeline.cli import console; console()"]
ACTORS = 2
FRESH_SEED, FRESH_EPISODES = 900_000_000, 100  # of a stream that no training takes
ENGINES = {
    "one process": (),
    "float actors": ("--engine", "ray", "--actors", str(ACTORS), "--actor-policy", "float"),
    "int8 actors": ("--engine", "ray", "--actors", str(ACTORS), "--actor-policy", "int8"),
}
ONCE_EVALUATED = ("--evaluation-episodes", "1", "--finalists", "1", "--checkpoint-interval", "0")


@dataclass(frozen=True)
class Case:
    """A training that is measured."""

    env_id: str
    steps: int
    settled: int  # steps after which speed is measured
    options: tuple[str, ...]
    wrapper: str = ""
    is_played: bool = False  # what comes out, on fresh episodes


def slow(kind: str) -> Case:
    """CartPole, 5 ms a step."""
    options = (*ONCE_EVALUATED, "--evaluation-interval", "6000", "--max-episode-steps", "100")
    return Case("CartPole-v1", 6_000, 2_000, options, f"slow_steps:{kind}:seconds=0.005")


CASES = {
    "cartpole": Case("CartPole-v1", 50_000, 2_000, (), is_played=True),
    "waiting": slow("Waiting"),
    "computing": slow("Computing"),
    "minatar": Case(
        "MinAtar/Breakout-v1",
        60_000,
        10_000,
        (*ONCE_EVALUATED, "--evaluation-interval", "60000", "--evaluation-episodes", "10"),
        is_played=True,
    ),
}


def edgedqn(*words: str) -> str:
    """What the command line prints."""
    return subprocess.run([*PROGRAM, *words], check=True, stdout=subprocess.PIPE, text=True, cwd=HERE).stdout


def acting_seconds(case: Case) -> float:
    """Of one step without learning: what acts and the environment take, at the epsilon of the end."""
    import numpy as np

    from edgedqn.pipeline.native import load_tensorflow

    load_tensorflow()
    from edgedqn.agents.playing.environments import agent_view, make_environment, make_vector
    from edgedqn.agents.playing.source import EnvironmentSource, WrapperSource
    from edgedqn.agents.training.config import TrainingConfig
    from edgedqn.agents.training.interaction import interact, interact_with_all
    from edgedqn.pipeline.training import _build, find_training

    sys.path.insert(0, str(HERE))
    wrappers = (WrapperSource.parse(case.wrapper),) if case.wrapper else ()
    source = EnvironmentSource(case.env_id, wrappers=wrappers)
    env, config = make_environment(source), find_training(source, None)
    assert isinstance(config, TrainingConfig)
    agent, spec, _ = _build(env, source, config, np.random.default_rng(0))
    agent.env_steps = case.steps
    if config.num_envs > 1:
        envs = make_vector(spec, num_envs=config.num_envs)
        steps = interact_with_all(agent, itertools.count(), envs=envs, env_id=spec.id)
    else:
        steps = interact(agent, itertools.count(), env=agent_view(env, spec), env_id=spec.id)
    count = 500 if case.wrapper else 10_000
    list(itertools.islice(steps, 100))
    started = time.monotonic()
    list(itertools.islice(steps, count))
    return (time.monotonic() - started) / count


def measured(case: Case, engine: str, *, folder: Path, address: str) -> Json:
    """One training."""
    shutil.rmtree(folder, ignore_errors=True)
    words = ENGINES[engine]
    joined = ("--address", address) if words else ()
    wrapper = ("--wrapper", case.wrapper) if case.wrapper else ()
    load = os.getloadavg()[0]
    started = time.monotonic()
    edgedqn("train", case.env_id, "--out", str(folder), "--steps", str(case.steps), *case.options, *wrapper, *words, *joined)
    seconds = time.monotonic() - started
    statistics = read_json(folder / "agent" / "agent.json", 2)["statistics"]
    with (folder / "agent" / "training.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if int(row["env_steps"]) >= case.settled]
    first, last = rows[0], rows[-1]
    taken = int(last["env_steps"]) - int(first["env_steps"])
    found: Json = {
        "steps_per_second": round(taken / (float(last["seconds"]) - float(first["seconds"])), 1),
        "seconds_in_all": round(seconds, 1),
        "gradient_steps": statistics["gradient_steps"],
        "load_before": round(load, 1),
    }
    if case.is_played:
        words = ("--episodes", str(FRESH_EPISODES), "--seed", str(FRESH_SEED), "--json")
        played = json.loads(edgedqn("evaluate", str(folder), *words))
        found |= {"mean_return": played["mean"], "ci95": played["ci95"]}
    return found | ({"collection": statistics["collection"]} if "collection" in statistics else {})


def measure(name: str, runs: Path) -> Json:
    """One case by all engines, with what could be gained at most."""
    from ray.cluster_utils import Cluster

    case = CASES[name]
    node = {"num_cpus": ACTORS, "object_store_memory": 200 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    try:
        found: Json = {}
        for engine in ENGINES:
            folder = runs / f"{name}-{engine.replace(' ', '-')}"
            found[engine] = measured(case, engine, folder=folder, address=cluster.address)
            print(engine, json.dumps(found[engine]), flush=True)
    finally:
        cluster.shutdown()
    alone = found["one process"]["steps_per_second"]
    share = min(1.0, acting_seconds(case) * alone)
    for engine in ENGINES:
        found[engine]["against_one_process"] = round(found[engine]["steps_per_second"] / alone, 2)
    return {
        "env_id": case.env_id,
        "steps": case.steps,
        **({"wrapper": case.wrapper} if case.wrapper else {}),
        "share_of_acting": round(share, 3),
        # Acting is done by two while the learner learns; with any number of actors, what is left is learning.
        "bound_two_actors": round(1 / max(1 - share, share / ACTORS), 2),
        "bound_any_actors": round(1 / (1 - share), 2) if share < 1 else None,
        **found,
    }


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=list(CASES))
    parser.add_argument("--runs", type=Path, default=Path("runs/collection"), help="where runs go (runs/collection)")
    parser.add_argument("--loaded", action="store_true", help="note that the machine did other work meanwhile")
    arguments = parser.parse_args()
    runs = arguments.runs.absolute()
    runs.mkdir(parents=True, exist_ok=True)
    result = {**measure(arguments.what, runs), "quiet_machine": not arguments.loaded}
    earlier = read_json(RESULTS, 1) if RESULTS.exists() else {"schema": 1}
    write_json(RESULTS, {**earlier, arguments.what: {**result, "machine": describe_machine(1).to_json()["cpu"]}})
