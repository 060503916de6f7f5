"""What a search has tried, and what it came to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edgedqn.agents.files import Json
from edgedqn.benchmarks.rows import BenchmarkRow
from edgedqn.pipeline.sweeps.jobs import FileResult, FileWork, ProofWork
from edgedqn.pipeline.sweeps.sweep_file import DIRECTIONS, Objective


@dataclass(frozen=True)
class Tried:
    """A trial that is finished.

    Attributes:
      number: from 0 on, in its environment.
      settings: what was tried, by name, and which `recipe`.
      works: a piece of work for each seed of the sweep that has an agent, in order.
      results: what each came to; None where it could not be done.
      error: why it is worth nothing: with which seeds it could not be done, and why. The results of the others are kept, but a
        mean over them is not compared with means over all seeds.
    """

    number: int
    settings: Json
    works: tuple[FileWork, ...]
    results: tuple[FileResult | None, ...] = ()
    error: str = ""

    @property
    def done(self) -> tuple[FileResult, ...]:
        """The results that there are."""
        return tuple(result for result in self.results if result is not None)

    @property
    def passed(self) -> bool:
        """Whether the judge lets its file pass with every seed, and it fits its board."""
        return not self.error and bool(self.done) and all(result.passed for result in self.done)

    def value(self, objective: Objective) -> float:
        """The mean over the seeds that it could be done with."""
        return sum(result.value(objective) for result in self.done) / len(self.done)


def told_by_seed(errors: Mapping[int, str]) -> str:
    """Why something could not be done, in a line: the seeds, and what each of several reasons was."""
    seeds: dict[str, list[str]] = {}
    for seed, error in errors.items():
        seeds.setdefault(error, []).append(str(seed))
    return " ".join(f"Seed{'s' * (len(each) > 1)} {', '.join(each)}: {error}" for error, each in seeds.items())


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
