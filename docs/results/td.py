"""What going on with reinforcement learning on the compressed network keeps, and that it learns.

python docs/results/td.py                          # hours; goes on where it stopped
python docs/results/td.py CartPole-v1 --seeds 0    # some of it
python docs/results/td.py --table                  # what there is

For each environment and training seed: `prune-td-int8` and `qat-td-int8` against the float agent by the run's gate; on
CartPole-v1 also a network of the same size that is pruned to 80 % *while* it is trained from fresh weights, by the settings of
the preset, for twice as long. And whether it learns at all: from an agent that has lost 98 % of its weights (ERK) at once, and
fails its gate, the return after learning minus before, paired by reset seed. Beside: how many features still reach an output,
through weights that are not zero, with these masks and with 98 % zeros in each kernel (uniform). Where a feature reaches
nothing, no learning can use it. Writes docs/results/td.json.
"""

import sys
from contextlib import closing
from pathlib import Path
from typing import Any, get_args

import numpy as np
from each_run import each_run

from edgedqn.agents.files import read_json
from edgedqn.agents.playing.environments import make_environment
from edgedqn.agents.playing.evaluation import evaluate
from edgedqn.agents.playing.statistics import bootstrap_interval
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.benchmarks.latency.interleaved import LatencyConfig
from edgedqn.compression.folding import InputScaling, fold_input_scaling, plain_network
from edgedqn.compression.methods.distillation import Distillation
from edgedqn.compression.methods.initialization import Restart, ScaleInput
from edgedqn.compression.methods.pruning import Allocation, Prune, allocate
from edgedqn.compression.methods.reinforcement import TdLearning
from edgedqn.compression.recipe import Recipe
from edgedqn.compression.recipes import ROUND_ITSELF
from edgedqn.compression.report import StageReport
from edgedqn.export.edge_policy import EdgePolicy, read_verified
from edgedqn.pipeline.config import RunConfig
from edgedqn.pipeline.job import RunResult
from edgedqn.pipeline.seeds import SeedStreams

RESULTS = Path(__file__).with_suffix(".json")
EPISODES = 300

AS_TRAINED = TdLearning(from_scratch=True, trainings=2.0, attempts=3)
SCRATCH = Recipe(
    "prune-td-scratch",
    "80 % pruned while it is trained from fresh weights, between 20 and 75 % of twice the training, three times at most",
    (ScaleInput(), Restart(), Prune(0.8, begin=0.2, end=0.75, learning=AS_TRAINED), ROUND_ITSELF),
    "qat-int8",
)


WIDE = ScaleInput(headroom=1.0)  # three times the range of the agent's play: one that fails sees more than that


def mostly_zeros(learning: Distillation | TdLearning) -> tuple[ScaleInput, Prune]:
    """98 % at once, in float."""
    return (WIDE, Prune(0.98, schedule="constant", learning=learning))


NOTHING = Distillation(steps=50, learning_rate=1e-12, final_learning_rate=1e-12)
BEFORE = Recipe("zeros98", "98 % zeros, nothing learned", mostly_zeros(NOTHING), "float32", control=True)
AFTER = Recipe("zeros98-td", "the same, and learned", mostly_zeros(TdLearning(learning_rate=1e-3)), "float32", control=True)

BOTH = ("prune-td-int8", "qat-td-int8")
RUNS: dict[str, tuple[str | Recipe, ...]] = {
    "CartPole-v1": (*BOTH, SCRATCH, BEFORE, AFTER),
    "MountainCar-v0": (*BOTH, BEFORE, AFTER),
    "Acrobot-v1": BOTH,
}
KEPT = ("name", "return", "return_delta", "gate", "size_bytes", "gap_weighted_agreement", "tie_rate")


def summarize(result: RunResult, seed: int) -> list[dict[str, Any]]:
    """The rows of one run: with the sparsity of all kernels together, and the gradient step that was kept."""
    rows = []
    paths = {row["name"]: result.folder / row["file"] for row in result.benchmark["rows"]}
    for row in result.benchmark["rows"]:
        stages = [StageReport.from_json(each) for each in read_verified(paths[row["name"]]).evidence["recipe"]["stages"]]
        checkpoints = [each.findings.checkpoint for each in stages if each.findings.checkpoint is not None]
        sparsity = 1 - row["nonzero_weights"] / row["weights"]
        kept = {key: row[key] for key in KEPT}
        rows.append({**kept, "sparsity": round(sparsity, 4), "checkpoint": checkpoints[0] if checkpoints else None})
    if AFTER.name in paths:
        env_id = str(read_json(result.folder / "run.json", 1)["env_id"])
        before, after = (returns(paths[name], env_id, seed) for name in (BEFORE.name, AFTER.name))
        gained = bootstrap_interval(after - before)
        learned = next(row for row in rows if row["name"] == AFTER.name)
        agent = TrainedAgent.load(result.folder / "agent")
        left = {kind: features_left(agent, kind) for kind in get_args(Allocation)}
        learned |= {"gained": gained.to_json(), "features": left}
    return rows


def returns(path: Path, env_id: str, seed: int) -> Any:
    """[300] of a file on the `prove` seeds."""
    with closing(make_environment(env_id)) as env:
        seeds = SeedStreams(seed).first_reset_seeds("prove", EPISODES)
        return np.array(evaluate(EdgePolicy.load(path), env, seeds=seeds).returns)


def features_left(agent: TrainedAgent, allocation: Allocation) -> int:
    """How many features reach an output through the largest 2 % of the weights, of an MLP."""
    scaling = InputScaling.measured(agent.observations, headroom=WIDE.headroom)
    weights = fold_input_scaling(plain_network(agent.network).get_weights(), scaling)
    kernels = [np.abs(kernel) for kernel in weights if kernel.ndim > 1]  # [in, out]
    reach = np.eye(len(kernels[0]), dtype=bool)  # [F, in]
    for kernel, share in zip(kernels, allocate([each.shape for each in kernels], 0.98, allocation=allocation), strict=True):
        reach = reach @ (kernel > np.quantile(kernel, share) if share > 0 else kernel >= 0)
    return int(reach.any(axis=1).sum())


def table() -> None:
    """Prints what there is, a line per file."""
    columns = "environment | seed | file | float | return | gate | zeros | gradient step | after minus before"
    print(f"| {columns} | features left (ERK, uniform) |\n|" + "---|" * 10)
    for env_id, seeds in read_json(RESULTS, 1)["environments"].items():
        for seed, rows in sorted(seeds.items()):
            baseline = next(row for row in rows if row["name"] == "float32")["return"]["mean"]
            for row in rows:
                if row["name"] not in ("float32", "ptq-int8"):
                    gained = row.get("gained")
                    shown = f"{gained['mean']:+.1f} [{gained['ci95'][0]:+.1f}, {gained['ci95'][1]:+.1f}]" if gained else ""
                    cells = (env_id, seed, row["name"], f"{baseline:.1f}", f"{row['return']['mean']:.1f}", row["gate"])
                    left = ", ".join(map(str, row.get("features", {}).values()))
                    print("|", " | ".join(map(str, (*cells, f"{row['sparsity']:.0%}", row["checkpoint"], shown, left))), "|")


if __name__ == "__main__":
    if "--table" in sys.argv:
        table()
    else:
        short = LatencyConfig(blocks=2, invokes_per_block=20, patience_s=0.0)  # what is timed here is not kept
        each_run(__doc__, RUNS, RESULTS, summarize, RunConfig(latency=short))
        table()
