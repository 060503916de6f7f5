"""The rows as a plain-text table for a terminal, and the cells it shares with the report."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from edgedqn.benchmarks.cores.budget import CYCLES_PER_INSTRUCTION
from edgedqn.benchmarks.cores.fit import FitTest
from edgedqn.benchmarks.rows import Benchmark, BenchmarkRow, Device, Latency, Ratio, Return, StressTest, Timed

ABSENT = "-"
# The medians hardly move while so large a share of the rounds ran at full speed.
RELIABLE = 0.9
_T = TypeVar("_T")
MOST_TOLD = 4  # files that a sentence names
TIMED = ("invoke", "step", "step of the twin")


def render_table(rows: Sequence[BenchmarkRow]) -> str:
    """An aligned table, one line per row, and under it the reason of each row that has one, and `slow_note`.

    The text has no newline at its end. KB is 1,000 bytes.
    """
    notes = [f"{row.name}: {row.reason}" for row in rows if row.reason]
    return "\n".join([*_aligned(_lines(rows)), *notes, *filter(None, [slow_note(rows)])])


def render_markdown(rows: Sequence[BenchmarkRow]) -> str:
    """The terminal's table as Markdown, for a pull request."""
    notes = [*(f"- `{row.name}`: {row.reason}" for row in rows if row.reason), *filter(None, [slow_note(rows)])]
    return "\n".join([markdown_table(_lines(rows)), *([""] if notes else []), *notes])


def slow_note(rows: Sequence[BenchmarkRow]) -> str | None:
    """A sentence where what was timed rarely met a core at full speed, see `full_speed.py`; None where the figures stand."""
    met = min(full_speed(rows, what) for what in TIMED)
    if met >= RELIABLE:
        return None
    return (
        f"The core was slower than it can be in {1 - met:.0%} of the rounds of a timing: "
        "somebody else used it, or it was throttled. Take the latencies again."
    )


def full_speed(rows: Sequence[BenchmarkRow], what: str) -> float:
    """The share of the rounds at full speed when this was timed; 1 of earlier versions, which did not write it."""
    latencies = (row.timed[what].latency for row in rows)
    return min((each.full_speed for each in latencies if each and each.full_speed is not None), default=1.0)


def render_devices(benchmark: Benchmark) -> str:
    """A table like that for each device that was merged in, under the name of its machine. Empty without any."""
    return "\n\n".join(
        "\n".join([f"On {device.name}:", *_aligned(device_lines(device, benchmark.rows))]) for device in benchmark.devices
    )


def render_stress(benchmark: Benchmark) -> str:
    """A table of what each file plays under each stress, with a sentence. Empty where nothing was stressed."""
    test = benchmark.stress
    if test is None:
        return ""
    return "\n".join([stress_heading(test), *_aligned(stress_lines(test)), stress_summary(test), test.note])


def stress_heading(test: StressTest) -> str:
    """What the table shows."""
    return f"Under stress, mean return of {test.episodes} episodes each:"


def stress_lines(test: StressTest) -> list[list[str]]:
    """The cells of the table of a stress test, its head first: each file's mean return, and its loss beyond the baseline's."""
    files = test.stresses[0].files
    lines = [["stress"], ["none"]]
    for each in files:
        undisturbed = in_digits(each.mean_return + each.loss.mean)
        lines[0] += [each.name] if each.excess is None else [each.name, "loses more [95 %]"]
        lines[1] += [undisturbed] if each.excess is None else [undisturbed, ABSENT]
    for stress in test.stresses:
        line = [stress.what]
        for each in stress.files:
            line.append(in_digits(each.mean_return))
            if (more := each.excess) is not None:
                line.append(f"{more.mean:+.2f} [{more.low:+.2f}, {more.high:+.2f}]")
        lines.append(line)
    return lines


