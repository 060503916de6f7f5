"""What a bundle's `bench_on_device.py` measured on a device, put beside the rows of `benchmark.json`."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from edgedqn.agents.errors import InputError, require
from edgedqn.agents.files import Json, read_json
from edgedqn.benchmarks.rows import Benchmark, BenchmarkRow, Device, DeviceRow, Latency

SCHEMA = 1


def merged(benchmark: Benchmark, path: Path) -> Benchmark:
    """The host's benchmark with one device more, or with new figures of one that it has: those that `bench_on_device.py` wrote.

    The device comes last. Its rows go by the name of the row of the same SHA-256; the bundle's twin with float ends, which is
    no file of the benchmark, goes by that of the policy it is a twin of.

    Raises:
      InputError: the file is damaged, or of another policy.
    """
    device = _named(read_device(path), benchmark.rows, path)
    others = [each for each in benchmark.devices if _identity(each) != _identity(device)]
    return replace(benchmark, devices=(*others, device))


def still_true(devices: Iterable[Device], rows: Iterable[BenchmarkRow]) -> tuple[Device, ...]:
    """The devices whose file is one of `rows`, after these were measured again."""
    there = {row.sha256 for row in rows}
    return tuple(device for device in devices if any(row.sha256 in there for row in device.rows))


def read_device(path: Path) -> Device:
    """What `bench_on_device.py` wrote, its rows without names.

    Raises:
      InputError: the file is missing or damaged.
    """
    found = read_json(path, SCHEMA)
    try:
        machine = {_text(key): None if value is None else _text(value) for key, value in found["machine"].items()}
        rows = tuple(map(_row_from_json, found["rows"]))
        if not rows:
            raise ValueError("no rows")
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(
            f"{path} is not of a device: expected what bench_on_device.py writes. Got: {type(error).__name__} {error}."
        ) from error
    return Device(machine, rows)


def _row_from_json(value: Json) -> DeviceRow:
    return DeviceRow(
        name="",
        file=_text(value["file"]),
        sha256=_text(value["sha256"]),
        recipe=_text(value["recipe"]),
        size_bytes=int(_positive(value["size_bytes"])),
        latency_us=_latency_from_json(value["latency_us"]),
        step_latency_us=_latency_from_json(value["step_latency_us"]),
    )


def _latency_from_json(value: Json) -> Latency:
    p50, p90, p99, mean, timer_us = (_positive(value[key]) for key in ("p50", "p90", "p99", "mean", "timer_us"))
    return Latency(p50=p50, p90=p90, p99=p99, mean=mean, n=int(_positive(value["n"])), timer_us=timer_us)


def _positive(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise ValueError(f"{value!r} where a positive number belongs")
    return value


def _text(value: object) -> str:
    """What may be shown in a terminal: a foreign file could move its cursor."""
    text = str(value)
    if not text.isprintable() or len(text) > 200:
        raise ValueError(f"{text[:50]!r} where up to 200 printable characters belong")
    return text


def _named(device: Device, rows: Sequence[BenchmarkRow], path: Path) -> Device:
    by_sha256 = {row.sha256: row.name for row in rows if row.sha256}
    by_recipe = {row.recipe: by_sha256[row.sha256] for row in device.rows if row.sha256 in by_sha256}
    got = ", ".join(f"{row.file} ({row.sha256[:12]})" for row in device.rows)
    known = by_recipe and all(row.recipe in by_recipe for row in device.rows)
    require(bool(known), f"{path} is of another policy: expected files of this benchmark, and their twins. Got {got}.")
    return replace(device, rows=tuple(replace(row, name=by_recipe[row.recipe]) for row in device.rows))


def _identity(device: Device) -> tuple[str | None, ...]:
    """The same machine with the same files is measured again, not once more."""
    machine = device.machine
    return machine.get("cpu"), machine.get("architecture"), *sorted(row.sha256 for row in device.rows)
