"""How long a user waits for a policy that plays: EdgeDQN by its presets, beside Stable-Baselines3 at its zoo's settings.

    python -m edgedqn.benchmarks.peers.time_to_score [CartPole-v1 ...] [--seeds 0 1 2 3 4] [--json FILE]

Counted are seconds of one core until the mean return of the greedy policy over 20 episodes, other ones at each look, first
reaches a score: compiling included; importing, and playing these episodes, not. Each training is a fresh process with one
thread; the two sides take turns. A training is given up after twice the zoo's steps: then it took longer than that, which is
what counts of it. With a file, what is in it is not done again.
"""

import argparse
import itertools
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from edgedqn.agents.errors import InputError, require
from edgedqn.agents.files import Json, read_json, write_json
from edgedqn.agents.playing.environments import make_environment
from edgedqn.benchmarks.machine import describe_machine
from edgedqn.benchmarks.peers.time_to_score_job import GOALS, SIDES
from edgedqn.benchmarks.peers.training_throughput import UNDISTURBED, fresh_process, require_folder_of, require_packages

PACKAGES = ("edgedqn", "tensorflow", "tf_keras", "torch", "stable_baselines3")
DRAWS = 10_000  # of seeds, for the interval of a ratio of medians
Runner = Callable[[str, str, int], Json]  # side, environment id, training seed -> what `time_to_score_job.measure` gives


def run_in_process(side: str, env_id: str, seed: int) -> Json:
    """One training in a fresh Python, with one thread. RuntimeError: it failed; the message ends with what it wrote."""
    return fresh_process("time_to_score_job", side, env_id, str(seed), threads=1)


def race(env_ids: Sequence[str], seeds: Sequence[int], *, file: Path | None, run: Runner) -> Json:
    """Trains both sides with each seed, turn by turn; goes on where the file ends.

    Returns:
      A JSON object: `runs`, by environment, side and seed what came of the training, and on which machine, by which versions.
    """
    report: dict[str, Any] = read_json(file, 1) if file is not None and file.exists() else {"schema": 1, "runs": {}}
    made_by = {"machine": describe_machine(1).to_json()["cpu"], **{package: version(package) for package in PACKAGES}}
    for env_id, seed, side in tqdm([*itertools.product(env_ids, seeds, SIDES)], "time to score", unit=" runs", disable=None):
        runs = report["runs"].setdefault(env_id, {}).setdefault(side, {})
        if str(seed) not in runs or _was_disturbed(runs[str(seed)]):
            runs[str(seed)] = {**run(side, env_id, seed), "made_by": made_by}
            if file is not None:
                write_json(file, report)
    return report


def ratio_of(runs: Json) -> tuple[float, float, float]:
    """Of one environment: the median of Stable-Baselines3's seconds over that of ours, and the 95 % interval of that ratio, of
    seeds drawn with replacement. Where half of the trainings or more were given up, it is a bound."""
    ours, peers = (np.array([run["seconds"] for run in runs[side].values()]) for side in SIDES)
    rng = np.random.default_rng(0)
    drawn = [np.median(rng.choice(each, (DRAWS, len(each))), axis=1) for each in (ours, peers)]
    low, high = np.percentile(drawn[1] / drawn[0], (2.5, 97.5))
    return float(np.median(peers) / np.median(ours)), float(low), float(high)


def render(report: Json) -> str:
    """What `race` found, as a table in Markdown."""
    lines = ["| environment | score | EdgeDQN, s | Stable-Baselines3, s | times as long [95 %] |", "|---|---|---|---|---|"]
    for env_id, runs in report["runs"].items():
        if set(runs) == set(SIDES):
            median, low, high = ratio_of(runs)
            sides = (_seconds(list(runs[side].values())) for side in SIDES)
            ours, peers = (_is_bound(list(runs[side].values())) for side in SIDES)
            shown = f"{median:.1f} [{low:.1f}, {high:.1f}]"
            ratio = "-" if ours and peers else f"{'< ' * ours}{'> ' * peers}{shown}"
            lines.append(f"| {' | '.join((env_id, f'{GOALS[env_id].score:g}', *sides, ratio))} |")
    busy = [
        f"{env_id}, {side}, seed {seed}: {run['cpu_share']:.2f}"
        for env_id, runs in report["runs"].items()
        for side, of_seeds in runs.items()
        for seed, run in of_seeds.items()
        if _was_disturbed(run)
    ]
    told = f"Processor time fell below wall time, so the machine was busy; the same call measures again: {'; '.join(busy)}."
    return "\n".join([*lines, *([told] if busy else [])])


def _was_disturbed(run: dict[str, Any]) -> bool:
    return bool(run["cpu_share"] < UNDISTURBED)


def _is_bound(runs: Sequence[dict[str, Any]]) -> bool:
    """Whether the median of the seconds is no more than a bound: half of the trainings or more never arrived."""
    return 2 * sum(not run["reached"] for run in runs) >= len(runs)


def _seconds(runs: Sequence[dict[str, Any]]) -> str:
    """The median, from where to where, and how many never reached it."""
    seconds = [run["seconds"] for run in runs]
    never = sum(not run["reached"] for run in runs)
    bound = "> " if _is_bound(runs) else ""
    shown = f"{bound}{np.median(seconds):.1f} [{min(seconds):.1f}, {max(seconds):.1f}]"
    return f"{shown}, {never} of {len(runs)} never" if never else shown


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="time_to_score", description="Seconds until a policy plays, beside Stable-Baselines3."
    )
    parser.add_argument("env_ids", nargs="*", default=list(GOALS), metavar="ENV_ID", help=f"of {', '.join(GOALS)} (all)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], metavar="N", help="of the trainings (0 to 4)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all there, and go on with what is there")
    given = parser.parse_args(arguments)
    try:
        require_packages()
        for env_id in given.env_ids:
            require(env_id in GOALS, f"Expected environments of {', '.join(GOALS)}. Got {env_id!r}.")
            make_environment(env_id).close()
        require(min(given.seeds) >= 0, f"Expected --seeds of 0 or more. Got {min(given.seeds)}.")
        require_folder_of(given.json)
        report = race(given.env_ids, given.seeds, file=given.json, run=run_in_process)
    except InputError as error:
        print(f"time_to_score: {error}", file=sys.stderr)
        return 2
    print(render(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
