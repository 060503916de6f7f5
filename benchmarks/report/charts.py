"""The report's plots as Vega-Lite specifications: data and marks, which the page draws in its own colours.

Each is a template of `files/`, filled in. Files are rows, so that no name meets another, however many there are; the smallest
stands on top. A chart's `description` is what a screen reader says of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgedqn.benchmarks.report.table import kilobytes, loaded_step, stress_summary
from edgedqn.benchmarks.report.vega import VegaLite, fill_template
from edgedqn.benchmarks.rows import BenchmarkRow, StressTest, best_passing, model_of

INT8_LEVELS = 255
LINE = 26  # pixels that a file's name takes
NAMED = 4  # files that a sentence names at most
# Three to one against white and against near-black.
VERDICTS = {"baseline": "#7d8794", "pass": "#2f9e5b", "undecided": "#c9761a", "fail": "#d1495b", "no verdict": "#7d8794"}


@dataclass(frozen=True)
class Chart:
    """A chart, and what is to be seen in it, in a sentence."""

    spec: VegaLite
    seen: str


@dataclass(frozen=True)
class KernelZeros:
    """The share of zeros in a kernel, and what a recipe asked for; None where none did."""

    shape: tuple[int, ...]
    zeros: float
    asked: float | None


def draw_charts(
    rows: Sequence[BenchmarkRow], baseline: str, *, margin: float | None, kernels: Mapping[str, Sequence[KernelZeros]]
) -> dict[str, Chart | None]:
    """The charts by name; None where there is nothing to draw. Arguments as for each of them."""
    rows = sorted(rows, key=lambda row: row.size_bytes or 0)
    return {
        "return": return_chart(rows, baseline, margin=margin),
        "size": size_chart(rows, baseline),
        "latency": latency_chart(rows, baseline),
        "histogram": histogram_chart(rows, baseline),
        "sparsity": sparsity_chart(kernels),
        "range": range_chart(rows),
    }


def return_chart(rows: Sequence[BenchmarkRow], baseline: str, *, margin: float | None) -> Chart | None:
    """What each file returns, where files were played; `margin` is the gate's, in reward units.

    A file stands where its paired difference puts it, for some play more episodes than others: beside the mean return of the
    model that it was compared with.
    """
    model, mean = model_of(rows, baseline)
    played = [(row, delta) for row in rows if row.latency_us is not None and (delta := row.return_delta) is not None]
    if mean is None or not played:
        return None
    points: list[VegaLite] = [
        {
            "name": row.name,
            "gate": _verdict(row, baseline),
            "return": mean + delta.mean,
            "low": mean + delta.low,
            "high": mean + delta.high,
        }
        for row, delta in played
    ]
    lines: list[VegaLite] = [{"return": mean, "line": f"{model}, mean", "dash": "line"}]
    lines += (
        [] if margin is None else [{"return": mean - margin, "line": "the gate allows a mean down to here", "dash": "gate"}]
    )
    described = [f"{row.name} ({_verdict(row, baseline)}) {mean + delta.mean:.4g}" for row, delta in played]
    described += [] if margin is None else [f"the gate allows a loss of {margin:.4g}"]
    spec = fill_template(
        "return",
        description=f"Return: {'; '.join(described)}.",
        points=points,
        lines=lines,
        color=_verdicts(rows, baseline),
        height=LINE * len(points),
    )
    return Chart(spec, _seen_of_gate([row for row, _ in played], baseline, model=model))


def _seen_of_gate(rows: Sequence[BenchmarkRow], baseline: str, *, model: str) -> str:
    tested = [row for row in rows if row.gate is not None]
    short = [row.name for row in tested if row.gate != "pass"]
    if not tested:
        return f"No file was put to the gate; the line is {model}."
    if not short:
        return f"{len(tested)} of {len(tested)} files passed the gate."
    return f"{len(tested) - len(short)} of {len(tested)} files passed the gate; {_named(short)} did not."


def size_chart(rows: Sequence[BenchmarkRow], baseline: str) -> Chart | None:
    """The size of each file."""
    sized = [(row, size) for row in rows if row.latency_us is not None and (size := row.size_bytes)]
    if not sized:
        return None
    points = [
        {"name": row.name, "gate": _verdict(row, baseline), "KB": size / 1_000, "text": f"{kilobytes(size)} KB"}
        for row, size in sized
    ]
    # On the right is room for what stands beside the largest.
    least, most = min(size for _, size in sized), max(size for _, size in sized)
    span = max(most / least, 4.0)
    spec = fill_template(
        "size",
        domain=[least / span**0.05 / 1_000, most * span**0.7 / 1_000],
        description=f"Size: {'; '.join(f'{row.name} {kilobytes(size)} KB' for row, size in sized)}.",
        points=points,
        color=_verdicts(rows, baseline),
        height=LINE * len(points),
    )
    return Chart(spec, _seen_of_size(sized, baseline, best_passing(rows)))


def _seen_of_size(sized: Sequence[tuple[BenchmarkRow, int]], baseline: str, best: BenchmarkRow | None) -> str:
    row, size = min(sized, key=lambda pair: (pair[0] is not best, pair[1]))
    base = next((each for other, each in sized if other.name == baseline), None)
    share = f", {size / base:.1%} of {baseline}" if base and row.name != baseline else ""
    which = "is the smallest int8 file that passed" if row is best else "is the smallest file"
    return f"{row.name} {which}: {kilobytes(size)} KB{share}."


def latency_chart(rows: Sequence[BenchmarkRow], baseline: str) -> Chart | None:
    """The median of one invoke() and of a whole step of each file."""
    points: list[VegaLite] = [
        {"name": row.name, "gate": _verdict(row, baseline), "µs": timed.latency.p50, "what": what}
        for row in rows
        for what, timed in row.timed.items()
        if timed.latency is not None
    ]
    if not points:
        return None
    spoken = "; ".join(f"{point['name']} {point['what']} {point['µs']:.2f} µs" for point in points)
    spec = fill_template(
        "latency",
        description=f"Latency: {spoken}.",
        points=points,
        color=_verdicts(rows, baseline),
        height=LINE * len({point["name"] for point in points}),
        kinds=list(dict.fromkeys(point["what"] for point in points)),
    )
    return Chart(spec, _seen_of_latency(rows, best_passing(rows)))


def _seen_of_latency(rows: Sequence[BenchmarkRow], best: BenchmarkRow | None) -> str:
    timed = [(row, took.p50) for row in rows if (took := row.latency_us) is not None]
    row, p50 = min(timed, key=lambda pair: (pair[0] is not best, pair[1]))
    ratio = f", {row.speedup.median:.2f} times as fast as the baseline" if row.speedup is not None else ""
    loaded = loaded_step(row).latency
    step = f"; its whole step {loaded.p50:.2f} µs" if loaded is not None else ""
    return f"One invoke() of {row.name} takes {p50:.2f} µs{ratio}{step}."


def histogram_chart(rows: Sequence[BenchmarkRow], baseline: str) -> Chart | None:
    """How often one invoke() took how long, a strip for each file: the darker, the more often."""
    bars: list[VegaLite] = []
    took = {row.name: row.latency_us for row in rows if row.latency_us is not None and row.latency_us.histogram is not None}
    for name, latency in took.items():
        found = latency.histogram
        assert found is not None
        edges = [round(edge, 4) for edge in np.linspace(found.from_us, found.to_us, len(found.counts) + 1).tolist()]
        bars += [
            {"name": name, "from": low, "to": high, "share": count / sum(found.counts), "depth": count / max(found.counts)}
            for low, high, count in zip(edges[:-1], edges[1:], found.counts, strict=True)
            if count
        ]
    if not took:
        return None
    spoken = [f"{name} p50 {each.p50:.2f} µs, p90 {each.p90:.2f}, p99 {each.p99:.2f}" for name, each in took.items()]
    spec = fill_template(
        "histogram", description=f"How long one invoke() took: {'; '.join(spoken)}.", bars=bars, height=LINE * len(took)
    )
    shown = [*dict.fromkeys(filter(took.get, (min(took, key=lambda name: took[name].p99), baseline)))]
    return Chart(spec, f"In 99 of 100 calls {' and '.join(f'{name} took at most {took[name].p99:.2f} µs' for name in shown)}.")


def sparsity_chart(kernels: Mapping[str, Sequence[KernelZeros]]) -> Chart | None:
    """The share of zeros in each kernel of each file; the kernels in the order they run."""
    cells = [
        {
            "name": name,
            "kernel": str(at + 1),
            "shape": " x ".join(map(str, kernel.shape)),
            "zeros": kernel.zeros,
            "asked": "-" if kernel.asked is None else f"{kernel.asked:.1%}",
        }
        for name, found in kernels.items()
        for at, kernel in enumerate(found)
    ]
    if not cells:
        return None
    spoken = [f"{name} {', '.join(format(kernel.zeros, '.0%') for kernel in found)}" for name, found in kernels.items()]
    spec = fill_template(
        "sparsity", description=f"Zeros in each kernel: {'; '.join(spoken)}.", cells=cells, height=LINE * len(kernels)
    )
    most, name = max((kernel.zeros, name) for name, found in kernels.items() for kernel in found)
    return Chart(
        spec, f"The kernel with the most zeros, {most:.0%}, is one of {name}." if most >= 0.1 else "No kernel is sparse."
    )


def stress_chart(test: StressTest | None) -> Chart | None:
    """What each file loses to itself undisturbed, under each stress."""
    if test is None:
        return None
    points, spoken = [], []
    for stress in test.stresses:
        for each in stress.files:
            loss = {"loss": each.loss.mean, "low": each.loss.low, "high": each.loss.high}
            points.append({"stress": stress.what, "name": each.name, "return": each.mean_return, **loss})
        spoken.append(f"{stress.what}: {', '.join(f'{each.name} {each.loss.mean:.4g}' for each in stress.files)}")
    files = len(test.stresses[0].files)
    spec = fill_template(
        "stress",
        description=f"Return lost under stress. {'; '.join(spoken)}.",
        points=points,
        height=len(test.stresses) * max(LINE, 10 * files),
        colours="tableau10" if files <= 10 else "tableau20",
    )
    return Chart(spec, stress_summary(test))


def range_chart(rows: Sequence[BenchmarkRow]) -> Chart | None:
    """How many int8 levels lie between the best two actions: where it is below one, rounding cannot tell them apart."""
    bars, spoken = [], []
    levels_of: dict[str, float] = {}
    for row in rows:
        if (span := row.output_range) is not None:
            levels = INT8_LEVELS * span.median_gap / (span.high - span.low or 1)
            bars.append({"name": row.name, "low": span.low, "high": span.high, "gap": span.median_gap, "levels": levels})
            spoken.append(f"{row.name} from {span.low:.3g} to {span.high:.3g}, {levels:.1f} levels")
            levels_of[row.name] = levels
    if not bars:
        return None
    description = f"Outputs, and what separates the best two actions: {'; '.join(spoken)}."
    most, least = max(levels_of, key=levels_of.__getitem__), min(levels_of, key=levels_of.__getitem__)
    others = "" if most == least else f", {least} has {levels_of[least]:.1f}"
    # Room for the number behind the longest bar.
    longest = 1.4 * max(levels_of.values()) or 1.0
    spec = fill_template("range", description=description, bars=bars, height=LINE * len(bars), longest=longest)
    return Chart(spec, f"{most} has {levels_of[most]:.1f} levels between its best two actions{others}.")


def _verdict(row: BenchmarkRow, baseline: str) -> str:
    return "baseline" if row.name == baseline else row.gate or "no verdict"


def _verdicts(rows: Iterable[BenchmarkRow], baseline: str) -> VegaLite:
    """The colour of a point, with the verdicts that there are in the legend."""
    there = {_verdict(row, baseline) for row in rows if row.latency_us is not None}
    shown = {verdict: colour for verdict, colour in VERDICTS.items() if verdict in there}
    scale = {"domain": list(shown), "range": list(shown.values())}
    return {"field": "gate", "type": "nominal", "title": None, "scale": scale, "legend": {"orient": "top"}}


def _named(names: Sequence[str]) -> str:
    """The first few of them."""
    first, more = names[:NAMED], len(names) - NAMED
    if more > 0:
        return f"{', '.join(first)} and {more} more"
    return " and ".join(filter(None, [", ".join(first[:-1]), first[-1]]))
