"""What became slower or worse since an earlier benchmark, beyond what two runs of the same differ by."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgedqn.agents.atomic_files import read_json
from edgedqn.agents.errors import InputError
from edgedqn.benchmarks.rows import Row
from edgedqn.benchmarks.table import slow_note

SCHEMA = 1
# Speed-ups of two runs of one file differ by less: docs/benchmarks.md.
SPEED_NOISE = 0.05
Z_99 = 2.576
SPEEDS = {"speedup": "invoke", "step_speedup": "step", "twin_step_speedup": "step of the twin"}


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
    intervals apart and medians more than 5 % apart. Where the core was slow in either, ratios moved by themselves and are not
    compared. The baseline's own time is what they are measured by, so nothing is said of it. A return is worse where the
    difference of the means is below 0 at 99 % confidence (two-sided, normal), a size where it is more bytes.

    Args:
      earlier: the object of a `benchmark.json`.
      now: likewise, of the same baseline.
    Raises:
      InputError: the baselines have different names.
    """
    if earlier["baseline"] != now["baseline"]:
        raise InputError(f"Ratios to different files do not compare: expected {earlier['baseline']}. Got {now['baseline']}.")
    rows = {row["name"]: row for row in now["rows"]}
    speeds = {} if slow_note(earlier["rows"]) or slow_note(now["rows"]) else SPEEDS
    return [
        Regression(before["name"], what, change)
        for before in earlier["rows"]
        if before["status"] == "ok"
        for what, change in _worse(before, rows.get(before["name"]), speeds)
    ]


def compared(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """`now` with a key more, `against`: {"machine": what differs, "regressions": {"name", "what", "change"} of each}. Arguments
    and errors as for `regressions`."""
    found = [asdict(each) for each in regressions(earlier, now)]
    slow = [when for when, each in (("earlier", earlier), ("now", now)) if slow_note(each["rows"])]
    told = [*changed_machine(earlier, now), *(f"the core was slow {when}, so speeds are not compared" for when in slow)]
    return {**now, "against": {"machine": told, "regressions": found}}


def render_against(against: Mapping[str, Any], path: Path) -> str:
    """What `compared` found, as lines for a person."""
    lines = [f"Against {path}:"]
    lines += [f"  worse   {each['name']}, {each['what']}: {each['change']}" for each in against["regressions"]]
    lines += [] if against["regressions"] else ["  nothing became slower or worse beyond noise"]
    lines += [f"  other   {change}" for change in against["machine"]]
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
