"""Compare policy files that are in no run: on a board, from a colleague, from two runs. Needs no TensorFlow."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgedqn.agents.errors import InputError
from edgedqn.agents.noninferiority import gate_for
from edgedqn.benchmarks.comparison import compare
from edgedqn.benchmarks.latency import LatencyConfig
from edgedqn.export.edge_policy import EdgePolicy
from edgedqn.pipeline.proving import prove_observations, prove_play
from edgedqn.pipeline.seeds import SeedStreams


def bench_files(
    paths: Sequence[Path],
    baseline: str | None = None,
    seed: int = 0,
    threads: int = 1,
    play: bool = True,
    tolerance: float | None = None,
) -> dict[str, Any]:
    """Measures files against one of them.

    Args:
      paths: `.tflite` files, each with a manifest.
      baseline: the stem of the one the others are compared with; `float32` if there is one, else the first.
      seed: of the reset seeds and of the order of timings.
      threads: of the interpreter.
      play: also play the environment that the baseline's manifest names, where it is installed.
      tolerance: of the gate; what it is in a run of that environment by default.
    Returns:
      The object of `benchmark.json`.
    Raises:
      InputError: the files do not belong together, or two have the same name.
      PolicyFileError: a file is missing or damaged.
    """
    policies = {path.stem: EdgePolicy.load(path) for path in paths}
    names = list(policies)
    baseline = baseline or ("float32" if "float32" in names else names[0])
    if baseline not in names:
        raise InputError(f"No file is the baseline: expected one of {', '.join(names)}. Got {baseline!r}.")
    environments = {policy.device["environment"]["id"] for policy in policies.values()}
    if len(environments) > 1:
        raise InputError(f"The files are for different environments: expected one. Got {', '.join(sorted(environments))}.")
    (env_id,) = environments
    views = {str(policy.device["environment"]["preprocessing"]) for policy in policies.values()}
    if play and len(views) > 1:
        raise InputError(
            f"The files see the environment differently: expected one preprocessing. Got {' and '.join(sorted(views))}."
        )
    if tolerance is not None and not play:
        raise InputError("A tolerance is of what is played. Expected no --no-play beside it.")
    gate, streams = gate_for(env_id, tolerance), SeedStreams(seed)
    observations, plan = None, None
    if play:
        try:
            observations = prove_observations(paths[names.index(baseline)], env_id, streams)
            plan = prove_play(env_id, streams, gate)
        except InputError as error:
            print(f"Not played: {error}", file=sys.stderr)
    return compare(paths, baseline, LatencyConfig(threads=threads), streams.rng("bench"), observations, plan)
