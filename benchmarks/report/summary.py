"""What a run came to, in words and in the four numbers that matter."""

from collections.abc import Sequence
from typing import NamedTuple

from edgedqn.agents.playing.statistics import Interval
from edgedqn.benchmarks.cores.fit import FitTest
from edgedqn.benchmarks.report.table import in_digits, kilobytes, loaded_step
from edgedqn.benchmarks.rows import BenchmarkRow, Latency, Ratio, best_passing, model_of


class Gain(NamedTuple):
    """A number of the file that ships, and what it is compared with."""

    what: str
    value: str
    beside: str


def summary(rows: Sequence[BenchmarkRow], baseline: str, fits: Sequence[FitTest] = ()) -> str:
    """The smallest file that passed and what it saves, or that there is none; where it is slower, that too."""
    best, (model, _) = best_passing(rows, fits), model_of(rows, baseline)
    if best is None:
        if all(row.episode_return is None for row in rows):
            return "Nothing was played, so no file was put to the gate: size and speed alone say nothing of the policy."
        board = next((f" and fits {fit.budget.board}" for fit in fits if fit.is_limit), "")
        return f"No int8 file passed its gate{board}: none is proven to play like {model}."
    base = next(row for row in rows if row.name == baseline)
    played, delta = best.episode_return, best.return_delta
    assert played and delta and base.size_bytes and best.size_bytes  # or nothing had passed
    step = loaded_step(best).ratio
    assert best.speedup and step
    share = best.size_bytes / base.size_bytes
    in_percent = f"{share:.0%}" if share >= 0.095 else f"{share:.1%}"
    return (
        f"{best.name} passed its gate: on the same {played.episodes:,} episodes {model} returns "
        f"{in_digits(played.mean - delta.mean)}, and {best.name} {_difference(played.mean, delta)}. "
        f"It takes {kilobytes(best.size_bytes)} KB instead of {kilobytes(base.size_bytes)} KB, {in_percent} of the size. "
        f"One invoke() is {_speed(best.speedup)}; the whole step, from observation to action, is {_speed(step)}.{_power(best)}"
    )


def gains(rows: Sequence[BenchmarkRow], baseline: str, fits: Sequence[FitTest] = ()) -> list[Gain]:
    """Size, invoke(), step and return of the file that ships beside the baseline's, as far as they were measured; empty where
    no file may ship."""
    best, base = best_passing(rows, fits), next(row for row in rows if row.name == baseline)
    if best is None:
        return []
    found, step = [], loaded_step(best)
    if best.size_bytes and base.size_bytes:
        found.append(
            Gain("size", f"{kilobytes(best.size_bytes)} KB", f"{_times(base, best)} than {kilobytes(base.size_bytes)} KB")
        )
    for what, row_time, base_time, ratio in (
        ("speed of one invoke()", best.latency_us, base.latency_us, best.speedup),
        ("speed of a step, in Python", step.latency, base.step_latency_us, step.ratio),
    ):
        if ratio is not None and row_time is not None and base_time is not None:
            found.append(Gain(what, f"{ratio.median:.2f}x", _both(row_time, base_time)))
    if (played := best.episode_return) is not None and (delta := best.return_delta) is not None:
        beside = f"{in_digits(played.mean - delta.mean)} before, on the same {played.episodes:,} episodes; passed its gate"
        found.append(Gain("return", in_digits(played.mean), beside))
    return found


def in_a_sentence(rows: Sequence[BenchmarkRow], baseline: str, fits: Sequence[FitTest] = ()) -> str | None:
    """What the file that ships saves and keeps; of what was not measured it says nothing. None where no file may ship."""
    best, base = best_passing(rows, fits), next(row for row in rows if row.name == baseline)
    if best is None:
        return None
    parts = []
    if best.size_bytes and base.size_bytes:
        parts += [f"{_rounded(best.size_bytes)} KB in place of {_rounded(base.size_bytes)} KB", _times(base, best)]
    if best.speedup is not None:
        ratio = loaded_step(best).ratio
        step = f"; the whole step in Python {_briefly(ratio)}" if ratio is not None else ""
        parts.append(f"{_briefly(best.speedup)} (one invoke(){step})")
    if (played := best.episode_return) is not None and (delta := best.return_delta) is not None:
        now, before = in_digits(played.mean), in_digits(played.mean - delta.mean)
        kept = f"{now} of {before}" if min(played.mean, played.mean - delta.mean) >= 0 else f"a return of {now} after {before}"
        parts.append(f"{kept} on {played.episodes:,} episodes")
    return ", ".join(parts)


def _times(base: BenchmarkRow, best: BenchmarkRow) -> str:
    assert best.size_bytes and base.size_bytes
    small, large = sorted((best.size_bytes, base.size_bytes))
    how = "smaller" if best.size_bytes < base.size_bytes else "larger"
    return "no smaller" if small == large else f"{_figure(large / small)} times {how}"


def _briefly(ratio: Ratio) -> str:
    return "about as fast" if ratio.low <= 1 <= ratio.high else f"{_figure(ratio.median)} times as fast"


def _figure(ratio: float) -> str:
    """One decimal, none from 10 on; two below 1.05, where one would say 1.0."""
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.1f}" if ratio >= 1.05 else f"{ratio:.2f}"


def _rounded(size: int) -> str:
    return f"{size / 1_000:.0f}" if size >= 100_000 else f"{size / 1_000:.1f}"


def _both(now: Latency, before: Latency) -> str:
    return f"{now.p50:.2f} µs in place of {before.p50:.2f}"


def _power(row: BenchmarkRow) -> str:
    """What a gate can tell that looks at other numbers of episodes than usual."""
    if row.gate_looks is None or row.gate_power is None:
        return ""
    lossless, at_margin = (round(100 * each) for each in (row.gate_power.lossless_passes, row.gate_power.at_margin_passes))
    return (
        f" The gate looked after {', '.join(f'{look:,}' for look in row.gate_looks)} episodes: of files without any loss "
        f"{lossless} in 100 would pass it, of files that lose just what is not allowed any more {at_margin} (simulated, from "
        "this file's own differences)."
    )


def _difference(mean: float, delta: Interval) -> str:
    if delta.low == delta.high == 0:
        return "exactly as much"
    how = "less" if delta.mean < 0 else "more"
    between = f"{in_digits(delta.low)} and {in_digits(delta.high)}"
    return f"{in_digits(mean)}, {in_digits(abs(delta.mean))} {how} (the difference is between {between} at 95 %)"


def _speed(ratio: Ratio) -> str:
    if ratio.low <= 1 <= ratio.high:
        return f"about as fast ({ratio.median:.2f}x, between {ratio.low:.2f} and {ratio.high:.2f})"
    return f"{ratio.median:.2f} times as fast" if ratio.median > 1 else f"slower, at {ratio.median:.2f} times the speed"
