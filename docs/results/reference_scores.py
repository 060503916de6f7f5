"""Trains every preset on several seeds and keeps what the chosen checkpoints score on episodes nothing has seen.

python docs/results/reference_scores.py                        # all, 5 seeds each: hours; goes on where it stopped
python docs/results/reference_scores.py Acrobot-v1 --seeds 0 1
python docs/results/reference_scores.py --table                # only prints the table from the JSON

Writes docs/results/reference_scores.json.
"""

import argparse
import fcntl
import os
import statistics
import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from edgedqn.agents.files import read_json, write_json
from edgedqn.agents.playing.evaluation import evaluate
from edgedqn.agents.playing.statistics import across_seeds
from edgedqn.agents.training.config import config_from_json
from edgedqn.agents.training.presets import find_preset
from edgedqn.benchmarks.machine import describe_machine
from edgedqn.benchmarks.native_output import quiet
from edgedqn.pipeline.commands.runs import load_agent
from edgedqn.pipeline.job import Job
from edgedqn.pipeline.run_folder import versions
from edgedqn.pipeline.seeds import SeedStreams

RESULTS = Path(__file__).with_suffix(".json")
# Environment -> (training seeds, `prove` episodes, the mean return asked for)
ASKED = {
    "CartPole-v1": (5, 200, 499),
    "Acrobot-v1": (5, 200, -77),
    "MountainCar-v0": (5, 200, -103),
    "LunarLander-v3": (5, 200, 250),
    "Pendulum-v1": (5, 200, -200),
    "MountainCarContinuous-v0": (5, 200, 90),
    "FrozenLake-v1": (5, 1_000, 0.70),
    "Taxi-v4": (5, 1_000, 7.5),
    "MinAtar/Breakout-v1": (3, 200, 10),
    "MinAtar/Freeway-v1": (3, 200, 48),
    "MinAtar/SpaceInvaders-v1": (3, 200, 44),
    "MinAtar/Asterix-v1": (3, 200, 17),
}


def score(env_id: str, seed: int, runs: Path, again: bool) -> dict[str, Any]:
    """Trains one seed in its run folder, unless that is done, and plays the checkpoint it chose."""
    folder = runs / f"{env_id.replace('/', '-')}-{seed}"
    job = Job.create(env_id, out=folder, seed=seed, force=True)  # the preset may have changed
    with job.locked():
        job.do(("train",), force=again)
    started = time.monotonic()
    policy, env, _ = load_agent(job.folder.path)
    seeds = SeedStreams(seed).first_reset_seeds("prove", ASKED[env_id][1])
    with closing(env):
        found = evaluate(policy, env, seeds=tqdm(seeds, desc=f"prove {env_id} {seed}", disable=None, leave=False)).interval
    training = read_json(job.folder.agent / "agent.json", 2)["statistics"]
    return {
        "seed": seed,
        **found.to_json(),
        "checkpoint": training["checkpoint"],
        "env_steps": training["env_steps"],
        "training_seconds": training["seconds"],
        "proving_seconds": round(time.monotonic() - started, 1),
        "training": asdict(job.settings.training),
        "machine": describe_machine(1).to_json(),
        "versions": versions(),
    }


def read() -> dict[str, Any]:
    """What is known so far."""
    return read_json(RESULTS, 1) if RESULTS.exists() else {"schema": 1, "environments": {}}


def keep(env_id: str, row: dict[str, Any]) -> None:
    """Adds a row in place of an older one of its seed. Other processes may work on other environments meanwhile."""
    folder = os.open(RESULTS.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        results = read()
        rows = [other for other in results["environments"].get(env_id, []) if other["seed"] != row["seed"]]
        results["environments"][env_id] = sorted([*rows, row], key=lambda row: row["seed"])
        write_json(RESULTS, results)
    finally:
        os.close(folder)


def rows_of(results: dict[str, Any], env_id: str) -> list[dict[str, Any]]:
    """Those that were trained with the preset as it is now."""
    rows = results["environments"].get(env_id, [])
    return [row for row in rows if config_from_json(row["training"]) == find_preset(env_id)]


def table(results: dict[str, Any]) -> str:
    """The table of docs/measured/agents.md."""
    lines = [
        "| environment | env steps | mean return per seed | mean | IQM [95 %] | asked |",
        "|---|---|---|---|---|---|",
    ]
    for env_id, (seeds, _, asked) in ASKED.items():
        if rows := rows_of(results, env_id):
            means = [row["mean"] for row in rows]
            mean, iqm = statistics.fmean(means), across_seeds(means)
            digits = 2 if abs(mean) < 20 else 1
            interval = f"{iqm.mean:.{digits}f} [{iqm.low:.{digits}f}, {iqm.high:.{digits}f}]"
            each = ", ".join(f"{value:.{digits}f}" for value in means)
            steps = f"{rows[0]['env_steps'] // 1000}k"
            missing = "" if len(rows) == seeds else f" ({len(rows)} of {seeds} seeds)"
            lines.append(f"| {env_id}{missing} | {steps} | {each} | **{mean:.{digits}f}** | {interval} | >= {asked} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("env_ids", nargs="*", metavar="ENV_ID", default=list(ASKED), help=f"any of {', '.join(ASKED)}")
    parser.add_argument("--seeds", type=int, nargs="+", help="training seeds (default: 0 to 4, MinAtar 0 to 2)")
    parser.add_argument("--runs", type=Path, default=Path("runs/reference"), help="where run folders go (%(default)s)")
    parser.add_argument("--again", action="store_true", help="also the seeds that were scored with the same preset")
    parser.add_argument("--table", action="store_true", help="train nothing")
    arguments = parser.parse_args()
    for env_id in [] if arguments.table else arguments.env_ids:
        for seed in arguments.seeds or range(ASKED[env_id][0]):
            if seed in {row["seed"] for row in rows_of(read(), env_id)} and not arguments.again:
                continue
            with quiet():
                found = score(env_id, seed, arguments.runs, arguments.again)
            keep(env_id, found)
            print(f"{env_id} seed {seed}: {found['mean']:.2f} {found['ci95']}, {found['training_seconds']:.0f} s")
    print(table(read()))


if __name__ == "__main__":
    main()
