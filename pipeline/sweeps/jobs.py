"""The pieces of work of a sweep. Each depends on nothing but what it says, so it can be done anywhere, and again."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import ClassVar, TypeAlias

from edgedqn.agents.errors import InputError, require
from edgedqn.agents.files import JsonValue
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.agents.training.config import config_from_json
from edgedqn.benchmarks.latency.interleaved import LatencyConfig
from edgedqn.benchmarks.rows import BenchmarkRow
from edgedqn.compression.policy import CompressedPolicy
from edgedqn.compression.recipe import Recipe
from edgedqn.compression.recipes import RECIPES
from edgedqn.compression.report import UNPLAYABLE
from edgedqn.export.edge_policy import VerifiedFile, read_verified
from edgedqn.export.tflite_file.arena import arena_bounds
from edgedqn.export.tflite_file.inspection import multiply_accumulates
from edgedqn.pipeline.config import CONTROL, ImportedAgent
from edgedqn.pipeline.devices.fitting import fit_of_file
from edgedqn.pipeline.job import Job
from edgedqn.pipeline.judge import judging
from edgedqn.pipeline.seeds import SeedStreams
from edgedqn.pipeline.sweeps.curves import HopelessError, PatientLog
from edgedqn.pipeline.sweeps.store import Store
from edgedqn.pipeline.sweeps.sweep_file import Objective, changes_of, fingerprint
from edgedqn.pipeline.training import train_agent

UNTIMED = LatencyConfig(blocks=2, invokes_per_block=20, patience_s=0.0)  # beside other work: latency is measured apart


@dataclass(frozen=True)
class TeacherResult(JsonValue):
    """A trained agent, or one that was given up.

    Attributes:
      score: the mean return by which its checkpoint was chosen, or the highest before it was given up.
      curve: the mean returns on the way, by environment steps: pairs.
      given_up: whether its training was ended as hopeless; its run folder then holds no agent.
    """

    score: float
    curve: tuple[tuple[int, float], ...] = ()
    given_up: bool = False


@dataclass(frozen=True, kw_only=True)
class FileResult(JsonValue):
    """A file that was compressed and judged.

    Attributes:
      verdict: of the judge, on the `select` seeds.
      reason: why the gate could not be asked; empty where it was.
      kept: the share of the float agent's return over acting at random that it keeps.
      size_bytes: of the file.
      multiply_accumulates: of a step.
      arena_bytes: that any kernels of TFLite Micro can ask for; None where it is not installed, or takes no such file.
      sha256: of the file.
      misfit: why it does not fit its board; empty where it does, or is for none.
      over_random: what the float agent returns over acting at random, in reward units; None where it was not measured.
    """

    verdict: str
    reason: str
    kept: float
    size_bytes: int
    multiply_accumulates: int
    arena_bytes: int | None
    sha256: str
    over_random: float | None = None
    misfit: str = ""

    @property
    def passed(self) -> bool:
        """Whether the judge lets it pass, and it fits its board."""
        return self.verdict == "pass" and not self.misfit

    def value(self, objective: Objective) -> float:
        """What is searched for. InputError: it is not known here."""
        known = {
            "return": self.kept,
            "bytes": self.size_bytes,
            "macs": self.multiply_accumulates,
            "arena": self.arena_bytes,
        }
        found = known[objective]
        if found is None:
            raise InputError("The arena is an objective: expected the extra `micro`, and a file for TFLite Micro. Got none.")
        return found


@dataclass(frozen=True)
class ProofResult(JsonValue):
    """The rows of a benchmark, on the `prove` seeds."""

    rows: tuple[BenchmarkRow, ...]


Result: TypeAlias = TeacherResult | FileResult | ProofResult


@dataclass(frozen=True, kw_only=True)
class Work(JsonValue, ABC):
    """A piece of work: from what it says, and what was done before it, to a run folder and a result."""

    kind: ClassVar[str]
    comes_to: ClassVar[type[Result]]
    goes_on: ClassVar[bool] = False  # whether it is gone on with where it was killed; or it begins anew

    @cached_property
    def key(self) -> str:
        """By which it is found when it is done: of all that decides it."""
        said = {"kind": self.kind, "version": metadata.version("edgedqn"), **self.to_json()}
        return f"{self.kind}-{fingerprint(said)}"

    @property
    def needs(self) -> "Work | None":
        """What must be done before it."""
        return None

    @property
    def is_long(self) -> bool:
        """Whether it takes longer than others of its kind."""
        return False

    @abstractmethod
    def do(self, store: Store, folder: Path) -> Result:
        """Fills an empty run folder, and says what it came to."""


@dataclass(frozen=True, kw_only=True)
class TeacherWork(Work):
    """Trains a float agent.

    Attributes:
      environment: as an EnvironmentSource writes it.
      training: as `asdict` writes a TrainingConfig or a QLearningConfig, with its "algorithm".
      hopeless: pairs of environment steps and a mean return: where its best is less by then, it is given up.
      changes: to the other settings of the run, as `Sweep.changes` gives them.
    """

    kind: ClassVar[str] = "teacher"
    comes_to: ClassVar[type[Result]] = TeacherResult
    goes_on: ClassVar[bool] = True
    environment: Mapping[str, object]
    seed: int
    training: Mapping[str, object]
    hopeless: tuple[tuple[int, float], ...] = ()
    changes: Mapping[str, object] = field(default_factory=dict)

    def do(self, store: Store, folder: Path) -> TeacherResult:
        job = self.job(folder, RECIPES[CONTROL])
        log = PatientLog(job.folder.agent, self.hopeless)
        try:
            with job.locked():
                if not job.folder.is_done("train"):
                    with job.folder.stage("train"):
                        source, training = job.folder.description.source, job.settings.training
                        assert not isinstance(training, ImportedAgent)
                        train_agent(source, training, streams=SeedStreams(self.seed), folder=job.folder.agent, log=log)
                job.do(("compress", "export"))
        except HopelessError:
            return TeacherResult(max(score for _, score in log.curve), tuple(log.curve), given_up=True)
        found = TrainedAgent.load(job.folder.agent).statistics
        curve = tuple((int(steps), float(score)) for steps, score in found["evaluations"])
        return TeacherResult(float(found["checkpoint"]["mean_return"]), curve)

    def job(self, folder: Path, recipe: Recipe) -> Job:
        """The run in a folder, with one recipe."""
        changes = replace(changes_of(dict(self.changes)), recipes=(recipe,), latency=UNTIMED)
        source, training = EnvironmentSource.from_json(self.environment), config_from_json(self.training)
        return Job.create(source, out=folder, seed=self.seed, training=training, changes=changes)


@dataclass(frozen=True, kw_only=True)
class FileWork(Work):
    """Compresses an agent by a recipe, and has the file played on the `select` seeds."""

    kind: ClassVar[str] = "file"
    comes_to: ClassVar[type[Result]] = FileResult
    teacher: TeacherWork
    recipe: Mapping[str, object]

    @property
    def needs(self) -> TeacherWork:
        return self.teacher

    @property
    def is_long(self) -> bool:
        return Recipe.from_json(self.recipe).searches

    def do(self, store: Store, folder: Path) -> FileResult:
        recipe = Recipe.from_json(self.recipe)
        store.get(self.teacher.key, folder)
        job = self.teacher.job(folder, recipe)
        with job.locked():
            job.do(("compress", "export"))
        settings, agent = job.settings, TrainedAgent.load(job.folder.agent)
        with judging(agent, streams=SeedStreams(self.teacher.seed), gate=settings.gate, export=settings.export) as judge:
            judged = judge(CompressedPolicy.load(job.folder.compressed(recipe.name)))
        require(judged.loss < UNPLAYABLE, f"No runtime takes the file. Got: {judged.reason}")
        file, fragility = read_verified(job.folder.model(recipe.name)), job.fragility()
        return FileResult(
            verdict=judged.verdict,
            reason=judged.reason,
            kept=1 - judged.loss * settings.gate.tolerance,
            misfit="" if settings.fit is None else fit_of_file(file, settings.fit, name=recipe.name).reason or "",
            over_random=None if fragility is None else fragility.mean_return - fragility.random_return,
            size_bytes=len(file.content),
            multiply_accumulates=multiply_accumulates(file.model),
            arena_bytes=_arena(file),
            sha256=hashlib.sha256(file.content).hexdigest(),
        )


@dataclass(frozen=True, kw_only=True)
class ProofWork(Work):
    """Proves a file on the `prove` seeds, and makes the run's report."""

    kind: ClassVar[str] = "proof"
    comes_to: ClassVar[type[Result]] = ProofResult
    file: FileWork

    @property
    def needs(self) -> FileWork:
        return self.file

    def do(self, store: Store, folder: Path) -> ProofResult:
        store.get(self.file.key, folder)
        job = self.file.teacher.job(folder, Recipe.from_json(self.file.recipe))
        with job.locked():
            job.do(("bench", "report"))
        return ProofResult(job.result().measured.rows)


KINDS: dict[str, type[Work]] = {each.kind: each for each in (TeacherWork, FileWork, ProofWork)}


def _arena(file: VerifiedFile) -> int | None:
    try:
        return arena_bounds(file.model).largest
    except InputError:
        return None
