"""`bench`, `bundle`, `evaluate` and `play` of .tflite files, and how all of these are printed. Needs no TensorFlow."""

import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, replace
from functools import partial, reduce
from pathlib import Path

from edgedqn.agents.errors import InputError, one_line, require
from edgedqn.agents.playing.environments import make_environment
from edgedqn.agents.playing.evaluation import Evaluation
from edgedqn.agents.playing.evaluation import evaluate as play_all
from edgedqn.agents.playing.processes import WorkerDiedError, Workers
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.training.bars import tqdm
from edgedqn.benchmarks.cores.budget import Budget, find_budget
from edgedqn.benchmarks.device_rows import merged, read_device
from edgedqn.benchmarks.feeding import fed
from edgedqn.benchmarks.foreign import ForeignFile, is_foreign, read_foreign
from edgedqn.benchmarks.latency.interleaved import LatencyConfig
from edgedqn.benchmarks.regression import compare_with
from edgedqn.benchmarks.report.table import render_devices, render_fits, render_stress, render_table
from edgedqn.benchmarks.rows import Benchmark, read_benchmark
from edgedqn.export.devices.npu import NpuTarget
from edgedqn.export.edge_policy import EdgePolicy, PolicyFileError, read_verified
from edgedqn.pipeline.bench_files import bench as measure
from edgedqn.pipeline.bench_files import wrong_with
from edgedqn.pipeline.bundle import Part, has_archive, make_bundle, write_archive
from edgedqn.pipeline.commands import DONE, REGRESSED, SCHEMA, print_json
from edgedqn.pipeline.commands.libraries import is_library_asked, make_asked_library
from edgedqn.pipeline.devices.fitting import measure_fit, require_tools
from edgedqn.pipeline.native import limit_memory
from edgedqn.pipeline.proving import source_of, spec_for
from edgedqn.pipeline.viewing.play import Load, Player, film_path
from edgedqn.pipeline.viewing.play import play as play_policy
from edgedqn.pipeline.viewing.progress import in_colour
from edgedqn.pipeline.viewing.serving import address, page_folder, serve, server


def bench(arguments: Namespace) -> int:
    """Measures files that are in no run."""
    earlier, budget = read_references(arguments), asked_budget(arguments)
    benchmark = measure(
        _with_scale(arguments.paths, arguments.scale),
        baseline=arguments.baseline,
        env=arguments.env,
        seed=arguments.seed or 0,
        latency=LatencyConfig(threads=arguments.threads or 1, xnnpack=not arguments.no_xnnpack, mlperf=arguments.mlperf),
        play=not arguments.no_play,
        tolerance=arguments.tolerance,
        stress=arguments.stress,
    )
    if budget is not None:
        benchmark = replace(benchmark, fits=(measure_fit({path.stem: path for path in arguments.paths}, budget),))
    regressed = print_benchmark(reduce(merged, arguments.merge, benchmark), arguments, earlier)
    return REGRESSED if regressed else DONE


def _with_scale(paths: Sequence[Path], scale: tuple[float, ...] | None) -> list[Path | ForeignFile]:
    """The scale goes to those that have no manifest, of which there has to be one."""
    files = [path if scale is None or not is_foreign(path) else ForeignFile(path, scale) for path in paths]
    if scale is not None and not any(isinstance(file, ForeignFile) for file in files):
        raise InputError("--scale is for files without a manifest: expected one. Got none.")
    return files


def bundle(arguments: Namespace) -> int:
    """Makes what devices need of one file, or a library."""
    if is_library_asked(arguments):
        return make_asked_library(arguments)
    folder = arguments.out or Path("device")
    folder = folder.resolve() if folder.is_symlink() else folder  # it is named by the user, who means what it leads to
    parts = make_bundle(arguments.path, folder, fetch=True, units=arguments.sensor_units, npu=asked_npu(arguments))
    zipped = arguments.zip or has_archive(folder)
    print_bundle(folder, parts, arguments, archive=write_archive(folder) if zipped else None)
    return DONE


