"""The environments of examples/environments, end to end: trained, compressed by the default recipes, put to the gate.

python docs/results/examples.py             # half an hour; goes on where it stopped
python docs/results/examples.py --table

Training seed 0, run once. Writes docs/results/examples.json: of each file the return with its 95 % interval, the gate and the
bytes; and beside them what a rule of thumb earns on the reset seeds 0 to 299: a thermostat, a robot that turns towards the
darkest sensor, a shop that fills up its shelf to ten whenever less than four are there.
"""

import argparse
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.files import read_json, write_json
from edgedqn.agents.playing.environments import make_environment
from edgedqn.pipeline.scripting import run

RESULTS = Path(__file__).with_suffix(".json")
sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "environments"))


def warm(observation: NDArray[np.float32]) -> Any:
    from heating import thermostat

    return np.array([thermostat(observation)], np.float32)


def turn(observation: NDArray[np.float32]) -> Any:
    dark = observation / max(float(observation.sum()), 1.0)
    return int(np.clip(np.rint(dark @ np.arange(-1.5, 6.5)), 0, 4))


def fill(stock: np.int64) -> Any:
    return 10 - int(stock) if stock < 4 else 0


ENVIRONMENTS: dict[str, tuple[int, Callable[[Any], Any]]] = {  # environment steps, and the rule of thumb
    "heating:Heating-v0": (60_000, warm),
    "line_follower:LineFollower-v0": (60_000, turn),
    "shop:Shop-v0": (100_000, fill),
}


def prove(env_id: str, steps: int, rule: Callable[[Any], Any], *, out: Path) -> dict[str, Any]:
    """What came of a run."""
    result = run(env_id, out=out, seed=0, steps=steps)
    kept = ("name", "return", "return_delta", "gate", "size_bytes", "multiply_accumulates")
    rows = [{key: row.get(key) for key in kept} for row in result.benchmark["rows"]]
    return {"rows": rows, "rule_of_thumb": earned(env_id, rule)}


def earned(env_id: str, rule: Callable[[Any], Any]) -> float:
    """The mean return of a rule that sees and does what the environment has, without EdgeDQN between."""
    returns = []
    with closing(make_environment(env_id)) as env:
        for seed in range(300):
            observation, _ = env.unwrapped.reset(seed=seed)
            total, over = 0.0, False
            while not over:
                observation, reward, terminated, truncated, _ = env.unwrapped.step(rule(observation))
                total, over = total + float(reward), terminated or truncated
            returns.append(total)
    return float(np.mean(returns))


def table() -> None:
    """Prints what there is."""
    print("| environment | rule of thumb | float32 | the smallest that passed | bytes |\n|---|---|---|---|---|")
    for env_id, found in read_json(RESULTS, 1)["environments"].items():
        baseline, *others = found["rows"]
        best = min((row for row in others if row["gate"] == "pass"), key=lambda row: int(row["size_bytes"]))
        cells = (env_id, *(f"{value:.1f}" for value in (found["rule_of_thumb"], baseline["return"]["mean"])))
        print("|", " | ".join((*cells, f"`{best['name']}` {best['return']['mean']:.1f}", f"{best['size_bytes']:,}")), "|")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/examples"), help="where run folders go (runs/examples)")
    parser.add_argument("--table", action="store_true", help="print what there is")
    arguments = parser.parse_args()
    for env_id, (steps, rule) in ENVIRONMENTS.items():
        done = read_json(RESULTS, 1)["environments"] if RESULTS.exists() else {}
        if env_id not in done and not arguments.table:
            found = prove(env_id, steps, rule, out=arguments.runs / env_id.partition(":")[0])
            write_json(RESULTS, {"schema": 1, "environments": {**done, env_id: found}})
    table()


if __name__ == "__main__":
    main()
