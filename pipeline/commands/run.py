"""`run`, and `bench` and `bundle` of a run folder."""

import json
import shlex
import sys
from argparse import Namespace

from edgedqn.agents.errors import InputError
from edgedqn.agents.training.checkpoints import has_checkpoints
from edgedqn.benchmarks.report.table import render_table
from edgedqn.pipeline.commands import SCHEMA
from edgedqn.pipeline.commands.bench import print_benchmark, read_references
from edgedqn.pipeline.commands.bundle import print_bundle
from edgedqn.pipeline.commands.options import SETTING
from edgedqn.pipeline.config import Changes, resolved
from edgedqn.pipeline.exit_codes import DONE, NOT_PASSED, REGRESSED
from edgedqn.pipeline.job import KINDS, Job, RunResult

EXPORT_OPTIONS = ("strip", "manifest", "float_io", "output", "sparse")


def run(arguments: Namespace) -> int:
    """The main job."""
    job = create_job(arguments, asked_changes(arguments))
    with job.locked():
        job.do(KINDS, force=arguments.force)
    result = job.result()
    best = result.shipped.name if result.shipped else None
    if arguments.json:
        print(json.dumps({"schema": SCHEMA, "run": str(result.folder), "best": best, "benchmark": result.benchmark}))
    else:
        print(render_table(result.measured.rows))
        print(f"\nReport: {job.folder.report}")
    return _verdict(result, arguments.json)


def bench(arguments: Namespace) -> int:
    """Measures the files of a run."""
    earlier = read_references(arguments)
    if len(arguments.paths) > 1:
        raise InputError(f"Expected one run folder, or .tflite files. Got {', '.join(map(str, arguments.paths))}.")
    given = [f"--{name}" for name in ("baseline", "seed", "threads", "env") if getattr(arguments, name) is not None]
    given += [f"--{name.replace('_', '-')}" for name in ("no_play", "no_xnnpack", "mlperf") if getattr(arguments, name)]
    if given:
        raise InputError(f"A run knows how it is measured: expected no {', '.join(given)} beside it.")
    job = Job.open(arguments.paths[0], asked_changes(arguments))
    with job.locked():
        job.do(("bench",), force=arguments.force)
        if arguments.merge:
            job.merge(arguments.merge)
    result = job.result()
    regressed = print_benchmark(result.measured, arguments, earlier)
    verdict = _verdict(result, arguments.json)
    return REGRESSED if regressed else verdict


def bundle(arguments: Namespace) -> int:
    """Makes what devices need of a run's best file."""
    if arguments.out is not None:
        raise InputError(f"A run's bundle is {arguments.path / 'device'}: expected no --out, or a .tflite. Got both.")
    job = Job.open(arguments.path)
    with job.locked():
        parts = job.bundle()
    print_bundle(job.folder.device, parts, as_json=arguments.json)
    return DONE


def create_job(arguments: Namespace, changes: Changes) -> Job:
    """The job of `run` and `train`: of a new run, or of the one that is there.

    Raises:
      InputError: the arguments contradict each other, or the run that is there.
    """
    if arguments.resume and arguments.force:
        raise InputError("Expected --resume, which goes on, or --force, which starts over. Got both.")
    settings = {
        name.removeprefix(SETTING): tuple(value) if isinstance(value, list) else value
        for name, value in vars(arguments).items()
        if name.startswith(SETTING) and value is not None
    }
    job = Job.create(
        arguments.env_id,
        out=arguments.out,
        seed=arguments.seed,
        settings=settings,
        algorithm=arguments.algorithm,
        changes=changes,
        force=arguments.force,
    )
    folder = job.folder
    if arguments.resume and not folder.is_done("train") and not has_checkpoints(folder.checkpoints):
        print(f"Nothing to resume in {folder.path}: training starts at step 0.", file=sys.stderr)
    return job


def asked_changes(arguments: Namespace) -> Changes:
    """What the command's options change in a run; an option that it does not have changes nothing."""
    return Changes(
        recipes=resolved(getattr(arguments, "recipes", None)),
        export={name: getattr(arguments, name, None) for name in EXPORT_OPTIONS},
        tolerance=getattr(arguments, "tolerance", None),
    )


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
