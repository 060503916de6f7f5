"""The folder of a sweep: one experiment and nothing else, which is gone on with by the same call."""

import json
import shutil
import signal
import sys
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from edgedqn.agents.errors import InputError, require
from edgedqn.agents.files import Json, locked_folder
from edgedqn.benchmarks.cores.budget import Budget
from edgedqn.benchmarks.machine import usable_cores
from edgedqn.benchmarks.report.sweep_page import render_sweep
from edgedqn.export.edge_policy import read_verified
from edgedqn.pipeline.bundle import Part, make_bundle
from edgedqn.pipeline.devices.fitting import fit_of_file
from edgedqn.pipeline.sweeps.engines import SCRATCH, Engine, LocalEngine, RayEngine
from edgedqn.pipeline.sweeps.jobs import TeacherWork
from edgedqn.pipeline.sweeps.page import parts_of
from edgedqn.pipeline.sweeps.record import open_storage
from edgedqn.pipeline.sweeps.results import Proven, SweepResult, proven_of
from edgedqn.pipeline.sweeps.store import Store
from edgedqn.pipeline.sweeps.sweep import planned, run_sweep
from edgedqn.pipeline.sweeps.sweep_file import Sweep, read_sweep, with_own_recipes
from edgedqn.pipeline.sweeps.timing import timed

ENGINES = ("local", "ray")
SECONDS_OF_WORK = (20.0, 60.0)  # of a core, of classic control: seen from the quickest recipe to a training
NAME = "name"  # in sweep.json: of this sweep among others in one database
EXTENDED = ("trials", "minutes", "latency")  # what a sweep that is gone on with may say otherwise; of seeds more
SEEDS = "seeds"
TERMINATED = 128 + signal.SIGTERM  # the exit code of what was asked to end


def run_experiment(
    asked: str | Path | Json,
    *,
    out: str | Path | None = None,
    workers: int | None = None,
    engine: str = "local",
    address: str | None = None,
    storage: str | None = None,
    retry_failed: bool = False,
) -> SweepResult:
    """Does what is not done yet of a sweep, as `scripting.sweep` does.

    Raises:
      InputError: something of this cannot be used, before anything is done.
    """
    asked = Path(asked) if isinstance(asked, str) else asked
    store = store_of(asked, None if out is None else str(out))
    require(not store.is_private, f"Workers are other processes: expected a folder or a URL that they reach, too. Got {out}.")
    if storage is None and store.folder is None:
        raise InputError(
            f"A journal file needs a folder of this machine. Expected --storage, the URL of a database. Got {out}."
        )
    value, sweep = _asked(store, asked)
    if "arena" in sweep.objectives and find_spec("tflite_micro") is None:
        raise InputError("The arena is an objective: expected the extra `micro`: pip install --pre 'edgedqn[micro]'. Got none.")
    with ExitStack() as stack:
        stack.enter_context(_ended_by_sigterm())
        stack.enter_context(_locked(store))
        stack.callback(_tidied, store)
        doing = _engine(engine, workers, address)
        try:
            where = storage if storage is not None else Path(str(store.folder)) / "journal.log"
            record = stack.enter_context(open_storage(where))
            store.write_text("sweep.json", json.dumps(value, indent=1))
            print(_announcement(sweep, workers, engine), file=sys.stderr)
            found = run_sweep(sweep, store=store, storage=record, engine=doing, name=value[NAME], retry_failed=retry_failed)
        finally:
            doing.end()
        _tidied(store, is_done=True)
    fronts = {env_id: proven_of(each, store) for env_id, each in found.items()}
    if sweep.latency and store.folder is not None:
        fronts = {env_id: timed(front, store.folder) for env_id, front in fronts.items()}
    result = SweepResult(store, sweep, found, fronts)
    store.write_text("results.json", json.dumps(result.to_json(), indent=1))
    store.write_text("report.html", render_sweep(parts_of(result)))
    return result


def store_of(asked: Path | Json, out: str | None = None) -> Store:
    """Where a sweep lies: in its own folder, or where a file's goes by default."""
    require(isinstance(asked, Path) or out is not None, "Expected out, where a sweep of no file is to go. Got none.")
    return Store(out if out is not None else str(asked if _is_folder(asked) else Path("runs") / asked.stem))  # type: ignore[union-attr]


def fitting(store: Store, front: Sequence[Proven], budget: Budget) -> list[Proven]:
    """The files that passed and fit a board, each that of the first seed."""
    return [each for each in front if each.passed and _fits(_file(store, each), budget)]


