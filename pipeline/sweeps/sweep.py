"""A sweep: of each environment the teachers, the trials, and the proof of those that are worth having."""

import json
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from optuna.storages import BaseStorage
from optuna.trial import BaseTrial

from edgedqn.agents.errors import InputError, one_line
from edgedqn.agents.files import Json
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.compression.recipe import Recipe
from edgedqn.compression.recipes import RECIPES
from edgedqn.pipeline.config import RunSettings
from edgedqn.pipeline.sweeps.curves import Curve, mean_curve, median_curve
from edgedqn.pipeline.sweeps.dispatch import Dispatcher, Needed, Outcome, Steps
from edgedqn.pipeline.sweeps.engines import Engine
from edgedqn.pipeline.sweeps.jobs import FileResult, FileWork, ProofResult, ProofWork, Result, TeacherResult, TeacherWork, Work
from edgedqn.pipeline.sweeps.record import FAILED, LEARNING, Asked, Record
from edgedqn.pipeline.sweeps.space import changed, suggested
from edgedqn.pipeline.sweeps.store import Store
from edgedqn.pipeline.sweeps.sweep_file import DIRECTIONS, Objective, Sweep, fingerprint
from edgedqn.pipeline.sweeps.trials import Found, Proof, Tried, front, told_by_seed

RECIPE = "recipe"  # among the settings of a trial: the name of the one that is changed
HOPELESS = "hopeless"  # among the notes of a training: by seed, below what it was to be given up
R = TypeVar("R", bound=Result)


def run_sweep(
    sweep: Sweep, *, store: Store, storage: BaseStorage, engine: Engine, name: str = "", retry_failed: bool = False
) -> dict[str, Found]:
    """Does what is not done yet of a sweep: by environment, what it came to.

    Args:
      sweep: the experiment.
      store: where its files lie.
      storage: where its studies lie.
      engine: the caller's to end.
      name: tells its studies from those of other sweeps in the same storage.
      retry_failed: whether what could not be done in an earlier call is tried again.
    """
    recorder = _Recorder(storage, name, retry_failed)
    started = time.monotonic()
    searches = {source.id: _Search(sweep, source, recorder, started=started).steps() for source in sweep.environments}
    return Dispatcher(store, engine, total=planned(sweep)).run(searches)


def planned(sweep: Sweep) -> int:
    """Pieces of work, without the proofs of a front."""
    of_each = sweep.teacher.trials + sweep.all_trials * (2 if sweep.prove == "all" else 1)
    return len(sweep.environments) * len(sweep.seeds) * of_each


@dataclass(frozen=True)
class _Recorder:
    """Where the studies of a sweep lie, what their names end with, and whether failures they tell of are tried again."""

    storage: BaseStorage
    name: str
    retry_failed: bool


@dataclass(frozen=True)
class _Teachers:
    """The settings of the best trainings, their work with each seed, and why there is no agent, by seed."""

    settings: Json
    works: Sequence[TeacherWork]
    missing: Mapping[int, str]