def asked_npu(arguments: Namespace) -> NpuTarget | None:
    """The NPU that a bundle's command line names, if it does."""
    if arguments.npu is not None:
        return NpuTarget(arguments.npu, arguments.memory_mode, arguments.system_config)
    given = [f"--{name.replace('_', '-')}" for name in ("memory_mode", "system_config") if getattr(arguments, name) is not None]
    require(not given, f"Only an NPU has {' and '.join(given)}: expected --npu beside it. Got none.")
    return None


def asked_budget(arguments: Namespace) -> Budget | None:
    """What the board of the command line gives, if one is named; its compiler and its emulator are there."""
    require(arguments.fit is not None or arguments.rate is None, "A rate is a board's. Expected --fit beside --rate. Got none.")
    if arguments.fit is None:
        return None
    require_tools(budget := find_budget(arguments.fit, arguments.rate))
    return budget


def evaluate(arguments: Namespace) -> int:
    """Prints the return of the file. One without a manifest plays in a process of its own."""
    path, scale, seeds = arguments.path, arguments.scale, range(arguments.seed, arguments.seed + arguments.episodes)
    if not is_foreign(path):
        require(scale is None, f"--scale is for files without a manifest: expected none for {path}. Got one.")
        return print_evaluation(load_file(arguments), arguments)
    require(arguments.env is not None, f"{path} has no manifest, which would name its environment: expected --env. Got none.")
    if (reason := wrong_with(path, LatencyConfig())) is not None:
        raise PolicyFileError(f"{path}: {reason}")
    workers = Workers(1)
    try:
        (evaluation,) = workers.map([partial(_play_foreign, path, scale, env_id=arguments.env, seeds=seeds)])
    except WorkerDiedError as error:
        raise PolicyFileError(f"{path}: expected a file that can be run. {one_line(error)}") from error
    finally:
        workers.end()
    return _print_returns(evaluation, arguments.env, arguments)


def _play_foreign(path: Path, scale: tuple[float, ...] | None, *, env_id: str, seeds: range) -> Evaluation:
    limit_memory()
    source = EnvironmentSource(env_id)
    with closing(make_environment(source)) as env:
        policy = EdgePolicy.from_file(fed(read_foreign(path), env, source=source, scale=scale))
        return play_all(policy, env, seeds=seeds)


def play(arguments: Namespace) -> int:
    """Plays the file."""
    if arguments.browser:
        return _play_in_browser(arguments)
    return show(partial(load_file, arguments), arguments)


def load_file(arguments: Namespace, render_mode: str | None = None) -> Player:
    """The policy in a file, in the environment that the command line names, or else the manifest."""
    if is_foreign(arguments.path):
        raise InputError(
            f"{arguments.path} has no manifest, so nothing proves it whole: expected one. Got none. `edgedqn evaluate` and "
            "`bench` play it with --env ENV_ID, in a process of its own."
        )
    file = read_verified(arguments.path)
    policy, source = EdgePolicy.from_file(file), source_of(file, arguments.env)
    try:
        env = make_environment(source, render_mode)
    except InputError as error:
        if arguments.env or ":" not in source.id:
            raise
        raise InputError(f"{error} A file alone imports nothing from the current folder; --env {source.id} does.") from error
    try:
        spec_for(policy, env, source=source)
    except InputError:
        env.close()
        raise
    return Player(policy, env, source.id)


def read_references(arguments: Namespace) -> Benchmark | None:
    """The earlier benchmark, read before it may be written anew; what is damaged is refused before minutes are measured."""
    if arguments.fail_on_regression and arguments.against is None:
        raise InputError("A regression is against something. Expected --against beside --fail-on-regression. Got none.")
    earlier = None if arguments.against is None else read_benchmark(arguments.against)
    for path in arguments.merge:
        read_device(path)
    return earlier


