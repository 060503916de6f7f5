"""What the scripts here that go through environments and training seeds share."""

import argparse
import fcntl
import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgedqn.agents.files import read_json, write_json
from edgedqn.compression.recipe import Recipe
from edgedqn.compression.recipes import FLOAT32, RECIPES
from edgedqn.pipeline.config import RunConfig
from edgedqn.pipeline.job import RunResult
from edgedqn.pipeline.scripting import run

Rows = list[dict[str, Any]]


def each_run(
    description: str | None,
    recipes: Mapping[str, Sequence[str | Recipe]],
    file: Path,
    summarize: Callable[[RunResult, int], Rows],
    config: RunConfig | None = None,
) -> None:
    """The command line of a script: runs the recipes of each environment and seed whose rows `file` does not have yet, or has
    of a recipe that has changed since, and writes what is kept of them there.

    Args:
      description: of the script.
      recipes: by environment.
      file: JSON, {"schema": 1, "environments": {env_id: {seed: rows}}}; a row has `name`, `return`, `gate` and `made_by`, which
        stands for what the recipe was. Several processes may write it, for different environments and seeds.
      summarize: what is kept of a run, training seed -> rows.
      config: of the runs; see `run`.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("env_ids", nargs="*", default=list(recipes), metavar="ENV_ID", help=f"of {', '.join(recipes)} (all)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="of the trainings (0 1 2)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where run folders go (runs)")
    arguments = parser.parse_args()
    for seed, env_id in itertools.product(arguments.seeds, arguments.env_ids):
        wanted = {each.name: each for each in (RECIPES[r] if isinstance(r, str) else r for r in recipes[env_id])}
        made_by = {name: fingerprint(recipe) for name, recipe in {**wanted, FLOAT32.name: FLOAT32}.items()}
        with _results(file) as results:
            there = {row["name"]: row["made_by"] for row in results["environments"].get(env_id, {}).get(str(seed), [])}
        missing = [recipe for name, recipe in wanted.items() if there.get(name) != made_by[name]]
        if not missing:
            continue
        folder = arguments.runs / f"{env_id.replace('/', '-')}-seed{seed}"
        rows = summarize(run(env_id, out=folder, seed=seed, recipes=missing, config=config), seed)
        for row in rows:
            row["made_by"] = made_by.get(row["name"]) or fingerprint(RECIPES[row["name"]])
            print(f"{env_id} {seed} {row['name']}: {row['return']['mean']:.2f} {row['gate']}", flush=True)
        with _results(file) as results:
            of_env = results["environments"].setdefault(env_id, {})
            merged = {row["name"]: row for row in [*of_env.get(str(seed), []), *rows]}
            first = [FLOAT32.name, *(name for name in merged if name not in made_by), *wanted]
            of_env[str(seed)] = [merged[name] for name in first if name in merged]
            write_json(file, results)


def fingerprint(recipe: Recipe) -> str:
    """Changes with anything that changes what a recipe makes."""
    made_of = {key: recipe.to_json()[key] for key in ("stages", "conversion")}
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:12]


@contextmanager
def _results(file: Path) -> Iterator[dict[str, Any]]:
    """What is in the file, while nobody else changes it."""
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield read_json(file, 1) if file.exists() else {"schema": 1, "environments": {}}
