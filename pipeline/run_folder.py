"""The run folder: what lies where, who may write in it, and which stages are done."""

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import ClassVar

from edgedqn.agents.errors import InputError, require
from edgedqn.agents.files import (
    UNFINISHED,
    Json,
    JsonValue,
    locked_folder,
    read_json,
    remove_folder,
    remove_unfinished,
    write_json,
)
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.training.checkpoints import has_checkpoints
from edgedqn.benchmarks.machine import forget_peak_memory, peak_memory_mb

SCHEMA = 1
# `change` takes these for the same agent, and redoes what depends on them.
TAKEN_BY_CHANGE = ("recipes", "export.", "gate.", "latency.", "fit")
TAKEN = {key.rstrip(".") for key in TAKEN_BY_CHANGE}
# What may change in the midst of a run, with nothing to be done again.
INCIDENTAL = ("training.keep_checkpoints",)
VERSIONED = ("edgedqn", "numpy", "gymnasium", "ai-edge-litert", "tensorflow", "tf_keras", "tensorflow-model-optimization")


@dataclass(frozen=True)
class StageRecord(JsonValue):
    """A stage that was begun: "running", "done" or "failed", the seconds it took, and the most memory that this process held
    meanwhile, without that of processes that played for it; None where the system does not say, or an earlier version ran it.
    """

    LEFT_OUT: ClassVar[tuple[str, ...]] = ("peak_memory_mb",)

    name: str
    status: str
    seconds: float
    peak_memory_mb: int | None = None


@dataclass(frozen=True, kw_only=True)
class RunDescription(JsonValue):
    """The object of `run.json`."""

    LEFT_OUT: ClassVar[tuple[str, ...]] = ("environment",)

    schema: int = SCHEMA
    env_id: str
    seed: int  # of all randomness
    config: Mapping[str, object]  # the other settings; see `config.RunSettings`
    versions: Mapping[str, str]  # of what is installed, when the newest stage ran
    stages: tuple[StageRecord, ...]  # in the order they were last begun in
    environment: Mapping[str, object] | None = None  # how it is made, besides the id; see `EnvironmentSource`

    @property
    def source(self) -> EnvironmentSource:
        """How the environment is made."""
        return EnvironmentSource.from_json({"id": self.env_id, **(self.environment or {})})


