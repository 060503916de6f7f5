"""What each command does; `cli` has parsed and checked the arguments. Prints results on stdout, all else on stderr."""

import json
import shlex
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial, reduce
from pathlib import Path
from typing import Any

import gymnasium
from tqdm import tqdm

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.environments import agent_view, make_environment
from edgedqn.agents.playing.evaluation import Evaluation, Policy
from edgedqn.agents.playing.evaluation import evaluate as evaluate_policy
from edgedqn.agents.training.checkpoints import has_checkpoints
from edgedqn.benchmarks.device_rows import merged, read_device
from edgedqn.benchmarks.latency.interleaved import LatencyConfig
from edgedqn.benchmarks.regression import compare_with
from edgedqn.benchmarks.report.table import render_devices, render_table
from edgedqn.benchmarks.rows import Benchmark, read_benchmark
from edgedqn.compression.report import StageReport
from edgedqn.export.edge_policy import EdgePolicy
from edgedqn.pipeline.cli import DONE, NOT_PASSED, REGRESSED, SETTING
from edgedqn.pipeline.run import KINDS, Job, RunResult
from edgedqn.pipeline.run_folder import RunFolder

SCHEMA = 1


def run(arguments: Namespace) -> int:
    """The main job."""
    job = _new_job(arguments, arguments.recipes, exporting=True)
    with job.locked():
        job.do(KINDS, arguments.force)
    result = job.result()
    best = result.shipped.name if result.shipped else None
    if arguments.json:
        print(json.dumps({"schema": SCHEMA, "run": str(result.folder), "best": best, "benchmark": result.benchmark}))
    else:
        print(render_table(result.measured.rows))
        print(f"\nReport: {job.folder.report}")
    return _verdict(result, arguments.json)


def train(arguments: Namespace) -> int:
    """The float agent alone."""
    return _stage(_new_job(arguments), arguments)


def compress(arguments: Namespace) -> int:
    """The recipes alone."""
    if arguments.list:
        return _list_recipes(arguments)
    if arguments.path is None:
        raise InputError("Expected a run folder, or --list. Got neither.")
    return _stage(Job.open(arguments.path, arguments.recipes, tolerance=arguments.tolerance), arguments)


def export(arguments: Namespace) -> int:
    """The files alone."""
    return _stage(Job.open(arguments.path, arguments.recipes, _exporting(arguments)), arguments)


def report(arguments: Namespace) -> int:
    """The page alone."""
    return _stage(Job.open(arguments.path), arguments)


def bench(arguments: Namespace) -> int:
    """A run's files, or any files."""
    if arguments.fail_on_regression and arguments.against is None:
        raise InputError("A regression is against something. Expected --against beside --fail-on-regression. Got none.")
    earlier = None if arguments.against is None else read_benchmark(arguments.against)  # before it may be written anew
    for path in arguments.merge:
        read_device(path)  # a damaged one is refused before minutes are measured
    folders = [path for path in arguments.paths if path.suffix != ".tflite"]
    if folders and len(arguments.paths) > 1:
        raise InputError(f"Expected one run folder, or .tflite files. Got {', '.join(map(str, arguments.paths))}.")
    if folders:
        given = [f"--{name}" for name in ("baseline", "seed", "threads") if getattr(arguments, name) is not None]
        given += [f"--{name.replace('_', '-')}" for name in ("no_play", "no_xnnpack", "mlperf") if getattr(arguments, name)]
        if given:
            raise InputError(f"A run knows how it is measured: expected no {', '.join(given)} beside it.")
        job = Job.open(folders[0], tolerance=arguments.tolerance)
        with job.locked():
            job.do(("bench",), arguments.force)
            if arguments.merge:
                job.merge(arguments.merge)
        result = job.result()
        regressed = _print_benchmark(result.measured, arguments, earlier)
        verdict = _verdict(result, arguments.json)
        return REGRESSED if regressed else verdict
    from edgedqn.pipeline.bench_files import bench_files

    latency = LatencyConfig(threads=arguments.threads or 1, xnnpack=not arguments.no_xnnpack, mlperf=arguments.mlperf)
    benchmark = bench_files(
        arguments.paths, arguments.baseline, arguments.seed or 0, latency, not arguments.no_play, arguments.tolerance
    )
    regressed = _print_benchmark(reduce(merged, arguments.merge, benchmark), arguments, earlier)
    return REGRESSED if regressed else DONE


def bundle(arguments: Namespace) -> int:
    """What devices need."""
    from edgedqn.pipeline.bundle import write_bundle

    if arguments.path.suffix == ".tflite":
        folder = arguments.out or Path("device")
        parts = write_bundle(arguments.path, folder, fetch=True)
    else:
        if arguments.out is not None:
            raise InputError(f"A run's bundle is {arguments.path / 'device'}: expected no --out, or a .tflite. Got both.")
        job = Job.open(arguments.path)
        folder = job.folder.device
        with job.locked():
            parts = job.bundle()
    if arguments.json:
        print(json.dumps({"schema": SCHEMA, "bundle": str(folder), "parts": [asdict(part) for part in parts]}))
    else:
        print(f"Bundle: {folder}")
        for part in parts:
            print(f"  {part.device:<15}  {part.remark}")
    return DONE


