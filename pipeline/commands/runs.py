"""What is done to a run: all of it, one kind of stage, or to what it made; and an agent is played."""

import shlex
import sys
from argparse import Namespace
from contextlib import suppress
from functools import partial
from pathlib import Path

from edgedqn.agents.errors import InputError, require
from edgedqn.agents.files import Json
from edgedqn.agents.playing.environments import agent_view, make_environment
from edgedqn.agents.playing.fragility import Fragility
from edgedqn.agents.playing.source import EnvironmentSource, WrapperSource, parse_arguments
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.agents.training.checkpoints import has_checkpoints
from edgedqn.benchmarks.report.summary import in_a_sentence
from edgedqn.benchmarks.report.table import render_fits, render_table
from edgedqn.compression.recipes import RECIPES
from edgedqn.compression.report import StageReport
from edgedqn.pipeline.bundle import POLICY
from edgedqn.pipeline.collection.config import CollectionConfig
from edgedqn.pipeline.commands import DONE, NOT_PASSED, REGRESSED, SCHEMA, print_json
from edgedqn.pipeline.commands.files import (
    asked_budget,
    asked_npu,
    print_benchmark,
    print_bundle,
    print_evaluation,
    read_references,
    show,
)
from edgedqn.pipeline.commands.libraries import is_library_asked
from edgedqn.pipeline.commands.options import SETTING
from edgedqn.pipeline.config import CONTROL, Changes, resolved
from edgedqn.pipeline.job import KINDS, Job, RunResult
from edgedqn.pipeline.run_folder import RunFolder
from edgedqn.pipeline.viewing.file_details import what_was_skipped
from edgedqn.pipeline.viewing.play import Player
from edgedqn.pipeline.viewing.progress import StageLines, in_colour, is_quiet

EXPORT_OPTIONS = ("strip", "manifest", "float_io", "output", "sparse")


def run(arguments: Namespace) -> int:
    """The main job."""
    require(not arguments.retry_failed, "A run tries again by itself: expected --seeds beside --retry-failed. Got none.")
    job = create_job(arguments)
    lines = asked_lines(arguments)
    with job.locked():
        job.do(KINDS, force=arguments.force, lines=lines)
    with suppress(InputError):  # what was compressed may have been deleted since
        lines.skipped(what_was_skipped(job.folder, job.reports()))
    result = job.result()
    best = result.shipped.name if result.shipped else None
    if arguments.json:
        found = {"schema": SCHEMA, "run": str(result.folder), "best": best, "benchmark": result.benchmark}
        print_json(arguments, found | _fragility_as_json(result.fragility))
    else:
        print(in_colour(render_table(result.measured.rows), sys.stdout))
        if fits := render_fits(result.measured):
            print(f"\n{fits}")
        print(f"\nReport: {job.folder.report}")
    verdict, source = _verdict(result, arguments.json), job.folder.description.source
    if verdict == DONE and not arguments.json and not source.wrappers:  # of which a file alone brings none along
        words = ["edgedqn", "evaluate", str(job.folder.device / POLICY), *(["--env", source.id] if ":" in source.id else [])]
        print(f"Try: {shlex.join(words)}")
    return verdict


def train(arguments: Namespace) -> int:
    """Trains the float agent."""
    return _do(create_job(arguments), arguments)


def compress(arguments: Namespace) -> int:
    """Runs recipes on the agent, or lists those that there are in full, as JSON; `lists` has them in short."""
    if not arguments.list:
        require(arguments.path is not None, "Expected a run folder, or --list. Got neither.")
        return _do_stages(arguments)
    print_json(arguments, {"schema": SCHEMA, "recipes": [recipe.to_json() for recipe in RECIPES.values()]})
    return DONE


def export(arguments: Namespace) -> int:
    """Exports what a run has compressed."""
    return _do_stages(arguments)


def report(arguments: Namespace) -> int:
    """Writes a run's report anew."""
    return _do_stages(arguments)


def bench(arguments: Namespace) -> int:
    """Measures the files of a run."""
    earlier, budget = read_references(arguments), asked_budget(arguments)
    given = [f"--{name}" for name in ("baseline", "seed", "threads", "env", "scale") if getattr(arguments, name) is not None]
    given += [f"--{name.replace('_', '-')}" for name in ("no_play", "no_xnnpack", "mlperf") if getattr(arguments, name)]
    require(not given, f"A run knows how it is measured: expected no {', '.join(given)} beside it.")
    job = Job.open(arguments.paths[0], asked_changes(arguments))
    with job.locked():
        job.do(("bench",), force=arguments.force, lines=asked_lines(arguments))
        if arguments.stress:
            job.stress(force=arguments.force)
        if budget is not None:
            job.fit(budget, force=arguments.force)
        if arguments.merge:
            job.merge(arguments.merge)
    result = job.result()
    regressed = print_benchmark(result.measured, arguments, earlier)
    verdict = _verdict(result, arguments.json)
    return REGRESSED if regressed else verdict


