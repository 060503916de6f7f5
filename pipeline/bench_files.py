"""Compare policy files that are in no run: on a board, from a colleague, from two runs. Needs no TensorFlow."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgedqn.agents.errors import InputError
from edgedqn.agents.noninferiority import gate_for
from edgedqn.benchmarks.comparison import compare
from edgedqn.benchmarks.foreign import is_foreign, read_foreign
from edgedqn.benchmarks.latency import LatencyConfig
from edgedqn.benchmarks.timed_policies import load
from edgedqn.export.edge_policy import EdgePolicy
from edgedqn.pipeline.inspecting import limit_memory
from edgedqn.pipeline.proving import prove_observations, prove_play
from edgedqn.pipeline.seeds import SeedStreams

PROBE_S = 20
CHILD_S = 3_600
PROBE = "import sys; from edgedqn.pipeline.bench_files import probe; probe(sys.argv[1])"
CHILD = "import sys; from edgedqn.pipeline.bench_files import child; sys.exit(child(sys.argv[1]))"
REFUSED = 2


def bench_files(
    paths: Sequence[Path],
    baseline: str | None = None,
    seed: int = 0,
    latency: LatencyConfig | None = None,
    play: bool = True,
    tolerance: float | None = None,
) -> dict[str, Any]:
    """Measures files against one of them.

    Files without a manifest are taken too, weighed and timed, and not played. Nothing proves them whole, so each is first tried
    in a process of its own, and where one is among the files, all are measured in another: within limits of time and memory.

    Args:
      paths: `.tflite` files.
      baseline: the stem of the one the others are compared with; `float32` if there is one, else the first.
      seed: of the reset seeds and of the order of timings.
      latency: how much is timed.
      play: also play the environment that the manifests name, where it is installed.
      tolerance: of the gate; what it is in a run of that environment by default.
    Returns:
      The object of `benchmark.json`.
    Raises:
      InputError: the files do not belong together, two have the same name, or one without a manifest brought everything down.
      PolicyFileError: a file is missing or damaged.
    """
    names = [path.stem for path in paths]
    baseline = baseline or ("float32" if "float32" in names else names[0])
    if baseline not in names:
        raise InputError(f"No file is the baseline: expected one of {', '.join(names)}. Got {baseline!r}.")
    foreign = [path for path in paths if is_foreign(path)]
    arguments: dict[str, Any] = {"baseline": baseline, "seed": seed, "play": play, "tolerance": tolerance}
    if not foreign:
        return _measure(paths, latency=latency or LatencyConfig(), **arguments)
    refused = {path.stem: reason for path in foreign if (reason := _wrong_with(path))}
    return _measure_in_child(paths, {**arguments, "latency": asdict(latency or LatencyConfig()), "refused": refused})


def _measure(
    paths: Sequence[Path],
    baseline: str,
    seed: int,
    latency: LatencyConfig,
    play: bool,
    tolerance: float | None,
    refused: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    policies = {path.stem: EdgePolicy.load(path) for path in paths if not is_foreign(path)}
    environments = {policy.device["environment"]["id"] for policy in policies.values()}
    if len(environments) > 1:
        raise InputError(f"The files are for different environments: expected one. Got {', '.join(sorted(environments))}.")
    views = {str(policy.device["environment"]["preprocessing"]) for policy in policies.values()}
    if play and len(views) > 1:
        raise InputError(
            f"The files see the environment differently: expected one preprocessing. Got {' and '.join(sorted(views))}."
        )
    if tolerance is not None and not play:
        raise InputError("A tolerance is of what is played. Expected no --no-play beside it.")
    streams = SeedStreams(seed)
    observations, plan = None, None
    if play and baseline not in policies:
        print(f"Not played: {baseline} has no manifest, so nothing says in which environment.", file=sys.stderr)
    elif play:
        (env_id,) = environments
        gate = gate_for(env_id, tolerance)
        try:
            observations = prove_observations(next(path for path in paths if path.stem == baseline), env_id, streams)
            plan = prove_play(env_id, streams, gate)
        except InputError as error:
            print(f"Not played: {error}", file=sys.stderr)
    return compare(paths, baseline, latency, streams.rng("bench"), observations, plan, refused=refused)


def _wrong_with(path: Path) -> str | None:
    """Why a file must not be run beside others: it takes its process down, or no end. What it does wrong in an orderly way is
    told later, in its row."""
    try:
        run = subprocess.run([sys.executable, "-c", PROBE, str(path)], capture_output=True, timeout=PROBE_S, check=False)
    except subprocess.TimeoutExpired:
        return f"Expected an action within {PROBE_S} seconds. Got none."
    return f"Running it ended its process with {run.returncode}." if run.returncode < 0 else None


def probe(path: str) -> None:
    """Runs a file a few times, in the process that `bench_files` starts for it."""
    import numpy as np

    limit_memory()
    _, policy = load(read_foreign(Path(path)), LatencyConfig())
    for seed in range(10):
        policy(np.random.default_rng(seed).standard_normal(policy.input_shape, np.float32))


def _measure_in_child(paths: Sequence[Path], arguments: dict[str, Any]) -> dict[str, Any]:
    given = json.dumps({"paths": list(map(str, paths)), **arguments})
    command = [sys.executable, "-c", CHILD, given]
    try:
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=CHILD_S, check=False)  # its bars are shown
    except subprocess.TimeoutExpired as error:
        raise InputError(f"Expected these files to be measured within {CHILD_S} seconds. They were not.") from error
    if run.returncode == REFUSED:
        raise InputError(run.stdout.strip())
    if run.returncode != 0:
        raise InputError(
            "A file without a manifest brought the measurement down: expected files that can be run. "
            f"Their process ended with {run.returncode}."
        )
    benchmark: dict[str, Any] = json.loads(run.stdout)
    return benchmark


def child(given: str) -> int:
    """Prints the object of `benchmark.json`, or why there is none; runs in the process that `bench_files` starts."""
    limit_memory()
    arguments = json.loads(given)
    paths = list(map(Path, arguments.pop("paths")))
    latency = LatencyConfig(**arguments.pop("latency"))
    try:
        print(json.dumps(_measure(paths, latency=latency, **arguments)))
    except ValueError as error:  # an InputError, or a file's
        print(" ".join(str(error).split()))
        return REFUSED
    return 0
