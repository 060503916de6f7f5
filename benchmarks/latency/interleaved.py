"""Time policies against each other: real calls, one clock, interleaved so that drift cancels."""

import gc
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import make_plain, one_line, require
from edgedqn.agents.files import JsonValue
from edgedqn.agents.playing.statistics import percentile_bootstrap
from edgedqn.benchmarks.filling import FILE_FAULTS
from edgedqn.benchmarks.latency.full_speed import FullSpeed
from edgedqn.benchmarks.rows import Histogram, Latency, Ratio

clock = time.perf_counter_ns

# Times `n` calls: n -> [n] durations in ns, timer included.
Block = Callable[[int], NDArray[np.int64]]
# Builds what a block calls, afresh.
BlockFactory = Callable[[], Block]

BINS = 40  # of one width, up to the 99th percentile; what took longer is counted in the last
BLOCK_NS, FEWEST_CALLS = 5_000_000, 10
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class LatencyConfig(JsonValue):
    """How much is timed.

    Attributes:
      blocks: per candidate, even: one round times every candidate in random order, then in the reverse of it (A B B A), so a
        drift that is linear over a round cancels from its ratios.
      invokes_per_block: timed calls in a block, at most. Ten or more of them take 5 ms or less, so that few meet a change of
        the core's speed.
      patience_s: so many seconds of calls that met a slow core are thrown away in all, and made again.
      threads: of the interpreter.
      xnnpack: with its kernels, as the interpreter comes; without, TensorFlow Lite's own take over.
      mlperf: time each file by MLPerf Tiny's rules as well: five windows of ten seconds.
      warm_up_blocks: at most so many untimed blocks per candidate, until two in a row agree within `warm_up_tolerance`.
      warm_up_tolerance: relative difference of two block medians that counts as stable.
    """

    blocks: int = 100
    invokes_per_block: int = 500
    patience_s: float = 40.0
    threads: int = 1
    xnnpack: bool = True
    mlperf: bool = False
    warm_up_blocks: int = 20
    warm_up_tolerance: float = 0.02

    def __post_init__(self) -> None:
        make_plain(self)
        blocks, calls = self.blocks, self.invokes_per_block
        even = "A round takes two blocks per candidate. Expected an even number, 2 or more."
        require(blocks >= 2 and blocks % 2 == 0, f"{even} Got blocks={blocks}.")
        require(calls >= 1, f"A block needs a call to time. Expected 1 or more. Got invokes_per_block={calls}.")
        require(0 <= self.patience_s < math.inf, f"Expected seconds to wait, 0 or more. Got patience_s={self.patience_s}.")
        require(self.threads >= 1, f"An interpreter runs on at least one thread. Got threads={self.threads}.")
        agree = "Stable means that two blocks agree. Expected 2 or more."
        require(self.warm_up_blocks >= 2, f"{agree} Got warm_up_blocks={self.warm_up_blocks}.")
        tolerance = self.warm_up_tolerance
        require(0 < tolerance < 1, f"Expected a share in (0, 1). Got warm_up_tolerance={tolerance}.")


@dataclass(frozen=True)
class Timing:
    """What one candidate took.

    Attributes:
      durations_us: [R, 2 n], net of the timer, one row per round; n is `invokes_per_block`.
      timer_us: the median cost of the pair of clock readings round a call, already taken off.
      full_speed: the share of its rounds during which the core ran at full speed, see `full_speed.py`.
    """

    durations_us: NDArray[np.float64]
    timer_us: float
    full_speed: float = 1.0

    def latency(self) -> Latency:
        """Percentiles and mean over all calls, in µs."""
        p50, p90, p99 = map(float, np.percentile(self.durations_us, [50, 90, 99]))
        mean, n, histogram = float(self.durations_us.mean()), self.durations_us.size, self.histogram()
        return Latency(
            p50=p50, p90=p90, p99=p99, mean=mean, n=n, timer_us=self.timer_us, full_speed=self.full_speed, histogram=histogram
        )

    def histogram(self) -> Histogram:
        """How often it took how long."""
        top = float(np.percentile(self.durations_us, 99))
        counts, edges = np.histogram(np.minimum(self.durations_us, top), BINS, (float(self.durations_us.min()), top))
        return Histogram(float(edges[0]), float(edges[-1]), tuple(counts.tolist()))


def time_interleaved(
    candidates: Mapping[str, BlockFactory],
    config: LatencyConfig,
    *,
    rng: np.random.Generator,
    on_round: Callable[[], object] = lambda: None,
    speed: FullSpeed | None = None,
) -> tuple[dict[str, Timing], dict[str, str]]:
    """Times all candidates in one run, round by round.

    A block is repeated, and a round that turned out to be slow made up for, until all counted ones ran while the core was at
    full speed or patience is over; then the rounds in which it was fastest count. Neither decision looks at what the
    candidates took.

    Args:
      candidates: by name. Each is built afresh every round: where its memory happens to lie changes its speed by some percent,
        and without this the same file under two names would differ "significantly".
      config: how much.
      rng: draws the order within each round.
      on_round: called after each of the `config.blocks / 2` rounds.
      speed: whose patience is shared with other timings; None: of its own, `config.patience_s`.
    Returns:
      The timings of those that ran, and for those that did not, the reason.
    """
    speed = speed or FullSpeed(config.patience_s)
    run = _Run(candidates, config, rng, speed)
    wanted, rounds = config.blocks // 2, list[_Round]()
    while sum(speed.reached(each.reading) for each in rounds) < wanted and not (len(rounds) >= wanted and speed.impatient):
        rounds.append(run.time_round())
        if len(rounds) <= wanted:
            on_round()
        else:  # in the place of one that was slow, which was for nothing
            speed.waste(sum(int(block.sum()) for blocks in rounds[-1].durations.values() for block in blocks))
    counted = sorted(rounds, key=lambda each: each.reading)[:wanted]
    timer_us = float(np.median([each.timer for each in counted])) / 1_000
    speed.save_reference()
    full_speed = sum(speed.reached(each.reading) for each in counted) / wanted
    durations_us = {
        name: np.array([np.concatenate(each.durations[name]) for each in counted]) / 1_000
        for name in candidates
        if name not in run.failures
    }
    return {name: Timing(each - timer_us, timer_us, full_speed) for name, each in durations_us.items()}, run.failures