class _Search:
    """Of one environment."""

    def __init__(self, sweep: Sweep, source: EnvironmentSource, recorder: _Recorder, *, started: float):
        self._sweep, self._source, self._recorder, self._started = sweep, source, recorder, started

    def steps(self) -> Steps[Found]:
        try:
            teachers = yield from self._teachers()
        except InputError as error:
            return Found(self._source.id, {}, error=one_line(error))
        trials, importances = yield from self._trials(teachers)
        done = [trial for trial in trials if trial.done]
        best = front(trials, self._sweep.objectives) if self._sweep.prove == "front" else done
        works = {
            trial.number: [
                ProofWork(file=work) for work, result in zip(trial.works, trial.results, strict=True) if result is not None
            ]
            for trial in best
        }
        outcomes = iter((yield Needed([work for several in works.values() for work in several])))
        proofs = {number: tuple(_proof(work, next(outcomes)) for work in several) for number, several in works.items()}
        return Found(self._source.id, teachers.settings, tuple(trials), proofs=proofs, importances=importances)

    def _teachers(self) -> Steps[_Teachers]:
        """InputError: they could not be trained; with every seed, unless all files are proven, each for itself."""
        search, seeds = self._sweep.teacher, self._sweep.seeds
        record = self._record(
            f"teacher (seeds: {len(seeds)})", lambda trial: suggested(search.settings, trial), objectives=("return",)
        )
        found: list[tuple[int, float, _Teachers]] = []
        curves: dict[int, list[dict[int, float]]] = {seed: [] for seed in seeds}
        reason = ""
        for asked in self._asked(record, search.trials):
            now = {str(seed): median_curve(before) if search.give_up else () for seed, before in curves.items()}
            # What is written down was asked for in the light of what was known then.
            known = [record.notes(each.number).get(HOPELESS, now) for each in asked]
            trainings = [
                [self._teacher(each.point, seed, hopeless=hopeless[str(seed)]) for seed in seeds]
                for each, hopeless in zip(asked, known, strict=True)
            ]
            outcomes = yield from self._outcomes(
                record, asked, trainings, ahead=self._ahead(trainings[0]) if search.trials == 1 else ()
            )
            for each, hopeless, works in zip(asked, known, trainings, strict=True):
                done, errors = _sorted_out(works, outcomes, TeacherResult)
                results = {work.seed: result for work, result in zip(works, done, strict=True) if result is not None}
                missing = {work.seed: errors[work.key] for work in works if work.key in errors}
                score = sum(result.score for result in results.values()) / max(1, len(results))
                given_up = any(result.given_up for result in results.values())
                for seed, result in results.items():
                    curves[seed].append(mean_curve([result.curve]))
                reason = self._told(missing) or reason
                record.tell(
                    each,
                    values=None if missing else [score],
                    notes=_notes(self._told(missing), works, errors) | {HOPELESS: hopeless},
                    curve=mean_curve([result.curve for result in results.values()]),
                    given_up=given_up,
                )
                if results and not given_up and (not missing or self._sweep.prove == "all"):
                    found.append((len(results), score, _Teachers(each.point, works, missing)))
        if not found:
            raise InputError(f"No agent of {self._source.id} could be trained: expected one. Got: {reason}")
        return max(found, key=lambda each: each[:2])[2]

    def _trials(self, teachers: _Teachers) -> Steps[tuple[list[Tried], dict[str, dict[str, float]]]]:
        """All trials, in order, and what mattered in them."""
        sweep, record = self._sweep, self._files(teachers.works)
        usable = [work for work in teachers.works if work.seed not in teachers.missing]
        tried: list[Tried] = []
        for asked in self._asked(record, sweep.all_trials):
            begun = [self._trial(each, usable) for each in asked]
            works = [trial.works for trial in begun]
            outcomes = yield from self._outcomes(record, asked, works, ahead=() if tried else self._ahead(usable))
            for each, trial in zip(asked, begun, strict=True):
                done, errors = _sorted_out(trial.works, outcomes, FileResult)
                failed = {work.teacher.seed: errors[work.key] for work in trial.works if work.key in errors}
                finished = self._checked(
                    replace(trial, results=done, error=trial.error or self._told({**teachers.missing, **failed}))
                )
                record.tell(
                    each,
                    values=None if finished.error else [finished.value(objective) for objective in sweep.objectives],
                    notes=_notes(finished.error, trial.works, errors) | {"passed": finished.passed},
                )
                tried.append(finished)
        return tried, {objective: record.importances(i) for i, objective in enumerate(sweep.objectives)}

    def _checked(self, trial: Tried) -> Tried:
        """With an error where an objective is not known."""
        try:
            for objective in () if trial.error else self._sweep.objectives:
                trial.value(objective)
        except InputError as unknown:
            return replace(trial, error=one_line(unknown))
        return trial

    def _told(self, errors: Mapping[int, str]) -> str:
        return told_by_seed(errors) if len(self._sweep.seeds) > 1 else next(iter(errors.values()), "")

    def _asked(self, record: Record, trials: int) -> Generator[list[Asked], None, None]:
        """Batch after batch, the first one always, until all are tried or the time is over."""
        for first in range(0, trials, self._sweep.batch):
            is_over = self._sweep.minutes and time.monotonic() - self._started > 60 * self._sweep.minutes
            if is_over and first >= max(1, record.count):
                return
            yield record.ask(first, min(self._sweep.batch, trials - first))

    def _outcomes(
        self, record: Record, asked: Sequence[Asked], works: Sequence[Sequence[Work]], *, ahead: Sequence[Work]
    ) -> Generator[Needed, Sequence[Outcome], dict[str, Outcome | str]]:
        """By its key what each piece of work of a batch came to, or why it could not be done in an earlier call."""
        failed = self._failed(record, asked)
        needed = [work for several in works for work in several if work.key not in failed]
        came = yield Needed(needed, ahead)
        return {**failed, **{work.key: outcome for work, outcome in zip(needed, came, strict=True)}}

    def _failed(self, record: Record, asked: Sequence[Asked]) -> dict[str, str]:
        if self._recorder.retry_failed:
            return {}
        return {key: error for each in asked for key, error in record.notes(each.number).get(FAILED, {}).items()}

    def _ahead(self, teachers: Sequence[TeacherWork]) -> list[Work]:
        """What these agents will be asked for whatever comes out: of all trials, or of the first batch where the next depend
        on it; with a limit of time of none."""
        sweep = self._sweep
        if sweep.minutes:
            return []
        record, count = (
            self._files(teachers),
            min(sweep.batch, sweep.all_trials) if sweep.sampler in LEARNING else sweep.all_trials,
        )
        asked = [each for first in range(0, count, sweep.batch) for each in record.ask(first, min(sweep.batch, count - first))]
        failed = self._failed(record, asked)
        files = [work for each in asked for work in self._trial(each, teachers).works if work.key not in failed]
        return [*files, *(ProofWork(file=work) for work in files if sweep.prove == "all")]

    def _files(self, teachers: Sequence[TeacherWork]) -> Record:
        """Of the trials with these agents."""
        what = f"files of {fingerprint([teacher.key for teacher in teachers])}"
        return self._record(what, self._suggested, objectives=self._sweep.objectives)

    def _record(self, what: str, suggest: Callable[[BaseTrial], Json], *, objectives: Sequence[Objective]) -> Record:
        sweep, is_teacher = self._sweep, what.startswith("teacher")
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
            hopeless=tuple((steps, least) for steps, least in hopeless),
            changes=self._sweep.changes,
        )

    def _suggested(self, trial: BaseTrial) -> Json:
        """The settings to try, and which recipe is taken."""
        recipes = {each.recipe.name: each for each in self._sweep.recipes}
        chosen = next(iter(recipes)) if len(recipes) == 1 else trial.suggest_categorical(RECIPE, list(recipes))
        return {RECIPE: chosen, **suggested(recipes[chosen].settings, trial, prefix=f"{chosen}/")}

    def _trial(self, asked: Asked, teachers: Sequence[TeacherWork]) -> Tried:
        """A trial that is to be done, or has an error: its settings make no recipe."""
        settings = {name: value for name, value in asked.point.items() if name != RECIPE}
        base = next(each.recipe for each in self._sweep.recipes if each.recipe.name == asked.point[RECIPE])
        try:
            tried = _named(base, settings)
        except InputError as error:
            return Tried(asked.number, asked.point, (), error=one_line(error))
        return Tried(
            asked.number, asked.point, tuple(FileWork(teacher=teacher, recipe=tried.to_json()) for teacher in teachers)
        )


