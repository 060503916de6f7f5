"""What each recipe keeps and gains, over environments and training seeds: the tables of docs/compression.md.

python docs/results/compression.py                             # all, a few hours; goes on where it stopped
python docs/results/compression.py CartPole-v1 --seeds 0 1     # some
python docs/results/compression_page.py                        # the page

Trains the presets' agents, runs the recipes, and writes docs/results/compression.json with, for every file: the row of
`benchmark.json`, the gate's verdict at 5 %, what stands in the file's own bytes (zeros, distinct values and shape of each
kernel), and the seconds that the recipe took. Files are stripped, their manifests beside them.
"""

from pathlib import Path
from typing import Any

import numpy as np
from compared_recipes import RUNS
from each_run import each_run

from edgedqn.agents.files import read_json
from edgedqn.agents.playing.gate import gate_for
from edgedqn.benchmarks.filling import Rows
from edgedqn.benchmarks.scoring import score
from edgedqn.compression.report import Findings, StageReport
from edgedqn.export.config import ExportConfig
from edgedqn.export.edge_policy import read_verified
from edgedqn.export.tflite_file.reader import kernels
from edgedqn.pipeline.config import RunConfig
from edgedqn.pipeline.job import RunResult
from edgedqn.pipeline.proving import play_on_seeds
from edgedqn.pipeline.seeds import SeedStreams

RESULTS = Path(__file__).with_suffix(".json")
PERCENTILES = ("p50", "p90", "p99")


def summarize(result: RunResult, seed: int) -> list[dict[str, Any]]:
    """The rows of one run, with what their files hold."""
    rows = result.benchmark["rows"]
    at_5_percent = _verdicts(result, seed, 0.05)
    found = []
    for row in rows:
        path = result.folder / row["file"]
        stages = [StageReport.from_json(stage) for stage in read_verified(path).evidence["recipe"]["stages"]]
        findings = {stage.stage: stage.findings for stage in stages}
        pruned, clustered, shrunk = (findings.get(name, Findings()) for name in ("prune", "cluster", "shrink"))
        stored = kernels(read_verified(path).model)
        found.append(
            {
                **{key: _in_short(value) for key, value in row.items() if key != "cold_start_us"},
                "gate_at_5_percent": at_5_percent.get(row["name"]),
                "kernel_shapes": [list(kernel.values.shape) for kernel in stored],
                "kernel_sparsity": [round(1 - kernel.nonzero_weights / kernel.weights, 4) for kernel in stored],
                "kernel_distinct_values": [len(np.unique(kernel.values)) for kernel in stored],
                "sparsity_asked": pruned.sparsity_asked,
                "clusters_asked": clustered.clusters_asked,
                "neurons_removed": shrunk.neurons_removed,
                "seconds": round(sum(stage.seconds for stage in stages), 1),
            }
        )
    return found


def _in_short(value: Any) -> Any:
    """A latency by its percentiles alone: with all of it the file would be three times as large."""
    return {key: value[key] for key in PERCENTILES} if isinstance(value, dict) and "p50" in value else value


def _verdicts(result: RunResult, seed: int, tolerance: float) -> dict[str, str]:
    """The gate's, where it allows something else than in the run, on the same seeds."""
    env_id = str(read_json(result.folder / "run.json", 1)["env_id"])
    gate = gate_for(env_id, tolerance)
    measured = result.measured.rows
    paths = {row.name: result.folder / row.file for row in measured}
    undecided = [row.name for row in measured if row.gate in ("fail", "undecided")]
    verdicts = {row.name: "pass" for row in measured if row.gate == "pass"}
    if not undecided or gate == gate_for(env_id):
        return {row.name: row.gate for row in measured}
    rows = Rows({name: str(paths[name]) for name in ("float32", *undecided)}, "float32")
    files = {name: read_verified(paths[name]) for name in rows.by_name}
    score(rows, files, play=play_on_seeds(env_id, SeedStreams(seed), gate), on_gate=lambda *_: None, progress=True)
    return verdicts | {name: rows.by_name[name].gate for name in undecided}


if __name__ == "__main__":
    each_run(__doc__, RUNS, RESULTS, summarize, RunConfig(export=ExportConfig(strip=True, manifest="beside")))