def bundle(arguments: Namespace) -> int:
    """Makes what devices need of a run's best file; a library is made by `files`."""
    assert not is_library_asked(arguments)  # or it says what only a library has
    if arguments.out is not None:
        raise InputError(f"A run's bundle is {arguments.path / 'device'}: expected no --out, or a .tflite. Got both.")
    npu, job = asked_npu(arguments), Job.open(arguments.path)
    with job.locked():
        parts = job.bundle(units=arguments.sensor_units, npu=npu, zipped=arguments.zip)
    print_bundle(job.folder.device, parts, arguments, archive=job.folder.archive if arguments.zip else None)
    return DONE


def evaluate(arguments: Namespace) -> int:
    """Prints the return of the agent."""
    require(arguments.scale is None, "--scale is for files without a manifest: expected none for an agent. Got one.")
    return print_evaluation(_load(arguments), arguments)


def play(arguments: Namespace) -> int:
    """Plays the agent."""
    return show(partial(_load, arguments), arguments)


def load_agent(path: Path, render_mode: str | None = None) -> Player:
    """The agent in a folder, or in a run: its best checkpoint so far where the training is not done."""
    if (path / "run.json").exists():
        folder = RunFolder.open(path)
        path = folder.agent
        if not folder.is_done("train"):
            path = folder.best_checkpoint
            print(f"The training is not done: this is its best checkpoint so far, {path}.", file=sys.stderr)
    if not (path / "agent.json").exists():
        expected = "expected a .tflite, a bundle, an agent folder, or a run folder with a trained agent"
        raise InputError(f"No policy in {path}: {expected}.")
    agent = TrainedAgent.load(path)
    return Player(agent.policy, agent_view(make_environment(agent.spec.source, render_mode), agent.spec), agent.spec.id)


def create_job(arguments: Namespace) -> Job:
    """The job of `run` and `train`: of a new run, or of the one that is there."""
    if arguments.resume and arguments.force:
        raise InputError("Expected --resume, which goes on, or --force, which starts over. Got both.")
    job = Job.create(
        asked_source(arguments),
        out=arguments.out,
        seed=arguments.seed,
        settings=asked_settings(arguments),
        algorithm=arguments.algorithm,
        changes=asked_changes(arguments),
        force=arguments.force,
    )
    folder = job.folder
    if arguments.resume and not folder.is_done("train") and not has_checkpoints(folder.checkpoints):
        print(f"Nothing to resume in {folder.path}: training starts at step 0.", file=sys.stderr)
    return job


def asked_lines(arguments: Namespace) -> StageLines:
    """Where it is said how far a command is: on stderr, unless `--quiet`."""
    return StageLines(None if is_quiet(arguments.quiet) else sys.stderr)


def asked_settings(arguments: Namespace) -> Json:
    """Of the training, those that are given, by name."""
    return {
        name.removeprefix(SETTING): tuple(value) if isinstance(value, list) else value
        for name, value in vars(arguments).items()
        if name.startswith(SETTING) and value is not None
    }


def asked_source(arguments: Namespace) -> EnvironmentSource:
    """How the environment of a command line is made."""
    return EnvironmentSource(
        arguments.env_id,
        arguments=parse_arguments(arguments.env_arg),
        wrappers=tuple(map(WrapperSource.parse, arguments.wrapper)),
        max_episode_steps=arguments.max_episode_steps,
        reset_options=parse_arguments(arguments.reset_option),
        observe=tuple(arguments.observe),
        action_levels=arguments.action_levels,
        action_mask=arguments.action_mask,
    )


def asked_changes(arguments: Namespace) -> Changes:
    """What the command's options change in a run; an option that it does not have changes nothing."""
    return Changes(
        recipes=resolved(getattr(arguments, "recipes", None)),
        export={name: getattr(arguments, name, None) for name in EXPORT_OPTIONS},
        tolerance=getattr(arguments, "tolerance", None),
        gate_episodes=getattr(arguments, "gate_episodes", None),
        fit=asked_budget(arguments) if arguments.command == "run" else None,
        collection=_asked_collection(arguments),
    )


