"""How long each recipe takes on a classic-control agent: the seconds in docs/recipes.md.

python docs/results/recipe_seconds.py --runs DIR      # about a quarter of an hour; leave the machine alone meanwhile
python docs/results/recipe_seconds.py Acrobot-v1      # one again

Runs all recipes on the agent of training seed 0, again where they are done, and writes docs/results/recipe_seconds.json: the
seconds of each stage `compress/<recipe>` of `run.json`, from the agent's folder to the compressed policy. Training, export and
measurement are not in them.
"""

import argparse
import os
from pathlib import Path

from edgedqn.agents.files import read_json, write_json
from edgedqn.benchmarks.machine import describe_machine
from edgedqn.benchmarks.native_output import quiet
from edgedqn.pipeline.config import Changes
from edgedqn.pipeline.job import Job

RESULTS = Path(__file__).with_suffix(".json")
ENVIRONMENTS = ("CartPole-v1", "MountainCar-v0", "Acrobot-v1")


def seconds_of(env_id: str, folder: Path) -> dict[str, float]:
    """Of each recipe, in the order in which they ran."""
    from edgedqn.compression.recipes import RECIPES

    job = Job.create(env_id, out=folder, changes=Changes(recipes=tuple(recipe for recipe in RECIPES.values() if recipe.stages)))
    with job.locked():
        job.do(("train",))
        job.do(("compress",), force=True)
    stages = {stage.name: stage.seconds for stage in job.folder.description.stages}
    return {name.removeprefix("compress/"): seconds for name, seconds in stages.items() if name.startswith("compress/")}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("env_ids", nargs="*", default=list(ENVIRONMENTS), metavar="ENV_ID", help="(all)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where run folders go (runs)")
    arguments = parser.parse_args()
    with quiet():
        found = {env_id: seconds_of(env_id, arguments.runs / f"{env_id}-seed0") for env_id in arguments.env_ids}
    machine = {**describe_machine(1).to_json(), "cores": len(os.sched_getaffinity(0))}
    earlier = read_json(RESULTS, 1)["environments"] if RESULTS.exists() else {}
    write_json(RESULTS, {"schema": 1, "machine": machine, "environments": {**earlier, **found}})
    for env_id, seconds in found.items():
        print(env_id, ", ".join(f"{name} {value:.0f}" for name, value in seconds.items()))
