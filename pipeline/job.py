"""A run as a job: a run folder, the stages that fill it, and the order they are done in."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial, reduce
from pathlib import Path

from edgedqn.agents.errors import InputError, plain, require
from edgedqn.agents.files import Json, remove_folder, write_json
from edgedqn.agents.playing.fragility import Fragility
from edgedqn.agents.playing.gate import gate_for
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.agents.training.checkpoints import remove_checkpoints
from edgedqn.agents.training.config import Config, with_settings
from edgedqn.benchmarks.cores.budget import Budget
from edgedqn.benchmarks.device_rows import merged
from edgedqn.benchmarks.rows import Benchmark, BenchmarkRow, best_passing, read_benchmark
from edgedqn.compression.recipes import FLOAT32
from edgedqn.compression.report import CompressionRecord, StageReport
from edgedqn.export.devices.npu import NpuTarget
from edgedqn.pipeline import stages
from edgedqn.pipeline.bundle import Part, make_bundle, remove_bundle, shipped_file, write_archive
from edgedqn.pipeline.config import Changes, ImportedAgent, RunSettings
from edgedqn.pipeline.devices.fitting import require_tools
from edgedqn.pipeline.native import load_tensorflow
from edgedqn.pipeline.run_folder import RunFolder
from edgedqn.pipeline.training import check_training, find_training, with_mask
from edgedqn.pipeline.viewing.file_details import device_costs
from edgedqn.pipeline.viewing.progress import StageLines

KINDS = ("train", "compress", "export", "bench", "report")


@dataclass(frozen=True)
class RunResult:
    """What a run came to.

    Attributes:
      folder: the run folder.
      measured: what stands in `benchmark.json`.
      shipped: the row whose file is in `device/`, or None where no int8 file passed its gate.
      fragility: what mistakes cost the float agent; None where it was not measured, as in runs of earlier versions.
    """

    folder: Path
    measured: Benchmark
    shipped: BenchmarkRow | None
    fragility: Fragility | None = None

    def __repr__(self) -> str:  # in a line, where all that was measured would fill pages
        rows, shipped = [row.name for row in self.measured.rows], self.shipped and self.shipped.name
        return f"RunResult(folder={str(self.folder)!r}, shipped={shipped!r}, rows={rows})"

    @property
    def benchmark(self) -> Json:
        """`measured` as the object of `benchmark.json`."""
        return self.measured.to_json()

    @property
    def best(self) -> Json | None:
        """`shipped` as it stands there."""
        return None if self.shipped is None else self.shipped.to_json()


class Job:
    """A run folder and the stages that fill it."""

    def __init__(self, folder: RunFolder, changes: Changes):
        """Takes a folder as it is, and what to change in its settings; see `create` and `open`."""
        self.folder = folder
        self._changes = changes
        self.settings = changes.apply(RunSettings.from_json(folder.description.config))

    @classmethod
    def create(
        cls,
        source: str | EnvironmentSource,
        *,
        out: str | Path | None = None,
        seed: int = 0,
        training: Config | ImportedAgent | None = None,
        settings: Mapping[str, object] | None = None,
        algorithm: str | None = None,
        changes: Changes | None = None,
        force: bool = False,
    ) -> "Job":
        """A new run, or the same one continued. All input is checked before anything is written.

        `source` is an id, or how an environment is made; `out`, `seed` and `force` are those of `scripting.run`. `training`
        stands in place of the preset; an imported agent that is there already is gone on with. `settings` are values to change
        in it, by name. `algorithm` is "dqn" or "q-learning", by default the preset's. `changes` are to the other settings.

        Raises:
          InputError: something of this cannot be used; nothing was written.
        """
        seed = plain(seed)
        require(seed >= 0, f"Expected a seed of 0 or more. Got {seed}.")
        load_tensorflow()
        changes = changes or Changes()
        source = EnvironmentSource.of(source)
        env_id = source.id
        path = Path(out) if out is not None else Path("runs") / f"{env_id.replace(':', '-').replace('/', '-')}-seed{seed}"
        there = RunFolder.open(path) if (path / "run.json").exists() else None
        known = None if there is None else RunSettings.from_json(there.description.config)
        before = None if known is None else known.training
        made = None if there is None else there.description.source
        source = with_mask(source, made, is_imported=isinstance(training or before, ImportedAgent))
        base = training or (before if isinstance(before, ImportedAgent) else find_training(source, algorithm))
        if isinstance(base, ImportedAgent):
            given = ", ".join([*(settings or {}), *(["algorithm"] if algorithm else [])])
            require(not given, f"{path} holds an agent imported from {base.source}: expected nothing to train. Got {given}.")
        else:
            base = with_settings(base, settings or {}, env_id=env_id)
        is_trained = there is not None and there.is_done("train") and not force
        if is_trained and known is not None:  # who collected it is of no matter to what comes after
            changes = replace(changes, collection=changes.collection or known.collection)
        config = changes.apply(RunSettings(training=base, gate=gate_for(env_id)))
        if config.fit is not None:
            require_tools(config.fit)
        if source.action_mask and config.export.output == "action":
            raise InputError(f"{env_id} says which actions are legal: expected an output to choose from. Got output=action.")
        if not isinstance(base, ImportedAgent) and not is_trained:
            check_training(source, base, path / "agent", collection=config.collection)
        folder = RunFolder.create(
            path,
            source,
            seed=seed,
            config=config.to_json(),
            force=force and not isinstance(base, ImportedAgent),
            updated=RunSettings.updated,
        )
        return cls(folder, changes)

    @classmethod
    def open(cls, path: Path, changes: Changes | None = None) -> "Job":
        """An existing run, with other settings where these are given."""
        load_tensorflow()
        return cls(RunFolder.open(path), changes or Changes())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the lock of the folder; what was read of it before is read again."""
        with self.folder.locked():
            self.folder.refresh()
            here = RunSettings.from_json(self.folder.description.config)
            self.settings = self._changes.apply(here)
            ungated = {recipe.name for recipe in self.settings.all_recipes if not recipe.asks_gate}
            outdated = self._outdated() | (self._searched() if here.fit != self.settings.fit else set())
            self.folder.change(here.to_json(), self.settings.to_json(), ungated=ungated, outdated=outdated)
            yield

    def do(self, kinds: Sequence[str], *, force: bool = False, lines: StageLines | None = None) -> None:
        """Does the stages of these kinds that are not done yet, or all of them by force. The caller holds the lock. `lines` are
        told of each.

        Raises:
          InputError: a stage they need is missing, or the agent was imported and is to be trained.
        """
        plan, lines = self._plan(), lines or StageLines()
        self._remove_checkpoints()
        asked = [name for name, stage in plan.items() if stage.kind in kinds]
        undone = stages.with_dependents(plan, [name for name in asked if force or not self.folder.is_done(name)])
        lines.begin([name for name in asked if name in undone], [name for name in asked if name not in undone])
        for name in filter(undone.__contains__, asked):
            stage = plan[name]
            self._check(name, plan)
            self.folder.forget(stages.dependents(plan, name))
            with lines.stage(name) as remarks, self.folder.stage(name):
                if stage.kind == "train" and force and self.folder.agent.exists():
                    remove_folder(self.folder.agent)  # or its checkpoints would be gone on from
                remarks.append(stage.work() or "")
            self._remove_checkpoints()

    def reports(self) -> dict[str, tuple[StageReport, ...]]:
        """What each stage of each recipe that is done did, by recipe; see `compression.report`."""
        recipes = [each for each in self.settings.all_recipes if each.stages and self.folder.is_done(f"compress/{each.name}")]
        return {each.name: CompressionRecord.read(self.folder.compressed(each.name)).reports for each in recipes}

    def fragility(self) -> Fragility | None:
        """What mistakes cost the agent; None where it was not measured, as in runs of earlier versions."""
        return stages.read_fragility(self.folder)

    def result(self) -> RunResult:
        """What the run came to. The stage `bench` must be done."""
        benchmark = read_benchmark(self.folder.benchmark)
        return RunResult(self.folder.path, benchmark, best_passing(benchmark.rows, benchmark.fits), fragility=self.fragility())

    def stress(self, *, force: bool = False) -> None:
        """Plays the files with noisy, late and stuck sensors, unless that is done; the report is made again where there is one.
        The stage `bench` must be done, and the caller holds the lock."""
        if force or read_benchmark(self.folder.benchmark).stress is None:
            stages.stress(self.folder)
            self._report_again()

    def fit(self, budget: Budget, *, force: bool = False) -> None:
        """Says which files fit a board, unless that is done; all else as for `stress`."""
        if force or all(test.budget != budget for test in read_benchmark(self.folder.benchmark).fits):
            stages.fit(self.folder, budget)
            self._report_again()

    def merge(self, measured: Sequence[Path]) -> None:
        """Puts what `bench_on_device.py` wrote on devices beside the run's own rows; the report is made again where there is
        one. The stage `bench` must be done, and the caller holds the lock. An InputError leaves all as it was."""
        write_json(self.folder.benchmark, reduce(merged, measured, read_benchmark(self.folder.benchmark)).to_json())
        self._report_again()

    def bundle(
        self, *, units: Sequence[float] | None = None, npu: NpuTarget | None = None, zipped: bool = False
    ) -> tuple[Part, ...]:
        """Makes `device/` again, and whatever was missing for it when the run made it, with units and an NPU as `make_bundle`
        takes them, and a zip where one is asked for, or there; and the report where it says more now. The caller has the lock.
        Errors as `shipped_file`."""
        before = device_costs(self.folder), self.folder.archive.exists()
        parts = make_bundle(self.shipped_file(), self.folder.device, fetch=True, units=units, npu=npu)
        if zipped or self.folder.archive.exists():
            write_archive(self.folder.device)
        if (device_costs(self.folder), self.folder.archive.exists()) != before:
            self._report_again()
        return parts

    def shipped_file(self) -> Path:
        """As `bundle.shipped_file`."""
        return shipped_file(self.folder)

    def command(self) -> str | None:
        """What makes this run again on the command line, if that can. The stage `train` must be done."""
        spec = TrainedAgent.load(self.folder.agent).spec  # the environment itself may be gone
        return self.settings.command(spec, seed=self.folder.description.seed)

    def _plan(self) -> dict[str, stages.PlannedStage]:
        """All stages by name, in order."""
        folder = self.folder
        recipes = {recipe.name: recipe for recipe in (FLOAT32, *self.settings.all_recipes)}
        plan = {"train": stages.PlannedStage("train", (), partial(stages.train, folder, self.settings.collection))}
        # Nothing needs it, so that runs of earlier versions, which have none, stay as they are.
        plan["fragility"] = stages.PlannedStage("compress", ("train",), partial(stages.fragility, folder))
        for name, each in recipes.items():
            plan[f"compress/{name}"] = stages.PlannedStage("compress", ("train",), partial(stages.compress, folder, each))
        for name, each in recipes.items():
            plan[f"export/{name}"] = stages.PlannedStage("export", (f"compress/{name}",), partial(stages.export, folder, each))
        plan["bench"] = stages.PlannedStage("bench", tuple(f"export/{name}" for name in recipes), self._bench)
        plan["report"] = stages.PlannedStage("report", ("bench",), lambda: stages.report(folder, self.command()))
        return plan

    def _check(self, name: str, plan: Mapping[str, stages.PlannedStage]) -> None:
        stage, training = plan[name], self.settings.training
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

    def _bench(self) -> None:
        benchmark = stages.bench(self.folder, self.settings.all_recipes)
        self.folder.archive.unlink(missing_ok=True)  # of an earlier bundle
        best = best_passing(benchmark.rows, benchmark.fits)
        if best is None:
            remove_bundle(self.folder.device)
        else:  # a run fetches nothing from the network: `bundle` adds the page
            make_bundle(self.folder.model(best.name), self.folder.device)

    def _report_again(self) -> None:
        if self.folder.is_done("report"):
            self.do(("report",), force=True)

    def _outdated(self) -> set[str]:
        """The recipes that are done and were something else then: of an earlier version, or under the same name."""
        outdated = set()
        for each in self.settings.all_recipes:
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

    def _searched(self) -> set[str]:
        """The recipes that are done and may have been searched for on a board: those of an earlier call, too."""
        others = {recipe.name for recipe in (FLOAT32, *self.settings.all_recipes) if not recipe.searches}
        stages_done = (stage.name.partition("/") for stage in self.folder.description.stages)
        return {name for kind, _, name in stages_done if kind == "compress" and name not in others}

    def _remove_checkpoints(self) -> None:
        """Once the training is recorded as done: a kill before that goes on from them."""
        if self.folder.is_done("train"):
            remove_checkpoints(self.folder.checkpoints)
