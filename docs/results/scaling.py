"""What the parts of a sweep cost, for `python -m edgedqn.benchmarks.scaling`.

python docs/results/scaling.py runs/classic_control   # the folder of a sweep that is done

Of the sweep: how long a trial took, and what its run folder weighs. Measured here, in processor time: what Optuna's NSGA-II
takes to ask for a batch and to write a trial into a journal file, after 0 and after 2,000 trials. Assumed, and marked so: 20 ms
for a request to a store and 50 MB/s for each worker, as object stores give, and 8 s for a worker to start. Writes
docs/results/scaling.json.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from optuna.trial import Trial

from edgedqn.agents.files import Json, write_json
from edgedqn.benchmarks.machine import describe_machine
from edgedqn.benchmarks.scaling import Costs
from edgedqn.pipeline.sweeps.record import Record, open_storage

RESULTS = Path(__file__).with_suffix(".json")
BATCH, LATER = 100, 2_000
ASSUMED = {"request": 0.02, "megabytes_per_s": 50.0, "start": 8.0}


def suggest(trial: Trial) -> Json:
    """Of a space like that of examples/sweeps/classic_control.toml."""
    return {
        "hidden": trial.suggest_categorical("hidden", ["[]", "[2]", "[4]", "[8]", "[16]"]),
        "rate": trial.suggest_float("rate", 1e-3, 2e-2, log=True),
    }


def driver() -> dict[str, float]:
    """Seconds of the processor for asking and telling."""
    asked_at: dict[int, float] = {}
    told: list[float] = []
    with tempfile.TemporaryDirectory() as folder, open_storage(Path(folder) / "journal.log") as storage:
        record = Record(
            storage, "x", directions=["maximize", "minimize"], sampler="nsga2", seed=0, batch=BATCH, suggest=suggest
        )
        for first in range(0, LATER + BATCH, BATCH):
            started = time.process_time()
            asked = record.ask(first, BATCH)
            asked_at[first] = time.process_time() - started
            for each in asked:
                started = time.process_time()
                record.tell(each, values=[float(each.number % 7), float(each.number % 5)], notes={"passed": True})
                told.append(time.process_time() - started)
    ask = asked_at[0] / BATCH
    return {"ask": ask, "ask_each": max(0.0, asked_at[LATER] - asked_at[0]) / LATER, "tell": statistics.mean(told)}


def work(sweep: Path) -> dict[str, float]:
    """Of the trials of a sweep."""
    manifests = [json.loads(path.read_text()) for path in (sweep / "work").glob("file-*.json")]
    seconds = [manifest["seconds"] for manifest in manifests]
    sizes = [sum((sweep / each["folder"] / name).stat().st_size for name in each["files"]) for each in manifests]
    return {
        "trial": statistics.mean(seconds),
        "spread": statistics.stdev(seconds) / statistics.mean(seconds),
        "files": round(2 * statistics.mean(len(each["files"]) for each in manifests)),
        "megabytes": 2 * statistics.mean(sizes) / 1e6,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path, help="the folder of a sweep that is done")
    found = Costs.from_json({**work(parser.parse_args().sweep), **driver(), **ASSUMED})
    machine = describe_machine(1).to_json()["cpu"]
    write_json(RESULTS, {"schema": 1, "costs": found.to_json(), "assumed": list(ASSUMED), "machine": machine})
    print(json.dumps(found.to_json(), indent=1))