def stress_summary(test: StressTest) -> str:
    """Where files are more brittle than the baseline, the worst of them, or that none is."""
    (baseline,) = (each.name for each in test.stresses[0].files if each.excess is None)
    worse: dict[str, list[str]] = {}
    most: dict[str, float] = {}
    for stress in test.stresses:
        for each in stress.files:
            if each.excess is not None and each.excess.low > 0:
                worse.setdefault(each.name, []).append(f"{stress.what} ({each.excess.mean:.3g} more)")
                most[each.name] = max(most.get(each.name, 0.0), each.excess.mean)
    if not worse:
        return f"No file loses more than {baseline} beyond chance."
    told = [f"{name} at {', '.join(worse[name])}" for name in sorted(worse, key=lambda name: -most[name])[:MOST_TOLD]]
    told += [f"and {len(worse) - MOST_TOLD} files more"] if len(worse) > MOST_TOLD else []
    return f"More brittle than {baseline}, beyond chance (one in 40 comparisons is that by chance): {'; '.join(told)}."


def render_fits(benchmark: Benchmark) -> str:
    """A table for each board: which files fit it. Empty where nobody asked."""
    return "\n\n".join("\n".join([fit_heading(test), *_aligned_fits(fit_lines(test))]) for test in benchmark.fits)


def _aligned_fits(lines: Sequence[Sequence[str]]) -> list[str]:
    """The reasons, at the end, are as long as they are."""
    head, rule, *body = _aligned([line[:-1] for line in lines])
    first, *others = (line[-1] for line in lines)
    return [
        f"{text}  {last}".rstrip() for text, last in zip((head, rule, *body), (first, "-" * len(first), *others), strict=True)
    ]


def fit_title(test: FitTest) -> str:
    """What the table is called."""
    rate = "" if test.budget.rate_hz is None else f" at {test.budget.rate_hz:,.10g} Hz"
    return f"What fits {test.budget.board}{rate}"


def fit_heading(test: FitTest) -> str:
    """What the table shows, and how it is known."""
    budget = test.budget
    given = [f"{budget.flash_bytes:,} bytes of flash", f"{budget.ram_bytes:,} of RAM"]
    given += [] if budget.cycles is None else [f"{budget.cycles:,} cycles per step"]
    given += [] if budget.rate_hz is None else [f"{budget.rate_hz:g} steps per second"]
    known = f"instructions times {CYCLES_PER_INSTRUCTION}, an *estimate*, of memory without wait states"
    known = "measured in simavr" if budget.is_measured else known
    limit = " Nothing else may ship." if test.is_limit else ""
    return (
        f"On {budget.board} ({budget.core}; {', '.join(given)}): policy_observe, policy_infer and the choice of an action, as "
        f"a linked program; cycles are {known}.{limit}"
    )


def fit_lines(test: FitTest) -> list[list[str]]:
    """The cells of a board's table, its head first."""
    cycles = "cycles" if test.budget.is_measured else "cycles, estimated"
    lines = [["file", "fits", "flash", "RAM", cycles, "highest rate, Hz", "why not"]]
    for each in test.files:
        taken = [_text(number, "{:,}".format) for number in (each.flash_bytes, each.ram_bytes, each.cycles)]
        rate, verdict = _text(each.rate_hz, "{:,.1f}".format), "yes" if each.reason is None else "no"
        lines.append([each.name, verdict, *taken, rate, each.reason or ""])
    return lines


def device_lines(device: Device, rows: Sequence[BenchmarkRow]) -> list[list[str]]:
    """The cells of a device's table, its head first: in microseconds, there and of the same file here."""
    here = {row.sha256: (row.latency_us, row.step_latency_us) for row in rows}
    lines = [["name", "file", "invoke p50 µs", "p90", "here", "step p50 µs", "p90", "here"]]
    for row in device.rows:
        line = [row.name, row.file]
        both = zip((row.latency_us, row.step_latency_us), here.get(row.sha256, (None, None)), strict=True)
        for there, on_host in both:
            line += [_p50(there), f"{there.p90:.2f}", _p50(on_host)]
        lines.append(line)
    return lines