def time_calls(call: Callable[[_T], object], inputs: Iterator[_T]) -> Block:
    """A block that times `call` on one input after the other; taking an input is not timed."""

    def block(n: int) -> NDArray[np.int64]:
        durations = np.empty(n, np.int64)
        for i in range(n):
            given = next(inputs)
            start = clock()
            call(given)
            durations[i] = clock() - start
        return durations

    return block


def speedup(baseline: Timing, candidate: Timing, *, seed: int = 0) -> Ratio:
    """How many times faster the candidate is, of the same run: over rounds, the median of (baseline's median / candidate's).

    Returns:
      Dimensionless: above 1 the candidate is faster. The interval is the percentile bootstrap over rounds, drawn from `seed`.
    Raises:
      ValueError: they have different numbers of rounds, so nothing is paired.
    """
    rounds, others = len(baseline.durations_us), len(candidate.durations_us)
    if rounds != others:
        raise ValueError(f"Ratios are paired by round. Expected the same number of rounds. Got {rounds} and {others}.")
    ratios = np.median(baseline.durations_us, axis=1) / np.median(candidate.durations_us, axis=1)  # [R]
    return Ratio(float(np.median(ratios)), *percentile_bootstrap(ratios, partial(np.median, axis=1), seed=seed))


@dataclass(frozen=True)
class _Round:
    durations: dict[str, list[NDArray[np.int64]]]  # two blocks of each candidate that did not fail, in ns
    timer: NDArray[np.int64]
    reading: int  # the slowest of the reference work, in ns


class _Run:
    """The candidates of one timing, warmed up; `failures` has the reason of each that does not run any more."""

    def __init__(
        self, candidates: Mapping[str, BlockFactory], config: LatencyConfig, rng: np.random.Generator, speed: FullSpeed
    ) -> None:
        self.failures: dict[str, str] = {}
        self._candidates, self._config, self._rng, self._speed = candidates, config, rng, speed
        warm_ups = {name: partial(_warm_up, factory, config) for name, factory in candidates.items()}
        self._calls = {name: self._attempt(name, warm_up) or 0 for name, warm_up in warm_ups.items()}

    def time_round(self) -> _Round:
        # Built in random order too: who is built first gets other memory, which was worth 1 % when it was always the same one.
        calls, run = self._calls, self._speed.run
        built = {name: self._attempt(name, partial(_build, self._candidates[name], calls[name])) for name in self._shuffled()}
        order = self._shuffled()
        timer, reading = run(partial(_without_collector, _timer_block, self._config.invokes_per_block))
        found: dict[str, list[NDArray[np.int64]]] = {name: [] for name in order}
        for name in [*order, *reversed(order)]:
            block = built[name]
            timed = self._attempt(name, partial(run, partial(_without_collector, block, calls[name]))) if block else None
            if timed is not None:
                found[name].append(timed[0])
                reading = max(reading, timed[1])
        return _Round(found, timer, reading)

    def _attempt(self, name: str, work: Callable[[], _T]) -> _T | None:
        if name not in self.failures:
            try:
                return work()
            except FILE_FAULTS as error:
                self.failures[name] = one_line(error)
        return None

    def _shuffled(self) -> list[str]:
        return [name for name in self._rng.permutation(list(self._candidates)).tolist() if name not in self.failures]


def _build(factory: BlockFactory, calls: int) -> Block:
    block = factory()
    block(max(calls // 10, 1))  # The first calls of a fresh interpreter touch cold memory.
    return block


def _timer_block(n: int) -> NDArray[np.int64]:
    durations = np.empty(n, np.int64)
    for i in range(n):
        start = clock()
        durations[i] = clock() - start
    return durations


def _without_collector(block: Block, n: int) -> NDArray[np.int64]:
    # A collection in the middle of a call would be timed as the call's.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return block(n)
    finally:
        if was_enabled:
            gc.enable()


def _warm_up(factory: BlockFactory, config: LatencyConfig) -> int:
    """How many calls make a block: as many as there may be, fewer of slow ones."""
    block = factory()
    fewest = min(FEWEST_CALLS, config.invokes_per_block)
    last = float(np.median(block(fewest)))
    calls = min(config.invokes_per_block, max(int(BLOCK_NS // max(last, 1.0)), fewest))
    for _ in range(config.warm_up_blocks - 1):
        median = float(np.median(block(calls)))
        if abs(median - last) <= config.warm_up_tolerance * last:
            break
        last = median
    return calls