class RunFolder:
    """A folder that holds one run and nothing else.

    `run.json` says what the run is and which stages are done; it is written before and after each stage, complete or not at
    all, so a run that was interrupted goes on where it stopped.
    """

    def __init__(self, path: Path, description: RunDescription):
        self.path = path
        self.description = description
        self.agent = path / "agent"  # the float agent
        self.checkpoints = self.agent / "checkpoints"  # what an interrupted training goes on from
        self.fragility = self.agent / "fragility.json"  # of that agent, with which it goes
        self.best_checkpoint = self.checkpoints / "best"  # the best float agent seen so far
        self.benchmark = path / "benchmark.json"
        self.report = path / "report.html"
        self.device = path / "device"  # the bundle
        self.archive = path / "device.zip"  # of it, where one was asked for

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """Opens an existing run. InputError: there is none, or one that is damaged or of a newer schema."""
        return cls(path, _read(path))

    @classmethod
    def create(
        cls,
        path: Path,
        source: EnvironmentSource,
        *,
        seed: int,
        config: Json,
        force: bool = False,
        updated: Callable[[Mapping[str, object]], Json] = dict,
    ) -> "RunFolder":
        """Makes a new run, or opens the one that is there if it is the same.

        Args:
          path: made with its parents.
          source: of the environment.
          seed: of all randomness.
          config: JSON. All of it but `INCIDENTAL` and what `change` takes must be the same in a run that is there already,
            unless there is nothing to lose in it yet.
          force: all will be done again, so a run of the same environment and seed may take other settings.
          updated: brings a config that an earlier version wrote to the form of this one's.
        Raises:
          InputError: the folder holds another run, or something else, or cannot be written.
        """
        how = {key: value for key, value in source.to_json().items() if key != "id"} or None
        if (path / "run.json").exists():
            run = cls.open(path)
            asked = replace(
                run.description, env_id=source.id, environment=how, seed=seed, config=json.loads(json.dumps(config))
            )
            if run._differences(asked, updated, force):
                with run.locked():
                    run.refresh()
                    run._take(asked.config, run._differences(asked, updated, force))
            return run
        try:
            path.mkdir(parents=True, exist_ok=True)
            strangers = [entry.name for entry in path.iterdir() if entry.name != ".lock" and entry.suffix != UNFINISHED]
        except OSError as error:
            raise InputError(f"Cannot make a run in {path}: expected a folder that can be written. Got: {error}.") from error
        require(not strangers, f"{path} is no run folder: expected an empty one. Got {', '.join(sorted(strangers)[:3])}.")
        return cls(path, RunDescription(env_id=source.id, environment=how, seed=seed, config=config, versions={}, stages=()))

    def compressed(self, recipe: str) -> Path:
        """A compressed policy, as the exporter takes it."""
        return self.path / "compressed" / recipe

    def model(self, name: str) -> Path:
        """A policy file."""
        return self.path / "models" / f"{name}.tflite"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes from writing here; the lock goes with the process, however it ends. What such a one was writing
        when it was killed is removed.

        Raises:
          InputError: another process is at work here, or the folder cannot be written.
        """
        with locked_folder(self.path):
            remove_unfinished(self.path)
            yield

    @property
    def is_begun(self) -> bool:
        """Whether there is something to lose: a stage that is done, a checkpoint to go on from, or the best network so far."""
        is_done = any(stage.status == "done" for stage in self.description.stages)
        return is_done or has_checkpoints(self.checkpoints) or (self.best_checkpoint / "agent.json").exists()

    def is_done(self, stage: str) -> bool:
        """Whether the stage was finished, with all that came before it as it is now."""
        return any((each.name, each.status) == (stage, "done") for each in self.description.stages)

    def forget(self, stages: Collection[str]) -> None:
        """Marks stages as to be done again."""
        left = tuple(each for each in self.description.stages if each.name not in stages)
        self.description = replace(self.description, stages=left)

    def change(self, here: Json, asked: Json, *, ungated: Collection[str], outdated: Collection[str] = ()) -> None:
        """Takes other recipes for the same agent, another gate, or another way to write files.

        What does not depend on them stays done.

        Args:
          here: the run's own settings, in this version's form.
          asked: what they shall be.
          ungated: the recipes whose outcome does not depend on the gate. Others, also those of an earlier call, are redone when
            it changes.
          outdated: the recipes that are not any more what they were when they were done.
        """
        old, new = (json.loads(json.dumps(each)) for each in (here, asked))
        if old == new and not outdated:
            return
        undone = {"bench", "report"}
        if old["export"] != new["export"]:
            undone |= {stage.name for stage in self.description.stages if stage.name.startswith("export/")}
        redone = set(outdated)
        if old["gate"] != new["gate"]:
            done = (stage.name.partition("/") for stage in self.description.stages)
            redone |= {name for what, _, name in done if what == "compress" and name not in ungated}
        for name in redone:
            undone |= {f"compress/{name}", f"export/{name}"}
        self.description = replace(self.description, config=new)
        self.forget(undone)
        self.save()

    def refresh(self) -> None:
        """Reads `run.json` again, where there is one: somebody else may have gone on since."""
        if (self.path / "run.json").exists():
            self.description = _read(self.path)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Records that a stage runs, and that it is done or has failed, with the seconds and the memory it took."""
        started, status = time.monotonic(), "failed"
        told = forget_peak_memory()
        self._record(StageRecord(name, "running", 0.0))
        try:
            yield
            status = "done"
        finally:
            self._record(StageRecord(name, status, round(time.monotonic() - started, 2), peak_memory_mb() if told else None))

    def _record(self, stage: StageRecord) -> None:
        self.forget({stage.name})
        self.description = replace(self.description, versions=versions(), stages=(*self.description.stages, stage))
        self.save()

    def save(self) -> None:
        """Writes `run.json`."""
        write_json(self.path / "run.json", self.description.to_json())

    def _differences(self, asked: RunDescription, updated: Callable[[Mapping[str, object]], Json], force: bool) -> set[str]:
        """Which settings are otherwise here than asked for, aside from recipes and the way files are written.

        Raises:
          InputError: something would be lost if they were changed, or it is a run of another environment or seed.
        """
        config = json.loads(json.dumps(updated(self.description.config)))
        here, there = (
            {"env_id": each.env_id, "seed": each.seed, **_flat({"environment": each.environment or {}}), **_flat(settings)}
            for each, settings in ((self.description, config), (asked, asked.config))
        )
        differences = [
            key
            for key in [*here, *(there.keys() - here.keys())]  # the environment and the seed first
            if not key.startswith(TAKEN_BY_CHANGE) and here.get(key) != there.get(key)
        ]
        changed = [key for key in differences if key not in INCIDENTAL]
        is_another = any(key in ("env_id", "seed") or key.startswith("environment.") for key in changed)
        if is_another or (changed and self.is_begun and not force):
            key = changed[0]
            startable = not is_another and not any(key.startswith("training.source") for key in changed)
            longer = "A training that was begun is not prolonged. " if key == "training.steps" else ""
            raise InputError(
                f"{self.path} holds another run: expected {key}={there.get(key)}. Got {key}={here.get(key)}. {longer}"
                f"Choose another --out{', or --force to start over' if startable else ''}."
            )
        return set(differences)

    def _take(self, asked: Mapping[str, object], differences: set[str]) -> None:
        """Puts the settings asked for in the place of those here. The caller holds the lock."""
        changed = differences.difference(INCIDENTAL)
        kept = {key: value for key, value in self.description.config.items() if key in TAKEN}
        stages = () if changed else self.description.stages
        self.description = replace(self.description, config={**asked, **kept}, stages=stages)
        self.save()
        if changed and self.agent.exists():
            remove_folder(self.agent)


def versions() -> dict[str, str]:
    """What is installed, of what a result may depend on."""
    found = {}
    for name in VERSIONED:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _read(path: Path) -> RunDescription:
    if not (path / "run.json").exists():
        there = "a folder without run.json" if path.is_dir() else "a file" if path.exists() else "nothing there"
        raise InputError(f"There is no run in {path}: expected a run folder, or a .tflite. Got {there}.")
    value = read_json(path / "run.json", SCHEMA)
    try:
        return RunDescription.from_json(value)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path / 'run.json'} is damaged: expected the description of a run. Got: {error!r}.") from error


def _flat(config: Mapping[str, object]) -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in config.items():
        flat |= {f"{key}.{name}": each for name, each in _flat(value).items()} if isinstance(value, Mapping) else {key: value}
    return flat
