"""Compare policy files that are in no run: on a board, from a colleague, from two runs. Needs no TensorFlow."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgedqn.agents.errors import InputError, one_line, plain, require
from edgedqn.agents.files import Json, JsonValue
from edgedqn.agents.playing.environments import make_environment
from edgedqn.agents.playing.gate import gate_for
from edgedqn.agents.playing.processes import python_command
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.benchmarks.comparison import Candidates, compare
from edgedqn.benchmarks.feeding import ScaleError, fed
from edgedqn.benchmarks.foreign import ForeignFile, is_foreign, read_foreign, refuse_other_kind
from edgedqn.benchmarks.latency.interleaved import LatencyConfig
from edgedqn.benchmarks.latency.timed_policies import load
from edgedqn.benchmarks.native_output import quiet
from edgedqn.benchmarks.rows import Benchmark
from edgedqn.export.edge_policy import EdgePolicy, PolicyFileError, VerifiedFile, read_verified
from edgedqn.pipeline.native import descriptor, limit_memory
from edgedqn.pipeline.proving import play_on_seeds, source_of, states_on_prove_seeds, with_stress
from edgedqn.pipeline.seeds import SeedStreams

PROBE_S = 60  # loading NumPy alone takes many where others keep the processor busy
CHILD_S = 3_600
PROBE = "import sys; from edgedqn.pipeline.bench_files import probe; probe(*sys.argv[1:])"
CHILD = "import sys; from edgedqn.pipeline.bench_files import child; child(*sys.argv[1:])"
OUT_OF_MEMORY = 12  # ENOMEM


@dataclass(frozen=True, kw_only=True)
class Request(JsonValue):
    """What `bench` is asked for, as it is handed to a child process; `refused` has the reason by the file's stem, and
    `scales` what `ForeignFile` says."""

    paths: tuple[str, ...]
    baseline: str
    env_id: str | None
    seed: int
    latency: LatencyConfig
    play: bool
    tolerance: float | None
    stress: bool
    refused: Mapping[str, str]
    scales: Mapping[str, Sequence[float]]


def bench(
    files: Sequence[str | Path | ForeignFile],
    *,
    baseline: str | None = None,
    env: str | None = None,
    seed: int = 0,
    latency: LatencyConfig | None = None,
    play: bool = True,
    tolerance: float | None = None,
    stress: bool = False,
) -> Benchmark:
    """Measures files against one of them: their bytes, their latency, and what they score. Needs no TensorFlow.

    Files without a manifest are taken too, as a plain TFLiteConverter writes them: weighed and timed, and played where `env` is
    given, see `fed`. Nothing proves them whole, so each is first tried in a process of its own, and where one is among the
    files, all are measured in another: within limits of time and memory.

    Args:
      files: `.tflite` files; a `ForeignFile` where it has to be said what a network without a manifest saw.
      baseline: the stem of the one the others are compared with; `float32` if there is one, else the first.
      env: where they are played; what the manifests name by default.
      seed: of the reset seeds and of the order of timings.
      latency: how much is timed.
      play: also play, where the environment is installed.
      tolerance: of the gate; what it is in a run of that environment by default.
      stress: also play with noisy, late and stuck sensors.
    Raises:
      InputError: the files do not belong together, two have the same name, a scale does not fit the observations, or a file
        without a manifest brought everything down.
      PolicyFileError: a file is missing or damaged.
    """
    given = [file if isinstance(file, ForeignFile) else ForeignFile(file) for file in files]
    paths = [Path(file.path) for file in given]
    names = [path.stem for path in paths]
    for path in paths:
        refuse_other_kind(path)
    baseline = baseline or ("float32" if "float32" in names else names[0])
    require(baseline in names, f"No file is the baseline: expected one of {', '.join(names)}. Got {baseline!r}.")
    latency = latency or LatencyConfig()
    scales = _scales_of(given, is_played=play and env is not None)
    with quiet():
        foreign = [path for path in paths if is_foreign(path)]
        request = Request(
            paths=tuple(map(str, paths)),
            baseline=baseline,
            env_id=env,
            seed=plain(seed),
            latency=latency,
            play=play,
            tolerance=plain(tolerance),
            stress=stress,
            refused={path.stem: reason for path in foreign if (reason := wrong_with(path, latency))},
            scales=scales,
        )
        return _measure_in_child(request) if foreign else _measure(request)


def _scales_of(files: Sequence[ForeignFile], *, is_played: bool) -> dict[str, tuple[float, ...]]:
    """Those that are given, by name; InputError where one would not be used."""
    scales = {Path(file.path).stem: file.scale for file in files if file.scale is not None}
    require(is_played or not scales, "A scale is for what is played. Expected --env beside --scale, and no --no-play.")
    own = [str(file.path) for file in files if file.scale is not None and not is_foreign(Path(file.path))]
    require(
        not own, f"A scale is for a file without a manifest, which has its own: expected none for {', '.join(own)}. Got one."
    )
    return scales


def _measure(request: Request) -> Benchmark:
    paths, baseline = tuple(map(Path, request.paths)), request.baseline
    require(request.tolerance is None or request.play, "A tolerance is of what is played. Expected no --no-play beside it.")
    require(request.play or not request.stress, "Stress is for what is played. Expected no --no-play beside it.")
    files, refused = _read_ours(request)
    environments = sorted({file.device.env_id for file in files.values()})
    require(len(environments) < 2, f"The files are for different environments: expected one. Got {', '.join(environments)}.")
    streams = SeedStreams(request.seed)
    source, observations, plan, unplayed = _source(request, files), None, None, None
    if request.play and source is None:
        unplayed = f"{baseline} has no manifest, so nothing says in which environment. --env ENV_ID does."
    elif request.play and source is not None:
        gate = gate_for(source.id, request.tolerance)
        try:
            files |= _read_fed(request, source, refused)
            _require_one_view(files)
            if baseline in files:
                observations = states_on_prove_seeds(EdgePolicy.from_file(files[baseline]), source, streams)
                plan = play_on_seeds(source, streams, gate)
        except (ScaleError, ViewError):
            raise
        except InputError as error:
            unplayed = str(error)
    candidates = Candidates(paths=paths, baseline=baseline, refused=refused, verified=files)
    benchmark = compare(candidates, request.latency, rng=streams.rng("bench"), observations=observations, play=plan)
    if unplayed:
        print(f"Not played: {unplayed}", file=sys.stderr)
    elif request.stress and source is not None:
        fed = {file.path: file.device for file in files.values() if is_foreign(file.path)}
        return with_stress(benchmark, {path.stem: path for path in paths}, source=source, streams=streams, fed=fed)
    return benchmark


def _read_ours(request: Request) -> tuple[dict[str, VerifiedFile], dict[str, str]]:
    """The files with manifests, by name, and why others are not run; a damaged baseline is raised."""
    files, refused = {}, dict(request.refused)
    for path in map(Path, request.paths):
        if not is_foreign(path):
            try:
                files[path.stem] = read_verified(path)
            except PolicyFileError as error:
                if path.stem == request.baseline:
                    raise
                refused[path.stem] = one_line(error)
    return files, refused


def _source(request: Request, files: Mapping[str, VerifiedFile]) -> EnvironmentSource | None:
    """How the environment is made: as the baseline's manifest says, or else, where one is named, another file's or its id."""
    if request.baseline in files:
        return source_of(files[request.baseline], request.env_id)
    if request.env_id is None:
        return None
    return source_of(next(iter(files.values())), request.env_id) if files else EnvironmentSource(request.env_id)


def _read_fed(request: Request, source: EnvironmentSource, refused: dict[str, str]) -> dict[str, VerifiedFile]:
    """The files without manifests, by name, where an environment is named; adds to `refused` why another does not fit it."""
    found: dict[str, VerifiedFile] = {}
    foreign = [path for path in map(Path, request.paths) if is_foreign(path) and path.stem not in refused]
    if request.env_id is None or not foreign:
        return found
    with closing(make_environment(source)) as env:
        for path in foreign:
            scale = request.scales.get(path.stem)
            try:
                found[path.stem] = fed(read_foreign(path), env, source=source, scale=None if scale is None else tuple(scale))
            except PolicyFileError as error:
                if path.stem == request.baseline:
                    raise
                refused[path.stem] = one_line(error)
    return found


class ViewError(InputError):
    """The files do not see the environment alike."""


def _require_one_view(files: Mapping[str, VerifiedFile]) -> None:
    views = sorted({str(list(map(str, file.device.preprocessing))) for file in files.values()})
    if len(views) > 1:
        raise ViewError(f"The files see the environment differently: expected one preprocessing. Got {' and '.join(views)}.")


def wrong_with(path: Path, latency: LatencyConfig) -> str | None:
    """Why a file must not be run beside others: it takes its process down, all memory, or no end. What it does wrong in an
    orderly way is reported later, in its row."""
    command = python_command(PROBE, str(path), json.dumps(latency.to_json()))
    try:
        run = subprocess.run(command, capture_output=True, timeout=PROBE_S, check=False)
    except subprocess.TimeoutExpired:
        return f"Expected an action within {PROBE_S} seconds. Got none."
    if run.returncode == OUT_OF_MEMORY:
        return "Running it takes more memory than there is."
    return f"Running it ended its process with {run.returncode}." if run.returncode < 0 else None


def probe(path: str, latency: str) -> None:
    """Runs a file a few times, in the process that `bench` starts for it."""
    limit_memory()
    try:
        _, policy = load(read_foreign(Path(path)), LatencyConfig.from_json(json.loads(latency)))
        for seed in range(10):
            policy(np.random.default_rng(seed).standard_normal(policy.input_shape, np.float32))
    except MemoryError:
        sys.exit(OUT_OF_MEMORY)


def _measure_in_child(request: Request) -> Benchmark:
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"  # not its stdout, where an environment of the user's own may print
        command = python_command(CHILD, json.dumps(request.to_json()), json.dumps(sys.path), str(answer))
        terminal = descriptor(sys.stderr)  # where bars and remarks are seen, which the command line has moved
        try:
            run = subprocess.run(command, stdout=terminal, stderr=terminal, timeout=CHILD_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise InputError(f"Expected these files to be measured within {CHILD_S} seconds. They were not.") from error
        if run.returncode != 0:
            raise InputError(
                "Files, one of them without a manifest, could not be measured: expected files that can be run. "
                f"Their process ended with {run.returncode}."
            )
        found = json.loads(answer.read_text())
    if isinstance(found, str):
        raise InputError(found)
    return Benchmark.from_json(found)


def child(request: str, path: str, answer: str) -> None:
    """Writes the object of `benchmark.json`, or why there is none, to the file `answer`; `bench` starts it as a process.

    `request` is a `Request` and `path` the `sys.path` of `bench`, whose modules are to be found, both as JSON.
    """
    limit_memory()
    sys.path[:] = json.loads(path)
    try:
        with quiet():
            found: Json | str = _measure(Request.from_json(json.loads(request))).to_json()
    except ValueError as error:  # an InputError, or a file's
        found = one_line(error)
    Path(answer).write_text(json.dumps(found))
