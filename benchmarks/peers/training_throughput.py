"""Training throughput of EdgeDQN against Stable-Baselines3: the same settings, one run, one machine.

    python -m edgedqn.benchmarks.peers.training_throughput [--env CartPole-v1] [--hidden 256 256] [--steps N] [--json FILE]

Each measurement is a fresh process; the two sides take turns, so that a slow spell of the machine meets both. Counted are
whole windows of `train_freq` steps once everything is compiled and exploration has settled.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tqdm import tqdm

from edgedqn.agents.errors import InputError, require
from edgedqn.agents.files import write_json
from edgedqn.agents.playing.environments import make_environment
from edgedqn.agents.playing.processes import python_command
from edgedqn.benchmarks.machine import describe_machine
from edgedqn.benchmarks.peers.training_sides import SIDES, ZOO, Settings

# Import name -> the extra that brings it.
NEEDED = {"tensorflow": "train", "tf_keras": "train", "torch": "peers", "stable_baselines3": "peers"}
UNDISTURBED = 0.97  # the least share of wall time that a side which never waits for a processor spends on one
JOBS = (*SIDES, "matrix_products")
# A job's name and what it is given -> the object it prints.
Runner = Callable[[str, Settings], dict[str, Any]]


def compare(settings: Settings, repeats: int, *, run: Runner) -> dict[str, Any]:
    """Races the two sides `repeats` >= 1 times, turn by turn, each time from another seed; `run` measures a job.

    Returns:
      A JSON object. `runs` has each measurement; `median` the medians over rounds; `ratio` EdgeDQN / Stable-Baselines3 in
      steps/s, per round, their median and range; `gradient_step_ratio` Stable-Baselines3 / EdgeDQN in time;
      `over_matrix_products` EdgeDQN's gradient step / the products alone; `profile` EdgeDQN's time by part, from a run of
      its own.
    """
    require(repeats >= 1, f"Expected one repeat or more. Got repeats={repeats}.")
    runs: dict[str, list[dict[str, Any]]] = {job: [] for job in JOBS}
    turns = [(job, replace(settings, seed=settings.seed + i)) for i in range(repeats) for job in JOBS]
    for job, given in tqdm(turns, desc="training throughput", unit=" runs", disable=None):
        runs[job].append(run(job, given))
    ours, peers = runs["edgedqn"], runs["stable_baselines3"]
    return {
        "schema": 1,
        "machine": describe_machine(settings.threads).to_json(),
        "versions": {package: version(package) for package in ("tensorflow", "tf_keras", "torch", "stable_baselines3")},
        "settings": settings.to_json(),
        "runs": runs,
        "median": {job: {key: statistics.median(found[key] for found in runs[job]) for key in runs[job][0]} for job in JOBS},
        "ratio": _ratio(ours, peers, "steps_per_s", "steps_per_s"),
        "gradient_step_ratio": _ratio(peers, ours, "gradient_step_us", "gradient_step_us"),
        "over_matrix_products": _ratio(ours, runs["matrix_products"], "gradient_step_us", "us"),
        "profile": run("profile", settings),
    }


def require_packages() -> None:
    """InputError: one of the two sides is not installed."""
    for package, extra in NEEDED.items():
        missing = f'{package} is not installed. It comes with the extra {extra}: pip install "edgedqn[{extra}]".'
        require(importlib.util.find_spec(package) is not None, missing)


def require_folder_of(file: Path | None) -> None:
    """InputError: the file of --json has no folder to stand in."""
    require(file is None or file.parent.is_dir(), f"Expected a file in an existing folder. Got --json {file}.")


def _ratio(over: list[dict[str, Any]], under: list[dict[str, Any]], over_key: str, under_key: str) -> dict[str, Any]:
    each = [a[over_key] / b[under_key] for a, b in zip(over, under, strict=True)]
    return {"median": statistics.median(each), "range": [min(each), max(each)], "each": each}


def run_in_process(job: str, settings: Settings) -> dict[str, Any]:
    """Runs one job in a fresh Python, with `settings.threads` threads per numerical library and no accelerator.

    Raises:
      RuntimeError: it failed; the message ends with what it wrote.
    """
    return fresh_process("training_job", job, json.dumps(settings.to_json()), threads=settings.threads)


def fresh_process(module: str, job: str, *arguments: str, threads: int) -> dict[str, Any]:
    """Runs `main([job, *arguments])` of a module beside this one in a fresh Python, as `run_in_process` does."""
    pools = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    environment = {**os.environ, **pools, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    code = f"from edgedqn.benchmarks.peers.{module} import main; main(sys.argv[1:])"
    command = python_command(code, job, *arguments)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"The measurement of {job} failed with exit code {done.returncode}:\n{done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def render(report: dict[str, Any]) -> str:
    """What `compare` found, as text for a terminal."""
    settings, median, parts = report["settings"], report["median"], report["profile"]["shares"]
    config, (ours, peer, products) = settings["config"], (median[job] for job in JOBS)

    def both(key: str, form: str) -> list[str]:
        return [format(side[key], form) for side in (ours, peer)]

    def spread(key: str) -> str:
        return "{:.2f}x [{:.2f}, {:.2f}]".format(report[key]["median"], *report[key]["range"])

    lines = [
        ["", "EdgeDQN", "SB3", "ratio [range]"],
        ["steps/s", *both("steps_per_s", ",.0f"), spread("ratio")],
        ["gradient step, µs", *both("gradient_step_us", ",.1f"), spread("gradient_step_ratio")],
        ["  its matrix products alone, µs", f"{products['us']:,.1f}", "", spread("over_matrix_products")],
        ["compile, s (apart)", f"{ours['compile_s']:.2f}", "-", ""],
        ["peak memory, MB", *both("peak_memory_mb", ",.0f"), ""],
        ["processor time / wall time", *both("cpu_share", ".2f"), ""],
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = ["  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip() for line in lines]
    least = min(found["cpu_share"] for side in SIDES for found in report["runs"][side])
    disturbed = [f"Processor time fell to {least:.2f} of wall time: the machine was busy, measure again."]
    head = (
        f"{settings['env_id']}, {config['hidden']}, {config['steps']:,} steps, threads: {settings['threads']}, "
        f"median of {len(report['ratio']['each'])}, {ours['windows']:.0f} windows of {config['train_freq']} steps each"
    )
    time_by_part = "EdgeDQN's time: " + ", ".join(f"{part} {share:.0%}" for part, share in parts.items())
    return "\n".join([head, *table, time_by_part, *(disturbed if least < UNDISTURBED else [])])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog="training_throughput", description="EdgeDQN's training against Stable-Baselines3's.")
    parser.add_argument("--env", default="CartPole-v1", help=f"whose settings: one of {', '.join(ZOO)} (%(default)s)")
    parser.add_argument("--hidden", type=int, nargs="+", metavar="N", help="widths (its own)")
    parser.add_argument("--steps", type=int, metavar="N", help="environment steps of a run (its own)")
    parser.add_argument("--repeats", type=int, default=3, help="rounds (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of each numerical library (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the whole result there")
    given = parser.parse_args(arguments)
    try:
        require_packages()
        require(given.env in ZOO, f"Expected --env to be one of {', '.join(ZOO)}. Got {given.env!r}.")
        make_environment(given.env).close()
        require_folder_of(given.json)
        zoo = ZOO[given.env]
        steps, hidden = (zoo.steps if given.steps is None else given.steps), tuple(given.hidden or zoo.hidden)
        settings = Settings(given.env, replace(zoo, steps=steps, hidden=hidden), given.threads)
        report = compare(settings, given.repeats, run=run_in_process)
        if given.json is not None:
            write_json(given.json, report)
    except InputError as error:
        print(f"training_throughput: {error}", file=sys.stderr)
        return 2
    print(render(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
