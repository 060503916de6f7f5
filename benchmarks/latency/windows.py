"""Latency by MLPerf Tiny's rules: five windows of ten seconds or more, and their median."""

from collections.abc import Callable, Mapping

import numpy as np

from edgedqn.agents.errors import one_line
from edgedqn.benchmarks.filling import FILE_FAULTS
from edgedqn.benchmarks.latency.interleaved import BlockFactory, clock
from edgedqn.benchmarks.rows import WindowedLatency

WINDOWS = 5
WINDOW_S = 10.0
CALLS = 1_000  # between two looks at the clock


def time_windows(
    candidates: Mapping[str, BlockFactory],
    rng: np.random.Generator,
    *,
    window_s: float = WINDOW_S,
    on_window: Callable[[], object] = lambda: None,
) -> tuple[dict[str, WindowedLatency], dict[str, str]]:
    """Runs each candidate, by name, without a break for a window of `window_s` seconds, in random order, five times.

    Returns:
      Of those that ran, the times, setting the input and reading the clock included, as the rules have it; and for those that
      did not run, the reason.
    Source: Banbury et al. (2021), "MLPerf Tiny Benchmark": at least ten seconds, five times, the median.
    """
    windows: dict[str, list[float]] = {name: [] for name in candidates}
    failures: dict[str, str] = {}
    for _ in range(WINDOWS):
        for name in rng.permutation(list(candidates)).tolist():
            if name not in failures:
                try:
                    windows[name].append(_window(candidates[name], window_s))
                except FILE_FAULTS as error:
                    failures[name] = one_line(error)
            on_window()
    whole = {name: each for name, each in windows.items() if name not in failures}
    return {name: WindowedLatency(tuple(each), float(np.median(each))) for name, each in whole.items()}, failures


def _window(factory: BlockFactory, seconds: float) -> float:
    block = factory()
    block(CALLS)  # cold memory
    calls, start = 0, clock()
    while (elapsed := clock() - start) < seconds * 1e9 or not calls:
        block(CALLS)
        calls += CALLS
    return elapsed / calls / 1_000
