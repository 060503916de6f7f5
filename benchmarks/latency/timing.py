"""All that is timed of the files of one comparison."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.training.bars import tqdm
from edgedqn.benchmarks.filling import Rows
from edgedqn.benchmarks.latency.full_speed import FullSpeed
from edgedqn.benchmarks.latency.interleaved import BlockFactory, LatencyConfig, Timing, speedup, time_interleaved
from edgedqn.benchmarks.latency.pinning import Cores
from edgedqn.benchmarks.latency.timed_policies import cold_starts, delegation, invokes, steps
from edgedqn.benchmarks.latency.windows import WINDOWS, time_windows
from edgedqn.benchmarks.rows import BenchmarkRow, Latency, Ratio
from edgedqn.export.edge_policy import TWIN_OF, PolicyFileError, TfliteModel, VerifiedFile
from edgedqn.export.tflite_file.rewriting import float_twin

# Inputs that are timed: many enough to be a sample, few enough to stay in the cache, as one that just arrived would.
TIMED_INPUTS = 256
COLD_STARTS = 40  # of each file

Files = Mapping[str, VerifiedFile]
Kind = Callable[..., BlockFactory]  # what is timed of a file: `invokes`, `steps` or `cold_starts`


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

    `files` has one for each living row, by name. Their inputs are 256 of the `observations` [N, *input_shape], as the network
    sees them, drawn by `rng` as the order is; of None, standard normal numbers. `cores` are those that `pinned` gives;
    `progress` shows a bar on a terminal.

    Raises:
      BaselineError: the baseline cannot be timed.
    """
    sample = None if observations is None else observations[rng.permutation(len(observations))[:TIMED_INPUTS]]
    inputs = {}
    for name in rows.alive():
        shape = files[name].device.observation_shape
        inputs[name] = rng.standard_normal((TIMED_INPUTS, *shape), np.float32) if sample is None else sample
    hide = None if progress else True  # None leaves it to tqdm: off where the output is no terminal
    speed = FullSpeed(config.patience_s, cores)
    clocks = _Clocks(rows=rows, files=files, inputs=inputs, config=config, rng=rng, speed=speed, hide=hide)
    rows.each(lambda row: replace(row, delegation=delegation(files[row.name], config)))
    for row, latency, ratio in clocks.interleave(invokes, "invoke"):
        rows.by_name[row.name] = replace(row, latency_us=latency, speedup=ratio)
    for row, latency, ratio in clocks.interleave(steps, "step"):
        rows.by_name[row.name] = replace(row, step_latency_us=latency, step_speedup=ratio)
    for row, latency, ratio in clocks.interleave_twins():
        rows.by_name[row.name] = replace(row, twin_step_latency_us=latency, twin_step_speedup=ratio)
    once = replace(config, blocks=min(config.blocks, COLD_STARTS), invokes_per_block=1)
    for row, latency, _ in replace(clocks, config=once).interleave(cold_starts, "cold start"):
        rows.by_name[row.name] = replace(row, cold_start_us=latency)
    if config.mlperf:
        clocks.time_windows()


@dataclass(frozen=True, kw_only=True)
class _Clocks:
    rows: Rows
    files: Files
    inputs: Mapping[str, NDArray[np.generic]]
    config: LatencyConfig
    rng: np.random.Generator
    speed: FullSpeed
    hide: bool | None

    def interleave(self, kind: Kind, what: str) -> list[tuple[BenchmarkRow, Latency, Ratio]]:
        """What the living rows' files took, and their ratios; the rows of those that did not run have failed."""
        timings, failures = self._time(self._factories(kind, self._alive()), what)
        self._fail(failures)
        return self._compared(timings)

    def interleave_twins(self) -> list[tuple[BenchmarkRow, Latency, Ratio]]:
        """Of the twins that ran, beside the baseline; one that does not run costs its row these figures alone."""
        twins, baseline = _twins(self._alive()), self.rows.baseline
        if not twins:
            return []
        factories = {
            name: steps(self.files[name], self.inputs[name], config=self.config, twin=twins.get(name))
            for name in {baseline: None, **twins}
        }
        timings, failures = self._time(factories, "step of the twin")
        compared = [] if baseline in failures else self._compared(timings)
        return [each for each in compared if each[0].name in twins and each[0].name != baseline]

    def time_windows(self) -> None:
        """Likewise by MLPerf Tiny's rules."""
        files = self._alive()
        with tqdm(total=WINDOWS * len(files), desc="MLPerf", unit="window", disable=self.hide, leave=False) as bar:
            found, failures = time_windows(self._factories(invokes, files), self.rng, on_window=bar.update)
        self._fail(failures)
        for name, windows in found.items():
            self.rows.by_name[name] = replace(self.rows.by_name[name], mlperf_latency_us=windows)

    def _alive(self) -> dict[str, VerifiedFile]:
        return {name: self.files[name] for name in self.rows.alive()}

    def _time(self, factories: Mapping[str, BlockFactory], what: str) -> tuple[dict[str, Timing], dict[str, str]]:
        with tqdm(total=self.config.blocks // 2, desc=f"time {what}", unit="round", disable=self.hide, leave=False) as bar:
            return time_interleaved(factories, self.config, rng=self.rng, on_round=bar.update, speed=self.speed)

    def _compared(self, timings: Mapping[str, Timing]) -> list[tuple[BenchmarkRow, Latency, Ratio]]:
        baseline, rows = timings[self.rows.baseline], self.rows.by_name
        return [(rows[name], timing.latency(), speedup(baseline, timing)) for name, timing in timings.items()]

    def _factories(self, kind: Kind, files: Files) -> dict[str, BlockFactory]:
        return {name: kind(file, self.inputs[name], config=self.config) for name, file in files.items()}

    def _fail(self, failures: Mapping[str, str]) -> None:
        for name, reason in failures.items():
            self.rows.fail(name, reason)


def _twins(files: Files) -> dict[str, VerifiedFile]:
    """The twins with float ends of the files that have integer ones: what `EdgePolicy.load` runs in their place."""
    found = {}
    for name, file in files.items():
        with suppress(PolicyFileError):  # no integer ends
            content, device = float_twin(file.model, file.device)
            if TWIN_OF in device.source:
                found[name] = replace(file, model=TfliteModel(content), device=device)
    return found