def _asked_collection(arguments: Namespace) -> CollectionConfig | None:
    """By actors, where they are asked for."""
    if arguments.command != "train":
        return None
    options = {"actors": "actors", "policy": "actor_policy", "publish_every": "publish_every", "address": "address"}
    given = {name: value for name, option in options.items() if (value := getattr(arguments, option)) is not None}
    if arguments.engine == "ray":
        print("Collected by actors: an experiment, not reproducible bit for bit.", file=sys.stderr)
        return CollectionConfig(**given)
    named = ", ".join(f"--{options[name].replace('_', '-')}" for name in given)
    require(not given, f"This process collects by itself: expected --engine ray beside {named}. Got --engine local.")
    return None


def _do_stages(arguments: Namespace) -> int:
    """Those that are named like the command."""
    return _do(Job.open(arguments.path, asked_changes(arguments)), arguments)


def _do(job: Job, arguments: Namespace) -> int:
    measured = arguments.force or not job.folder.is_done("fragility")  # in this call: then its stage says it
    with job.locked():
        job.do((arguments.command,), force=arguments.force, lines=asked_lines(arguments))
    compressed = arguments.command == "compress"
    reports, fragility = (job.reports(), job.fragility()) if compressed else ({}, None)
    if arguments.json:
        done = job.folder.description.stages
        stages = [stage.to_json() for stage in done if stage.name.partition("/")[0] == arguments.command]
        found = {"schema": SCHEMA, "run": str(job.folder.path), "stages": stages}
        of_recipes = {name: [each.to_json() for each in of_recipe] for name, of_recipe in reports.items()}
        found |= {"reports": of_recipes} if reports else {}
        print_json(arguments, found | _fragility_as_json(fragility))
    else:
        if fragility is not None and (not measured or is_quiet(arguments.quiet)):
            print(fragility.summary)
        for name, of_recipe in reports.items():
            print(name)
            print(*map(_line, of_recipe), sep="\n")
        print(f"{arguments.command} done: {job.folder.path}")
    return DONE


def _fragility_as_json(found: Fragility | None) -> Json:
    return {} if found is None else {"fragility": {**found.to_json(), "summary": found.summary}}


def _line(report: StageReport) -> str:
    """One stage of a recipe in a line."""
    findings = report.findings
    shown = [f"return {report.mean_return:.4g}", f"agreement {report.agreement:.1%}"]
    if findings.sparsity_reached:
        shown.append(", ".join(f"zeros {share:.0%}" for share in findings.sparsity_reached))
    if findings.clusters_reached:
        shown.append(", ".join(f"values {count}" for count in findings.clusters_reached))
    if findings.held_out_agreement:
        shown.append(f"by gap {max(findings.held_out_agreement):.1%} after {findings.states:,} states ({findings.stopped})")
    if findings.attempts is not None:
        shown.append(f"{len(findings.attempts)} tried" + (f", hidden {list(findings.size.hidden)}" if findings.size else ""))
        shown += [f"taken: {findings.rung}"] if findings.rung else []
        shown += ["none passed"] if findings.passed is False else []
    shown += [f"{findings.clipped_fraction:.2%} clipped"] if findings.clipped_fraction is not None else []
    shown += [f"skipped: {'; '.join(findings.skipped)}"] if findings.skipped else []
    return f"  {report.stage:<15} {report.seconds:6.1f} s  {', '.join(shown)}"


def _verdict(result: RunResult, as_json: bool) -> int:
    if result.shipped is not None and result.shipped.name == CONTROL:
        print(f"Warning: the naive conversion is the smallest that passed: {CONTROL} ships.", file=sys.stderr)
    if as_json:
        return DONE if result.shipped else NOT_PASSED
    if result.shipped is None:
        limit = next((f" and fits {fit.budget.board}" for fit in result.measured.fits if fit.is_limit), "")
        print(f"No int8 file passed its gate{limit}, so there is no device bundle. All files are kept.")
        return NOT_PASSED
    device = result.folder / "device"
    print(f"Deploy: {device} ({result.shipped.name}, {(result.shipped.size_bytes or 0) / 1000:.1f} KB)")
    if missing := [name for name in ("microcontroller", "browser") if not (device / name).exists()]:
        adds = f"`edgedqn bundle {shlex.quote(str(result.folder))}`"
        print(f"Not in it: {', '.join(missing)}. {adds} adds what it can, and says why it cannot.")
    measured = result.measured
    print(f"{device / POLICY}: {in_a_sentence(measured.rows, measured.baseline, measured.fits)}.")
    return DONE


def _load(arguments: Namespace, render_mode: str | None = None) -> Player:
    if arguments.env is not None:
        raise InputError(f"An agent plays where it was trained. Expected no --env, or a .tflite. Got {arguments.env}.")
    return load_agent(arguments.path, render_mode)
