"""The main job: from an environment's name to a proven policy file. The command line and scripts call the same function."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from edgedqn.agents.environments import make_environment
from edgedqn.agents.errors import InputError
from edgedqn.agents.presets import TrainingConfig, preset
from edgedqn.benchmarks.latency import LatencyConfig
from edgedqn.benchmarks.rows import Row, best_passing
from edgedqn.pipeline.native import load_tensorflow, quiet
from edgedqn.pipeline.run_folder import RunFolder

KINDS = ("train", "compress", "export", "bench", "report")


@dataclass(frozen=True)
class RunResult:
    """What a run came to.

    Attributes:
      folder: the run folder.
      benchmark: the object of `benchmark.json`.
      best: the row whose file is in `device/`, or None where no requested recipe passed its gate.
    """

    folder: Path
    benchmark: dict[str, Any]
    best: Row | None


def run(
    env_id: str,
    out: str | Path | None = None,
    seed: int = 0,
    recipes: Sequence[str] | None = None,
    steps: int | None = None,
    force: bool = False,
    training: TrainingConfig | None = None,
    latency: LatencyConfig | None = None,
) -> RunResult:
    """Trains an agent, compresses it by each recipe, exports, measures and reports; goes on where an earlier call stopped.

    Args:
      env_id: a gymnasium id, or `module:Id`.
      out: the run folder; `runs/<environment>-seed<seed>` by default.
      seed: of all randomness, >= 0.
      recipes: names; `qat-int8` and `prune-qat-int8` by default. `ptq-int8` is always shown beside them.
      steps: environment steps of the training; the preset's by default.
      force: do every stage again.
      training: in place of the preset.
      latency: how much is timed.
    Raises:
      InputError: something of this cannot be used; nothing was written.
    """
    with quiet():
        job = Job.create(env_id, out, seed, recipes, steps, training, latency)
        with job.locked():
            job.do(KINDS, force)
        return job.result()


@dataclass(frozen=True)
class PlannedStage:
    """One piece of work.

    Attributes:
      kind: the command that does it.
      needs: the names of the stages it builds on.
      work: does it, from files to files.
    """

    kind: str
    needs: tuple[str, ...]
    work: Callable[[], object]


class Job:
    """A run folder and the stages that fill it."""

    def __init__(self, folder: RunFolder, recipes: Sequence[str] | None = None):
        """Takes a folder as it is, and recipes to put in place of its own; see `create` and `open`. Imports TensorFlow."""
        load_tensorflow()
        from edgedqn.pipeline.config import RunConfig

        self.folder = folder
        self.config = RunConfig.from_json(folder.description["config"])
        if recipes:
            self.config = replace(self.config, recipes=tuple(recipes))
        self._recipes = recipes

    @classmethod
    def create(
        cls,
        env_id: str,
        out: str | Path | None = None,
        seed: int = 0,
        recipes: Sequence[str] | None = None,
        steps: int | None = None,
        training: TrainingConfig | None = None,
        latency: LatencyConfig | None = None,
    ) -> "Job":
        """A new run, or the same one continued. All input is checked before anything is written; see `run`."""
        if seed < 0:
            raise InputError(f"Expected a seed of 0 or more. Got {seed}.")
        training = training or preset(env_id)
        if steps is not None:
            training = replace(training, steps=steps)
        make_environment(env_id).close()
        load_tensorflow()
        from edgedqn.compression.recipes import DEFAULT_RECIPES
        from edgedqn.pipeline.config import RunConfig

        config = RunConfig(training, tuple(recipes or DEFAULT_RECIPES), latency=latency or LatencyConfig())
        path = Path(out) if out is not None else Path("runs") / f"{env_id.replace(':', '-').replace('/', '-')}-seed{seed}"
        return cls(RunFolder.create(path, env_id, seed, config.to_json()), recipes)

    @classmethod
    def open(cls, path: Path, recipes: Sequence[str] | None = None) -> "Job":
        """An existing run, with other recipes where they are given."""
        return cls(RunFolder.open(path), recipes)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else works in the folder meanwhile. What was read of it before the lock is read again."""
        with self.folder.locked():
            self.folder.refresh()
            if self._recipes:
                self.folder.set_recipes(self._recipes)
            self.config = replace(self.config, recipes=tuple(self.folder.description["config"]["recipes"]))
            yield

    def do(self, kinds: Sequence[str], force: bool = False) -> None:
        """Does the stages of these kinds that are not done yet, or all of them by force. The caller holds the lock.

        Raises:
          InputError: a stage they need is missing.
        """
        plan = self._plan()
        for name, stage in plan.items():
            if stage.kind not in kinds or (self.folder.is_done(name) and not force):
                continue
            for needed in stage.needs:
                if not self.folder.is_done(needed):
                    raise InputError(
                        f"{self.folder.path} is not ready for {name!r}: expected {needed!r} to be done. "
                        f"Run `edgedqn {plan[needed].kind}` first."
                    )
            self.folder.forget(_dependents(plan, name))
            with self.folder.stage(name):
                stage.work()

    def result(self) -> RunResult:
        """What the run came to. The stage `bench` must be done."""
        from edgedqn.pipeline.stages import read_benchmark

        benchmark = read_benchmark(self.folder)
        return RunResult(self.folder.path, benchmark, self._best(benchmark))

    def _plan(self) -> dict[str, PlannedStage]:
        """All stages by name, in order."""
        from edgedqn.compression.recipes import FLOAT32
        from edgedqn.pipeline import stages

        folder = self.folder
        names = (FLOAT32.name, *self.config.all_recipes)
        plan = {"train": PlannedStage("train", (), partial(stages.train, folder))}
        plan |= {f"compress/{n}": PlannedStage("compress", ("train",), partial(stages.compress, folder, n)) for n in names}
        plan |= {f"export/{n}": PlannedStage("export", (f"compress/{n}",), partial(stages.export, folder, n)) for n in names}
        plan["bench"] = PlannedStage("bench", tuple(f"export/{n}" for n in names), self._bench)
        plan["report"] = PlannedStage("report", ("bench",), partial(stages.report, folder, self._command()))
        return plan

    def _bench(self) -> None:
        from edgedqn.pipeline import stages
        from edgedqn.pipeline.bundle import remove_bundle, write_bundle

        remove_bundle(self.folder.device)
        best = self._best(stages.bench(self.folder, self.config.all_recipes))
        if best is not None:
            write_bundle(self.folder.model(best["name"]), self.folder.device)

    def _best(self, benchmark: dict[str, Any]) -> Row | None:
        """The file to ship, if a requested recipe that is no mere control passed its gate."""
        from edgedqn.compression.recipes import RECIPES

        passed = {row["name"] for row in benchmark["rows"] if row["gate"] == "pass"}
        if not any(name in passed and not RECIPES[name].control for name in self.config.recipes):
            return None
        return best_passing(benchmark["rows"])

    def _command(self) -> str | None:
        """What makes this run again on the command line, if that can."""
        env_id, seed, config = self.folder.description["env_id"], self.folder.description["seed"], self.config
        if config.training != replace(preset(env_id), steps=config.training.steps) or config.latency != LatencyConfig():
            return None
        recipes = " ".join(config.recipes)
        return f"edgedqn run {env_id} --seed {seed} --steps {config.training.steps} --recipes {recipes}"


def _dependents(plan: Mapping[str, PlannedStage], name: str) -> set[str]:
    """The stages that need this one, or one that needs it."""
    found: set[str] = set()
    for other, stage in plan.items():  # in order, so what a stage needs comes before it
        if name in stage.needs or found.intersection(stage.needs):
            found.add(other)
    return found
