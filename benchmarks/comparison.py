"""Compare policy files with their float baseline: what each weighs, takes, scores, and whether it passes its gate."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.gate import GateResult
from edgedqn.benchmarks.agreement import agreement, output_range, preferences_of
from edgedqn.benchmarks.footprint import footprint
from edgedqn.benchmarks.foreign import is_foreign, read_foreign
from edgedqn.benchmarks.latency.edge_step import resident_bytes
from edgedqn.benchmarks.latency.interleaved import LatencyConfig
from edgedqn.benchmarks.latency.pinning import pinned
from edgedqn.benchmarks.latency.timing import time_files
from edgedqn.benchmarks.machine import describe_machine
from edgedqn.benchmarks.playing import Play
from edgedqn.benchmarks.rows import Row, Rows
from edgedqn.benchmarks.scoring import score
from edgedqn.export.edge_policy import EdgePolicy, VerifiedFile, read_verified

SCHEMA = 1
NO_MANIFEST = "It has no manifest, so nothing proves it whole or says what it is for: timed on inputs of its shape, not played."


def compare(
    files: Sequence[Path],
    baseline: str,
    latency: LatencyConfig,
    rng: np.random.Generator,
    observations: NDArray[Any] | None = None,
    play: Play | None = None,
    relative_to: Path | None = None,
    on_gate: Callable[[str, GateResult], object] = lambda name, result: None,
    progress: bool = True,
    refused: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Measures all files in one run.

    Args:
      files: `.tflite` files; a file's stem is the row's name. One without a manifest is weighed and timed, and neither compared
        nor played: run it where the process may die.
      baseline: the name of the float file among them.
      latency: how much is timed.
      rng: draws the order in which files are timed, and which observations they are timed on.
      observations: [N, *input_shape], on-policy states as the network sees them. None: agreement and tie
        rate are null, and the files are timed on standard normal inputs.
      play: how the files are played. None: return and gate are null.
      relative_to: the folder that `file` is written relative to; None is the current one. A file outside it goes by its name.
      on_gate: told each played file's name and verdict, with the margin and the interval that a row has no place for.
      progress: show bars on stderr, where that is a terminal.
      refused: names of files that must not be run, with the reason; their rows have failed.
    Returns:
      The object of `benchmark.json`, rows in the order of `files`. A file that cannot be loaded, run or played has the
      status `failed`, a reason, and what was measured of it before that.
    Raises:
      InputError: no such baseline, two files of one name, or the baseline failed, so there is nothing to compare with.
    """
    names = [path.stem for path in files]
    if baseline not in names:
        raise InputError(f"No file is the baseline: expected one named {baseline!r}. Got {', '.join(names) or 'no files'}.")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"A file's name names its row: expected each once. Got {', '.join(twice)} more than once.")
    paths = {path.stem: path for path in files}
    rows = Rows({name: _relative(path, relative_to or Path.cwd()) for name, path in paths.items()}, baseline)
    for name, reason in (refused or {}).items():
        rows.fail(name, reason)
    verified = _weigh(rows, paths)
    ours = {name: path for name, path in paths.items() if not is_foreign(path)}
    if observations is not None:
        _agree(rows, ours, observations)
    with pinned(latency.threads) as cores:
        time_files(rows, verified, observations, latency, rng, progress, cores)
    rows.each(lambda name: {"resident_bytes": resident_bytes(ours[name]) if name in ours else None})
    if play is not None:
        score(rows, ours, play, on_gate, progress)
    machine = describe_machine(latency.threads, latency.xnnpack, cores.used if cores else None)
    return {"schema": SCHEMA, "machine": machine, "baseline": baseline, "rows": list(rows.by_name.values())}


def _weigh(rows: Rows, paths: dict[str, Path]) -> dict[str, VerifiedFile]:
    verified: dict[str, VerifiedFile] = {}

    def measure(name: str) -> Row:
        if foreign := is_foreign(paths[name]):
            file = read_foreign(paths[name])
        else:
            file = read_verified(paths[name])
            EdgePolicy.load(paths[name])  # whether the network fits its manifest, and this runtime
        verified[name] = file
        return {
            "reason": NO_MANIFEST if foreign else None,
            "sha256": file.file_sha256,
            "recipe": None if foreign else file.device.recipe,
            "target": file.evidence.get("target"),
            **asdict(footprint(file.content)),
        }

    rows.each(measure)
    return verified


def _agree(rows: Rows, paths: dict[str, Path], observations: NDArray[Any]) -> None:
    preferences: dict[str, NDArray[np.float64]] = {}

    def measure(name: str) -> Row:
        if name not in paths:
            return {}
        preferences[name] = preferences_of(EdgePolicy.load(paths[name]), observations)  # [N, A]
        found = agreement(preferences[rows.baseline], preferences[name])
        return {
            "action_agreement": found.action,
            "gap_weighted_agreement": found.gap_weighted,
            "tie_rate": found.ties,
            "output_range": output_range(preferences[name]),
        }

    rows.each(measure)


def _relative(path: Path, root: Path) -> str:
    try:
        return path.resolve().relative_to(root.resolve()).as_posix()
    except ValueError:
        return path.as_posix() if not path.is_absolute() else path.name
