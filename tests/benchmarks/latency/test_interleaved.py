"""The arithmetic of timing, fed timings that are known; what the real clock says is never asserted."""

import gc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgedqn.benchmarks.latency import full_speed
from edgedqn.benchmarks.latency.full_speed import FullSpeed
from edgedqn.benchmarks.latency.interleaved import BINS, LatencyConfig, Timing, speedup, time_interleaved
from edgedqn.benchmarks.rows import Ratio

CONFIG = LatencyConfig(blocks=40, invokes_per_block=20, patience_s=0)
LONG = LatencyConfig(blocks=4, invokes_per_block=500, patience_s=0)


def fake(
    duration_ns: Any, rng: np.random.Generator | None = None, noise: float = 0.0, calls: Any = None, name: str = ""
) -> Any:
    """A candidate whose every call "takes" so long."""

    def factory() -> Any:
        def block(n: int) -> Any:
            if calls is not None:
                calls.append(name)
            jitter = 0 if rng is None else rng.normal(0, noise, n)
            return np.round(np.full(n, duration_ns) + jitter).astype(np.int64)

        return block

    return factory


def exact(durations_us: Any, timer_us: float = 0.0) -> Timing:
    return Timing(np.array(durations_us, np.float64), timer_us)


def test_percentiles_are_over_all_calls_in_microseconds() -> None:
    found = exact(np.arange(1, 101).reshape(10, 10), timer_us=0.04).latency().to_json()
    histogram = found.pop("histogram")
    assert histogram == exact(np.arange(1, 101).reshape(10, 10)).histogram().to_json()
    assert found == pytest.approx(
        {"p50": 50.5, "p90": 90.1, "p99": 99.01, "mean": 50.5, "n": 100, "timer_us": 0.04, "full_speed": 1}
    )


def test_a_histogram_counts_every_call_and_what_took_long_in_its_last_bin() -> None:
    durations = np.concatenate([np.linspace(1, 5, 990), np.full(10, 900.0)]).reshape(10, 100)
    found = exact(durations).histogram()
    assert (len(found.counts), sum(found.counts)) == (BINS, 1000)
    assert found.from_us == 1
    assert 4.9 < found.to_us < 20
    assert found.counts[-1] >= 10


def test_calls_that_all_took_the_same_have_a_histogram_too() -> None:
    assert sum(exact(np.full((3, 4), 2.0)).histogram().counts) == 12


def test_the_timers_own_cost_is_taken_off_and_reported() -> None:
    timings, failures = time_interleaved({"a": fake(10_000)}, CONFIG, rng=np.random.default_rng(0))
    assert failures == {}
    assert timings["a"].timer_us > 0
    np.testing.assert_allclose(timings["a"].durations_us, 10 - timings["a"].timer_us)
    assert timings["a"].durations_us.shape == (20, 40)


def test_twice_as_fast_is_two() -> None:
    found = speedup(exact(np.full((9, 4), 6.0)), exact(np.full((9, 4), 3.0)))
    assert found == Ratio(2.0, 2.0, 2.0)


def test_ratios_are_paired_so_drift_cancels() -> None:
    drift = np.linspace(1, 3, 20)[:, None] * np.ones((20, 6))
    found = speedup(exact(4 * drift), exact(2 * drift))
    assert (found.median, found.low, found.high) == pytest.approx((2, 2, 2))


def test_the_same_file_twice_is_not_faster_than_itself() -> None:
    hits = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        both = {"a": fake(5_000, rng, noise=400), "b": fake(5_000, rng, noise=400)}
        timings, _ = time_interleaved(both, CONFIG, rng=np.random.default_rng(seed))
        found = speedup(timings["a"], timings["b"], seed=seed)
        hits += found.low <= 1 <= found.high
    assert hits >= 36


def test_a_real_difference_is_found() -> None:
    rng = np.random.default_rng(0)
    timings, _ = time_interleaved({"a": fake(5_000, rng, 400), "b": fake(4_000, rng, 400)}, CONFIG, rng=rng)
    found = speedup(timings["a"], timings["b"])
    assert 1.15 < found.low < found.high < 1.4


def test_only_paired_rounds_are_compared() -> None:
    with pytest.raises(ValueError, match="Got 3 and 4"):
        speedup(exact(np.ones((3, 2))), exact(np.ones((4, 2))))


def test_each_round_is_a_random_order_and_its_reverse() -> None:
    calls: list[Any] = []
    config = LatencyConfig(blocks=40, invokes_per_block=20, patience_s=0, warm_up_blocks=2)
    names = ["a", "b", "c"]
    time_interleaved({name: fake(1_000, calls=calls, name=name) for name in names}, config, rng=np.random.default_rng(0))
    rounds = np.array(calls[6:]).reshape(20, 9)[:, 3:]  # without the warm-up, and each round without its first three
    for order in rounds:
        assert list(order[:3]) == list(order[:2:-1])
        assert sorted(order[:3]) == names
    assert len({tuple(order) for order in rounds}) == 6


