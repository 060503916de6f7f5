"""What two actors of a Ray cluster gain a training, and what they cost it.

python docs/results/collection.py cartpole    # CartPole-v1, the whole training: steps/s, and the return of what comes out
python docs/results/collection.py waiting     # CartPole-v1 that waits 5 ms in each step
python docs/results/collection.py computing   # CartPole-v1 that computes 5 ms in each step
python docs/results/collection.py minatar     # the first 60,000 steps of MinAtar/Breakout-v1

Ten minutes each or more, and but for `waiting` on a machine that does nothing else. Each is done with training seeds 0, 1 and 2
by one process, by two actors that play in float, and by two in int8, in turns; `edgedqn train` does it, and for actors a
cluster of this machine is started, and ended after. Steps/s are counted from the first episode that ended after 2,000 steps
(MinAtar: 10,000), when all is compiled, to the last one that ended, without the stretches in which something was evaluated or
saved, and without as many steps behind these as actors may have taken meanwhile. The share of acting is the time of a step
without learning, by the policy and the epsilon of the end, over that of a step of one process. All is written to
docs/results/collection.json; the medians, with the lowest and the highest, are printed.
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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from edgedqn.agents.files import Json, read_json, write_json
from edgedqn.benchmarks.machine import describe_machine
from edgedqn.pipeline.collection.config import CollectionConfig

HERE = Path(__file__).parent
RESULTS = Path(__file__).with_suffix(".json")
PROGRAM = [sys.executable, "-c", "from edgedqn.pipeline.cli import console; console()"]
ACTORS, TIMES = 2, 3
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


def acting_seconds(folder: Path) -> float:
    """Of one step without learning: what acts and the environment take, by the policy and the epsilon of a training's end."""
    import numpy as np

    from edgedqn.pipeline.native import load_tensorflow

    load_tensorflow()
    from edgedqn.agents.playing.environments import agent_view, make_environment, make_vector
    from edgedqn.agents.trained_agent import TrainedAgent
    from edgedqn.agents.training.interaction import interact, interact_with_all
    from edgedqn.pipeline.collection.collector import Collector, Request
    from edgedqn.pipeline.collection.publishing import publish_float

    sys.path.insert(0, str(HERE))
    agent = TrainedAgent.load(folder / "agent")
    spec, training = agent.spec, agent.statistics["training"]
    num_envs, epsilon = training["num_envs"], training["exploration_final"]
    player = Collector(spec, num_envs=num_envs, duration=training["exploration_duration"], rng=np.random.default_rng(0))
    first = Request(0, steps=num_envs, begins=True, epsilon=epsilon, env_steps=0, version=0, seeds=range(3 * num_envs))
    player.collect(first, publish_float(agent.network))  # from now on it has the policy
    if num_envs > 1:
        steps = interact_with_all(player, itertools.count(), envs=make_vector(spec, num_envs=num_envs), env_id=spec.id)
    else:
        steps = interact(player, itertools.count(), env=agent_view(make_environment(spec.source), spec), env_id=spec.id)
    count = 500 if spec.source.wrappers else 10_000
    list(itertools.islice(steps, 100))
    started = time.monotonic()
    list(itertools.islice(steps, count))
    return (time.monotonic() - started) / count


def steps_per_second(rows: Sequence[tuple[int, float]], pauses: Sequence[int], settled: int) -> float:
    """Of the stretches between the ends of episodes, pairs of environment steps and seconds, that no pause is in."""
    slack = CollectionConfig(actors=ACTORS).slack_steps
    pairs = [pair for pair in itertools.pairwise(rows) if pair[0][0] >= settled]
    free = [(a, b) for a, b in pairs if not any(a[0] - slack < pause < b[0] for pause in pauses)]
    return sum(b[0] - a[0] for a, b in free) / sum(b[1] - a[1] for a, b in free)


def measured(case: Case, engine: str, seed: int, *, folder: Path, address: str = "") -> Json:
    """One training."""
    shutil.rmtree(folder, ignore_errors=True)
    words = ENGINES[engine]
    joined = ("--address", address) if words else ()
    wrapper = ("--wrapper", case.wrapper) if case.wrapper else ()
    load = os.getloadavg()[0]
    started = time.monotonic()
    given = ("--out", str(folder), "--steps", str(case.steps), "--seed", str(seed), *case.options, *wrapper)
    edgedqn("train", case.env_id, *given, *words, *joined)
    seconds = time.monotonic() - started
    statistics = read_json(folder / "agent" / "agent.json", 2)["statistics"]
    with (folder / "agent" / "training.csv").open() as file:
        rows = [(int(row["env_steps"]), float(row["seconds"])) for row in csv.DictReader(file)]
    saved = range(0, case.steps, statistics["training"]["checkpoint_interval"] or case.steps)
    pauses = [*saved, *(steps for steps, _ in statistics["evaluations"])]
    found: Json = {
        "steps_per_second": round(steps_per_second(rows, pauses, case.settled), 1),
        "seconds_in_all": round(seconds, 1),
        "gradient_steps": statistics["gradient_steps"],
        "load_before": round(load, 1),
    }
    if case.is_played:
        words = ("--episodes", str(FRESH_EPISODES), "--seed", str(FRESH_SEED), "--json")
        played = json.loads(edgedqn("evaluate", str(folder), *words))
        found |= {"mean_return": played["mean"], "ci95": played["ci95"]}
    return found | ({"collection": statistics["collection"]} if "collection" in statistics else {})


@contextmanager
def cluster() -> Iterator[str]:
    """The address of one of this machine."""
    from ray.cluster_utils import Cluster

    node = {"num_cpus": ACTORS, "object_store_memory": 200 * 2**20, "include_dashboard": False}
    started = Cluster(initialize_head=True, head_node_args=node)
    try:
        yield started.address
    finally:
        started.shutdown()


def middle(values: Sequence[float], digits: int) -> Json:
    """The median, and from where to where they go."""
    return {"median": round(median(values), digits), "range": [round(min(values), digits), round(max(values), digits)]}


def measure(name: str, runs: Path) -> Json:
    """One case by all engines, with what could be gained at most."""
    case, found, shares = CASES[name], {engine: [] for engine in ENGINES}, []
    for seed in range(TIMES):
        for engine, words in ENGINES.items():
            folder = runs / f"{name}-{engine.replace(' ', '-')}-{seed}"
            if words:
                with cluster() as address:
                    found[engine].append(measured(case, engine, seed, folder=folder, address=address))
            else:  # with no cluster beside it
                found[engine].append(measured(case, engine, seed, folder=folder))
                shares.append(min(1.0, acting_seconds(folder) * found[engine][-1]["steps_per_second"]))
            print(engine, json.dumps(found[engine][-1]), flush=True)
    speeds = {engine: [each["steps_per_second"] for each in found[engine]] for engine in ENGINES}
    alone, share = median(speeds["one process"]), median(shares)
    result = {
        "env_id": case.env_id,
        "steps": case.steps,
        **({"wrapper": case.wrapper} if case.wrapper else {}),
        "share_of_acting": middle(shares, 3),
        # Acting is done by two while the learner learns; with any number of actors, what is left is learning.
        "bound_two_actors": round(1 / max(1 - share, share / ACTORS), 2),
        "bound_any_actors": round(1 / (1 - share), 2) if share < 1 else None,
        "steps_per_second": {engine: middle(each, 1) for engine, each in speeds.items()},
        "against_one_process": {engine: middle([each / alone for each in speeds[engine]], 2) for engine in ENGINES},
    }
    print(json.dumps(result, indent=2), flush=True)
    return {**result, "trainings": found}


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