def evaluate(arguments: Namespace) -> int:
    """The return of one policy."""
    policy, env, env_id = load_player(arguments.path)
    seeds = range(arguments.seed, arguments.seed + arguments.episodes)
    try:
        bar = tqdm(seeds, desc="play", unit=" episodes", disable=None, leave=False)
        evaluation = evaluate_policy(policy, env, seeds=bar)
    finally:
        env.close()
    if arguments.json:
        print(json.dumps(_evaluation_json(evaluation, arguments, env_id)))
    else:
        interval = evaluation.interval
        print(
            f"{env_id}: return {interval.mean:.2f}, 95 % interval [{interval.low:.2f}, {interval.high:.2f}], "
            f"{arguments.episodes} episodes from reset seed {arguments.seed}"
        )
    return DONE


def play(arguments: Namespace) -> int:
    """One policy, for people to watch."""
    if arguments.browser:
        return _play_in_browser(arguments)
    if arguments.port is not None:
        raise InputError("Only a page is served. Expected --browser beside --port. Got none.")
    from edgedqn.pipeline.viewing.play import film_path
    from edgedqn.pipeline.viewing.play import play as play_policy

    def tell(env_id: str, seed: int, evaluation: Evaluation) -> None:
        if not arguments.json:
            tqdm.write(f"{env_id}, reset seed {seed}: return {evaluation.returns[0]:.2f}, {evaluation.env_steps} steps")

    film = film_path(arguments.gif, arguments.video)
    seeds = range(arguments.seed, arguments.seed + arguments.episodes)
    performance = play_policy(partial(load_player, arguments.path), seeds, film, arguments.fps, tell)
    if arguments.json:
        told = {
            "schema": SCHEMA,
            "policy": str(arguments.path),
            "env_id": performance.env_id,
            "episodes": arguments.episodes,
            "seed": arguments.seed,
            "returns": list(performance.returns),
            "env_steps": performance.env_steps,
            "film": str(film) if film else None,
            "frames": performance.frames,
            "fps": performance.frames_per_second,
        }
        print(json.dumps(told))
    elif film is not None:
        print(f"Film: {film} ({performance.frames} frames, {performance.frames_per_second:g} per second)")
    return DONE


def _play_in_browser(arguments: Namespace) -> int:
    from edgedqn.pipeline.viewing.serving import address, page_folder, serve, server

    given = [f"--{name}" for name in ("gif", "video", "fps") if getattr(arguments, name) is not None]
    if given:
        raise InputError(f"A page plays by itself. Expected no {', '.join(given)} beside --browser.")
    with page_folder(arguments.path) as folder, server(folder, arguments.port or 0) as listening:
        url = address(listening)
        told = json.dumps({"schema": SCHEMA, "policy": str(arguments.path), "url": url})
        print(told if arguments.json else f"Open {url} in a browser; Ctrl-C ends it.", flush=True)
        serve(listening)
    return DONE


def import_agent(arguments: Namespace) -> int:
    """An agent from elsewhere."""
    from edgedqn.pipeline.importing import import_job

    job = import_job(arguments.model, arguments.env_id, arguments.out, arguments.seed)
    if arguments.json:
        config = job.folder.description["config"]["training"]
        stages = [stage for stage in job.folder.description["stages"] if stage["name"] == "train"]
        print(json.dumps({"schema": SCHEMA, "run": str(job.folder.path), "stages": stages, **config}))
    else:
        print(f"import done: {job.folder.path}")
    return DONE


def doctor(arguments: Namespace) -> int:
    """What is installed, and whether it works."""
    from edgedqn.pipeline.doctor import examine

    return examine(arguments.json)


def inspect(arguments: Namespace) -> int:
    """What a file holds."""
    from edgedqn.pipeline.inspecting import inspect_safely, render

    report = inspect_safely(arguments.path)
    print(json.dumps(report) if arguments.json else render(report))
    return DONE


def _list_recipes(arguments: Namespace) -> int:
    from edgedqn.pipeline.native import load_tensorflow

    load_tensorflow()
    from edgedqn.compression.recipes import RECIPES

    if arguments.json:
        print(json.dumps({"schema": SCHEMA, "recipes": [recipe.to_json() for recipe in RECIPES.values()]}))
        return DONE
    width = max(map(len, RECIPES))
    for recipe in RECIPES.values():
        print(f"{recipe.name:<{width}}  {recipe.summary}")
    return DONE


def _new_job(arguments: Namespace, recipes: Sequence[str] | None = None, exporting: bool = False) -> Job:
    if arguments.resume and arguments.force:
        raise InputError("Expected --resume, which goes on, or --force, which starts over. Got both.")
    settings = {
        name.removeprefix(SETTING): tuple(value) if isinstance(value, list) else value
        for name, value in vars(arguments).items()
        if name.startswith(SETTING) and value is not None
    }
    job = Job.create(
        arguments.env_id,
        arguments.out,
        arguments.seed,
        recipes,
        settings,
        arguments.algorithm,
        force=arguments.force,
        exporting=_exporting(arguments) if exporting else None,
        tolerance=arguments.tolerance if exporting else None,
    )
    folder = job.folder
    if arguments.resume and not folder.is_done("train") and not has_checkpoints(folder.checkpoints):
        print(f"Nothing to resume in {folder.path}: training starts at step 0.", file=sys.stderr)
    return job


