"""The report's plots as Vega-Lite specifications: data and marks, which the page draws in its own colours.

Each has a `description`, which is what a screen reader says of it. Source: Vega-Lite 6, https://vega.github.io/vega-lite.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgedqn.benchmarks.rows import BenchmarkRow

Chart = dict[str, Any]

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
INT8_LEVELS = 255
LINE = 26  # pixels that a file's name takes
# Three to one against white and against near-black.
VERDICTS = {"baseline": "#7d8794", "pass": "#2f9e5b", "undecided": "#c9761a", "fail": "#d1495b"}


def size_chart(rows: Sequence[BenchmarkRow], baseline: str, *, margin: float | None) -> Chart | None:
    """Return against the file's size, where files were played.

    Args:
      rows: of the benchmark.
      baseline: the name of the float row.
      margin: the gate's, in reward units; None draws no gate.
    """
    points = [{**point, "KB": (row.size_bytes or 0) / 1_000} for row, point in _played(rows, baseline)]
    spoken = [f"{_called(point)} {point['KB']:.1f} KB, return {point['return']:.4g}" for point in points]
    spoken += _lost(points, margin)
    lines = _lines(points, baseline, margin)
    return _pareto(points, lines, title="Return against size", spoken=spoken, x="KB", x_title="KB (1,000 bytes), logarithmic")


def latency_chart(rows: Sequence[BenchmarkRow], baseline: str, *, margin: float | None) -> Chart | None:
    """Return against the median of one invoke() and of a whole step. Arguments as for `size_chart`."""
    kinds = {"invoke": "invoke", "step": "step", "step of the twin": "step of the twin with float ends"}
    points = [
        {**point, "µs": timed.latency.p50, "what": kinds[what]}
        for row, point in _played(rows, baseline)
        for what, timed in row.timed.items()
        if timed.latency is not None
    ]
    spoken = [f"{_called(point)} {point['what']} {point['µs']:.2f} µs, return {point['return']:.4g}" for point in points]
    spoken += _lost(points, margin)
    lines = _lines(points, baseline, margin)
    title, x_title = "Return against latency", "µs, median, logarithmic"
    chart = _pareto(points, lines, title=title, spoken=spoken, x="µs", x_title=x_title)
    if chart is not None:
        legend = {"orient": "bottom", "labelLimit": 0, "columns": 2}
        *_, points_layer, names = chart["layer"]
        points_layer["encoding"]["shape"] = {"field": "what", "title": None, "sort": list(kinds.values()), "legend": legend}
        names["transform"] = [{"filter": "datum.what === 'invoke'"}]  # each name once
    return chart


def histogram_chart(rows: Sequence[BenchmarkRow]) -> Chart | None:
    """How often one invoke() took how long, a row of bars for each file."""
    bars, spoken = [], []
    for row in rows:
        if row.latency_us is None or (found := row.latency_us.histogram) is None:
            continue
        edges = np.linspace(found.from_us, found.to_us, len(found.counts) + 1)
        total = sum(found.counts)
        bars += [
            {"name": row.name, "from": round(low, 4), "to": round(high, 4), "share": count / total}
            for low, high, count in zip(edges[:-1].tolist(), edges[1:].tolist(), found.counts, strict=True)
        ]
        took = row.latency_us
        spoken.append(f"{row.name} p50 {took.p50:.2f} µs, p90 {took.p90:.2f}, p99 {took.p99:.2f}")
    return _chart(
        "How long one invoke() took",
        spoken,
        bars,
        facet={
            "row": {
                "field": "name",
                "title": None,
                "sort": list(dict.fromkeys(bar["name"] for bar in bars)),
                "header": {"labelAngle": 0, "labelAlign": "left", "labelLimit": 120},
            }
        },
        spec={
            "width": 420,
            "height": 34,
            "mark": {"type": "bar", "binSpacing": 0},
            "encoding": {
                "x": {"field": "from", "type": "quantitative", "bin": {"binned": True}, "title": "µs; the last: and longer"},
                "x2": {"field": "to"},
                "y": {"field": "share", "type": "quantitative", "axis": None},
                "tooltip": [
                    _shown("name"),
                    _shown("from", ".2f", "from µs"),
                    _shown("to", ".2f", "to µs"),
                    _shown("share", ".1%", "of calls"),
                ],
            },
        },
        resolve={"scale": {"y": "independent"}},
    )


@dataclass(frozen=True)
class KernelZeros:
    """The share of zeros in a kernel, and what a recipe asked for; None where none did."""

    shape: tuple[int, ...]
    zeros: float
    asked: float | None


def sparsity_chart(kernels: Mapping[str, Sequence[KernelZeros]]) -> Chart | None:
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
    place = {
        "x": {"field": "kernel", "title": None, "axis": {"labelAngle": 0}},
        "y": {"field": "name", "title": None, "sort": None},
    }
    return _chart(
        "Zeros in each kernel",
        spoken,
        cells,
        width="container",
        height=LINE * len(kernels),
        encoding=place,
        layer=[
            {
                "mark": {"type": "rect", "cornerRadius": 3},
                "encoding": {
                    "color": {
                        "field": "zeros",
                        "type": "quantitative",
                        "scale": {"domain": [0, 1], "scheme": "blues"},
                        "legend": None,
                    },
                    "tooltip": [_shown("name"), _shown("shape"), _shown("zeros", ".2%"), _shown("asked", title="asked for")],
                },
            },
            {
                "mark": {"type": "text"},
                "encoding": {
                    "text": {"field": "zeros", "type": "quantitative", "format": ".0%"},
                    "color": {"condition": {"test": "datum.zeros > 0.55", "value": "#fff"}, "value": "#14181e"},
                },
            },
        ],
    )


def range_chart(rows: Sequence[BenchmarkRow]) -> Chart | None:
    """How many int8 levels lie between the best two actions: where it is below one, rounding cannot tell them apart."""
    bars = []
    for row in rows:
        if (span := row.output_range) is not None:
            levels = INT8_LEVELS * span.median_gap / (span.high - span.low or 1)
            bars.append({"name": row.name, "low": span.low, "high": span.high, "gap": span.median_gap, "levels": levels})
    spoken = [f"{bar['name']} from {bar['low']:.3g} to {bar['high']:.3g}, {bar['levels']:.1f} levels" for bar in bars]
    return _chart(
        "Outputs, and what separates the best two actions",
        spoken,
        bars,
        width="container",
        height=LINE * len(bars),
        encoding={
            "y": {"field": "name", "title": None, "sort": None},
            "x": {
                "field": "levels",
                "type": "quantitative",
                "title": "median gap between the best two actions, in 255ths of the output's range",
            },
        },
        layer=[
            {
                "mark": {"type": "bar", "cornerRadiusEnd": 3},
                "encoding": {
                    "tooltip": [
                        *(_shown(name, format_) for name, format_ in (("name", None), ("low", ".4g"), ("high", ".4g"))),
                        _shown("gap", ".4g", "median gap"),
                        _shown("levels", ".1f"),
                    ]
                },
            },
            {
                "mark": {"type": "text", "align": "left", "dx": 4},
                "encoding": {"text": {"field": "levels", "type": "quantitative", "format": ".1f"}},
            },
        ],
    )


def _shown(field: str, format_: str | None = None, title: str | None = None) -> dict[str, str]:
    """A line of a tooltip."""
    return {key: value for key, value in (("field", field), ("format", format_), ("title", title)) if value is not None}


def _called(point: Mapping[str, Any]) -> str:
    return f"{point['name']} ({point['gate']})"


def _played(rows: Sequence[BenchmarkRow], baseline: str) -> list[tuple[BenchmarkRow, dict[str, Any]]]:
    """Each file where its paired difference puts it, for some play more episodes than others."""
    mean = next((row.episode_return.mean for row in rows if row.name == baseline and row.episode_return), None)
    found = []
    for row in rows:
        if mean is not None and row.latency_us is not None and (delta := row.return_delta) is not None:
            verdict = "baseline" if row.name == baseline else row.gate
            ends = {"return": mean + delta.mean, "low": mean + delta.low, "high": mean + delta.high}
            found.append((row, {"name": row.name, **ends, "gate": verdict}))
    return found


def _lost(points: Sequence[object], margin: float | None) -> list[str]:
    return [f"the gate allows a loss of {margin:.4g}"] if points and margin is not None else []


def _lines(points: Sequence[Mapping[str, Any]], baseline: str, margin: float | None) -> list[dict[str, Any]]:
    """The baseline's return, and where the gate's tolerance is used up."""
    float_return = next((point["return"] for point in points if point["name"] == baseline), None)
    if float_return is None:
        return []
    lines = [{"return": float_return, "line": f"{baseline}, mean", "dash": "line"}]
    if margin is not None:
        lines.append({"return": float_return - margin, "line": "the gate allows a mean down to here", "dash": "gate"})
    return lines


def _pareto(
    points: list[dict[str, Any]],
    lines: list[dict[str, Any]],
    *,
    title: str,
    spoken: Sequence[str],
    x: str,
    x_title: str,
) -> Chart | None:
    # Room for the names, which rise from the points: on a perfect score all of them stand at the top.
    scale = {"zero": False, "nice": False, "padding": 36}
    y = {"field": "return", "type": "quantitative", "scale": scale, "title": "return: paired difference, 95 %"}
    log = {"type": "log", "nice": False, "padding": 24}
    place = {"x": {"field": x, "type": "quantitative", "scale": log, "title": x_title}, "y": y}
    color = {
        "field": "gate",
        "title": None,
        "scale": {"domain": list(VERDICTS), "range": list(VERDICTS.values())},
        "legend": {"orient": "top"},
    }
    dashes = {"domain": ["line", "gate"], "range": [[1, 0], [5, 4]]}
    fields = ["name", "gate", *(["what"] if points and "what" in points[0] else [])]
    tooltip = [*map(_shown, fields), *(_shown(key, ".4g") for key in (x, "return", "low", "high"))]
    of_lines = {
        "y": y,
        "strokeDash": {"field": "dash", "legend": None, "scale": dashes},
        "tooltip": [_shown("line"), _shown("return", ".4g")],
    }
    of_intervals = {"x": place["x"], "y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": color}
    names = {"type": "text", "angle": 320, "align": "left", "dx": 7, "dy": -5, "fontSize": 10}
    layer = [
        {"data": {"values": lines}, "mark": {"type": "rule"}, "encoding": of_lines},
        {"mark": "rule", "encoding": of_intervals},
        {
            "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
            "encoding": {**place, "color": color, "tooltip": tooltip},
        },
        {"mark": names, "encoding": {**place, "text": {"field": "name"}}},
    ]
    return _chart(title, spoken, points, width="container", height=280, layer=layer)


def _chart(title: str, spoken: Sequence[str], values: list[dict[str, Any]], **marks: Any) -> Chart | None:
    if not values:
        return None
    return {"$schema": SCHEMA, "description": f"{title}: {'; '.join(spoken)}.", "data": {"values": values}, **marks}
