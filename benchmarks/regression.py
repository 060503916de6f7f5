"""What became slower or worse since an earlier benchmark, beyond what two runs of the same differ by."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgedqn.agents.errors import InputError
from edgedqn.agents.files import read_json
from edgedqn.benchmarks.report.table import RELIABLE, full_speed
from edgedqn.benchmarks.rows import Row

SCHEMA = 1
# Speed-ups of two runs of one file differ by less: docs/benchmarks.md.
SPEED_NOISE = 0.05
Z_99 = 2.576
# What is compared, what it was timed as, and what a person calls it.
SPEEDS = {
    "speedup": ("latency_us", "invoke"),
    "step_speedup": ("step_latency_us", "step"),
    "twin_step_speedup": ("twin_step_latency_us", "step of the twin"),
}
# Where one of these differs, so do ratios.
DECIDES_SPEED = ("cpu", "architecture", "threads", "xnnpack", "ai-edge-litert")


@dataclass(frozen=True)
class Regression:
    """One thing that is worse.

    Attributes:
      name: of the row.
      what: "invoke", "step", "step of the twin", "return", "gate", "size" or "row".
      change: from what to what, for a person.
    """

    name: str
    what: str
    change: str


def read_earlier(path: Path) -> dict[str, Any]:
    """A `benchmark.json`.

    Raises:
      InputError: it is none.
    """
    earlier: dict[str, Any] = read_json(path, SCHEMA)
    try:
        for row in earlier["rows"]:
            row["name"], row["status"], earlier["machine"]["cpu"], earlier["baseline"]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} is no benchmark.json: expected what `edgedqn bench` writes. Got: no {error}.") from error
    return earlier


def regressions(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> list[Regression]:
    """What is worse now, file by file, in the order of the earlier rows.

    Speed is compared as the ratio to the baseline of the same run, which a machine's mood leaves alone: slower is what has
    intervals apart and medians more than 5 % apart, where `incomparable` has nothing against it. The baseline's own time is
    what they are measured by, so nothing is said of it. A return is worse where the difference of the means is below 0 at 99 %
    confidence (two-sided, normal), a size where it is more bytes.

    Args:
      earlier: the object of a `benchmark.json`.
      now: likewise, of the same baseline.
    Raises:
      InputError: the baselines have different names.
    """
    if earlier["baseline"] != now["baseline"]:
        raise InputError(f"Ratios to different files do not compare: expected {earlier['baseline']}. Got {now['baseline']}.")
    rows = {row["name"]: row for row in now["rows"]}
    unknown = incomparable(earlier, now)
    speeds = {key: what for key, (_, what) in SPEEDS.items() if what not in unknown}
    return [
        Regression(before["name"], what, change)
        for before in earlier["rows"]
        if before["status"] == "ok"
        for what, change in _worse(before, rows.get(before["name"]), speeds)
    ]


def incomparable(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """Why speeds of two benchmarks say nothing of each other, by what was timed.

    Another machine or runtime, another baseline, or a core that was slow in one of the two.
    """
    changed = [key for key in DECIDES_SPEED if earlier["machine"].get(key) != now["machine"].get(key)]
    if changed:
        why = f"another {', '.join(changed)}"
    elif len({_baseline(each).get("sha256") for each in (earlier, now)}) > 1:
        why = "another baseline"
    else:
        why = ""
    if why:
        return {what: why for _, what in SPEEDS.values()}
    return {
        what: f"the core was slow {when}"
        for when, each in (("earlier", earlier), ("now", now))
        for timed, what in SPEEDS.values()
        if full_speed(each["rows"], timed) < RELIABLE
    }


def _baseline(benchmark: Mapping[str, Any]) -> Mapping[str, Any]:
    return next((row for row in benchmark["rows"] if row["name"] == benchmark["baseline"]), {})


def compared(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """`now` with a key more, `against`: {"machine": what differs, "incomparable": why what was not compared, "regressions":
    {"name", "what", "change"} of each}. Arguments and errors as for `regressions`."""
    found = [asdict(each) for each in regressions(earlier, now)]
    against = {"machine": changed_machine(earlier, now), "incomparable": incomparable(earlier, now), "regressions": found}
    return {**now, "against": against}


def render_against(against: Mapping[str, Any], path: Path) -> str:
    """What `compared` found, as lines for a person."""
    unknown = against["incomparable"]
    lines = [f"Against {path}:"]
    lines += [f"  worse    {each['name']}, {each['what']}: {each['change']}" for each in against["regressions"]]
    if not against["regressions"]:
        lines.append(f"  nothing {'that was compared became worse' if unknown else 'became slower or worse'} beyond noise")
    lines += [f"  unknown  speed of {what}: {why}" for what, why in unknown.items()]
    lines += [f"  other    {change}" for change in against["machine"]]
    return "\n".join(lines)


def changed_machine(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between the machines, as "numpy: 2.3 -> 2.4"; which core was taken does not count."""
    before, after = earlier["machine"], now["machine"]
    keys = [key for key in after if key != "pinned_cores" and key in before]
    return [f"{key}: {before[key]} -> {after[key]}" for key in keys if before[key] != after[key]]


def _worse(before: Row, now: Row | None, speeds: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if now is None:
        yield "row", "is not there any more"
        return
    if now["status"] != "ok":
        yield "row", f"{now['status']}: {now['reason']}"
        return
    for key, what in speeds.items():
        old, new = before.get(key), now.get(key)
        if old and new and new["ci95"][1] < old["ci95"][0] and new["median"] < (1 - SPEED_NOISE) * old["median"]:
            yield what, f"{old['median']:.2f}x -> {new['median']:.2f}x the baseline's speed"
    old, new = before["return"], now["return"]
    if old and new and new["mean"] - old["mean"] < -Z_99 * math.hypot(_standard_error(old), _standard_error(new)):
        yield "return", f"{old['mean']:.2f} -> {new['mean']:.2f}"
    if before["gate"] == "pass" and now["gate"] not in ("pass", None):
        yield "gate", f"pass -> {now['gate']}"
    if now["size_bytes"] > before["size_bytes"]:
        yield "size", f"{before['size_bytes']:,} -> {now['size_bytes']:,} bytes"


def _standard_error(found: Mapping[str, Any]) -> float:
    low, high = found["ci95"]
    return float(high - low) / (2 * 1.96)
