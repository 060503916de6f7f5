"""A sweep: of each environment the teachers, the trials, and the proof of those that are worth having."""

import itertools
import json
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from optuna.storages import BaseStorage
from optuna.trial import Trial

from edgedqn.agents.errors import InputError, one_line
from edgedqn.agents.files import Json
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.benchmarks.rows import BenchmarkRow
from edgedqn.compression.recipe import Recipe
from edgedqn.compression.recipes import RECIPES
from edgedqn.pipeline.config import RunSettings
from edgedqn.pipeline.sweeps.curves import Curve, mean_curve, median_curve
from edgedqn.pipeline.sweeps.dispatch import Dispatcher, Outcome, Steps, results_of
from edgedqn.pipeline.sweeps.engines import Engine
from edgedqn.pipeline.sweeps.jobs import FileResult, FileWork, ProofResult, ProofWork, TeacherResult, TeacherWork
from edgedqn.pipeline.sweeps.record import Asked, Record
from edgedqn.pipeline.sweeps.space import changed, suggested
from edgedqn.pipeline.sweeps.store import Store
from edgedqn.pipeline.sweeps.sweep_file import DIRECTIONS, Objective, Sweep, fingerprint

RECIPE = "recipe"  # among the settings of a trial: the name of the one that is changed


@dataclass(frozen=True)
class Tried:
    """A trial that is finished.

    Attributes:
      number: from 0 on, in its environment.
      settings: what was tried, by name, and which `recipe`.
      works: a piece of work for each seed of the sweep, in order.
      results: what each came to; empty where one could not be done.
      error: why.
    """

    number: int
    settings: Json
    works: tuple[FileWork, ...]
    results: tuple[FileResult, ...] = ()
    error: str = ""

    @property
    def passed(self) -> bool:
        """Whether the judge lets its file pass with every seed, and it fits its board."""
        return bool(self.results) and all(result.passed for result in self.results)

    def value(self, objective: Objective) -> float:
        """The mean over the seeds."""
        return sum(result.value(objective) for result in self.results) / len(self.results)


@dataclass(frozen=True)
class Proof:
    """A file that was put to the gate on the `prove` seeds.

    Attributes:
      work: whose files are a whole run, with its report.
      rows: of its benchmark; none where it could not be done.
      error: why.
    """

    work: ProofWork
    rows: tuple[BenchmarkRow, ...] = ()
    error: str = ""

    def row(self, name: str) -> BenchmarkRow | None:
        """Of a file of that run."""
        return next((row for row in self.rows if row.name == name), None)

    @property
    def own_row(self) -> BenchmarkRow | None:
        """Of the file itself."""
        return self.row(str(self.work.file.recipe["name"]))


@dataclass(frozen=True)
class Found:
    """What a search of one environment came to.

    Attributes:
      env_id: of the environment.
      teacher: the settings of the training that were best, by name, in place of the preset's.
      trials: all, in order.
      proofs: of each trial on the front, or of all, by its number, one for each seed.
      importances: of each objective, how much each setting matters, 0 to 1.
      error: why there is nothing, where no agent could be trained.
    """

    env_id: str
    teacher: Json
    trials: tuple[Tried, ...] = ()
    proofs: Mapping[int, tuple[Proof, ...]] = field(default_factory=dict)
    importances: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    error: str = ""


def run_sweep(sweep: Sweep, *, store: Store, storage: BaseStorage, engine: Engine, name: str = "") -> dict[str, Found]:
    """Does what is not done yet of a sweep: by environment, what it came to. The engine is the caller's to end; the name tells
    its studies from those of other sweeps in the same storage."""
    recorder = _Recorder(storage, name)
    started = time.monotonic()
    searches = {source.id: _Search(sweep, source, recorder, started=started).steps() for source in sweep.environments}
    return Dispatcher(store, engine, total=planned(sweep)).run(searches)


def planned(sweep: Sweep) -> int:
    """Pieces of work, without the proofs."""
    trials = sweep.trials or len(sweep.grid())
    return len(sweep.environments) * len(sweep.seeds) * (sweep.teacher.trials + trials)


