"""What the parts of a sweep cost, for `python -m edgedqn.benchmarks.scaling`.

python docs/results/scaling.py runs/classic_control   # the folder of a sweep that is done

All in processor time, so that what else runs on the machine matters little. Of the sweep: what a training and a trial took,
and what a trial's run folder weighs. Measured here: what Optuna's NSGA-II takes to ask for a trial, after 0 to 2,000 earlier
ones, to which a line is fitted, what the driver takes to begin a piece of work and take its answer, and to write a trial into a
journal file. Assumed, and marked so: 20 ms for a request to a store and 50 MB/s for each worker, as object stores give, and 8 s
for a worker to start. Writes docs/results/scaling.json.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from optuna.trial import BaseTrial

from edgedqn.agents.files import Json, write_json
from edgedqn.benchmarks.machine import describe_machine
from edgedqn.benchmarks.scaling import Costs
from edgedqn.compression.recipes import RECIPES
from edgedqn.pipeline.sweeps.dispatch import Dispatcher, Needed, Steps
from edgedqn.pipeline.sweeps.engines import Answer
from edgedqn.pipeline.sweeps.jobs import FileResult, FileWork, TeacherWork, Work
from edgedqn.pipeline.sweeps.record import Record, open_storage
from edgedqn.pipeline.sweeps.store import Store

RESULTS = Path(__file__).with_suffix(".json")
BATCH, LATER = 100, 2_000
FILE = {"verdict": "pass", "reason": "", "kept": 1.0, "size_bytes": 1, "multiply_accumulates": 1}
FILE |= {"arena_bytes": None, "sha256": ""}
ASSUMED = {"request": 0.02, "megabytes_per_s": 50.0, "start": 8.0}


def suggest(trial: BaseTrial) -> Json:
    """Of a space like that of examples/sweeps/classic_control.toml."""
    return {
        "hidden": trial.suggest_categorical("hidden", ["[]", "[2]", "[4]", "[8]", "[16]"]),
        "rate": trial.suggest_float("rate", 1e-3, 2e-2, log=True),
    }


class Answering:
    """An engine that has done everything as soon as it is asked."""

    def __init__(self) -> None:
        self._numbers: list[int] = []

    def submit(self, number: int, work: Work, url: str) -> None:
        self._numbers.append(number)

    def next(self) -> tuple[int, Answer]:
        return self._numbers.pop(), FileResult(**FILE).to_json()

    def end(self) -> None:
        self._numbers.clear()


def dispatching() -> dict[str, float]:
    """Seconds of the processor for beginning a piece of work and taking its answer."""
    teacher = TeacherWork(environment={"id": "CartPole-v1"}, seed=0, training={})
    works = [FileWork(teacher=teacher, recipe={**RECIPES["student-qat-int8"].to_json(), "name": str(i)}) for i in range(LATER)]

    def asks() -> Steps[None]:
        yield Needed(works)

    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        Dispatcher(Store(folder), Answering(), total=LATER).run({"a": asks()})
        return {"dispatch": (time.process_time() - started) / LATER}


def driver() -> tuple[dict[str, float], dict[int, float]]:
    """Seconds of the processor for asking and telling; and for asking for a trial, by the number of earlier ones."""
    asked_at: dict[int, float] = {}
    told: list[float] = []
    with tempfile.TemporaryDirectory() as folder, open_storage(Path(folder) / "journal.log") as storage:
        record = Record(
            storage, "x", directions=["maximize", "minimize"], sampler="nsga2", seed=0, batch=BATCH, suggest=suggest
        )
        for first in range(0, LATER + BATCH, BATCH):
            started = time.process_time()
            asked = record.ask(first, BATCH)
            asked_at[first] = (time.process_time() - started) / BATCH
            for each in asked:
                started = time.process_time()
                record.tell(each, values=[float(each.number % 7), float(each.number % 5)], notes={"passed": True})
                told.append(time.process_time() - started)
    ask_each, ask = np.polyfit(list(asked_at), list(asked_at.values()), 1)
    costs = {"ask": max(0.0, float(ask)), "ask_each": max(0.0, float(ask_each)), "tell": statistics.mean(told)}
    return costs, {first: round(seconds, 6) for first, seconds in asked_at.items()}


def work(sweep: Path) -> dict[str, float]:
    """Of the trainings and the trials of a sweep."""
    trained, manifests = (
        [json.loads(path.read_text()) for path in (sweep / "work").glob(f"{kind}-*.json")] for kind in ("teacher", "file")
    )
    seconds = [manifest["cpu_seconds"] for manifest in manifests]
    sizes = [sum((sweep / each["folder"] / name).stat().st_size for name in each["files"]) for each in manifests]
    return {
        "training": statistics.mean(manifest["cpu_seconds"] for manifest in trained),
        "trial": statistics.mean(seconds),
        "spread": statistics.stdev(seconds) / statistics.mean(seconds),
        "files": round(2 * statistics.mean(len(each["files"]) for each in manifests)),
        "megabytes": 2 * statistics.mean(sizes) / 1e6,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path, help="the folder of a sweep that is done")
    sweep = parser.parse_args().sweep
    costs, asked = driver()
    found = Costs.from_json({**work(sweep), **costs, **dispatching(), **ASSUMED})
    machine = describe_machine(1).to_json()["cpu"]
    write_json(RESULTS, {"schema": 1, "costs": found.to_json(), "assumed": list(ASSUMED), "asked": asked, "machine": machine})
    print(json.dumps(found.to_json(), indent=1))