def print_benchmark(benchmark: Benchmark, arguments: Namespace, earlier: Benchmark | None) -> bool:
    """Prints it; returns whether the command is to end as one that found a regression."""
    against = None if earlier is None else compare_with(earlier, benchmark)
    if arguments.json:
        print_json(arguments, benchmark.to_json() | ({"against": against.to_json()} if against else {}))
    else:
        print(in_colour(render_table(benchmark.rows), sys.stdout))
        if devices := render_devices(benchmark):
            print(f"\n{devices}")
        if stress := render_stress(benchmark):
            print(f"\n{stress}")
        asked = [fit for fit in benchmark.fits if arguments.fit is None or fit.budget == asked_budget(arguments)]
        if fits := render_fits(replace(benchmark, fits=tuple(asked))):
            print(f"\n{fits}")
        if against:
            print(f"\n{against.render(arguments.against)}")
    return bool(arguments.fail_on_regression and against and against.regressions)


def print_bundle(folder: Path, parts: Sequence[Part], arguments: Namespace, *, archive: Path | None = None) -> None:
    """Prints where it is and what it has."""
    if arguments.json:
        found = {"schema": SCHEMA, "bundle": str(folder), "parts": [asdict(part) for part in parts]}
        print_json(arguments, found | ({"zip": str(archive)} if archive else {}))
        return
    print(f"Bundle: {folder}")
    for part in parts:
        print(f"  {part.device:<15}  {part.remark}")
    if archive is not None:
        print(f"Zip: {archive}")


def print_evaluation(player: Player, arguments: Namespace) -> int:
    """Plays and prints the return; closes the environment."""
    seeds = range(arguments.seed, arguments.seed + arguments.episodes)
    with closing(player.env):
        bar = tqdm(seeds, desc="play", unit=" episodes", disable=None, leave=False)
        evaluation = play_all(player.policy, player.env, seeds=bar)
    return _print_returns(evaluation, player.env_id, arguments)


def _print_returns(evaluation: Evaluation, env_id: str, arguments: Namespace) -> int:
    interval = evaluation.interval
    if arguments.json:
        found = {
            "schema": SCHEMA,
            "policy": str(arguments.path),
            "env_id": env_id,
            **interval.to_json(),
            "episodes": arguments.episodes,
            "seed": arguments.seed,
            "returns": list(evaluation.returns),
        }
        print_json(arguments, found)
    else:
        print(
            f"{env_id}: return {interval.mean:.2f}, 95 % interval [{interval.low:.2f}, {interval.high:.2f}], "
            f"{arguments.episodes} episodes from reset seed {arguments.seed}"
        )
    return DONE


def show(load: Load, arguments: Namespace) -> int:
    """Plays what `load` gives, in a window or into a film."""
    require(arguments.port is None, "Only a page is served. Expected --browser beside --port. Got none.")

    def print_episode(env_id: str, seed: int, evaluation: Evaluation) -> None:
        if not arguments.json:
            tqdm.write(f"{env_id}, reset seed {seed}: return {evaluation.returns[0]:.2f}, {evaluation.env_steps} steps")

    film = film_path(arguments.gif, arguments.video)
    seeds = range(arguments.seed, arguments.seed + arguments.episodes)
    performance = play_policy(load, seeds, path=film, frames_per_second=arguments.fps, on_episode=print_episode)
    if arguments.json:
        found = {
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
        print_json(arguments, found)
    elif film is not None:
        print(f"Film: {film} ({performance.frames} frames, {performance.frames_per_second:g} per second)")
    return DONE


def _play_in_browser(arguments: Namespace) -> int:
    given = [f"--{name}" for name in ("gif", "video", "fps", "env") if getattr(arguments, name) is not None]
    require(not given, f"A page plays by itself. Expected no {', '.join(given)} beside --browser.")
    with page_folder(arguments.path) as folder, server(folder, arguments.port or 0) as listening:
        url = address(listening)
        if arguments.json:
            print_json(arguments, {"schema": SCHEMA, "policy": str(arguments.path), "url": url})
        else:
            print(f"Open {url} in a browser; Ctrl-C ends it.", flush=True)
        serve(listening)
    return DONE
