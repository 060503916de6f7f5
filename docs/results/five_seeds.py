"""Runs the whole chain for several seeds and keeps what every row came to.

python docs/results/five_seeds.py CartPole-v1    # writes docs/results/CartPole-v1.json; resumes where it stopped
"""

import argparse
import json
from pathlib import Path

from edgedqn.agents.files import write_json
from edgedqn.compression.report import StageReport
from edgedqn.export.edge_policy import read_verified
from edgedqn.export.tflite_file.reader import kernels
from edgedqn.pipeline.job import RunResult
from edgedqn.pipeline.scripting import run

HERE = Path(__file__).parent


def summarize(result: RunResult) -> list[dict[str, object]]:
    """The rows, and of pruned files the sparsity of each kernel beside the one asked for."""
    rows = []
    for row in result.benchmark["rows"]:
        path = result.folder / row["file"]
        stages = [StageReport.from_json(stage) for stage in read_verified(path).evidence["recipe"]["stages"]]
        asked = [stage.findings.sparsity_asked for stage in stages if stage.stage == "prune"]
        reached = [round(1 - kernel.nonzero_weights / kernel.weights, 4) for kernel in kernels(read_verified(path).model)]
        rows.append({**row, "kernel_sparsity": reached, "kernel_sparsity_asked": asked[0] if asked else None})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("env_id")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--runs", type=Path, default=Path("runs/seeds"), help="where the run folders go (default: runs/seeds)")
    arguments = parser.parse_args()
    results = {}
    for seed in arguments.seeds:
        result = run(arguments.env_id, out=arguments.runs / f"{arguments.env_id}-{seed}", seed=seed)
        results[seed] = summarize(result)
        for row in results[seed]:
            print(f"seed {seed} {row['name']}: {json.dumps(row['return'])} gate {row['gate']} {row['size_bytes']} bytes")
        write_json(
            HERE / f"{arguments.env_id}.json",
            {"schema": 1, "env_id": arguments.env_id, "machine": result.benchmark["machine"], "seeds": results},
        )


if __name__ == "__main__":
    main()
