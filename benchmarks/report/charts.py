"""The report's plots as Vega-Lite specifications: data and marks, which the page draws in its own colours.

Each is a template of `files/`, filled in. Its `description` is what a screen reader says of it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgedqn.agents.playing.statistics import Interval
from edgedqn.benchmarks.report.vega import VegaLite, fill_template
from edgedqn.benchmarks.rows import BenchmarkRow, StressTest, model_of

INT8_LEVELS = 255
LINE = 26  # pixels that a file's name takes
# Three to one against white and against near-black.
VERDICTS = {"baseline": "#7d8794", "pass": "#2f9e5b", "undecided": "#c9761a", "fail": "#d1495b"}
KINDS = {"invoke": "invoke", "step": "step", "step of the twin": "step of the twin with float ends"}


@dataclass(frozen=True)
class KernelZeros:
    """The share of zeros in a kernel, and what a recipe asked for; None where none did."""

    shape: tuple[int, ...]
    zeros: float
    asked: float | None


def draw_charts(
    rows: Sequence[BenchmarkRow], baseline: str, *, margin: float | None, kernels: Mapping[str, Sequence[KernelZeros]]
) -> dict[str, VegaLite | None]:
    """The charts by name; None where there is nothing to draw. Arguments as for each of them."""
    return {
        "size": size_chart(rows, baseline, margin=margin),
        "latency": latency_chart(rows, baseline, margin=margin),
        "histogram": histogram_chart(rows),
        "sparsity": sparsity_chart(kernels),
        "range": range_chart(rows),
    }


def size_chart(rows: Sequence[BenchmarkRow], baseline: str, *, margin: float | None) -> VegaLite | None:
    """Return against the file's size, where files were played; `margin` is the gate's, in reward units."""
    points = _points(rows, baseline, lambda row: [(None, (row.size_bytes or 0) / 1_000)])
    spoken = [f"{point.x:.1f} KB" for point in points]
    return _return_chart("size", points, spoken=spoken, unit="KB", x_title="KB (1,000 bytes), logarithmic", margin=margin)


def latency_chart(rows: Sequence[BenchmarkRow], baseline: str, *, margin: float | None) -> VegaLite | None:
    """Return against the median of one invoke() and of a whole step. Arguments as for `size_chart`."""
    points = _points(
        rows, baseline, lambda row: [(KINDS[what], timed.latency.p50) for what, timed in row.timed.items() if timed.latency]
    )
    spoken = [f"{point.what} {point.x:.2f} µs" for point in points]
    return _return_chart("latency", points, spoken=spoken, unit="µs", x_title="µs, median, logarithmic", margin=margin)


@dataclass(frozen=True, kw_only=True)
class _Point:
    """A file where its paired difference puts it, for some play more episodes than others: beside the mean return of the model
    that it was compared with."""

    name: str
    model: str
    compared_with: float
    verdict: str | None
    score: Interval
    what: str | None
    x: float

    def to_json(self, unit: str) -> VegaLite:
        score = {"return": self.score.mean, "low": self.score.low, "high": self.score.high}
        kind = {} if self.what is None else {"what": self.what}
        return {"name": self.name, **score, "gate": self.verdict, unit: self.x, **kind}


def _points(
    rows: Sequence[BenchmarkRow], baseline: str, measured: Callable[[BenchmarkRow], Iterable[tuple[str | None, float]]]
) -> list[_Point]:
    model, mean = model_of(rows, baseline)
    return [
        _Point(
            name=row.name,
            model=model,
            compared_with=mean,
            verdict="baseline" if row.name == baseline else row.gate,
            score=Interval(mean + delta.mean, mean + delta.low, mean + delta.high),
            what=what,
            x=x,
        )
        for row in rows
        if mean is not None and row.latency_us is not None and (delta := row.return_delta) is not None
        for what, x in measured(row)
    ]


def _return_chart(
    what: str, points: Sequence[_Point], *, spoken: Sequence[str], unit: str, x_title: str, margin: float | None
) -> VegaLite | None:
    if not points:
        return None
    lines: list[VegaLite] = []
    if base := next((point for point in points if point.verdict == "baseline"), None):
        lines.append({"return": base.compared_with, "line": f"{base.model}, mean", "dash": "line"})
        if margin is not None:
            lines.append({"return": base.compared_with - margin, "line": "the gate allows a mean down to here", "dash": "gate"})
    values = zip(points, spoken, strict=True)
    described = [f"{each.name} ({each.verdict}) {value}, return {each.score.mean:.4g}" for each, value in values]
    described += [] if margin is None else [f"the gate allows a loss of {margin:.4g}"]
    # Room for the names, which rise from the points: on a perfect score all of them stand at the top.
    scale = {"zero": False, "nice": False, "padding": 36}
    y = {"field": "return", "type": "quantitative", "scale": scale, "title": "return: paired difference, 95 %"}
    verdicts = {"domain": list(VERDICTS), "range": list(VERDICTS.values())}
    legend = {"orient": "bottom", "labelLimit": 0, "columns": 2}
    shape = {"field": "what", "title": None, "sort": list(KINDS.values()), "legend": legend}
    several = points[0].what is not None
    return fill_template(
        "return",
        description=f"Return against {what}: {'; '.join(described)}.",
        points=[point.to_json(unit) for point in points],
        lines=lines,
        x={"field": unit, "type": "quantitative", "scale": {"type": "log", "nice": False, "padding": 24}, "title": x_title},
        y=y,
        low={**y, "field": "low"},
        color={"field": "gate", "title": None, "scale": verdicts, "legend": {"orient": "top"}},
        shape=shape if several else None,
        what={"field": "what"} if several else None,
        unit=unit,
        transform=[{"filter": "datum.what === 'invoke'"}] if several else None,  # each name once
    )


def histogram_chart(rows: Sequence[BenchmarkRow]) -> VegaLite | None:
    """How often one invoke() took how long, a row of bars for each file."""
    bars: list[VegaLite] = []
    spoken = {}
    for row in rows:
        if (took := row.latency_us) is None or (found := took.histogram) is None:
            continue
        edges = [round(edge, 4) for edge in np.linspace(found.from_us, found.to_us, len(found.counts) + 1).tolist()]
        bars += [
            {"name": row.name, "from": low, "to": high, "share": count / sum(found.counts)}
            for low, high, count in zip(edges[:-1], edges[1:], found.counts, strict=True)
        ]
        spoken[row.name] = f"{row.name} p50 {took.p50:.2f} µs, p90 {took.p90:.2f}, p99 {took.p99:.2f}"
    description = f"How long one invoke() took: {'; '.join(spoken.values())}."
    return fill_template("histogram", description=description, bars=bars, names=list(spoken)) if bars else None


def sparsity_chart(kernels: Mapping[str, Sequence[KernelZeros]]) -> VegaLite | None:
    """The share of zeros in each kernel of each file; the kernels in the order they run."""
    cells = [
        {
            "name": name,
            "kernel": f"kernel {at + 1}",
            "shape": " x ".join(map(str, kernel.shape)),
            "zeros": kernel.zeros,
            "asked": "-" if kernel.asked is None else f"{kernel.asked:.1%}",
        }
        for name, found in kernels.items()
        for at, kernel in enumerate(found)
    ]
    spoken = [f"{name} {', '.join(format(kernel.zeros, '.0%') for kernel in found)}" for name, found in kernels.items()]
    description = f"Zeros in each kernel: {'; '.join(spoken)}."
    return fill_template("sparsity", description=description, cells=cells, height=LINE * len(kernels)) if cells else None


def stress_chart(test: StressTest | None) -> VegaLite | None:
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
    return fill_template(
        "stress",
        description=f"Return lost under stress. {'; '.join(spoken)}.",
        points=points,
        height=len(test.stresses) * max(LINE, 10 * files),
    )


def range_chart(rows: Sequence[BenchmarkRow]) -> VegaLite | None:
    """How many int8 levels lie between the best two actions: where it is below one, rounding cannot tell them apart."""
    bars, spoken = [], []
    for row in rows:
        if (span := row.output_range) is not None:
            levels = INT8_LEVELS * span.median_gap / (span.high - span.low or 1)
            bars.append({"name": row.name, "low": span.low, "high": span.high, "gap": span.median_gap, "levels": levels})
            spoken.append(f"{row.name} from {span.low:.3g} to {span.high:.3g}, {levels:.1f} levels")
    description = f"Outputs, and what separates the best two actions: {'; '.join(spoken)}."
    return fill_template("range", description=description, bars=bars, height=LINE * len(bars)) if bars else None
