"""What a bundle's `bench_on_device.py` measured on a device, put beside the rows of `benchmark.json`."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from edgedqn.agents.errors import InputError
from edgedqn.agents.files import read_json

SCHEMA = 1
LATENCIES = ("latency_us", "step_latency_us")
PERCENTILES = ("p50", "p90", "p99", "mean", "timer_us")

Device = dict[str, Any]


def merged(benchmark: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """A benchmark with one device more, or with new figures of one that it has.

    Args:
      benchmark: the object of `benchmark.json`.
      path: what `bench_on_device.py` wrote, beside a bundle of a file in `benchmark`.
    Returns:
      The same object with `devices`: a list of {"machine", "rows"}. A row has `name`, that of the row of the same SHA-256;
      the bundle's twin with float ends, which is no file of the benchmark, goes by the name of the policy it is a twin of.
      Beside it, `file`, `sha256`, `recipe`, `size_bytes`, `latency_us` and `step_latency_us`, as in `rows`.
    Raises:
      InputError: the file is damaged, or of another policy.
    """
    device = _named(read_device(path), benchmark["rows"], path)
    others = [each for each in benchmark.get("devices", []) if _identity(each) != _identity(device)]
    return {**benchmark, "devices": [*others, device]}


def still_true(devices: Iterable[Device], rows: Iterable[Mapping[str, Any]]) -> list[Device]:
    """The devices whose file is one of `rows`, after these were measured again."""
    there = {row["sha256"] for row in rows}
    return [device for device in devices if any(row["sha256"] in there for row in device["rows"])]


def read_device(path: Path) -> Device:
    """What `bench_on_device.py` wrote: {"machine", "rows"}.

    Raises:
      InputError: the file is missing or damaged.
    """
    told = read_json(path, SCHEMA)
    try:
        machine = {_text(key): None if value is None else _text(value) for key, value in told["machine"].items()}
        rows = [_row(row) for row in told["rows"]]
        if not rows:
            raise ValueError("no rows")
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(
            f"{path} is not of a device: expected what bench_on_device.py writes. Got: {type(error).__name__} {error}."
        ) from error
    return {"machine": machine, "rows": rows}


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    named = {key: _text(row[key]) for key in ("file", "sha256", "recipe")}
    return {**named, "size_bytes": int(_positive(row["size_bytes"])), **{key: _latency(row[key]) for key in LATENCIES}}


def _latency(value: Mapping[str, Any]) -> dict[str, Any]:
    return {**{key: _positive(value[key]) for key in PERCENTILES}, "n": int(_positive(value["n"]))}


def _positive(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise ValueError(f"{value!r} where a positive number belongs")
    return value


def _text(value: Any) -> str:
    """What may be shown in a terminal: a foreign file could move its cursor."""
    text = str(value)
    if not text.isprintable() or len(text) > 200:
        raise ValueError(f"{text[:50]!r} where up to 200 printable characters belong")
    return text


def _named(device: Device, rows: Iterable[Mapping[str, Any]], path: Path) -> Device:
    by_sha256 = {row["sha256"]: row["name"] for row in rows if row["sha256"]}
    by_recipe = {row["recipe"]: by_sha256[row["sha256"]] for row in device["rows"] if row["sha256"] in by_sha256}
    if not by_recipe or any(row["recipe"] not in by_recipe for row in device["rows"]):
        got = ", ".join(f"{row['file']} ({row['sha256'][:12]})" for row in device["rows"])
        raise InputError(f"{path} is of another policy: expected files of this benchmark, and their twins. Got {got}.")
    return {**device, "rows": [{"name": by_recipe[row["recipe"]], **row} for row in device["rows"]]}


def _identity(device: Device) -> tuple[Any, ...]:
    """The same machine with the same files is measured again, not once more."""
    machine = device["machine"]
    return machine.get("cpu"), machine.get("architecture"), *sorted(row["sha256"] for row in device["rows"])