def front(trials: Sequence[Tried], objectives: Sequence[Objective]) -> list[Tried]:
    """Of those that passed, the ones of which no other is as good in all objectives and better in one; of equals the first."""
    passed = [trial for trial in trials if trial.passed]

    def losses(trial: Tried) -> tuple[float, ...]:
        return tuple(trial.value(each) * (1 if DIRECTIONS[each] == "minimize" else -1) for each in objectives)

    def beats(other: Tried, one: Tried) -> bool:
        mine, theirs = losses(one), losses(other)
        no_worse = all(b <= a for a, b in zip(mine, theirs, strict=True))
        return no_worse and (theirs != mine or other.number < one.number)

    return [trial for trial in passed if not any(beats(other, trial) for other in passed)]


@dataclass(frozen=True)
class _Recorder:
    """Where the studies of a sweep lie, and what their names end with."""

    storage: BaseStorage
    name: str


class _Search:
    """Of one environment."""

    def __init__(self, sweep: Sweep, source: EnvironmentSource, recorder: _Recorder, *, started: float):
        self._sweep, self._source, self._recorder, self._started = sweep, source, recorder, started

    def steps(self) -> Steps[Found]:
        try:
            settings, teachers = yield from self._teachers()
        except InputError as error:
            return Found(self._source.id, {}, error=one_line(error))
        trials, importances = yield from self._trials(teachers)
        done = [trial for trial in trials if trial.results]
        best = front(trials, self._sweep.objectives) if self._sweep.prove == "front" else done
        works = [ProofWork(file=work) for trial in best for work in trial.works]
        proofs = map(_proof, works, (yield works))
        proven = {trial.number: tuple(itertools.islice(proofs, len(trial.works))) for trial in best}
        return Found(self._source.id, settings, tuple(trials), proofs=proven, importances=importances)

    def _teachers(self) -> Steps[tuple[Json, list[TeacherWork]]]:
        """The settings of the best trainings, and their work, one for each seed. InputError: none could be done."""
        search = self._sweep.teacher
        record = self._record("teacher", lambda trial: suggested(search.settings, trial), objectives=("return",))
        best: tuple[float, Json, list[TeacherWork]] | None = None
        curves: dict[int, list[dict[int, float]]] = {seed: [] for seed in self._sweep.seeds}
        reason = ""
        for asked in self._asked(record, search.trials):
            hopeless = {seed: median_curve(before) if search.give_up else () for seed, before in curves.items()}
            failed = {each.number: record.failure(each.number) for each in asked}
            works = {
                each.number: [self._teacher(each.point, seed, hopeless=hopeless[seed]) for seed in self._sweep.seeds]
                for each in asked
            }
            outcomes = iter((yield [work for number, several in works.items() if not failed[number] for work in several]))
            for each in asked:
                several, error = works[each.number], failed[each.number]
                came = [] if error else list(itertools.islice(outcomes, len(several)))
                results, reason = results_of(came, TeacherResult)
                reason = error or reason
                score = sum(result.score for result in results) / max(1, len(results))
                given_up, curve = any(result.given_up for result in results), mean_curve([result.curve for result in results])
                values = None if reason else [score]
                record.tell(each, values=values, notes=_notes(reason, several), curve=curve, given_up=given_up)
                for seed, result in zip(self._sweep.seeds, results, strict=False):
                    curves[seed].append(mean_curve([result.curve]))
                if not reason and not given_up and (best is None or score > best[0]):
                    best = score, each.point, several
        if best is None:
            raise InputError(f"No agent of {self._source.id} could be trained: expected one. Got: {reason}")
        return best[1:]

    def _trials(self, teachers: Sequence[TeacherWork]) -> Steps[tuple[list[Tried], dict[str, dict[str, float]]]]:
        """All trials, in order, and what mattered in them."""
        sweep = self._sweep
        what = f"files of {fingerprint([teacher.key for teacher in teachers])}"
        record = self._record(what, self._suggested, objectives=sweep.objectives)
        tried: list[Tried] = []
        for asked in self._asked(record, sweep.trials or len(sweep.grid())):
            begun = [self._trial(each, teachers, failure=record.failure(each.number)) for each in asked]
            outcomes = iter((yield [work for trial in begun if not trial.error for work in trial.works]))
            for each, trial in zip(asked, begun, strict=True):
                came = [] if trial.error else list(itertools.islice(outcomes, len(trial.works)))
                done = self._finished(trial, came)
                values = None if done.error else [done.value(objective) for objective in sweep.objectives]
                record.tell(each, values=values, notes=_notes(done.error, done.works) | {"passed": done.passed})
                tried.append(done)
        return tried, {objective: record.importances(i) for i, objective in enumerate(sweep.objectives)}

    def _finished(self, trial: Tried, came: Sequence[Outcome]) -> Tried:
        """With what it came to, or why it could not be done."""
        results, error = results_of(came, FileResult)
        if not error and not trial.error:
            try:
                for result in results:
                    for objective in self._sweep.objectives:
                        result.value(objective)
                return replace(trial, results=results)
            except InputError as missing:
                error = one_line(missing)
        return replace(trial, error=trial.error or error)

    def _asked(self, record: Record, trials: int) -> Generator[list[Asked], None, None]:
        """Batch after batch, the first one always, until all are tried or the time is over."""
        for first in range(0, trials, self._sweep.batch):
            is_over = self._sweep.minutes and time.monotonic() - self._started > 60 * self._sweep.minutes
            if is_over and first >= max(1, len(record.trials)):
                return
            yield record.ask(first, min(self._sweep.batch, trials - first))

    def _record(self, what: str, suggest: Callable[[Trial], Json], *, objectives: Sequence[Objective]) -> Record:
        sweep, is_teacher = self._sweep, what == "teacher"
        sampler = sweep.teacher.sampler if is_teacher else sweep.sampler
        return Record(
            self._recorder.storage,
            f"{self._source.id} {what} {self._recorder.name}".rstrip(),
            directions=[DIRECTIONS[each] for each in objectives],
            sampler=sampler,
            seed=sweep.seed + int(fingerprint([self._source.id, is_teacher])[:8], 16),
            batch=sweep.batch,
            suggest=suggest,
            grid=() if sampler != "grid" else sweep.teacher.grid() if is_teacher else sweep.grid(),
        )

    def _teacher(self, settings: Json, seed: int, *, hopeless: Curve) -> TeacherWork:
        training = RunSettings(training=self._sweep.training(self._source, settings)).to_json()["training"]
        plain = json.loads(json.dumps(training))
        return TeacherWork(
            environment=self._source.to_json(),
            seed=seed,
            training=plain,
            hopeless=tuple(hopeless),
            changes=self._sweep.changes,
        )

    def _suggested(self, trial: Trial) -> Json:
        """The settings to try, and which recipe is taken."""
        recipes = {each.recipe.name: each for each in self._sweep.recipes}
        chosen = next(iter(recipes)) if len(recipes) == 1 else trial.suggest_categorical(RECIPE, list(recipes))
        return {RECIPE: chosen, **suggested(recipes[chosen].settings, trial, prefix=f"{chosen}/")}

    def _trial(self, asked: Asked, teachers: Sequence[TeacherWork], *, failure: str) -> Tried:
        """A trial that is to be done, or has an error: its settings make no recipe, or it was tried and could not be done."""
        settings = {name: value for name, value in asked.point.items() if name != RECIPE}
        base = next(each.recipe for each in self._sweep.recipes if each.recipe.name == asked.point[RECIPE])
        try:
            tried = _named(base, settings)
        except InputError as error:
            return Tried(asked.number, asked.point, (), error=one_line(error))
        works = tuple(FileWork(teacher=teacher, recipe=tried.to_json()) for teacher in teachers)
        return Tried(asked.number, asked.point, works, error=failure)


def _named(base: Recipe, settings: Json) -> Recipe:
    """A recipe with other settings; its own name where that changes nothing that comes with EdgeDQN, else one that tells."""
    if changed(base, settings) == base and base.name in RECIPES:
        return base
    return changed(base, settings, name=f"{base.name[:48]}-{fingerprint(settings)[:8]}")


def _notes(error: str, works: Sequence[FileWork | TeacherWork]) -> Json:
    return {"error": error, "works": [work.key for work in works]}


def _proof(work: ProofWork, outcome: Outcome) -> Proof:
    if isinstance(outcome, ProofResult):
        return Proof(work, outcome.rows)
    return Proof(work, error=one_line(outcome) if isinstance(outcome, Exception) else "")
