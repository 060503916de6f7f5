"""What `make demo` comes to with other training seeds, and how long it takes.

python docs/results/demo.py                # about ten minutes; leave the machine alone meanwhile
python docs/results/demo.py --table

Runs `edgedqn.run("CartPole-v1")`, which is `make demo`, with training seeds 0 to 4; what is done already is not done again.
Writes docs/results/demo.json: of each seed the seconds of all stages together, the bytes of `device/policy.tflite`, its gate
and mean return, and how many times as fast as the float network one invoke() and a whole step by `EdgePolicy.load` are.
"""

import argparse
from pathlib import Path

from edgedqn.agents.files import Json, read_json, write_json
from edgedqn.pipeline.job import RunResult
from edgedqn.pipeline.run_folder import RunFolder
from edgedqn.pipeline.scripting import run

RESULTS = Path(__file__).with_suffix(".json")
SEEDS = range(5)


def summarize(result: RunResult) -> Json:
    """What is kept of a run."""
    row = result.shipped
    assert row is not None and row.episode_return is not None, "nothing passed"
    step = row.twin_step_speedup or row.step_speedup
    assert row.speedup is not None and step is not None
    return {
        "seconds": round(sum(stage.seconds for stage in RunFolder.open(result.folder).description.stages), 1),
        "name": row.name,
        "size_bytes": (result.folder / "device" / "policy.tflite").stat().st_size,
        "gate": row.gate,
        "return": row.episode_return.mean,
        "invoke_speedup": row.speedup.median,
        "step_speedup": step.median,
    }


def table(found: Json) -> None:
    """Prints a line for each seed."""
    print("| training seed | seconds | what ships | bytes | return | gate | invoke | step |\n|" + "---|" * 8)
    for seed, each in found.items():
        cells = (f"{each['seconds']:.0f}", each["name"], f"{each['size_bytes']:,}", f"{each['return']:.1f}", each["gate"])
        print("|", " | ".join((seed, *cells, *(f"{each[key]:.2f}x" for key in ("invoke_speedup", "step_speedup")))), "|")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where run folders go (runs)")
    parser.add_argument("--table", action="store_true", help="print what there is")
    arguments = parser.parse_args()
    if not arguments.table:
        seeds = {str(seed): summarize(run("CartPole-v1", out=arguments.runs / f"demo-{seed}", seed=seed)) for seed in SEEDS}
        write_json(RESULTS, {"schema": 1, "seeds": seeds})
    table(read_json(RESULTS, 1)["seeds"])
