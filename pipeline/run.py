"""The main job: from an environment's name to a proven policy file. The command line and scripts call the same function."""

import json
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.environments import make_environment
from edgedqn.agents.playing.gate import gate_for
from edgedqn.agents.playing.spec import is_beyond_images, spec_of
from edgedqn.agents.training.checkpoints import remove_checkpoints
from edgedqn.agents.training.config import ALGORITHMS, Config, with_settings
from edgedqn.agents.training.presets import find_preset, observation_kind
from edgedqn.benchmarks.latency.interleaved import LatencyConfig
from edgedqn.benchmarks.rows import Benchmark, BenchmarkRow, best_passing, read_benchmark
from edgedqn.compression.report import CompressionRecord, StageReport
from edgedqn.pipeline.native import load_tensorflow, quiet
from edgedqn.pipeline.run_folder import RunFolder

if TYPE_CHECKING:
    from edgedqn.compression.recipe import Recipe
    from edgedqn.export.config import ManifestPlace, Output
    from edgedqn.pipeline.bundle import Part
    from edgedqn.pipeline.config import ImportedAgent

KINDS = ("train", "compress", "export", "bench", "report")


@dataclass(frozen=True)
class RunResult:
    """What a run came to.

    Attributes:
      folder: the run folder.
      measured: what stands in `benchmark.json`.
      shipped: the row whose file is in `device/`, or None where no requested recipe passed its gate.
    """

    folder: Path
    measured: Benchmark
    shipped: BenchmarkRow | None

    @property
    def benchmark(self) -> dict[str, Any]:
        """`measured` as the object of `benchmark.json`."""
        return self.measured.to_json()

    @property
    def best(self) -> dict[str, Any] | None:
        """`shipped` as it stands there."""
        return None if self.shipped is None else self.shipped.to_json()


