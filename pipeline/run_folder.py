"""The run folder: what lies where, who may write in it, and which stages are done."""

import fcntl
import json
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from edgedqn.agents.errors import InputError
from edgedqn.agents.files import read_json, write_json
from edgedqn.agents.training.checkpoints import has_checkpoints

SCHEMA = 1
# `change` takes these for the same agent, and redoes what depends on them.
TAKEN_BY_CHANGE = ("recipes", "export.", "gate.", "latency.")
# What may change in the midst of a run, with nothing to be done again.
INCIDENTAL = ("training.keep_checkpoints",)
VERSIONED = ("edgedqn", "numpy", "gymnasium", "ai-edge-litert", "tensorflow", "tf_keras", "tensorflow-model-optimization")


class RunFolder:
    """A folder that holds one run and nothing else.

    `run.json` says what the run is and which stages are done; it is written before and after each stage, complete or not at
    all, so a run that was interrupted goes on where it stopped.
    """

    def __init__(self, path: Path, description: dict[str, Any]):
        self.path = path
        self.description = description

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """Opens an existing run.

        Raises:
          InputError: there is none, or one of a newer schema.
        """
        return cls(path, read_json(path / "run.json", SCHEMA))

    @classmethod
    def create(
        cls,
        path: Path,
        env_id: str,
        seed: int,
        config: dict[str, Any],
        force: bool = False,
        updated: Callable[[dict[str, Any]], dict[str, Any]] = lambda config: config,
    ) -> "RunFolder":
        """Makes a new run, or opens the one that is there if it is the same.

        Args:
          path: made with its parents.
          env_id: the environment.
          seed: of all randomness.
          config: JSON. All of it but `INCIDENTAL` and what `change` takes must be the same in a run that is there already,
            unless there is nothing to lose in it yet.
          force: all will be done again, so a run of the same environment and seed may take other settings.
          updated: brings a config that an earlier version wrote to the form of this one's.
        Raises:
          InputError: the folder holds another run, or something else, or cannot be written.
        """
        if (path / "run.json").exists():
            run = cls.open(path)
            asked = json.loads(json.dumps(config))
            if run._differences(env_id, seed, asked, updated, force):
                with run.locked():
                    run.refresh()
                    run._take(asked, run._differences(env_id, seed, asked, updated, force))
            return run
        try:
            path.mkdir(parents=True, exist_ok=True)
            strangers = [entry.name for entry in path.iterdir() if entry.name != ".lock"]
        except OSError as error:
            raise InputError(f"Cannot make a run in {path}: expected a folder that can be written. Got: {error}.") from error
        if strangers:
            raise InputError(f"{path} is no run folder: expected an empty one. Got {', '.join(sorted(strangers)[:3])}.")
        return cls(path, {"schema": SCHEMA, "env_id": env_id, "seed": seed, "config": config, "versions": {}, "stages": []})

    @property
    def agent(self) -> Path:
        """The float agent."""
        return self.path / "agent"

    @property
    def checkpoints(self) -> Path:
        """What an interrupted training goes on from."""
        return self.agent / "checkpoints"

    @property
    def best_checkpoint(self) -> Path:
        """The best float agent seen so far, while training still runs or after it stopped."""
        return self.checkpoints / "best"

    def compressed(self, recipe: str) -> Path:
        """A compressed policy, as the exporter takes it."""
        return self.path / "compressed" / recipe

    def model(self, name: str) -> Path:
        """A policy file."""
        return self.path / "models" / f"{name}.tflite"

    @property
    def benchmark(self) -> Path:
        """The rows."""
        return self.path / "benchmark.json"

    @property
    def report(self) -> Path:
        """The page."""
        return self.path / "report.html"

    @property
    def device(self) -> Path:
        """The bundle."""
        return self.path / "device"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else may write here meanwhile; the lock goes with the process, however it ends.

        Raises:
          InputError: another process is at work here, or the folder cannot be written.
        """
        try:
            file = (self.path / ".lock").open("w")
        except OSError as error:
            raise InputError(f"Cannot write in {self.path}: expected a writable folder. Got: {error}.") from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InputError(f"{self.path} is in use by a running process: expected it to be free.") from error
            yield

    @property
    def is_begun(self) -> bool:
        """Whether there is something to lose: a stage that is done, a checkpoint to go on from, or the best network so far."""
        is_done = any(stage["status"] == "done" for stage in self.description["stages"])
        return is_done or has_checkpoints(self.checkpoints) or (self.best_checkpoint / "agent.json").exists()

    def is_done(self, stage: str) -> bool:
        """Whether the stage was finished, with all that came before it as it is now."""
        return any(s["name"] == stage and s["status"] == "done" for s in self.description["stages"])

    def forget(self, stages: set[str]) -> None:
        """Marks stages as to be done again."""
        self.description["stages"] = [s for s in self.description["stages"] if s["name"] not in stages]

    def change(
        self, here: dict[str, Any], asked: dict[str, Any], ungated: Collection[str], outdated: Collection[str] = ()
    ) -> None:
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
            undone |= {stage["name"] for stage in self.description["stages"] if stage["name"].startswith("export/")}
        redone = set(outdated)
        if old["gate"] != new["gate"]:
            done = (stage["name"].partition("/") for stage in self.description["stages"])
            redone |= {name for what, _, name in done if what == "compress" and name not in ungated}
        for name in redone:
            undone |= {f"compress/{name}", f"export/{name}"}
        self.description["config"] = new
        self.forget(undone)
        self.save()

    def refresh(self) -> None:
        """Reads `run.json` again, where there is one: somebody else may have gone on since."""
        if (self.path / "run.json").exists():
            self.description = read_json(self.path / "run.json", SCHEMA)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Records that a stage runs, and that it is done or has failed, with the seconds it took."""
        self.forget({name})
        entry = {"name": name, "status": "running", "seconds": 0.0}
        self.description["stages"].append(entry)
        self.description["versions"] = versions()
        self.save()
        started = time.monotonic()
        try:
            yield
        except BaseException:
            entry["status"] = "failed"
            raise
        else:
            entry["status"] = "done"
        finally:
            entry["seconds"] = round(time.monotonic() - started, 2)
            self.save()

    def save(self) -> None:
        """Writes `run.json`."""
        write_json(self.path / "run.json", self.description)

    def _differences(
        self, env_id: str, seed: int, asked: dict[str, Any], updated: Callable[[dict[str, Any]], dict[str, Any]], force: bool
    ) -> set[str]:
        """Which settings are otherwise here than asked for, aside from recipes and the way files are written.

        Raises:
          InputError: something would be lost if they were changed, or it is a run of another environment or seed.
        """
        config = json.loads(json.dumps(updated(self.description["config"])))
        here = {"env_id": self.description["env_id"], "seed": self.description["seed"], **_flat(config)}
        there = {"env_id": env_id, "seed": seed, **_flat(asked)}
        differences = [
            key
            for key in [*here, *(there.keys() - here.keys())]  # the environment and the seed first
            if not key.startswith(TAKEN_BY_CHANGE) and here.get(key) != there.get(key)
        ]
        changed = [key for key in differences if key not in INCIDENTAL]
        is_another = bool({"env_id", "seed"} & set(changed))
        if is_another or (changed and self.is_begun and not force):
            key = changed[0]
            startable = not is_another and not any(key.startswith("training.source") for key in changed)
            raise InputError(
                f"{self.path} holds another run: expected {key}={there.get(key)}. Got {key}={here.get(key)}. "
                f"Choose another --out{', or --force to start over' if startable else ''}."
            )
        return set(differences)

    def _take(self, asked: dict[str, Any], differences: set[str]) -> None:
        """Puts the settings asked for in the place of those here. The caller holds the lock."""
        changed = differences.difference(INCIDENTAL)
        here = self.description["config"]
        self.description["config"] = {
            **asked,
            **{key: here[key] for key in ("recipes", "export", "gate", "latency") if key in here},
        }
        if changed:
            self.description["stages"] = []
        self.save()
        if changed and self.agent.exists():
            shutil.rmtree(self.agent)


def versions() -> dict[str, str]:
    """What is installed, of what a result may depend on."""
    found = {}
    for name in VERSIONED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _flat(config: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat.update({f"{key}.{k}": v for k, v in _flat(value).items()} if isinstance(value, dict) else {key: value})
    return flat