def _sorted_out(
    works: Sequence[Work], outcomes: Mapping[str, Outcome | str], kind: type[R]
) -> tuple[tuple[R | None, ...], dict[str, str]]:
    """Of each piece of work the result, if there is one; and why there is none, by its key."""
    came = [outcomes[work.key] for work in works]
    errors = {
        work.key: one_line(each) if isinstance(each, Exception) else each
        for work, each in zip(works, came, strict=True)
        if isinstance(each, Exception | str)
    }
    return tuple(each if isinstance(each, kind) else None for each in came), errors


def _named(base: Recipe, settings: Json) -> Recipe:
    """A recipe with other settings; its own name where that changes nothing that comes with EdgeDQN, else one that tells."""
    if changed(base, settings) == base and base.name in RECIPES:
        return base
    return changed(base, settings, name=f"{base.name[:48]}-{fingerprint(settings)[:8]}")


def _notes(error: str, works: Sequence[Work], errors: Mapping[str, str]) -> Json:
    return {"error": error, "works": [work.key for work in works], FAILED: dict(errors)}


def _proof(work: ProofWork, outcome: Outcome) -> Proof:
    if isinstance(outcome, ProofResult):
        return Proof(work, outcome.rows)
    return Proof(work, error=one_line(outcome) if isinstance(outcome, Exception) else "")
