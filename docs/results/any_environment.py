"""Environments of every kind, end to end: trained, rounded, exported, and put to the gate.

python docs/results/any_environment.py             # an hour or two; goes on where it stopped
python docs/results/any_environment.py --table

Needs minigrid and highway-env, as benchmarks/peers/environments_survey.py says. Training seed 0, run once. Writes
docs/results/any_environment.json: the return of the float agent and of `qat-int8`, with 95 % intervals, and its gate.
"""

import argparse
from pathlib import Path
from typing import Any

from edgedqn.agents.files import read_json, write_json
from edgedqn.agents.playing.gate import Gate, looks_within
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.benchmarks.latency.interleaved import LatencyConfig
from edgedqn.pipeline.config import RunConfig
from edgedqn.pipeline.scripting import run

RESULTS = Path(__file__).with_suffix(".json")
SLOW = Gate(tolerance=0.05, looks=looks_within(400))  # highway: some 30 steps a second
ENVIRONMENTS: dict[str, tuple[EnvironmentSource, int | None, Gate | None]] = {  # environment steps, and the gate
    "a Dict with text (MiniGrid-Empty-5x5)": (EnvironmentSource("minigrid:MiniGrid-Empty-5x5-v0"), 50_000, None),
    "a torque (Pendulum)": (EnvironmentSource("Pendulum-v1"), None, None),
    "a force (MountainCarContinuous)": (EnvironmentSource("MountainCarContinuous-v0"), None, None),
    "an argument (CartPole, `sutton_barto_reward`)": (
        EnvironmentSource("CartPole-v1", {"sutton_barto_reward": True}),
        None,
        None,
    ),
    "an argument (FrozenLake, not slippery)": (EnvironmentSource("FrozenLake-v1", {"is_slippery": False}), None, None),
    "an argument (CliffWalking, slippery)": (EnvironmentSource("CliffWalking-v1", {"is_slippery": True}), None, None),
    "a matrix (highway-fast)": (EnvironmentSource("highway_env:highway-fast-v0"), 20_000, SLOW),
}


def prove(source: EnvironmentSource, steps: int | None, gate: Gate | None, *, out: Path) -> dict[str, Any]:
    """What came of a run."""
    untimed = LatencyConfig(blocks=2, invokes_per_block=20, patience_s=0.0)
    result = run(source, out=out, seed=0, steps=steps, recipes=["qat-int8"], config=RunConfig(gate=gate, latency=untimed))
    kept = ("return", "return_delta", "gate", "reason", "size_bytes", "gap_weighted_agreement", "gate_looks", "gate_power")
    rows = {row["name"]: {key: row.get(key) for key in kept} for row in result.benchmark["rows"]}
    return {"source": source.to_json(), "rows": rows}


def table() -> None:
    """Prints what there is."""
    print("| environment | float32 | `ptq-int8` | `qat-int8` | bytes |\n|---|---|---|---|---|")
    for what, found in read_json(RESULTS, 1)["environments"].items():
        rows = found["rows"]
        mean = {name: f"{row['return']['mean']:.2f}" for name, row in rows.items()}
        cells = (what, mean["float32"], *(f"{mean[name]} {rows[name]['gate']}" for name in ("ptq-int8", "qat-int8")))
        print("|", " | ".join(cells), f"| {rows['qat-int8']['size_bytes']:,} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/any"), help="where run folders go (runs/any)")
    parser.add_argument("--table", action="store_true", help="print what there is")
    arguments = parser.parse_args()
    for i, (what, (source, steps, gate)) in enumerate(ENVIRONMENTS.items()):
        done = read_json(RESULTS, 1)["environments"] if RESULTS.exists() else {}
        if what not in done and not arguments.table:
            found = prove(source, steps, gate, out=arguments.runs / str(i))
            write_json(RESULTS, {"schema": 1, "environments": {**done, what: found}})
    table()


if __name__ == "__main__":
    main()
