"""How the README's policies do on microcontrollers: TFLite Micro against XNNPACK, and its arena.

python docs/results/microcontroller.py                       # runs of docs/results/policies.py
python docs/results/microcontroller.py CartPole-v1 --runs DIR

For each file with int8 ends of a run: whether TFLite Micro's interpreter acts as XNNPACK does on 10,000 states that the float
agent visits on `prove` seeds, and the arena. Writes docs/results/microcontroller.json and prints the table of
docs/measured/microcontrollers.md.
"""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgedqn.agents.files import read_json, write_json
from edgedqn.export.edge_policy import EdgePolicy, read_verified
from edgedqn.export.tflite_file.tflm import arena_bytes, compare_runtimes, int8_inputs
from edgedqn.pipeline.proving import states_on_prove_seeds
from edgedqn.pipeline.seeds import SeedStreams

RESULTS = Path(__file__).with_suffix(".json")
ENVIRONMENTS = ("CartPole-v1", "MountainCar-v0", "Acrobot-v1", "LunarLander-v3", "MinAtar/Breakout-v1")
SEED = 0


def measure(run: Path, env_id: str, names: list[str]) -> list[dict[str, Any]]:
    """The rows of a run's files."""
    observations = states_on_prove_seeds(EdgePolicy.load(run / "models" / "float32.tflite"), env_id, SeedStreams(SEED))
    rows = []
    for name in names:
        path = run / "models" / f"{name}.tflite"
        file = read_verified(path)
        if (file.model.input.dtype, file.model.output.dtype) != ("int8", "int8"):
            continue
        agreement = compare_runtimes(file.content, int8_inputs(file.device, observations))
        rows.append(
            {
                "name": name,
                "sha256": file.file_sha256,
                "size_bytes": len(file.content),
                "tflite_micro": asdict(agreement),
                "arena_bytes": arena_bytes(file.content),
            }
        )
        print(table_row(env_id, rows[-1]), flush=True)
    return rows


def table_row(env_id: str, row: dict[str, Any]) -> str:
    """A line of Markdown."""
    found = row["tflite_micro"]
    gaps = f"{found['largest_gap_of_a_disagreement_steps']} of {found['largest_difference_steps']}"
    cells = [env_id, f"`{row['name']}`", f"{found['action_agreement']:.2%}", gaps, f"{row['arena_bytes']:,}"]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("env_ids", nargs="*", default=list(ENVIRONMENTS), metavar="ENV_ID", help="(all)")
    parser.add_argument("--runs", type=Path, default=Path("runs/policies"), help="where run folders are (runs/policies)")
    arguments = parser.parse_args()
    for env_id in arguments.env_ids:
        run = arguments.runs / f"{env_id.replace('/', '-')}-seed{SEED}"
        names = [row["name"] for row in read_json(run / "benchmark.json", 1)["rows"] if row["status"] == "ok"]
        rows = measure(run, env_id, names)
        results = read_json(RESULTS, 1) if RESULTS.exists() else {"schema": 1, "environments": {}}
        results["environments"][env_id] = rows
        write_json(RESULTS, results)
