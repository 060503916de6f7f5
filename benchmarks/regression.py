"""What became slower or worse since an earlier benchmark, beyond what two runs of the same differ by."""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgedqn.agents.errors import require
from edgedqn.agents.files import JsonValue
from edgedqn.benchmarks.report.table import RELIABLE, TIMED, full_speed
from edgedqn.benchmarks.rows import Benchmark, BenchmarkRow

# Speed-ups of two runs of one file differ by less: docs/measured/latency.md.
SPEED_NOISE = 0.05
Z_99 = 2.576
# Where one of these differs, so do ratios.
DECIDES_SPEED = ("cpu", "architecture", "threads", "xnnpack", "ai-edge-litert")


@dataclass(frozen=True)
class Regression(JsonValue):
    """One thing that is worse.

    Attributes:
      name: of the row.
      what: "invoke", "step", "step of the twin", "return", "gate", "size" or "row".
      change: from what to what, for a person.
    """

    name: str
    what: str
    change: str


@dataclass(frozen=True)
class Against(JsonValue):
    """What two benchmarks differ by.

    Attributes:
      machine: what differs between the machines, as "numpy: 2.3 -> 2.4".
      incomparable: why speeds say nothing of each other, by what was timed.
      regressions: what is worse.
    """

    machine: tuple[str, ...]
    incomparable: Mapping[str, str]
    regressions: tuple[Regression, ...]

    def render(self, path: Path) -> str:
        """As lines for a person; `path` is that of the earlier benchmark."""
        lines = [f"Against {path}:"]
        lines += [f"  worse    {each.name}, {each.what}: {each.change}" for each in self.regressions]
        if not self.regressions:
            became = "that was compared became worse" if self.incomparable else "became slower or worse"
            lines.append(f"  nothing {became} beyond noise")
        lines += [f"  unknown  speed of {what}: {why}" for what, why in self.incomparable.items()]
        return "\n".join([*lines, *(f"  other    {change}" for change in self.machine)])


def compare_with(earlier: Benchmark, now: Benchmark) -> Against:
    """What is different now; what is worse, file by file, in the order of the earlier rows.

    Speed is compared as the ratio to the baseline of the same run, which does not change with the machine's load: slower is
    what has intervals apart and medians more than 5 % apart, where `incomparable` has nothing against it. The baseline's own
    time is what they are measured by, so nothing is said of it. A return is worse where the difference of the means is below
    0 at 99 % confidence (two-sided, normal), a size where it is more bytes.

    Raises:
      InputError: the baselines have different names.
    """
    same, expected = earlier.baseline == now.baseline, earlier.baseline
    require(same, f"Ratios to different files do not compare: expected {expected}. Got {now.baseline}.")
    unknown = incomparable(earlier, now)
    regressions = (
        Regression(before.name, what, change)
        for before in earlier.rows
        if before.status == "ok"
        for what, change in _worse(before, now.row(before.name), [what for what in TIMED if what not in unknown])
    )
    return Against(changed_machine(earlier, now), unknown, tuple(regressions))


def incomparable(earlier: Benchmark, now: Benchmark) -> dict[str, str]:
    """Why speeds of two benchmarks say nothing of each other, by what was timed.

    Another machine or runtime, another baseline, or a core that was slow in one of the two.
    """
    machines = [each.machine.to_json() for each in (earlier, now)]
    baselines = [each.row(each.baseline) for each in (earlier, now)]
    if changed := [key for key in DECIDES_SPEED if len({machine[key] for machine in machines}) > 1]:
        return dict.fromkeys(TIMED, f"another {', '.join(changed)}")
    if len({row and row.sha256 for row in baselines}) > 1:
        return dict.fromkeys(TIMED, "another baseline")
    return {
        what: f"the core was slow {when}"
        for when, each in (("earlier", earlier), ("now", now))
        for what in TIMED
        if full_speed(each.rows, what) < RELIABLE
    }


def changed_machine(earlier: Benchmark, now: Benchmark) -> tuple[str, ...]:
    """What differs between the machines, as "numpy: 2.3 -> 2.4"; which core was taken does not count."""
    before, after = earlier.machine.to_json(), now.machine.to_json()
    keys = [key for key in after if key != "pinned_cores" and before[key] not in (None, after[key])]
    return tuple(f"{key}: {before[key]} -> {after[key]}" for key in keys)


def _worse(before: BenchmarkRow, now: BenchmarkRow | None, speeds: Collection[str]) -> Iterator[tuple[str, str]]:
    if now is None:
        yield "row", "is not there any more"
        return
    if now.status != "ok":
        yield "row", f"{now.status}: {now.reason}"
        return
    for what in speeds:
        old, new = before.timed[what].ratio, now.timed[what].ratio
        if old and new and new.high < old.low and new.median < (1 - SPEED_NOISE) * old.median:
            yield what, f"{old.median:.2f}x -> {new.median:.2f}x the baseline's speed"
    earned, earns = before.episode_return, now.episode_return
    if earned and earns:
        standard_error = math.hypot(earned.high - earned.low, earns.high - earns.low) / (2 * 1.96)
        if earns.mean - earned.mean < -Z_99 * standard_error:
            yield "return", f"{earned.mean:.2f} -> {earns.mean:.2f}"
    if before.gate == "pass" and now.gate not in ("pass", None):
        yield "gate", f"pass -> {now.gate}"
    if before.size_bytes and now.size_bytes and now.size_bytes > before.size_bytes:
        yield "size", f"{before.size_bytes:,} -> {now.size_bytes:,} bytes"