def test_warm_up_lasts_until_two_blocks_agree() -> None:
    asked = []

    def factory() -> Any:
        durations = iter([9_000, 5_000, 3_000, 2_990, 1, 1])

        def block(n: int) -> NDArray[Any]:
            asked.append(n)
            return np.full(n, next(durations), np.int64)

        return block

    time_interleaved({"a": factory}, LatencyConfig(blocks=2, invokes_per_block=20, patience_s=0), rng=np.random.default_rng(0))
    assert asked == [10, 20, 20, 20, 2, 20, 20]


@pytest.mark.parametrize("failing_call", [1, 2, 5, 6])
def test_a_crash_fails_its_candidate_and_no_other(failing_call: int) -> None:
    calls = 0

    def factory() -> Any:
        def block(n: int) -> NDArray[Any]:
            nonlocal calls
            calls += 1
            if calls == failing_call:
                raise RuntimeError("node 3\nfailed to invoke")
            return np.full(n, 1_000, np.int64)

        return block

    config = LatencyConfig(blocks=4, invokes_per_block=5, patience_s=0)
    timings, failures = time_interleaved({"bad": factory, "good": fake(1_000)}, config, rng=np.random.default_rng(0))
    assert failures == {"bad": "node 3 failed to invoke"}
    assert list(timings) == ["good"]
    assert timings["good"].durations_us.shape == (2, 10)


def test_the_collector_is_off_in_blocks_and_back_on_after() -> None:
    seen = set()

    def factory() -> Any:
        def block(n: int) -> NDArray[Any]:
            seen.add((n, gc.isenabled()))
            return np.ones(n, np.int64)

        return block

    time_interleaved(
        {"a": factory},
        LatencyConfig(blocks=2, invokes_per_block=20, patience_s=0, warm_up_blocks=2),
        rng=np.random.default_rng(0),
    )
    assert (20, False) in seen
    assert gc.isenabled()


def say(monkeypatch: pytest.MonkeyPatch, *readings: Any) -> None:
    turns = iter(readings)
    monkeypatch.setattr(FullSpeed, "_read", lambda self: next(turns))
    monkeypatch.setattr(full_speed, "load_reference_ns", lambda: 100)
    monkeypatch.setattr(full_speed, "save_reference_ns", lambda fastest: None)


def test_rounds_in_which_the_core_was_slow_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = [100, 100] * 3  # before and after the timer's block and the two of the only candidate
    slow = [100, 100, 100, 100, 150, 150]
    say(monkeypatch, *slow, *quick, *slow, *quick)
    seen = iter([1_000, 1_000, *range(1_000, 100_000, 1_000)])

    def factory() -> Callable[..., Any]:
        return lambda n: np.full(n, next(seen), np.int64)

    config = LatencyConfig(blocks=4, invokes_per_block=20, patience_s=0)
    monkeypatch.setattr(FullSpeed, "impatient", property(lambda self: False))
    monkeypatch.setattr(FullSpeed, "run", lambda self, work: (work(), max(self._read(), self._read())))
    timings, _ = time_interleaved({"a": factory}, config, rng=np.random.default_rng(0))
    found = timings["a"]
    np.testing.assert_allclose(found.durations_us[:, [0, -1]] + found.timer_us, [[5, 6], [11, 12]])
    assert found.latency().full_speed == 1


def test_once_patience_is_over_the_fastest_rounds_count_and_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    say(monkeypatch, *[150] * 6, *[100] * 6)
    timings, _ = time_interleaved({"a": fake(1_000)}, replace(CONFIG, blocks=4), rng=np.random.default_rng(0))
    assert timings["a"].full_speed == 0.5


def test_slow_calls_make_shorter_blocks() -> None:
    timings, _ = time_interleaved({"slow": fake(300_000), "slowest": fake(10**9)}, LONG, rng=np.random.default_rng(0))
    assert timings["slow"].durations_us.shape == (2, 2 * 16)
    assert timings["slowest"].durations_us.shape == (2, 2 * 10)


def test_progress_is_told_once_a_round() -> None:
    told = []
    time_interleaved({"a": fake(1_000)}, CONFIG, rng=np.random.default_rng(0), on_round=lambda: told.append(1))
    assert len(told) == 20


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"blocks": 3}, "even number"),
        ({"blocks": 0}, "even number"),
        ({"invokes_per_block": 0}, "call to time"),
        ({"patience_s": -1.0}, "0 or more"),
        ({"patience_s": float("inf")}, "0 or more"),
        ({"threads": 0}, "at least one thread"),
        ({"warm_up_blocks": 1}, "two blocks agree"),
        ({"warm_up_tolerance": 0.0}, "share"),
    ],
)
def test_what_cannot_be_timed_is_refused(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        LatencyConfig(**fields)
