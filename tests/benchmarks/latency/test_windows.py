"""Windows as MLPerf Tiny has them, on a clock that is ours."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgedqn.benchmarks.latency import windows
from edgedqn.benchmarks.latency.windows import CALLS, WINDOWS, time_windows
from edgedqn.benchmarks.rows import WindowedLatency


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A clock that only what is timed moves on."""
    now = [0]
    monkeypatch.setattr(windows, "clock", lambda: now[0])
    return now


def taking(clock: Any, ns_each_time: Any) -> Any:
    """A candidate of which each build takes the next of these per call."""
    builds = iter(ns_each_time)

    def factory() -> Any:
        ns = next(builds)

        def block(n: int) -> NDArray[Any]:
            clock[0] += n * ns
            return np.full(n, ns, np.int64)

        return block

    return factory


def test_the_median_of_five_windows_each_long_enough(clock: Any) -> None:
    found, failures = time_windows({"a": taking(clock, [9_000, 1_000, 5_000, 2_000, 3_000])}, np.random.default_rng(0))
    assert failures == {}
    assert found == {"a": WindowedLatency((9.0, 1.0, 5.0, 2.0, 3.0), 3.0)}
    warm_ups = CALLS * 20_000
    assert clock[0] - warm_ups >= WINDOWS * 10e9


def test_a_crash_ends_one_candidate_and_progress_is_told_of_all(clock: Any) -> None:
    def broken() -> None:
        raise RuntimeError("node 3\nfailed")

    told = []
    candidates = {"bad": broken, "good": taking(clock, [1_000] * WINDOWS)}
    found, failures = time_windows(candidates, np.random.default_rng(0), window_s=0.01, on_window=lambda: told.append(1))
    assert failures == {"bad": "node 3 failed"}
    assert list(found) == ["good"]
    assert len(told) == 2 * WINDOWS
