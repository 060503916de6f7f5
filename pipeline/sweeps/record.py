"""What was tried: an Optuna study for each search, in a journal file or a database. `optuna-dashboard` opens it as it is.

A study holds finished trials alone, in the order of their numbers: what is under way is known by the store. What a trial is
to try depends on the seed, its number, and the trials of earlier batches; so a search that was interrupted asks again for what
it had asked for, whoever had finished what by then. A trial that could not be done and is tried again is written once more, at
the end, with a note of which one it is; what was chosen in between stays.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import BaseTrial, FrozenTrial, TrialState

from edgedqn.agents.errors import InputError, one_line
from edgedqn.agents.files import Json, write_bytes
from edgedqn.pipeline.sweeps.sweep_file import Direction, Sampler

optuna.logging.set_verbosity(optuna.logging.WARNING)
STARTING = 10  # trials at random, before TPE has anything to go by
LEARNING = ("tpe", "nsga2")  # samplers whose choice depends on earlier trials
AGAIN = "tries again"  # among the notes of a trial: the number of the one that it stands in the place of
FAILED = "failed"  # why a piece of work could not be done, by its key


@contextmanager
def open_storage(where: str | Path) -> Iterator[BaseStorage]:
    """A journal file in a folder of this machine, or a database by its URL, such as `postgresql://...`.

    Raises:
      InputError: the database cannot be reached, or what it needs is not installed.
    """
    if isinstance(where, Path):
        yield _journal(where)
        return
    try:
        storage = RDBStorage(where)
    except Exception as error:  # SQLAlchemy's, and those of each driver
        raise InputError(f"Cannot open {where}: expected the URL of a database. Got: {one_line(error)}.") from error
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _journal(path: Path) -> BaseStorage:
    """A line that was cut off, by a full disk or a power cut, is taken away first: what it told is told again."""
    if path.exists() and not (content := path.read_bytes()).endswith(b"\n"):
        write_bytes(path, content[: content.rfind(b"\n") + 1])
    try:
        storage = JournalStorage(JournalFileBackend(str(path)))
        storage.get_all_studies()  # reads it
        return storage
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged: expected Optuna's journal. Got: {one_line(error)}.") from error


@dataclass(frozen=True)
class Asked:
    """A trial that is to be tried, or was: its number, the settings by name, and Optuna's parameters."""

    number: int
    point: Json
    trial: FrozenTrial


class Record:
    """One search."""

    def __init__(
        self,
        storage: BaseStorage,
        name: str,
        *,
        directions: Sequence[Direction],
        sampler: Sampler,
        seed: int,
        batch: int,
        suggest: Callable[[BaseTrial], Json],
        grid: Sequence[Json] = (),
    ):
        """Opens the study of this name, or makes it.

        Args:
          storage: of it.
          name: of the study.
          directions: "minimize" or "maximize", of each objective.
          sampler: what chooses; all of `grid`, in order, where it is "grid".
          seed: of what is chosen.
          batch: trials that are chosen at once.
          suggest: a trial -> what it is to try.
          grid: parameters, as Optuna names them.
        """
        self._study = optuna.create_study(
            storage=storage, study_name=name, directions=list(directions), load_if_exists=True, sampler=RandomSampler(seed)
        )
        self._directions, self._sampler, self._seed = list(directions), sampler, seed
        self._batch, self._suggest, self._grid = batch, suggest, grid
        self._trials: list[FrozenTrial] = []
        for trial in self._study.get_trials(deepcopy=False):
            self._keep(trial)

    @property
    def count(self) -> int:
        """Of the trials that are finished: the first ones, by their numbers."""
        return len(self._trials)

    def notes(self, number: int) -> Json:
        """What was told of a finished trial beside its values; empty where it is not finished."""
        return self._trials[number].user_attrs if number < self.count else {}

    def ask(self, first: int, count: int) -> list[Asked]:
        """The trials of a batch, of which the number of the first is given: what they are to try is the same each time."""
        told = self._trials[first : first + count]
        if len(told) < count:
            memory = optuna.create_study(directions=self._directions)
            memory.add_trials(self._trials[:first] if self._sampler in LEARNING else [])
            before = len(memory.get_trials(deepcopy=False))
            for number in range(first, first + count):
                memory.sampler = self._seeded(number)
                if number < self.count:  # chosen before, whatever would be chosen now
                    memory.enqueue_trial(self._trials[number].params)
                elif self._grid:
                    memory.enqueue_trial(self._grid[number])
                trial = memory.ask()
                _ = trial.relative_params  # chosen when it is first looked at; TPE looks at those of trials that run
                self._suggest(trial)
            told += memory.get_trials(deepcopy=False)[before + len(told) :]
        return [Asked(number, self._suggest(trial), trial) for number, trial in enumerate(told, first)]

    def tell(
        self,
        asked: Asked,
        *,
        values: Sequence[float] | None,
        notes: Json,
        curve: Mapping[int, float] | None = None,
        given_up: bool = False,
    ) -> None:
        """Writes a finished trial down, the next by its number, unless it is there and nothing else came of it. What could not
        be done has no values; `curve` is what came on the way, by steps."""
        if asked.number < self.count:
            before = self._trials[asked.number]
            came_to_the_same = values is None and before.user_attrs.get(FAILED) == notes.get(FAILED)
            if before.state != TrialState.FAIL or came_to_the_same:
                return
            notes = {**notes, AGAIN: asked.number}
        else:
            assert asked.number == self.count, "in the order of their numbers"
        done = TrialState.PRUNED if given_up else TrialState.COMPLETE
        trial = optuna.trial.create_trial(
            state=TrialState.FAIL if values is None else done,
            values=None if values is None else list(values),
            intermediate_values=dict(curve or {}),
            params=asked.trial.params,
            distributions=asked.trial.distributions,
            user_attrs=notes,
            system_attrs=asked.trial.system_attrs,
        )
        self._study.add_trial(trial)
        self._keep(trial)

    def _keep(self, trial: FrozenTrial) -> None:
        """A finished trial at the place of its number, which an earlier attempt may have."""
        number = trial.user_attrs.get(AGAIN, self.count)
        self._trials[number : number + 1] = [trial]

    def importances(self, objective: int) -> dict[str, float]:
        """How much each parameter matters for an objective, 0 to 1; empty where nothing can be said."""
        done = [trial for trial in self._trials if trial.state == TrialState.COMPLETE]
        if len(done) < 4:
            return {}
        sign = 1 if self._directions[objective] == "minimize" else -1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that it is about low values: they are the good ones here
            try:
                return dict(
                    optuna.importance.get_param_importances(self._study, target=lambda trial: sign * trial.values[objective])
                )
            except (RuntimeError, ValueError):  # nothing varies, in what was tried
                return {}

    def _seeded(self, number: int) -> BaseSampler:
        """What chooses a trial: it knows nothing but the seed, the number and the trials before."""
        seed = int(np.random.SeedSequence(self._seed, spawn_key=(number,)).generate_state(1)[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            if self._sampler == "tpe":
                return TPESampler(seed=seed, n_startup_trials=STARTING, constant_liar=True, multivariate=True, group=True)
            if self._sampler == "nsga2":
                return NSGAIISampler(seed=seed, population_size=max(2, self._batch))
        return RandomSampler(seed=seed)
