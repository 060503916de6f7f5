"""Compare policy files with their float baseline: what each weighs, takes, scores, and whether it passes its gate."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import require
from edgedqn.benchmarks.agreement import agreement, legal_in, output_range, preferences_of
from edgedqn.benchmarks.feeding import describe_feeding
from edgedqn.benchmarks.filling import Rows
from edgedqn.benchmarks.footprint import weigh
from edgedqn.benchmarks.foreign import is_foreign, read_foreign
from edgedqn.benchmarks.latency.edge_step import resident_bytes
from edgedqn.benchmarks.latency.interleaved import LatencyConfig
from edgedqn.benchmarks.latency.pinning import pinned
from edgedqn.benchmarks.latency.timing import time_files
from edgedqn.benchmarks.machine import describe_machine
from edgedqn.benchmarks.playing import Play
from edgedqn.benchmarks.rows import Benchmark, BenchmarkRow
from edgedqn.benchmarks.scoring import OnGate, score
from edgedqn.export.edge_policy import EdgePolicy, VerifiedFile, read_verified

NO_MANIFEST = (
    "It has no manifest, so nothing proves it whole or says what it is for: timed on inputs of its shape, not played. "
    "With --env ENV_ID it is."
)


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """The files of a comparison.

    Attributes:
      paths: `.tflite` files, at least one; a file's stem is the row's name.
      baseline: the name of the float file among them.
      relative_to: the folder that `file` is written relative to. A file outside it goes by its name.
      refused: names of files that must not be run, with the reason; their rows have failed.
      verified: files that are read already, by name: proven, or without a manifest and `fed` by an environment.
    """

    paths: tuple[Path, ...]
    baseline: str
    relative_to: Path = field(default_factory=Path.cwd)
    refused: Mapping[str, str] = field(default_factory=dict)
    verified: Mapping[str, VerifiedFile] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [path.stem for path in self.paths]
        got = ", ".join(names) or "no files"
        require(self.baseline in names, f"No file is the baseline: expected one named {self.baseline!r}. Got {got}.")
        twice = ", ".join(sorted({name for name in names if names.count(name) > 1}))
        require(not twice, f"A file's name names its row: expected each once. Got {twice} more than once.")

    def rows(self) -> Rows:
        """Empty rows, those of refused files ended."""
        root, files = self.relative_to.resolve(), {}
        for path in self.paths:
            inside, outside = path.resolve(), path.name if path.is_absolute() else path.as_posix()
            files[path.stem] = inside.relative_to(root).as_posix() if inside.is_relative_to(root) else outside
        rows = Rows(files, self.baseline)
        for name, reason in self.refused.items():
            rows.fail(name, reason)
        return rows


def compare(
    candidates: Candidates,
    latency: LatencyConfig,
    *,
    rng: np.random.Generator,
    observations: NDArray[np.generic] | None = None,
    play: Play | None = None,
    on_gate: OnGate = lambda name, result: None,
    progress: bool = True,
) -> Benchmark:
    """Measures all files in one run.

    Args:
      candidates: the files. One without a manifest is run where the process may die. It is weighed and timed, and neither
        compared nor played where it is not among `candidates.verified`.
      latency: how much is timed.
      rng: draws the order in which files are timed, and which observations they are timed on.
      observations: [N, *input_shape], on-policy states as the network sees them. None: agreement and tie
        rate are None, and the files are timed on standard normal inputs.
      play: how the files are played. None: return and gate are None.
      on_gate: called with each played file's name and verdict, with the margin and the interval that a row has no place for.
      progress: show bars on stderr, where that is a terminal.
    Returns:
      The rows in the order of the files. A file that cannot be loaded, run or played has the status `failed`, a reason, and
      what was measured of it before that.
    Raises:
      BaselineError: the baseline failed, so there is nothing to compare with.
    """
    rows = candidates.rows()
    verified = _weigh(rows, candidates)
    known = {name: file for name, file in verified.items() if file.device.env_id}
    ours = {name: file for name, file in known.items() if not is_foreign(file.path)}
    if observations is not None:
        _agree(rows, known, observations)
    with pinned(latency.threads) as cores:
        time_files(rows, verified, observations=observations, config=latency, rng=rng, progress=progress, cores=cores)
    rows.each(lambda row: replace(row, resident_bytes=resident_bytes(ours[row.name].path) if row.name in ours else None))
    if play is not None:
        play = replace(play, fed={file.path: file.device for name, file in known.items() if name not in ours})
        score(rows, known, play=play, on_gate=on_gate, progress=progress)
    machine = describe_machine(latency.threads, latency.xnnpack, pinned_cores=tuple(cores.used) if cores else None)
    return Benchmark(machine, candidates.baseline, tuple(rows.by_name.values()))


def _weigh(rows: Rows, candidates: Candidates) -> dict[str, VerifiedFile]:
    paths, verified = {path.stem: path for path in candidates.paths}, dict[str, VerifiedFile]()

    def measure(row: BenchmarkRow) -> BenchmarkRow:
        path = paths[row.name]
        known, foreign = candidates.verified.get(row.name), is_foreign(path)
        file = known or (read_foreign(path) if foreign else read_verified(path))
        if known or not foreign:
            EdgePolicy.from_file(file)  # whether this runtime takes it
        verified[row.name] = file
        reason = (describe_feeding(file) if known else NO_MANIFEST) if foreign else None
        row = replace(row, reason=reason, sha256=file.file_sha256, target=file.evidence.get("target"))
        return weigh(replace(row, recipe=None if foreign else file.device.recipe), file.model)

    rows.each(measure)
    return verified


def _agree(rows: Rows, files: Mapping[str, VerifiedFile], observations: NDArray[np.generic]) -> None:
    preferences: dict[str, NDArray[np.float64]] = {}

    def measure(row: BenchmarkRow) -> BenchmarkRow:
        if row.name not in files:
            return row
        policy = EdgePolicy.from_file(files[row.name])
        preferences[row.name] = preferences_of(policy, observations)  # [N, A]
        found = agreement(preferences[rows.baseline], preferences[row.name], legal=legal_in(policy, observations))
        if is_foreign(files[row.name].path):
            row = replace(row, reason=describe_feeding(files[row.name], observations))
        return replace(row, **asdict(found), output_range=output_range(preferences[row.name]))

    rows.each(measure)
