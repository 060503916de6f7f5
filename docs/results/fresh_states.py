"""How `qat-int8` agrees with the agents of docs/compression.md in states of 100 fresh episodes each.

python docs/results/fresh_states.py     # a minute or two; of the runs that docs/results/compression.py has made

Writes docs/results/fresh_states.json: by environment and training seed, agreement, agreement by gap and ties, in at most 200
states of each of 100 episodes of the float agent (stream `agreement`, behind those that a judge looks at).
"""

import argparse
from dataclasses import asdict
from pathlib import Path

from compared_recipes import RUNS
from untuned import fresh_states

from edgedqn.agents.files import Json, write_json
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.benchmarks.agreement import agreement, preferences_of
from edgedqn.export.edge_policy import EdgePolicy
from edgedqn.pipeline.seeds import SeedStreams

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the run folders are (runs)")
    arguments = parser.parse_args()
    found: Json = {}
    for env_id in RUNS:
        for seed in (0, 1, 2):
            folder = arguments.runs / f"{env_id.replace('/', '-')}-seed{seed}"
            states = fresh_states(TrainedAgent.load(folder / "agent"), SeedStreams(seed))
            wanted, got = (
                preferences_of(EdgePolicy.load(folder / "models" / f"{name}.tflite"), states)
                for name in ("float32", "qat-int8")
            )
            found.setdefault(env_id, {})[str(seed)] = {"states": len(states), **asdict(agreement(wanted, got))}
        by_seed = found[env_id].values()
        cells = (", ".join(f"{each[key]:.1%}" for each in by_seed) for key in ("gap_weighted_agreement", "tie_rate"))
        print("|", env_id, "|", " | ".join(cells), "|", flush=True)
    write_json(Path(__file__).with_suffix(".json"), {"schema": 1, "environments": found})
