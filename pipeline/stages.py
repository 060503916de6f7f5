"""The stages of a run, each from files to files. (Those of a recipe are `compression.stage`.)"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

from edgedqn.agents.errors import InputError, one_line
from edgedqn.agents.files import write_json, write_text
from edgedqn.agents.playing.environments import agent_view, make_environment
from edgedqn.agents.playing.fragility import Fragility
from edgedqn.agents.playing.gate import Gate, GateResult
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.trained_agent import TrainedAgent, read_taught_by
from edgedqn.benchmarks.comparison import Candidates, compare
from edgedqn.benchmarks.cores.budget import Budget
from edgedqn.benchmarks.cores.fit import FitTest
from edgedqn.benchmarks.device_rows import still_true
from edgedqn.benchmarks.report.charts import stress_chart
from edgedqn.benchmarks.report.learning_curve import learning_chart
from edgedqn.benchmarks.report.page import Film, render_report, render_report_markdown
from edgedqn.benchmarks.report.table import in_digits
from edgedqn.benchmarks.report.vega import picture
from edgedqn.benchmarks.rows import Benchmark, Device, best_passing, read_benchmark
from edgedqn.compression.compress import compress as compress_agent
from edgedqn.compression.policy import CompressedPolicy
from edgedqn.compression.recipe import Recipe
from edgedqn.compression.recipes import FLOAT32
from edgedqn.export.config import ExportConfig
from edgedqn.export.edge_policy import EdgePolicy, PolicyFileError, VerifiedFile, read_verified
from edgedqn.export.tflite import Exported
from edgedqn.export.tflite import exported as export_policy
from edgedqn.export.tflite_file.manifest import write_evidence, write_policy
from edgedqn.export.tflite_file.tflm import MicroUnavailableError
from edgedqn.export.verify import verify, verify_micro
from edgedqn.pipeline.collection.config import CollectionConfig
from edgedqn.pipeline.config import ImportedAgent, RunSettings
from edgedqn.pipeline.devices.fitting import measure_fit, measure_fits
from edgedqn.pipeline.fragility import measure_fragility
from edgedqn.pipeline.judge import excess_of, judging
from edgedqn.pipeline.proving import play_on_seeds, states_on_prove_seeds, with_stress
from edgedqn.pipeline.run_folder import RunFolder, versions
from edgedqn.pipeline.seeds import SeedStreams
from edgedqn.pipeline.training import outcome_of, train_agent
from edgedqn.pipeline.viewing.file_details import file_details
from edgedqn.pipeline.viewing.side_by_side import side_by_side


@dataclass(frozen=True)
class PlannedStage:
    """One piece of work."""

    kind: str  # the command that does it
    needs: tuple[str, ...]  # the names of the stages it builds on
    work: Callable[[], str | None]  # does it, from files to files; what there is to say of it


def dependents(plan: Mapping[str, PlannedStage], name: str) -> set[str]:
    """The stages that need this one, or one that needs it."""
    found: set[str] = set()
    for other, stage in plan.items():  # in order, so what a stage needs comes before it
        if name in stage.needs or found.intersection(stage.needs):
            found.add(other)
    return found


def with_dependents(plan: Mapping[str, PlannedStage], names: Sequence[str]) -> set[str]:
    """These stages, and all that need one of them."""
    return {*names, *(other for name in names for other in dependents(plan, name))}


def train(run: RunFolder, collection: CollectionConfig | None = None) -> str:
    """Trains the float agent, or goes on where that was interrupted: `agent/`, with `learning_curve.svg`.

    `collection` is that of the run's settings, with the address of the cluster. Gives what the agent returns, in words.

    Raises:
      InputError: the environment gave a NaN, or learning diverged. The best candidate so far stays in
        `agent/checkpoints/best/`.
    """
    source, config, streams = _of(run)
    assert not isinstance(config.training, ImportedAgent)
    agent = train_agent(source, config.training, streams=streams, folder=run.agent, collection=collection)
    if (curve := learning_chart(run.agent)) is not None:
        with suppress(InputError):  # without vl-convert-python there is no picture, but an agent all the same
            write_text(run.agent / "learning_curve.svg", picture(curve.spec))
    return outcome_of(agent.statistics)


def fragility(run: RunFolder) -> str:
    """Measures what mistakes cost the agent: `agent/fragility.json`. Gives what to expect, in words."""
    _, config, streams = _of(run)
    found = measure_fragility(TrainedAgent.load(run.agent), streams=streams, gate=config.gate)
    found.save(run.fragility)
    return f"acting at random returns {in_digits(found.random_return)}\n{found.summary}"


def read_fragility(run: RunFolder) -> Fragility | None:
    """What was measured; None in a run of an earlier version."""
    return Fragility.load(run.fragility) if run.fragility.exists() else None


def compress(run: RunFolder, recipe: Recipe) -> None:
    """Runs one recipe on the agent: `compressed/<recipe>/`."""
    _, config, streams = _of(run)
    agent = TrainedAgent.load(run.agent)
    known = read_fragility(run)
    policy = compress_judged(
        agent, recipe, streams=streams, gate=config.gate, export=config.export, fragility=known, fit=config.fit
    )
    policy.save(run.compressed(recipe.name))


def compress_judged(
    agent: TrainedAgent,
    recipe: Recipe,
    *,
    streams: SeedStreams,
    gate: Gate,
    export: ExportConfig,
    fragility: Fragility | None = None,
    fit: Budget | None = None,
) -> CompressedPolicy:
    """Runs one recipe on an agent, in its environment, as `scripting.compress` does.

    Of the streams, `calibrate` is for states and minibatches, `select` for the judge that stages with `asks_gate` are given.
    `fragility` is measured, on `select` as well, where it is None and a stage asks. A search stays within `fit`.
    """

    known = cache(lambda: fragility or measure_fragility(agent, streams=streams, gate=gate))
    env = agent_view(make_environment(agent.spec.source), agent.spec)
    with closing(env), judging(agent, streams=streams, gate=gate, export=export) as judge:
        return compress_agent(
            agent,
            recipe,
            env=env,
            reset_seeds=streams.reset_seeds("calibrate"),
            rng=streams.rng("calibrate", recipe.name),
            judge=judge,
            excess=None if fit is None else excess_of(fit, export),
            tolerates=lambda disagreement: known().tolerates(disagreement, tolerance=gate.tolerance),
        )


def export(run: RunFolder, recipe: Recipe) -> None:
    """Converts a compressed policy and verifies the file: `models/<recipe>.tflite` and `.json`. Raises as `write_verified`."""
    _, config, streams = _of(run)
    policy = CompressedPolicy.load(run.compressed(recipe.name))
    run.model(recipe.name).parent.mkdir(exist_ok=True)
    seeds = {"seed": run.description.seed, "prove_seed": streams.first_reset_seed("prove")}
    origin = {**seeds, "training": asdict(config.training)}
    write_verified(policy, run.model(recipe.name), config=config.export, origin=origin)


def write_verified(policy: CompressedPolicy, path: Path, *, config: ExportConfig, origin: Mapping[str, object]) -> None:
    """Converts a policy, compares the file with its network, and writes it with its manifest: `scripting.export_tflite`.

    `origin`, JSON for the evidence, is what is known of where the policy comes from. Raises InputError where the file does
    not do what its network does, or cannot be written as asked; an earlier file stays.
    """
    way = config.of_baseline() if policy.recipe == FLOAT32.name else config
    exported = export_policy(policy, way)
    evidence = {
        "environment": policy.spec.to_json(),
        "recipe": {
            "name": policy.recipe,
            "settings": policy.settings,
            "stages": [report.to_json() for report in policy.reports],
        },
        **origin,
        "export": asdict(way),
        "verification": _verification(policy, exported),
        "versions": versions(),
    }
    write_policy(path, exported.content, device=exported.device, evidence=evidence)


def _verification(policy: CompressedPolicy, exported: Exported) -> dict[str, object]:
    found: dict[str, object] = {}
    try:
        found["xnnpack"] = asdict(verify(policy, exported))
    except RuntimeError as error:  # XNNPACK refuses int8 layers that never fire: the measurement says so in its row
        reason = one_line(error)
        return {"xnnpack": {"skipped": reason}, "tflite_micro": {"skipped": f"XNNPACK gave nothing to compare with: {reason}"}}
    try:
        found["tflite_micro"] = asdict(verify_micro(policy, exported))
    except MicroUnavailableError as error:
        found["tflite_micro"] = {"skipped": str(error)}
    return found


def bench(run: RunFolder, recipes: tuple[Recipe, ...]) -> Benchmark:
    """Measures all files: `benchmark.json`, and the evidence beside each file."""
    source, config, streams = _of(run)
    files = [run.model(name) for name in (FLOAT32.name, *(recipe.name for recipe in recipes))]
    verified = {}
    for path in files:
        with suppress(PolicyFileError):  # a damaged file becomes a failed row
            verified[path.stem] = _record(read_verified(path))  # what an earlier measurement found must not outlive it
    gates: dict[str, GateResult] = {}
    taught_by = read_taught_by(run.agent).get(streams.first_reset_seed("prove"))
    benchmark = compare(
        Candidates(paths=tuple(files), baseline=FLOAT32.name, relative_to=run.path, verified=verified),
        config.latency,
        rng=streams.rng("bench"),
        observations=states_on_prove_seeds(EdgePolicy.load(files[0]), source, streams),
        play=play_on_seeds(source, streams, config.gate, taught_by=taught_by),
        on_gate=gates.__setitem__,
    )
    for path, row in zip(files, benchmark.rows, strict=True):
        if row.status == "ok":
            gate = gates.get(path.stem)
            _record(verified[path.stem], benchmark=row.to_json(), gate=asdict(gate) if gate else None)
    devices: tuple[Device, ...] = ()
    asked: tuple[FitTest, ...] = ()
    with suppress(InputError):  # where nothing was measured before
        earlier = read_benchmark(run.benchmark)
        devices, asked = earlier.devices, earlier.fits
    fits = measure_fits({path.stem: path for path in files}, asked, config.fit)
    benchmark = replace(benchmark, devices=still_true(devices, benchmark.rows), fits=fits)
    write_json(run.benchmark, benchmark.to_json())
    return benchmark


def stress(run: RunFolder) -> None:
    """Plays what `bench` has played with noisy, late and stuck sensors: adds `stress` to `benchmark.json`, and `stress.svg`."""
    source, _, streams = _of(run)
    benchmark = read_benchmark(run.benchmark)
    files = {row.name: run.path / row.file for row in benchmark.rows}
    benchmark = with_stress(benchmark, files, source=source, streams=streams)
    write_json(run.benchmark, benchmark.to_json())
    if (chart := stress_chart(benchmark.stress)) is not None:
        with suppress(InputError):  # as for the learning curve
            write_text(run.path / "stress.svg", picture(chart.spec))


def fit(run: RunFolder, budget: Budget) -> None:
    """Builds a firmware of each file that `bench` has measured, for a board: adds to the `fits` of `benchmark.json`."""
    benchmark = read_benchmark(run.benchmark)
    is_limit = any(test.is_limit and test.budget == budget for test in benchmark.fits)
    found = measure_fit({row.name: run.path / row.file for row in benchmark.rows}, budget, is_limit=is_limit)
    fits = [found if test.budget == budget else test for test in benchmark.fits]
    write_json(run.benchmark, replace(benchmark, fits=tuple(fits if found in fits else [*fits, found])).to_json())


def _record(file: VerifiedFile, **findings: object) -> VerifiedFile:
    """Writes what a measurement found beside a file, in place of what an earlier one did."""
    evidence = {key: value for key, value in file.evidence.items() if key not in ("benchmark", "gate")}
    recorded = replace(file, evidence={**evidence, **findings})
    write_evidence(recorded)
    return recorded


def report(run: RunFolder, command: str | None) -> None:
    """Writes `report.html` and `report.md` from `benchmark.json`; `command` is what makes the run again, if a command can."""
    benchmark = read_benchmark(run.benchmark)
    description, files = run.description.to_json(), file_details(run, benchmark)
    page = render_report(
        benchmark,
        description,
        command=command,
        margin=_margin(run, benchmark),
        learning=learning_chart(run.agent),
        files=files,
        film=_film(run, benchmark),
        fragility=read_fragility(run),
    )
    write_text(run.report, page)
    write_text(run.report.with_suffix(".md"), render_report_markdown(benchmark, description, command=command, files=files))


def _film(run: RunFolder, benchmark: Benchmark) -> Film | str | None:
    """Of the float file and the smallest that passed, else the last that was played."""
    played = [row for row in benchmark.rows if row.episode_return and row.name != benchmark.baseline]
    if not played:
        return None
    other = best_passing(benchmark.rows, benchmark.fits) or played[-1]
    source, _, streams = _of(run)
    seed = streams.first_reset_seeds("prove", 1)[0]
    return side_by_side(run.model(benchmark.baseline), run.path / other.file, source, seed)


def _margin(run: RunFolder, benchmark: Benchmark) -> float | None:
    """The gate's margin in reward units, from the evidence of a file it was applied to."""
    for row in benchmark.rows:
        if row.status == "ok":
            gate = read_verified(run.path / row.file).evidence.get("gate")
            if gate:
                return float(gate["margin"])
    return None


def _of(run: RunFolder) -> tuple[EnvironmentSource, RunSettings, SeedStreams]:
    return run.description.source, RunSettings.from_json(run.description.config), SeedStreams(run.description.seed)
