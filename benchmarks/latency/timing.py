"""All that is timed of the files of one comparison."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edgedqn.benchmarks.latency.full_speed import FullSpeed
from edgedqn.benchmarks.latency.interleaved import BlockFactory, LatencyConfig, speedup, time_interleaved
from edgedqn.benchmarks.latency.pinning import Cores
from edgedqn.benchmarks.latency.timed_policies import cold_starts, delegation, invokes, steps
from edgedqn.benchmarks.latency.windows import WINDOWS, time_windows
from edgedqn.benchmarks.rows import Rows
from edgedqn.export.edge_policy import PolicyFileError, VerifiedFile
from edgedqn.export.tflite_file.float_twin import float_twin

# Inputs that are timed: many enough to be a sample, few enough to stay in the cache, as one that just arrived would.
TIMED_INPUTS = 256
COLD_STARTS = 40  # of each file

Files = Mapping[str, VerifiedFile]
Kind = Callable[[VerifiedFile, NDArray[Any], LatencyConfig], BlockFactory]


def time_files(
    rows: Rows,
    files: Files,
    observations: NDArray[Any] | None,
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
    clocks = _Clocks(rows, inputs, config, rng, FullSpeed(config.patience_s, cores), None if progress else True)

    def alive() -> dict[str, VerifiedFile]:
        return {name: files[name] for name in rows.alive()}

    rows.each(lambda name: {"delegation": delegation(files[name], config)})
    clocks.interleave(invokes, alive(), "latency_us", "speedup")
    clocks.interleave(steps, alive(), "step_latency_us", "step_speedup")
    if twins := _twins(alive()):
        timed = {rows.baseline: files[rows.baseline], **twins}
        clocks.interleave(steps, timed, "twin_step_latency_us", "twin_step_speedup", own=False)
        rows.by_name[rows.baseline].update(twin_step_latency_us=None, twin_step_speedup=None)  # it is nobody's twin
    once = replace(config, blocks=min(config.blocks, COLD_STARTS), invokes_per_block=1)
    replace(clocks, config=once).interleave(cold_starts, alive(), "cold_start_us")
    if config.mlperf:
        clocks.time_windows(alive())


@dataclass(frozen=True)
class _Clocks:
    rows: Rows
    inputs: Mapping[str, NDArray[Any]]
    config: LatencyConfig
    rng: np.random.Generator
    speed: FullSpeed
    hide: bool | None

    def interleave(self, kind: Kind, files: Files, key: str, ratio_key: str | None = None, own: bool = True) -> None:
        # What fails fails its row, where the files are the rows' own; a twin costs its row its own figures alone.
        with tqdm(total=self.config.blocks // 2, desc=f"time {key}", unit="round", disable=self.hide, leave=False) as bar:
            timings, failures = time_interleaved(self._factories(kind, files), self.config, self.rng, bar.update, self.speed)
        if own:
            self._fail(failures)
        elif self.rows.baseline in failures:
            return
        for name, timing in timings.items():
            self.rows.by_name[name][key] = timing.to_json()
            if ratio_key is not None:
                self.rows.by_name[name][ratio_key] = speedup(timings[self.rows.baseline], timing)

    def time_windows(self, files: Files) -> None:
        with tqdm(total=WINDOWS * len(files), desc="MLPerf", unit="window", disable=self.hide, leave=False) as bar:
            windows, failures = time_windows(self._factories(invokes, files), self.rng, on_window=bar.update)
        self._fail(failures)
        for name, found in windows.items():
            self.rows.by_name[name]["mlperf_latency_us"] = found

    def _factories(self, kind: Kind, files: Files) -> dict[str, BlockFactory]:
        return {name: kind(file, self.inputs[name], self.config) for name, file in files.items()}

    def _fail(self, failures: Mapping[str, str]) -> None:
        for name, reason in failures.items():
            self.rows.fail(name, reason)


def _twins(files: Files) -> dict[str, VerifiedFile]:
    """The twins with float ends of the files that have integer ones: what a board takes through Python, where it is faster."""
    found = {}
    for name, file in files.items():
        with suppress(PolicyFileError):  # no integer ends
            content, device = float_twin(file.content, file.device)
            found[name] = replace(file, content=content, device=device)
    return found
