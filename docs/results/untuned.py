"""What int8 keeps of agents that nothing was tuned on.

python docs/results/untuned.py                          # hours; goes on where it stopped
python docs/results/untuned.py CartPole-v1 --seeds 30   # some of it
python docs/results/untuned.py --mediocre               # agents whose training was broken off
python docs/results/untuned.py --images                 # MinAtar
python docs/results/untuned.py --table

CartPole-v1, Acrobot-v1, MountainCar-v0 and LunarLander-v3 by their presets, training seeds 30 to 35, each run once: 30 to 32
before hidden neurons were balanced by what is measured, 33 to 35 after (docs/measured/untuned.md). The mediocre: the last
weights of LunarLander-v3 after 60,000, 100,000 and 150,000 steps and of CartPole-v1 after 10,000, seeds 0, 1 and 2, without
averaging: averaged, five LunarLander-v3 agents of five were too good, which are in the JSON, too, as are two of CartPole-v1.
Of these, agents whose return lies between a fifth and two thirds of the best one's are kept. They are judged at 5 %, with
looks at 1,200, 4,800 and 19,200 episodes. The images: Space Invaders, Breakout, Freeway, Asterix of MinAtar by their presets,
seeds 0, 1 and 2.

Writes docs/results/untuned.json: of each file its return, its gate, its ties and agreement with the float agent in states of
100 fresh episodes (stream `agreement`), its paired difference to the naive conversion with a 99.6 % interval, the rung it came
from, and in how many of 100 draws a file without loss would have passed: its own differences, less their mean, drawn anew.
"""

import argparse
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.files import read_json, write_json
from edgedqn.agents.playing.environments import agent_view, make_environment
from edgedqn.agents.playing.evaluation import evaluate, gather_from_episodes
from edgedqn.agents.playing.gate import Gate, gate_for, run_gate
from edgedqn.agents.playing.statistics import bootstrap_interval
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.agents.training.config import TrainingConfig
from edgedqn.agents.training.presets import find_preset
from edgedqn.benchmarks.agreement import agreement, preferences_of
from edgedqn.benchmarks.latency.interleaved import LatencyConfig
from edgedqn.benchmarks.rows import BenchmarkRow
from edgedqn.compression.report import StageReport
from edgedqn.export.edge_policy import EdgePolicy, read_verified
from edgedqn.pipeline.config import RunConfig
from edgedqn.pipeline.job import RunResult
from edgedqn.pipeline.scripting import run
from edgedqn.pipeline.seeds import SeedStreams

RESULTS = Path(__file__).with_suffix(".json")
RECIPES = ("qat-int8", "prune-qat-int8", "int16x8", "qat-float-output")
CLASSIC = ("CartPole-v1", "MountainCar-v0", "Acrobot-v1", "LunarLander-v3")
UNTUNED = [(env_id, None, seed) for seed in range(30, 36) for env_id in CLASSIC]
LENGTHS = (("CartPole-v1", 10_000), ("LunarLander-v3", 60_000), ("LunarLander-v3", 100_000), ("LunarLander-v3", 150_000))
MEDIOCRE = [(env_id, steps, seed) for seed in (0, 1, 2) for env_id, steps in LENGTHS]
GAMES = dict.fromkeys(("MinAtar/Breakout-v1", "MinAtar/Freeway-v1", "MinAtar/Asterix-v1"), ("qat-int8",))
GAMES |= {"MinAtar/SpaceInvaders-v1": ("qat-int8", "auto-int8")}
IMAGES = [(env_id, None, seed) for seed in (0, 1, 2) for env_id in GAMES]
BEST = {"CartPole-v1": 500.0, "LunarLander-v3": 260.0}  # returns of agents trained to the end, README
WIDE = Gate(tolerance=0.05, looks=(1_200, 4_800, 19_200))
UNTIMED = LatencyConfig(blocks=2, invokes_per_block=20, patience_s=0.0)  # what is timed here is not kept
EPISODES = 300  # of the difference to the naive conversion
FRESH, MOST_STATES = 100, 200  # episodes, and states of each, as the judge takes them
DRAWS = 100


def prove(env_id: str, steps: int | None, seed: int, *, runs: Path) -> list[dict[str, Any]] | str:
    """The rows of an agent, or why it was dropped."""
    name = f"{env_id.replace('/', '-')}-{f'{steps}-last' if steps else 'preset'}-seed{seed}"
    config = RunConfig(latency=UNTIMED)
    if steps is not None:
        preset = find_preset(env_id)
        assert isinstance(preset, TrainingConfig)
        last = replace(preset, steps=steps, evaluation_interval=steps, finalists=1, averaging_steps=0)  # its last weights
        config = replace(config, gate=WIDE, training=last)
        trained = run(env_id, out=runs / name, seed=seed, recipes=["ptq-int8"], config=config)
        mean = mean_return(trained.measured.rows[0])
        if not BEST[env_id] / 5 <= mean <= BEST[env_id] * 2 / 3:
            return f"a return of {mean:.1f}"
    recipes = GAMES.get(env_id, RECIPES)
    result = run(env_id, out=runs / name, seed=seed, recipes=recipes, config=config)
    return summarize(result, env_id, seed, gate=config.gate or gate_for(env_id))