def copy_best(store: Store, best: Proven, out: Path) -> tuple[Part, ...]:
    """Makes the bundle of a file, of the first seed."""
    return make_bundle(_file(store, best), out)


def _file(store: Store, proven: Proven) -> Path:
    place = store.folder
    require(place is not None, f"Expected a sweep in a folder of this machine. Got {store.url}.")
    assert place is not None
    return place / proven.runs[0] / proven.files[0]


def _fits(file: Path, budget: Budget) -> bool:
    return fit_of_file(read_verified(file), budget, name=file.stem).reason is None


def _is_folder(asked: Path | Json) -> bool:
    return isinstance(asked, Path) and asked.is_dir()


def _asked(store: Store, asked: Path | Json) -> tuple[Json, Sweep]:
    """What `sweep.json` is to say, with a name of its own, and the sweep: the one that is asked for, or the folder's.

    Raises:
      InputError: the folder is another's, or damaged.
    """
    there = store.read_text("sweep.json")
    try:
        before: Json = {} if there is None else dict(json.loads(there))
    except (TypeError, ValueError) as error:
        raise InputError(f"{store.url}/sweep.json is damaged: expected what a sweep says. Got: {error}.") from error
    name = before.pop(NAME, None)
    require(bool(before) or not _is_folder(asked), f"{asked} is no folder of a sweep: expected a sweep.json in it. Got none.")
    value = with_own_recipes(before if _is_folder(asked) else read_sweep(asked) if isinstance(asked, Path) else dict(asked))
    sweep = Sweep.from_json(value)
    fixed = [key for key in {**before, **value} if key not in (*EXTENDED, SEEDS)] if before else []
    changed = [key for key in fixed if value.get(key) != before.get(key)]
    if before and not set(before.get(SEEDS, [0])) <= set(sweep.seeds):
        changed.append(SEEDS)
    expected = f"expected {', '.join(changed)} as it is there{', and more' if changed == [SEEDS] else ''}"
    require(not changed, f"{store.url} holds another sweep: {expected}. Got another; choose another --out.")
    return {**value, NAME: name or uuid.uuid4().hex[:8]}, sweep


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Lets SIGTERM end this process as an exception does, which removes what it has begun; where a caller has no other way."""
    is_free = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if not is_free:
        yield
        return

    def end(*_: object) -> NoReturn:
        raise SystemExit(TERMINATED)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _tidied(store: Store, *, is_done: bool = False) -> None:
    """Removes what was begun, when nobody works; but for trainings, which the next call goes on with, where it is not done."""
    if store.folder is None:
        return
    for place in (store.folder / SCRATCH).glob("*"):
        if is_done or not place.name.startswith(f"{TeacherWork.kind}-"):
            shutil.rmtree(place, ignore_errors=True)
    with suppress(OSError):
        (store.folder / SCRATCH).rmdir()


@contextmanager
def _locked(store: Store) -> Iterator[None]:
    """Keeps other processes of this machine from driving the same sweep. InputError: one does, or it cannot be written."""
    if store.folder is None:
        yield
        return
    try:
        store.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"Cannot write in {store.url}: expected a writable folder. Got: {error}.") from error
    with locked_folder(store.folder):
        yield


def _announcement(sweep: Sweep, workers: int | None, engine: str) -> str:
    trials = sweep.all_trials
    who, how_long = "a Ray cluster", ""
    if engine == "local":
        who = f"{workers or usable_cores()} processes"
        least, most = (planned(sweep) * seconds / 60 / (workers or usable_cores()) for seconds in SECONDS_OF_WORK)
        how_long = f" Estimate, for classic control: {least:.0f} to {most:.0f} minutes."
    names = ", ".join(each.recipe.name for each in sweep.recipes)
    seeds = ", ".join(map(str, sweep.seeds))
    return (
        f"{', '.join(each.id for each in sweep.environments)}: {trials} trials each of {names}, with training seeds {seeds}, "
        f"for {', '.join(sweep.objectives)}, by {sweep.sampler}. {planned(sweep)} pieces of work, done by {who}.{how_long}"
    )


def _engine(name: str, workers: int | None, address: str | None) -> Engine:
    require(name in ENGINES, f"Expected an engine of {', '.join(ENGINES)}. Got {name!r}.")
    if name == "local":
        require(address is None, "An --address is that of a Ray cluster. Expected --engine ray beside it. Got local.")
        require(workers is None or workers >= 1, f"Expected 1 worker or more. Got {workers}.")
        return LocalEngine(workers or usable_cores())
    require(workers is None, "A cluster has as many workers as it has cores. Expected no --workers beside --engine ray.")
    return RayEngine(address)
