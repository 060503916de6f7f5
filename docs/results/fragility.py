"""What small mistakes cost each agent, and how its files bear bad sensors: the tables of docs/measured/sensors.md.

python docs/results/fragility.py                       # half an hour; goes on where it stopped
python docs/results/fragility.py CartPole-v1 --runs DIR

Trains the preset's agent of training seed 0, compresses it by the recipes below, and runs `edgedqn bench RUN --stress`. Writes
docs/results/fragility.json.
"""

import argparse
from pathlib import Path
from typing import Any

from edgedqn.agents.files import read_json, write_json
from edgedqn.agents.playing.fragility import Fragility
from edgedqn.benchmarks.latency.interleaved import LatencyConfig
from edgedqn.benchmarks.native_output import quiet
from edgedqn.benchmarks.report.table import markdown_table, stress_lines, stress_summary
from edgedqn.benchmarks.rows import StressTest
from edgedqn.pipeline.scripting import run

RESULTS = Path(__file__).with_suffix(".json")
ENVIRONMENTS = ("CartPole-v1", "MountainCar-v0", "Acrobot-v1", "LunarLander-v3")
RECIPES = ("qat-int8", "shrink-qat-int8")
SEED = 0
UNTIMED = LatencyConfig(blocks=4, invokes_per_block=50, patience_s=0)  # latencies are not what is asked here


def measure(env_id: str, folder: Path) -> dict[str, Any]:
    """What is kept of an environment."""
    from edgedqn.pipeline.config import RunConfig  # here, for processes that play import this module, and need no TensorFlow
    from edgedqn.pipeline.job import Job

    result = run(env_id, out=folder, seed=SEED, recipes=RECIPES, config=RunConfig(latency=UNTIMED))
    assert result.fragility is not None
    with quiet():
        job = Job.open(result.folder)
        with job.locked():
            job.stress()
        stress = job.result().measured.stress
    assert stress is not None
    rows = {row.name: {"gate": row.gate, "size_bytes": row.size_bytes} for row in result.measured.rows}
    return {"fragility": result.fragility.to_json(), "stress": stress.to_json(), "files": rows}


def tables(environments: dict[str, Any]) -> str:
    """As they stand on the page."""
    agents = {env_id: Fragility.from_json(found["fragility"]) for env_id, found in environments.items()}
    first, *_ = agents.values()
    # The one number of random actions that differs between environments goes by what it has in common.
    sizes = [str(loss) if abs(loss.disagreement - 0.08) > 1e-6 else "random actions, 8% by gap" for loss in first.losses]
    columns = [
        [
            env_id,
            f"{agent.mean_return:.1f}",
            f"{agent.random_return:.1f}",
            *(f"{loss.share.mean:.1%} ({loss.share.low:.1%} to {loss.share.high:.1%})" for loss in agent.losses),
        ]
        for env_id, agent in agents.items()
    ]
    lines = list(zip(["lost, 95 %", "return", "acting at random", *sizes], *columns, strict=True))
    parts = [markdown_table(lines), *(f"{env_id}: {agent.summary}" for env_id, agent in agents.items())]
    for env_id, found in environments.items():
        test = StressTest.from_json(found["stress"])
        parts += [f"### {env_id}", markdown_table(stress_lines(test)), stress_summary(test)]
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("env_ids", nargs="*", default=list(ENVIRONMENTS), metavar="ENV_ID", help="(all)")
    parser.add_argument("--runs", type=Path, default=Path("runs/fragility"), help="where run folders go (runs/fragility)")
    arguments = parser.parse_args()
    for env_id in arguments.env_ids:
        found = measure(env_id, arguments.runs / f"{env_id.replace('/', '-')}-seed{SEED}")
        environments = read_json(RESULTS, 1)["environments"] if RESULTS.exists() else {}
        write_json(RESULTS, {"schema": 1, "environments": {**environments, env_id: found}})
    print(tables(read_json(RESULTS, 1)["environments"]))


if __name__ == "__main__":
    main()