def run(
    env_id: str,
    out: str | Path | None = None,
    seed: int = 0,
    recipes: "Sequence[str | Recipe] | None" = None,
    steps: int | None = None,
    force: bool = False,
    training: Config | None = None,
    latency: LatencyConfig | None = None,
    strip: bool | None = None,
    manifest: "ManifestPlace | None" = None,
    tolerance: float | None = None,
    float_io: bool | None = None,
    output: "Output | None" = None,
    sparse: bool | None = None,
) -> RunResult:
    """Trains an agent, compresses it by each recipe, exports, measures and reports; goes on where an earlier call stopped.

    Args:
      env_id: a gymnasium id, or `module:Id`.
      out: the run folder; `runs/<environment>-seed<seed>` by default.
      seed: of all randomness, >= 0.
      recipes: names, TOML files, or recipes of your own; `qat-int8` and `prune-qat-int8` by default. `ptq-int8` is always
        shown beside them.
      steps: environment steps of the training; the preset's by default.
      force: do every stage again.
      training: in place of the preset.
      latency: how much is timed.
      strip: leave what no runtime reads out of the files; by default no, or as the run has it.
      manifest: "embedded" in the files, or "beside" them alone; by default embedded, or as the run has it.
      tolerance: what the gate allows, as a share of (float return - random return), in (0, 1); by default 0.02, 0.05 where
        returns are noisy, or as the run has it.
      float_io: float ends for int8 files, too; by default no, or as the run has it.
      output: "preferences", "q_values" or "action"; see `ExportConfig`. By default preferences, or as the run has it.
      sparse: leave blocks of zeros out of the kernels; by default no, or as the run has it.
    Raises:
      InputError: something of this cannot be used; nothing was written.
    """
    with quiet():
        settings = {} if steps is None else {"steps": steps}
        exporting = {"strip": strip, "manifest": manifest, "float_io": float_io, "output": output, "sparse": sparse}
        job = Job.create(env_id, out, seed, recipes, settings, None, training, latency, force, exporting, tolerance)
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

    def __init__(
        self,
        folder: RunFolder,
        recipes: "Sequence[str | Recipe] | None" = None,
        exporting: Mapping[str, Any] | None = None,
        tolerance: float | None = None,
    ):
        """Takes a folder as it is, and what to put in place of its own recipes and way of exporting; see `create` and `open`.

        `exporting` are values to change in its `ExportConfig`, by name; None changes nothing. Imports TensorFlow.
        """
        load_tensorflow()
        from edgedqn.pipeline.config import RunConfig, resolved

        self.folder = folder
        own = resolved(recipes) if recipes else None

        def changed(config: RunConfig) -> RunConfig:
            given = {name: value for name, value in (exporting or {}).items() if value is not None}
            export = replace(config.export, **given)
            gate = config.gate if tolerance is None else replace(config.gate, tolerance=tolerance)
            return replace(config, recipes=own or config.recipes, export=export, gate=gate)

        self._changed = changed
        self.config = changed(RunConfig.from_json(folder.description["config"]))

    @classmethod
    def create(
        cls,
        env_id: str,
        out: str | Path | None = None,
        seed: int = 0,
        recipes: "Sequence[str | Recipe] | None" = None,
        settings: Mapping[str, Any] | None = None,
        algorithm: str | None = None,
        training: "Config | ImportedAgent | None" = None,
        latency: LatencyConfig | None = None,
        force: bool = False,
        exporting: Mapping[str, Any] | None = None,
        tolerance: float | None = None,
    ) -> "Job":
        """A new run, or the same one continued. All input is checked before anything is written; see `run`.

        `settings` are values to change in the preset, or in `training`, by name; `algorithm` is "dqn" or "q-learning", by
        default what the preset has. An imported agent that is there already is gone on with. By `force`, a run that is there
        may take other settings.
        """
        if seed < 0:
            raise InputError(f"Expected a seed of 0 or more. Got {seed}.")
        gate = gate_for(env_id, tolerance)
        path = Path(out) if out is not None else Path("runs") / f"{env_id.replace(':', '-').replace('/', '-')}-seed{seed}"
        base = training or _imported(path) or _configured(env_id, algorithm)
        load_tensorflow()
        from edgedqn.compression.recipes import DEFAULT_RECIPES
        from edgedqn.pipeline.config import ImportedAgent, RunConfig, resolved
        from edgedqn.pipeline.training import check_training

        if isinstance(base, ImportedAgent):
            if settings or algorithm:
                given = ", ".join([*(settings or {}), *(["algorithm"] if algorithm else [])])
                raise InputError(f"{path} holds an agent imported from {base.source}: expected nothing to train. Got {given}.")
        else:
            base = with_settings(base, settings or {}, env_id=env_id)
            if force or not _is_trained(path):
                check_training(env_id, base, path / "agent")
        config = RunConfig(
            base,
            resolved(recipes or DEFAULT_RECIPES),
            gate,
            latency or LatencyConfig(),
        )
        starts_over = force and not isinstance(base, ImportedAgent)
        folder = RunFolder.create(path, env_id, seed, config.to_json(), starts_over, RunConfig.updated)
        return cls(folder, recipes, exporting, tolerance)

    @classmethod
    def open(
        cls,
        path: Path,
        recipes: "Sequence[str | Recipe] | None" = None,
        exporting: Mapping[str, Any] | None = None,
        tolerance: float | None = None,
    ) -> "Job":
        """An existing run, with other recipes, or files written in another way, where these are given."""
        return cls(RunFolder.open(path), recipes, exporting, tolerance)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else works in the folder meanwhile. What was read of it before the lock is read again."""
        from edgedqn.pipeline.config import RunConfig

        with self.folder.locked():
            self.folder.refresh()
            here = RunConfig.from_json(self.folder.description["config"])
            self.config = self._changed(here)
            ungated = {recipe.name for recipe in self.config.all_recipes if not recipe.asks_gate}
            self.folder.change(here.to_json(), self.config.to_json(), ungated, self._outdated())
            yield

    def _outdated(self) -> set[str]:
        """The recipes that are done and were something else then: of an earlier version, or under the same name."""
        outdated = set()
        for each in self.config.all_recipes:
            if not self.folder.is_done(f"compress/{each.name}"):
                continue
            now = json.loads(json.dumps(each.to_json()))
            try:
                was = CompressionRecord.read(self.folder.compressed(each.name)).settings
            except InputError:  # it was deleted since, and its file may be all that is wanted
                continue
            if any(was.get(key) != now[key] for key in ("stages", "conversion")):
                outdated.add(each.name)
        return outdated

    def do(self, kinds: Sequence[str], force: bool = False) -> None:
        """Does the stages of these kinds that are not done yet, or all of them by force. The caller holds the lock.

        Raises:
          InputError: a stage they need is missing.
        """
        from edgedqn.pipeline.config import ImportedAgent

        plan, training = self._plan(), self.config.training
        self._tidy()
        for name, stage in plan.items():
            if stage.kind not in kinds or (self.folder.is_done(name) and not force):
                continue
            if stage.kind == "train" and isinstance(training, ImportedAgent):
                raise InputError(
                    f"{self.folder.path} holds an agent imported from {training.source}, which cannot be trained again. "
                    "Expected another stage, or `edgedqn import`."
                )
            for needed in stage.needs:
                if not self.folder.is_done(needed):
                    raise InputError(
                        f"{self.folder.path} is not ready for {name!r}: expected {needed!r} to be done. "
                        f"Run `edgedqn {plan[needed].kind}` first."
                    )
            self.folder.forget(_dependents(plan, name))
            with self.folder.stage(name):
                if stage.kind == "train" and force and self.folder.agent.exists():
                    shutil.rmtree(self.folder.agent)  # or its checkpoints would be gone on from
                stage.work()
            self._tidy()

    def _tidy(self) -> None:
        """Removes checkpoints once the training is recorded as done: a kill before that goes on from them."""
        if self.folder.is_done("train"):
            remove_checkpoints(self.folder.checkpoints)

    def reports(self) -> dict[str, tuple[StageReport, ...]]:
        """What each stage of each recipe that is done did, by recipe; see `compression.report`."""
        done = [each.name for each in self.config.all_recipes if each.stages and self.folder.is_done(f"compress/{each.name}")]
        return {name: CompressionRecord.read(self.folder.compressed(name)).reports for name in done}

    def result(self) -> RunResult:
        """What the run came to. The stage `bench` must be done."""
        benchmark = read_benchmark(self.folder.benchmark)
        return RunResult(self.folder.path, benchmark, self._best(benchmark))

    def _plan(self) -> dict[str, PlannedStage]:
        """All stages by name, in order."""
        from edgedqn.compression.recipes import FLOAT32
        from edgedqn.pipeline import stages

        folder = self.folder
        recipes = {recipe.name: recipe for recipe in (FLOAT32, *self.config.all_recipes)}
        plan = {"train": PlannedStage("train", (), partial(stages.train, folder))}
        for name, each in recipes.items():
            plan[f"compress/{name}"] = PlannedStage("compress", ("train",), partial(stages.compress, folder, each))
        for name, each in recipes.items():
            plan[f"export/{name}"] = PlannedStage("export", (f"compress/{name}",), partial(stages.export, folder, each))
        plan["bench"] = PlannedStage("bench", tuple(f"export/{n}" for n in recipes), self._bench)
        plan["report"] = PlannedStage("report", ("bench",), partial(stages.report, folder, self._command()))
        return plan

    def _bench(self) -> None:
        from edgedqn.pipeline import stages
        from edgedqn.pipeline.bundle import remove_bundle, write_bundle

        best = self._best(stages.bench(self.folder, self.config.all_recipes))
        if best is None:
            remove_bundle(self.folder.device)
        else:  # nothing is fetched that nobody asked for: `bundle` adds the page
            write_bundle(self.folder.model(best.name), self.folder.device)

    def merge(self, measured: Sequence[Path]) -> None:
        """Puts what `bench_on_device.py` wrote on devices beside the run's own rows; the report is made again where there is
        one. The stage `bench` must be done, and the caller holds the lock.

        Raises:
          InputError: a file is damaged or of another policy; nothing was written.
        """
        from edgedqn.pipeline import stages

        stages.merge(self.folder, measured)
        if self.folder.is_done("report"):
            self.do(("report",), force=True)

    def bundle(self) -> "tuple[Part, ...]":
        """Makes `device/` again, and whatever was missing for it when the run made it. The caller holds the lock.

        Raises:
          InputError: the run is not that far, or no file may be shipped.
        """
        from edgedqn.pipeline.bundle import write_bundle

        best = self.result().shipped
        if best is None:
            raise InputError(
                f"{self.folder.path} has nothing to ship: expected a requested recipe, controls aside, to have passed. "
                "A .tflite given by its name is bundled whatever it scored."
            )
        return write_bundle(self.folder.model(best.name), self.folder.device, fetch=True)

    def _best(self, benchmark: Benchmark) -> BenchmarkRow | None:
        """The file to ship, if a requested recipe that is no mere control passed its gate."""
        passed = {row.name for row in benchmark.rows if row.gate == "pass"}
        if not any(recipe.name in passed and not recipe.control for recipe in self.config.recipes):
            return None
        return best_passing(benchmark.rows)

    def _command(self) -> str | None:
        """What makes this run again on the command line, if that can."""
        from edgedqn.compression.recipes import RECIPES
        from edgedqn.pipeline.config import ImportedAgent

        env_id, seed, training = self.folder.description["env_id"], self.folder.description["seed"], self.config.training
        if self.config.latency != LatencyConfig() or any(recipe.name not in RECIPES for recipe in self.config.recipes):
            return None
        recipes = [recipe.name for recipe in self.config.recipes]
        options = self.config.export.options()
        if self.config.gate != gate_for(env_id):
            options.append(f"--tolerance {self.config.gate.tolerance:g}")
        if isinstance(training, ImportedAgent):
            of_both = f"{env_id} --seed {seed}"
            words = ["edgedqn run", of_both, *options, "--recipes", *recipes]
            return f"edgedqn import {shlex.quote(training.source)} {of_both}\n{' '.join(words)}"
        algorithm = next(name for name, cls in ALGORITHMS.items() if isinstance(training, cls))
        before = _configured(env_id, algorithm)
        words = ["edgedqn run", env_id, f"--seed {seed}"]
        if _configured(env_id) != before:
            words.append(f"--algorithm {algorithm}")
        for name, value in asdict(training).items():
            if value != getattr(before, name):
                option = name.replace("_", "-")
                if isinstance(value, bool):
                    words.append(f"--{option}" if value else f"--no-{option}")
                else:
                    words.append(f"--{option} {' '.join(map(str, value)) if isinstance(value, tuple) else value}")
        return " ".join([*words, *options, "--recipes", *recipes])


def _configured(env_id: str, algorithm: str | None = None) -> Config:
    """The preset of an environment that can be made."""
    with closing(make_environment(env_id)) as env:
        spec = spec_of(env, env_id, flatten=is_beyond_images(env))
    kind = observation_kind(spec.observation_shape, spec.preprocessing)
    return find_preset(env_id, kind=kind, algorithm=algorithm)


def _is_trained(path: Path) -> bool:
    return (path / "run.json").exists() and RunFolder.open(path).is_done("train")


def _imported(path: Path) -> "ImportedAgent | None":
    """The agent that was imported into a run, if there is one."""
    training = RunFolder.open(path).description["config"]["training"] if (path / "run.json").exists() else {}
    if "source_sha256" not in training:
        return None
    load_tensorflow()
    from edgedqn.pipeline.config import ImportedAgent

    return ImportedAgent(**training)


def _dependents(plan: Mapping[str, PlannedStage], name: str) -> set[str]:
    """The stages that need this one, or one that needs it."""
    found: set[str] = set()
    for other, stage in plan.items():  # in order, so what a stage needs comes before it
        if name in stage.needs or found.intersection(stage.needs):
            found.add(other)
    return found
