"""How long each recipe takes on a classic-control agent: the seconds in docs/recipes.md.

python docs/results/recipe_seconds.py --runs DIR      # about a quarter of an hour; leave the machine alone meanwhile
python docs/results/recipe_seconds.py Acrobot-v1      # one again
python docs/results/recipe_seconds.py --against DIR   # an hour and a half: this version and an earlier one, in turns

Runs all recipes on the agent of training seed 0, again where they are done, and writes docs/results/recipe_seconds.json: the
seconds of each stage `compress/<recipe>` of `run.json`, from the agent's folder to the compressed policy. Training, export and
measurement are not in them. With --against, DIR is the checkout of an earlier version, in which `make` made its environment: of
the recipes that it has, the medians of three turns and their ratios are written to docs/results/recipe_seconds_against.json.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

from edgedqn.agents.files import Json, read_json, write_json
from edgedqn.benchmarks.machine import describe_machine
from edgedqn.benchmarks.native_output import quiet
from edgedqn.pipeline.config import Changes
from edgedqn.pipeline.job import Job

RESULTS = Path(__file__).with_suffix(".json")
AGAINST = Path(__file__).with_name("recipe_seconds_against.json")
ENVIRONMENTS = ("CartPole-v1", "MountainCar-v0", "Acrobot-v1")
TURNS = 3


def seconds_of(env_id: str, folder: Path, recipes: list[str] | None) -> dict[str, float]:
    """Of each recipe, in the order in which they ran."""
    from edgedqn.compression.recipes import RECIPES

    asked = tuple(recipe for name, recipe in RECIPES.items() if (name in recipes if recipes is not None else recipe.stages))
    job = Job.create(env_id, out=folder, changes=Changes(recipes=asked))
    with job.locked():
        job.do(("train",))
        job.do(("compress",), force=True)
    stages = {stage.name: stage.seconds for stage in job.folder.description.stages}
    return {name.removeprefix("compress/"): seconds for name, seconds in stages.items() if name.startswith("compress/")}


def commit_of(checkout: Path) -> str:
    described = subprocess.run(["git", "-C", checkout, "describe", "--always"], check=True, capture_output=True, text=True)
    return described.stdout.strip()


def take_turns(env_id: str, earlier: Path, runs: Path, asked: list[str] | None) -> Json:
    """Of each recipe that is asked for and the earlier version has: the medians of both, in seconds, and their ratio."""
    script = Path("docs", "results", RESULTS.stem)
    turns: dict[str, list[dict[str, float]]] = {"earlier": [], "now": []}
    for _ in range(TURNS):
        recipes: list[str] = []
        for version, checkout in (("earlier", earlier), ("now", Path(__file__).parents[2])):
            only = ["--recipes", *recipes] if recipes else []  # those that the earlier one has
            words = [env_id, "--runs", str(runs / version), *only]
            result = checkout / script.with_suffix(".json")
            if version == "now":
                result = runs / result.name
                words += ["--json", str(result)]
            python = sys.executable if version == "now" else checkout / ".venv" / "bin" / "python"
            environ = {name: value for name, value in os.environ.items() if version == "now" or name != "PYTHONPATH"}
            subprocess.run([python, checkout / script.with_suffix(".py"), *words], check=True, env=environ)
            turns[version].append(read_json(result, 1)["environments"][env_id])
            recipes = [name for name in turns["earlier"][-1] if name != "float32" and (asked is None or name in asked)]
    found: Json = {}
    for name in recipes:
        seconds = {version: round(median(turn[name] for turn in each), 2) for version, each in turns.items()}
        found[name] = {**seconds, "ratio": round(seconds["now"] / seconds["earlier"], 2)}
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("env_ids", nargs="*", default=list(ENVIRONMENTS), metavar="ENV_ID", help="(all)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where run folders go (runs)")
    parser.add_argument("--recipes", nargs="+", metavar="NAME", help="(all)")
    parser.add_argument("--json", type=Path, default=RESULTS, help="where the result goes (beside this script)")
    parser.add_argument("--against", type=Path, metavar="DIR", help="the checkout of an earlier version, to take turns with")
    arguments = parser.parse_args()
    machine = {**describe_machine(1).to_json(), "cores": len(os.sched_getaffinity(0))}
    for env_id in arguments.env_ids if arguments.against else ():
        compared = take_turns(env_id, arguments.against, arguments.runs, arguments.recipes)
        earlier = read_json(AGAINST, 1)["environments"] if AGAINST.exists() else {}
        commits = {"commits": [commit_of(arguments.against), commit_of(Path(__file__).parents[2])]}
        compared = {name: {**each, **commits} for name, each in compared.items()}
        of_env = {**earlier.get(env_id, {}), **compared}
        write_json(AGAINST, {"schema": 1, "machine": machine, "environments": {**earlier, env_id: of_env}})
        print(env_id, ", ".join(f"{name} {each['ratio']}" for name, each in compared.items()), flush=True)
    if arguments.against:
        sys.exit()
    with quiet():
        found = {
            env_id: seconds_of(env_id, arguments.runs / f"{env_id}-seed0", arguments.recipes) for env_id in arguments.env_ids
        }
    earlier = read_json(arguments.json, 1)["environments"] if arguments.json.exists() else {}
    write_json(arguments.json, {"schema": 1, "machine": machine, "environments": {**earlier, **found}})
    for env_id, seconds in found.items():
        print(env_id, ", ".join(f"{name} {value:.0f}" for name, value in seconds.items()))
