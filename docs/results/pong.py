"""Pong from its screen: trained by its preset, compressed, and judged; the figures of docs/measured/atari.md.

python docs/results/pong.py train        # training seeds 0 and 1, an hour each on one core; go on where they stopped
python docs/results/pong.py compress     # the files of seed 0, hours; goes on where it stopped

`train` does what `edgedqn train ALE/Pong-v5 --seed N` does, and plays 30 episodes of the stream `prove` with the float agent.
Of a training that was interrupted the seconds are those of all parts, the memory that of the last; its record says so. All is
written to docs/results/pong.json.
"""

import argparse
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from statistics import mean

from edgedqn.agents.files import Json, read_json, write_json
from edgedqn.agents.playing.environments import agent_view, make_environment
from edgedqn.agents.playing.evaluation import evaluate
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.agents.training.checkpoints import has_checkpoints
from edgedqn.benchmarks.rows import BenchmarkRow
from edgedqn.compression.methods.initialization import NewStudent, ScaleInput
from edgedqn.compression.methods.ladder import SMALL_STUDENT, Quantize
from edgedqn.compression.methods.pruning import Prune
from edgedqn.compression.methods.search import Search
from edgedqn.compression.methods.streaming import Stream
from edgedqn.compression.recipe import Recipe
from edgedqn.compression.recipes import RECIPES
from edgedqn.pipeline.run_folder import RunFolder
from edgedqn.pipeline.scripting import run
from edgedqn.pipeline.seeds import SeedStreams

ENV_ID, SEEDS, EPISODES = "ALE/Pong-v5", (0, 1), 30
RESULTS = Path(__file__).with_suffix(".json")
# Filters and hidden neurons, by the weights of three students of Rusu et al. (2015), and of the smallest of PoPS (Livne and
# Cohen 2020): 25, 7 and 4 % of their teacher's 1.69 M, and 0.8 %.
STUDENTS = {"25": ((16, 32), (160,)), "7": ((16, 32), (38,)), "4": ((16, 32), (19,)), "0.8": ((4, 8), (18,))}
RECIPE_LIST = (
    RECIPES["qat-int8"],
    *(
        Recipe(
            f"student-{share}-percent",
            f"{share} % of Nature's weights, taught in a stream of states",
            (ScaleInput(), NewStudent(hidden, filters), Stream(), SMALL_STUDENT),
            "qat-int8",
        )
        for share, (filters, hidden) in STUDENTS.items()
    ),
    *(
        Recipe(
            f"prune-{zeros:.0%}".rstrip("%"),
            f"{zeros:.0%} zeros, taught in a stream of states first",
            (ScaleInput(), Stream(), Prune(zeros), Quantize(least_agreement=0.0, enough_agreement=0.0)),
            "qat-int8",
        )
        for zeros in (0.9, 0.95, 0.98)
    ),
    RECIPES["shrink-qat-int8"],
    Recipe("auto-long", "the smallest student, searched for in two hours", (ScaleInput(), Search(minutes=120)), "qat-int8"),
)
PROGRAM = [sys.executable, "-c", "from edgedqn.pipeline.cli import console; console()"]


def results() -> Json:
    return read_json(RESULTS, 1) if RESULTS.exists() else {"schema": 1, "trainings": {}, "rows": []}


def train(seed: int, folder: Path) -> None:
    """Trains one agent and keeps what came of it."""
    interrupted = has_checkpoints(folder / "agent" / "checkpoints")
    subprocess.run([*PROGRAM, "train", ENV_ID, "--seed", str(seed), "--out", str(folder)], check=True)
    (stage,) = (stage for stage in RunFolder.open(folder).description.stages if stage.name == "train")
    agent = TrainedAgent.load(folder / "agent")
    seeds = SeedStreams(seed).first_reset_seeds("prove", EPISODES)
    with closing(agent_view(make_environment(ENV_ID), agent.spec)) as env:
        played = evaluate(agent.policy, env, seeds=seeds)
    found = results()
    found["trainings"][str(seed)] = {
        **{name: agent.statistics[name] for name in ("training", "gradient_steps", "checkpoint", "evaluations", "seconds")},
        "interrupted": interrupted,
        "peak_memory_mb": stage.peak_memory_mb,
        "weights": agent.network.count_params(),
        "prove_returns": list(played.returns),
        "prove_steps": played.env_steps,
    }
    write_json(RESULTS, found)
    print(f"seed {seed}: {mean(played.returns):.1f} over {EPISODES} episodes", flush=True)


def compress(folder: Path, names: list[str] | None) -> None:
    """Makes and judges files of one agent, all or some, and keeps their rows."""
    asked = [recipe for recipe in RECIPE_LIST if names is None or recipe.name in names]
    result = run(ENV_ID, out=folder, seed=SEEDS[0], recipes=asked)
    took = {stage.name: stage for stage in RunFolder.open(result.folder).description.stages}
    found = results()
    rows = {row["name"]: row for row in found["rows"]}
    for row in result.measured.rows:
        stage = took[f"compress/{row.name}"]
        rows[row.name] = {**kept(row), "seconds": stage.seconds, "peak_memory_mb": stage.peak_memory_mb}
    write_json(RESULTS, {**found, "rows": list(rows.values())})


def kept(row: BenchmarkRow) -> Json:
    """What is kept of a file."""
    value = row.to_json()
    names = ("name", "return", "return_delta", "gate", "gate_looks", "gate_power", "size_bytes", "gzip_bytes", "weights")
    names += ("action_agreement", "gap_weighted_agreement", "tie_rate", "latency_us", "speedup", "arena_bytes")
    return {name: value[name] for name in names if name in value}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "compress"))
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, metavar="N", help="of the trainings (0 1)")
    parser.add_argument("--recipes", nargs="+", choices=[recipe.name for recipe in RECIPE_LIST], metavar="NAME", help="(all)")
    parser.add_argument("--runs", type=Path, default=Path("runs/pong"), help="where run folders go (runs/pong)")
    arguments = parser.parse_args()
    if arguments.what == "compress":
        compress(arguments.runs / f"seed{SEEDS[0]}", arguments.recipes)
    for seed in arguments.seeds if arguments.what == "train" else ():
        if str(seed) not in results()["trainings"]:
            train(seed, arguments.runs / f"seed{seed}")