def summarize(result: RunResult, env_id: str, seed: int, *, gate: Gate) -> list[dict[str, Any]]:
    """What is kept of a run."""
    rows, streams = result.measured.rows, SeedStreams(seed)
    files = {row.name: EdgePolicy.load(result.folder / row.file) for row in rows}
    states = fresh_states(TrainedAgent.load(result.folder / "agent"), streams)
    wanted = preferences_of(files["float32"], states)
    seeds = streams.first_reset_seeds("prove", EPISODES)
    with closing(make_environment(env_id)) as env:
        returns = {name: np.array(evaluate(file, env, seeds=seeds).returns) for name, file in files.items()}
    assert result.fragility is not None
    margin = gate.tolerance * (mean_return(rows[0]) - result.fragility.random_return)
    kept = []
    for row in rows:
        over_naive = bootstrap_interval(returns[row.name] - returns["ptq-int8"], 0.996)
        loss = returns[row.name] - returns["float32"]  # [EPISODES]
        stages = [StageReport.from_json(each) for each in read_verified(result.folder / row.file).evidence["recipe"]["stages"]]
        kept.append(
            {
                "name": row.name,
                "return": mean_return(row),
                "gate": row.gate,
                "size_bytes": row.size_bytes,
                "fresh": asdict(agreement(wanted, preferences_of(files[row.name], states))),
                "rung": next((each.findings.rung for each in stages if each.findings.rung), None),
                "seconds": sum(each.seconds for each in stages),
                "over_naive": {"mean": over_naive.mean, "low": over_naive.low, "high": over_naive.high},
                "lossless_passes": lossless_passes(loss, gate, margin=margin),
            }
        )
    return kept


def mean_return(row: BenchmarkRow) -> float:
    assert row.episode_return is not None
    return row.episode_return.mean


def fresh_states(agent: TrainedAgent, streams: SeedStreams) -> NDArray[Any]:
    """[N, *input_shape] of episodes that nothing was taught or chosen on: those after the judge's, of the same stream."""
    seeds, rng = streams.first_reset_seeds("agreement", 2 * FRESH)[FRESH:], streams.rng("agreement", "proof")
    with closing(agent_view(make_environment(agent.spec.id), agent.spec)) as env:
        return gather_from_episodes(agent.policy, env, reset_seeds=seeds, most=MOST_STATES, rng=rng)


def lossless_passes(differences: NDArray[np.float64], gate: Gate, *, margin: float) -> int:
    """In how many of 100 draws a file passes whose differences scatter like these, around 0."""
    rng, centred = np.random.default_rng(0), differences - differences.mean()

    def passes() -> bool:
        drawn = rng.choice(centred, size=gate.looks[-1])
        return run_gate(gate, margin, paired_differences=lambda count: drawn[:count].tolist()).verdict == "pass"

    return sum(passes() for _ in range(DRAWS))


def table() -> None:
    """Prints what there is, an agent in a line, those of the same files together."""
    agents = read_json(RESULTS, 1)["agents"] if RESULTS.exists() else {}
    for name, dropped in agents.items():
        if isinstance(dropped, str):
            print(f"Dropped: {name}, {dropped}.")
    measured = {name: {row["name"]: row for row in rows} for name, rows in agents.items() if not isinstance(rows, str)}
    for files in dict.fromkeys(tuple(rows) for rows in measured.values()):
        shown = [file for file in files if file != "float32"]
        columns = ("agent", "float32", *(f"`{file}`" for file in shown), "`qat-int8` over naive [99.6 %]", "lossless passes")
        print("\n|", " | ".join(columns), "|\n|" + "---|" * len(columns))
        for name, rows in measured.items():
            if tuple(rows) == files:
                mean, low, high = rows["qat-int8"]["over_naive"].values()
                compared = f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"
                chance = f"{rows['qat-int8']['lossless_passes']} of {DRAWS}"
                cells = (name, f"{rows['float32']['return']:.1f}", *(_cell(rows[file]) for file in shown), compared, chance)
                print("|", " | ".join(cells), "|")


def _cell(row: dict[str, Any]) -> str:
    """Return and gate, agreement by gap and ties in fresh states, bytes of students, and the rung."""
    verdict = "pass" if row["gate"] == "pass" else f"**{row['gate']}**"
    shares = (f"{row['fresh']['gap_weighted_agreement']:.1%}", f"{row['fresh']['tie_rate']:.1%}")
    size = [f"{row['size_bytes']:,} B"] if row["name"] == "auto-int8" else []
    return ", ".join((f"{row['return']:.1f} {verdict}", *shares, *size, *([row["rung"]] if row["rung"] else [])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("env_ids", nargs="*", metavar="ENV_ID", help="(all)")
    parser.add_argument("--seeds", type=int, nargs="+", metavar="N", help="of the trainings (all)")
    parser.add_argument("--mediocre", action="store_true", help="the agents whose training was broken off")
    parser.add_argument("--images", action="store_true", help="agents that see images")
    parser.add_argument("--runs", type=Path, default=Path("runs/untuned"), help="where run folders go (runs/untuned)")
    parser.add_argument("--table", action="store_true", help="print what there is")
    arguments = parser.parse_args()
    chosen = MEDIOCRE if arguments.mediocre else IMAGES if arguments.images else UNTUNED
    for env_id, steps, seed in () if arguments.table else chosen:
        name = f"{env_id}, {f'last weights of {steps:,} steps, ' if steps else ''}seed {seed}"
        done = read_json(RESULTS, 1)["agents"] if RESULTS.exists() else {}
        asked = env_id in (arguments.env_ids or [env_id]) and seed in (arguments.seeds or [seed])
        if asked and name not in done:
            found = prove(env_id, steps, seed, runs=arguments.runs)
            done = read_json(RESULTS, 1)["agents"] if RESULTS.exists() else {}  # another process may have added some
            write_json(RESULTS, {"schema": 1, "agents": {**done, name: found}})
    table()


if __name__ == "__main__":
    main()
