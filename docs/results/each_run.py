"""What the scripts here that go through environments and training seeds share."""

import argparse
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edgedqn.agents.atomic_files import read_json, write_json

Rows = list[dict[str, Any]]


def each_run(description: str | None, env_ids: Sequence[str], file: Path, measure: Callable[[str, int, Path], Rows]) -> None:
    """The command line of a script: measures each environment and seed that `file` does not have yet, and writes it there.

    Args:
      description: of the script.
      env_ids: all that may be asked for.
      file: JSON, {"schema": 1, "environments": {env_id: {seed: rows}}}.
      measure: environment, training seed, run folder -> rows with `name`, `return`, `gate`.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("env_ids", nargs="*", default=list(env_ids), metavar="ENV_ID", help=f"of {', '.join(env_ids)} (all)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="of the trainings (0 1 2)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where run folders go (runs)")
    arguments = parser.parse_args()
    for seed, env_id in itertools.product(arguments.seeds, arguments.env_ids):
        results = read_json(file, 1) if file.exists() else {"schema": 1, "environments": {}}
        of_env = results["environments"].setdefault(env_id, {})
        if str(seed) in of_env:
            continue
        of_env[str(seed)] = rows = measure(env_id, seed, arguments.runs / f"{env_id.replace('/', '-')}-seed{seed}")
        write_json(file, results)
        for row in rows:
            print(f"{env_id} {seed} {row['name']}: {row['return']['mean']:.2f} {row['gate']}")