def _lines(rows: Sequence[BenchmarkRow]) -> list[list[str]]:
    return [[title for title, _ in COLUMNS], *([cell(row) for _, cell in COLUMNS] for row in rows)]


def in_digits(value: float) -> str:
    """A return: one decimal, two where it is below 10, as those of FrozenLake and Taxi are."""
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def kilobytes(size: int) -> str:
    """A size in bytes as KB of 1,000: one decimal, two below 10 KB, where files of a few neurons differ."""
    return f"{size / 1_000:.1f}" if size >= 10_000 else f"{size / 1_000:.2f}"


def markdown_table(lines: Sequence[Sequence[str]], *, text: Sequence[int] = ()) -> str:
    """A table of Markdown, its head first: the first column and those of `text` to the left, numbers to the right."""
    head, *body = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    rule = ["---" if column in (0, *text) else "---:" for column in range(len(head))]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *body))


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Names to the left, numbers to the right, where their digits line up; a rule under the head."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ["  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip() for line in lines]
    return [text[0], "  ".join("-" * width for width in widths), *text[1:]]


def _text(value: _T | None, written: Callable[[_T], str]) -> str:
    return ABSENT if value is None else written(value)


def _return(found: Return) -> str:
    return f"{in_digits(found.mean)} [{in_digits(found.low)}, {in_digits(found.high)}]"


def _zeros(row: BenchmarkRow) -> str:
    return f"{1 - row.nonzero_weights / row.weights:.1%}" if row.weights and row.nonzero_weights is not None else ABSENT


def _p50(latency: Latency | None) -> str:
    return ABSENT if latency is None else f"{latency.p50:.2f}"


def _ratio(ratio: Ratio | None) -> str:
    return ABSENT if ratio is None else f"{ratio.median:.2f}x [{ratio.low:.2f}, {ratio.high:.2f}]"


def loaded_step(row: BenchmarkRow) -> Timed:
    """The step of what `EdgePolicy.load` runs of a file: of its twin with float ends, where that computes the same integers."""
    twin = row.timed["step of the twin"]
    return row.timed["step"] if twin.latency is None else twin


_share = "{:.1%}".format
COLUMNS: tuple[tuple[str, Callable[[BenchmarkRow], str]], ...] = (
    ("name", lambda row: row.name),
    ("return [95 %]", lambda row: _text(row.episode_return, _return)),
    ("delta", lambda row: _text(row.return_delta and row.return_delta.mean, "{:+.2f}".format)),
    ("gate", lambda row: row.gate or (ABSENT if row.status == "ok" else row.status)),
    ("agree", lambda row: _text(row.action_agreement, _share)),
    ("by gap", lambda row: _text(row.gap_weighted_agreement, _share)),
    ("ties", lambda row: _text(row.tie_rate, _share)),
    ("KB", lambda row: _text(row.size_bytes, kilobytes)),
    ("gzip KB", lambda row: _text(row.gzip_bytes, kilobytes)),
    ("zeros", _zeros),
    ("invoke µs", lambda row: _p50(row.latency_us)),
    ("speed-up [95 %]", lambda row: _ratio(row.speedup)),
    ("step µs", lambda row: _p50(loaded_step(row).latency)),
    ("step speed-up [95 %]", lambda row: _ratio(loaded_step(row).ratio)),
)
# A page has room for more than a terminal.
MORE_COLUMNS = (
    *COLUMNS,
    ("step µs without a twin", lambda row: _p50(row.step_latency_us)),
    ("its speed-up [95 %]", lambda row: _ratio(row.step_speedup)),
    ("cold start µs", lambda row: _p50(row.cold_start_us)),
    ("stripped KB", lambda row: _text(row.stripped_bytes, kilobytes)),
    ("resident MB", lambda row: _text(row.resident_bytes, lambda size: f"{size / 1e6:.1f}")),
    ("arena bytes", lambda row: _text(row.arena_bytes, "{:,}".format)),
    ("MACs", lambda row: _text(row.multiply_accumulates, "{:,}".format)),
)
