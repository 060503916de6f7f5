"""All that is timed of the files of one comparison."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edgedqn.benchmarks.filling import Rows
from edgedqn.benchmarks.latency.full_speed import FullSpeed
from edgedqn.benchmarks.latency.interleaved import BlockFactory, LatencyConfig, Timing, speedup, time_interleaved
from edgedqn.benchmarks.latency.pinning import Cores
from edgedqn.benchmarks.latency.timed_policies import cold_starts, delegation, invokes, steps
from edgedqn.benchmarks.latency.windows import WINDOWS, time_windows
from edgedqn.benchmarks.rows import Latency, Ratio, WindowedLatency
from edgedqn.export.edge_policy import PolicyFileError, TfliteModel, VerifiedFile
from edgedqn.export.tflite_file.rewriting import float_twin

# Inputs that are timed: many enough to be a sample, few enough to stay in the cache, as one that just arrived would.
TIMED_INPUTS = 256
COLD_STARTS = 40  # of each file

Files = Mapping[str, VerifiedFile]
Found = dict[str, tuple[Latency, Ratio]]


class Kind(Protocol):
    """What is timed of a file: `invokes`, `steps` or `cold_starts`."""

    def __call__(self, file: VerifiedFile, observations: NDArray[np.generic], *, config: LatencyConfig) -> BlockFactory:
        """Blocks of it."""


def time_files(
    rows: Rows,
    files: Files,
    *,
    observations: NDArray[np.generic] | None,
    config: LatencyConfig,
    rng: np.random.Generator,
    progress: bool,
    cores: Cores | None = None,
) -> None:
    """Times every living row's file and fills in its latencies, its speed-ups, and what XNNPACK takes over of it.

    Args:
      rows: to be filled.
      files: by name, one for each living row.
      observations: [N, *input_shape], as the network sees them, of which 256 are drawn; None: standard normal numbers.
      config: how much is timed.
      rng: draws the observations and the order.
      progress: show bars on stderr, where that is a terminal.
      cores: as `pinned` gives them.
    Raises:
      BaselineError: the baseline cannot be timed.
    """
    sample = None if observations is None else observations[rng.permutation(len(observations))[:TIMED_INPUTS]]
    inputs = {}
    for name in rows.alive():
        shape = files[name].device.observation_shape
        inputs[name] = rng.standard_normal((TIMED_INPUTS, *shape), np.float32) if sample is None else sample
    clocks = _Clocks(
        rows=rows,
        inputs=inputs,
        config=config,
        rng=rng,
        speed=FullSpeed(config.patience_s, cores),
        hide=None if progress else True,
    )
    found = rows.by_name

    def alive() -> dict[str, VerifiedFile]:
        return {name: files[name] for name in rows.alive()}

    rows.each(lambda row: replace(row, delegation=delegation(files[row.name], config)))
    for name, (latency, ratio) in clocks.interleave(invokes, alive(), what="invoke").items():
        found[name] = replace(found[name], latency_us=latency, speedup=ratio)
    for name, (latency, ratio) in clocks.interleave(steps, alive(), what="step").items():
        found[name] = replace(found[name], step_latency_us=latency, step_speedup=ratio)
    if twins := _twins(alive()):
        for name, (latency, ratio) in clocks.time_twins(twins, files[rows.baseline]).items():
            found[name] = replace(found[name], twin_step_latency_us=latency, twin_step_speedup=ratio)
    once = replace(config, blocks=min(config.blocks, COLD_STARTS), invokes_per_block=1)
    for name, (latency, _) in replace(clocks, config=once).interleave(cold_starts, alive(), what="cold start").items():
        found[name] = replace(found[name], cold_start_us=latency)
    if config.mlperf:
        for name, windows in clocks.time_windows(alive()).items():
            found[name] = replace(found[name], mlperf_latency_us=windows)


@dataclass(frozen=True, kw_only=True)
class _Clocks:
    rows: Rows
    inputs: Mapping[str, NDArray[np.generic]]
    config: LatencyConfig
    rng: np.random.Generator
    speed: FullSpeed
    hide: bool | None

    def interleave(self, kind: Kind, files: Files, *, what: str) -> Found:
        """The latencies and ratios of the files that ran; the rows of the others have failed."""
        timings, failures = self._time(kind, files, what)
        self._fail(failures)
        return self._compared(timings)

    def time_twins(self, twins: Files, baseline: VerifiedFile) -> Found:
        """Of the twins that ran, beside the baseline; one that does not run costs its row these figures alone."""
        timings, failures = self._time(steps, {self.rows.baseline: baseline, **twins}, "step of the twin")
        found = {} if self.rows.baseline in failures else self._compared(timings)
        return {name: each for name, each in found.items() if name in twins}

    def time_windows(self, files: Files) -> dict[str, WindowedLatency]:
        """Likewise by MLPerf Tiny's rules."""
        with tqdm(total=WINDOWS * len(files), desc="MLPerf", unit="window", disable=self.hide, leave=False) as bar:
            windows, failures = time_windows(self._factories(invokes, files), self.rng, on_window=bar.update)
        self._fail(failures)
        return windows

    def _time(self, kind: Kind, files: Files, what: str) -> tuple[dict[str, Timing], dict[str, str]]:
        with tqdm(total=self.config.blocks // 2, desc=f"time {what}", unit="round", disable=self.hide, leave=False) as bar:
            factories = self._factories(kind, files)
            return time_interleaved(factories, self.config, rng=self.rng, on_round=bar.update, speed=self.speed)

    def _compared(self, timings: Mapping[str, Timing]) -> Found:
        baseline = timings[self.rows.baseline]
        return {name: (timing.latency(), speedup(baseline, timing)) for name, timing in timings.items()}

    def _factories(self, kind: Kind, files: Files) -> dict[str, BlockFactory]:
        return {name: kind(file, self.inputs[name], config=self.config) for name, file in files.items()}

    def _fail(self, failures: Mapping[str, str]) -> None:
        for name, reason in failures.items():
            self.rows.fail(name, reason)


def _twins(files: Files) -> dict[str, VerifiedFile]:
    """The twins with float ends of the files that have integer ones: what a board takes through Python, where it is faster."""
    found = {}
    for name, file in files.items():
        with suppress(PolicyFileError):  # no integer ends
            content, device = float_twin(file.model, file.device)
            found[name] = replace(file, content=content, model=TfliteModel(content), device=device)
    return found
