"""The rows as a plain-text table for a terminal, and the cells it shares with the report."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgedqn.benchmarks.rows import Row

ABSENT = "-"
# The medians hardly move while so large a share of the rounds ran at full speed.
RELIABLE = 0.9
TIMED = ("latency_us", "step_latency_us", "twin_step_latency_us")


def render_table(rows: Sequence[Row]) -> str:
    """An aligned table, one line per row, and under it the reason of each row that has one, and `slow_note`.

    Args:
      rows: as in `benchmark.json`.
    Returns:
      Text without a newline at its end. KB is 1,000 bytes.
    """
    lines = [[title for title, _ in COLUMNS], *([cell(row) for _, cell in COLUMNS] for row in rows)]
    notes = [f"{row['name']}: {row['reason']}" for row in rows if row["reason"]]
    return "\n".join([*_aligned(lines), *notes, *_slow(rows)])


def slow_note(rows: Sequence[Row]) -> str | None:
    """A sentence where what was timed rarely met a core at full speed, see `full_speed.py`; None where the figures stand."""
    met = min(full_speed(rows, key) for key in TIMED)
    if met >= RELIABLE:
        return None
    return (
        f"The core was slower than it can be in {1 - met:.0%} of the rounds of a timing: "
        "somebody else used it, or it was throttled. Take the latencies again."
    )


def full_speed(rows: Sequence[Row], key: str) -> float:
    """The share of the rounds at full speed in what was timed as `key`; of earlier versions, which did not tell, 1."""
    return min((row[key].get("full_speed", 1.0) for row in rows if row.get(key)), default=1.0)


def render_devices(benchmark: Mapping[str, Any]) -> str:
    """A table like that for each device that was merged in, under the name of its machine. Empty without any."""
    return "\n\n".join(
        "\n".join([f"On {device_name(device)}:", *_aligned(device_lines(device, benchmark["rows"]))])
        for device in benchmark.get("devices", [])
    )


def device_name(device: Mapping[str, Any]) -> str:
    """What a device's measurements go by."""
    machine = device["machine"]
    return f"{machine.get('cpu') or 'an unknown machine'} ({machine.get('architecture') or 'unknown architecture'})"


def device_lines(device: Mapping[str, Any], rows: Sequence[Row]) -> list[list[str]]:
    """The cells of a device's table, its head first: in microseconds, there and of the same file here."""
    here = {row["sha256"]: row for row in rows}
    lines = [["name", "file", "invoke p50 µs", "p90", "here", "step p50 µs", "p90", "here"]]
    for row in device["rows"]:
        line = [str(row["name"]), str(row["file"])]
        for key in ("latency_us", "step_latency_us"):
            line += [f"{row[key]['p50']:.2f}", f"{row[key]['p90']:.2f}", _p50(key)(here.get(row["sha256"], {key: None}))]
        lines.append(line)
    return lines


def _slow(rows: Sequence[Row]) -> list[str]:
    note = slow_note(rows)
    return [] if note is None else [note]


def in_digits(value: float) -> str:
    """A return: one decimal, two where it is below 10, as those of FrozenLake and Taxi are."""
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def kilobytes(size: int) -> str:
    """A size in bytes as KB of 1,000: one decimal, two below 10 KB, where files of a few neurons differ."""
    return f"{size / 1_000:.1f}" if size >= 10_000 else f"{size / 1_000:.2f}"


def markdown_table(lines: Sequence[Sequence[str]]) -> str:
    """A table of Markdown, its head first: names to the left, numbers to the right."""
    head, *body = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *body))


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Names to the left, numbers to the right, where their digits line up; a rule under the head."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ["  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip() for line in lines]
    return [text[0], "  ".join("-" * width for width in widths), *text[1:]]


def _return(row: Row) -> str:
    found = row["return"]
    return ABSENT if found is None else f"{in_digits(found['mean'])} [{', '.join(map(in_digits, found['ci95']))}]"


def _delta(row: Row) -> str:
    return ABSENT if row["return_delta"] is None else f"{row['return_delta']['mean']:+.2f}"


def _verdict(row: Row) -> str:
    return row["gate"] or (ABSENT if row["status"] == "ok" else str(row["status"]))


def _zeros(row: Row) -> str:
    return f"{1 - row['nonzero_weights'] / row['weights']:.1%}" if row["weights"] else ABSENT


def _share(key: str) -> Callable[[Row], str]:
    return lambda row: ABSENT if row[key] is None else f"{row[key]:.1%}"


def _kilobytes(key: str) -> Callable[[Row], str]:
    return lambda row: ABSENT if row[key] is None else kilobytes(row[key])


def _p50(key: str) -> Callable[[Row], str]:
    return lambda row: ABSENT if row[key] is None else f"{row[key]['p50']:.2f}"


def _ratio(key: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        found = row[key]
        return ABSENT if found is None else f"{found['median']:.2f}x [{found['ci95'][0]:.2f}, {found['ci95'][1]:.2f}]"

    return cell


COLUMNS: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("name", lambda row: str(row["name"])),
    ("return [95 %]", _return),
    ("delta", _delta),
    ("gate", _verdict),
    ("agree", _share("action_agreement")),
    ("by gap", _share("gap_weighted_agreement")),
    ("ties", _share("tie_rate")),
    ("KB", _kilobytes("size_bytes")),
    ("gzip KB", _kilobytes("gzip_bytes")),
    ("zeros", _zeros),
    ("invoke µs", _p50("latency_us")),
    ("speed-up [95 %]", _ratio("speedup")),
    ("step µs", _p50("step_latency_us")),
    ("step speed-up [95 %]", _ratio("step_speedup")),
)
# A page has room for more than a terminal.
MORE_COLUMNS: tuple[tuple[str, Callable[[Row], str]], ...] = (
    *COLUMNS,
    ("twin step µs", _p50("twin_step_latency_us")),
    ("twin step speed-up [95 %]", _ratio("twin_step_speedup")),
    ("cold start µs", _p50("cold_start_us")),
    ("stripped KB", _kilobytes("stripped_bytes")),
    ("resident MB", lambda row: ABSENT if row["resident_bytes"] is None else f"{row['resident_bytes'] / 1e6:.1f}"),
    ("arena bytes", lambda row: ABSENT if row["arena_bytes"] is None else f"{row['arena_bytes']:,}"),
    ("MACs", lambda row: ABSENT if row["multiply_accumulates"] is None else f"{row['multiply_accumulates']:,}"),
)


def render_markdown(rows: Sequence[Row]) -> str:
    """The terminal's table as Markdown, for a pull request; arguments and units as for `render_table`."""
    table = markdown_table([[title for title, _ in COLUMNS], *([cell(row) for _, cell in COLUMNS] for row in rows)])
    notes = [*(f"- `{row['name']}`: {row['reason']}" for row in rows if row["reason"]), *_slow(rows)]
    return "\n".join([table, *([""] if notes else []), *notes])