def _exporting(arguments: Namespace) -> dict[str, Any]:
    """What was asked of the way files are written; None where nothing was."""
    return {name: getattr(arguments, name) for name in ("strip", "manifest", "float_io", "output", "sparse")}


def _stage(job: Job, arguments: Namespace) -> int:
    with job.locked():
        job.do((arguments.command,), arguments.force)
    reports = job.reports() if arguments.command == "compress" else {}
    if arguments.json:
        stages = [s for s in job.folder.description["stages"] if s["name"].partition("/")[0] == arguments.command]
        told = {"schema": SCHEMA, "run": str(job.folder.path), "stages": stages}
        of_recipes = {name: [each.to_json() for each in of_recipe] for name, of_recipe in reports.items()}
        print(json.dumps({**told, "reports": of_recipes} if reports else told))
    else:
        for name, of_recipe in reports.items():
            print(name)
            print(*map(_reported, of_recipe), sep="\n")
        print(f"{arguments.command} done: {job.folder.path}")
    return DONE


def _reported(report: StageReport) -> str:
    """One stage of a recipe in a line."""
    findings = report.findings
    shown = [f"return {report.mean_return:.4g}", f"agreement {report.agreement:.1%}"]
    if findings.sparsity_reached:
        shown.append(", ".join(f"zeros {share:.0%}" for share in findings.sparsity_reached))
    if findings.clusters_reached:
        shown.append(", ".join(f"values {count}" for count in findings.clusters_reached))
    if findings.attempts is not None:
        shown.append(f"{len(findings.attempts)} tried" + (f", hidden {list(findings.size.hidden)}" if findings.size else ""))
        shown += ["none passed"] if findings.passed is False else []
    shown += [f"{findings.clipped_fraction:.2%} clipped"] if findings.clipped_fraction is not None else []
    shown += [f"skipped: {'; '.join(findings.skipped)}"] if findings.skipped else []
    return f"  {report.stage:<15} {report.seconds:6.1f} s  {', '.join(shown)}"


def _verdict(result: RunResult, as_json: bool) -> int:
    if result.shipped is None:
        if not as_json:
            print("No requested recipe, controls aside, passed its gate, so there is no device bundle. All files are kept.")
        return NOT_PASSED
    if not as_json:
        device = result.folder / "device"
        print(f"Deploy: {device} ({result.shipped.name}, {(result.shipped.size_bytes or 0) / 1000:.1f} KB)")
        missing = [name for name in ("microcontroller", "browser") if not (device / name).exists()]
        if missing:
            adds = f"`edgedqn bundle {shlex.quote(str(result.folder))}`"
            print(f"Not in it: {', '.join(missing)}. {adds} adds what it can, and says why it cannot.")
    return DONE


def _print_benchmark(benchmark: Benchmark, arguments: Namespace, earlier: Benchmark | None) -> bool:
    """Returns whether the command is to end as one that found a regression."""
    against = None if earlier is None else compare_with(earlier, benchmark)
    if arguments.json:
        print(json.dumps(benchmark.to_json() | ({"against": against.to_json()} if against else {})))
    else:
        print(render_table(benchmark.rows))
        if devices := render_devices(benchmark):
            print(f"\n{devices}")
        if against:
            print(f"\n{against.render(arguments.against)}")
    return bool(arguments.fail_on_regression and against and against.regressions)


def load_player(path: Path, render_mode: str | None = None) -> tuple[Policy, gymnasium.Env[Any, Any], str]:
    """A policy, its environment as the policy sees it, and that one's id.

    Args:
      path: a `.tflite`, an agent folder, or a run folder: its float agent.
      render_mode: of the environment.
    """
    if path.suffix == ".tflite":
        policy = EdgePolicy.load(path)
        env_id = policy.device.env_id
        return policy, make_environment(env_id, render_mode), env_id
    if (path / "run.json").exists():
        folder = RunFolder.open(path)
        path = folder.agent
        if not folder.is_done("train"):
            path = folder.best_checkpoint
            print(f"The training is not done: this is its best checkpoint so far, {path}.", file=sys.stderr)
    if not (path / "agent.json").exists():
        raise InputError(f"No policy in {path}: expected a .tflite, an agent folder, or a run folder with a trained agent.")
    from edgedqn.pipeline.native import load_tensorflow

    load_tensorflow()
    from edgedqn.agents.trained_agent import TrainedAgent

    agent = TrainedAgent.load(path)
    return agent.policy, agent_view(make_environment(agent.spec.id, render_mode), agent.spec), agent.spec.id


def _evaluation_json(evaluation: Evaluation, arguments: Namespace, env_id: str) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "policy": str(arguments.path),
        "env_id": env_id,
        **evaluation.interval.to_json(),
        "episodes": arguments.episodes,
        "seed": arguments.seed,
        "returns": list(evaluation.returns),
    }
