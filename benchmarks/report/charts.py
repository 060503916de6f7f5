"""The report's plots as Vega-Lite specifications: data and marks, which the page draws in its own colours.

Each has a `description`, which is what a screen reader says of it. Source: Vega-Lite 6, https://vega.github.io/vega-lite.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgedqn.benchmarks.rows import Row

Chart = dict[str, Any]

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
INT8_LEVELS = 255
LINE = 26  # pixels that a file's name takes
# Three to one against white and against near-black.
VERDICTS = {"baseline": "#7d8794", "pass": "#2f9e5b", "undecided": "#c9761a", "fail": "#d1495b"}


def size_chart(rows: Sequence[Row], baseline: str, margin: float | None) -> Chart | None:
    """Return against the file's size, where files were played.

    Args:
      rows: as in `benchmark.json`.
      baseline: the name of the float row.
      margin: the gate's, in reward units; None draws no gate.
    """
    points = [{**point, "KB": row["size_bytes"] / 1_000} for row, point in _played(rows, baseline)]
    spoken = [f"{_called(point)} {point['KB']:.1f} KB, return {point['return']:.4g}" for point in points]
    return _pareto("Return against size", "KB", "KB (1,000 bytes), logarithmic", points, spoken, baseline, margin)


def latency_chart(rows: Sequence[Row], baseline: str, margin: float | None) -> Chart | None:
    """Return against the median of one invoke() and of a whole step. Arguments as for `size_chart`."""
    kinds = {"latency_us": "invoke", "step_latency_us": "step", "twin_step_latency_us": "step of the twin with float ends"}
    points = [
        {**point, "µs": row[key]["p50"], "what": what}
        for row, point in _played(rows, baseline)
        for key, what in kinds.items()
        if row[key]
    ]
    spoken = [f"{_called(point)} {point['what']} {point['µs']:.2f} µs, return {point['return']:.4g}" for point in points]
    chart = _pareto("Return against latency", "µs", "µs, median, logarithmic", points, spoken, baseline, margin)
    if chart is not None:
        shape = {
            "field": "what",
            "title": None,
            "sort": list(kinds.values()),
            "legend": {"orient": "bottom", "labelLimit": 0, "columns": 2},
        }
        *_, points_layer, names = chart["layer"]
        points_layer["encoding"]["shape"] = shape
        names["transform"] = [{"filter": "datum.what === 'invoke'"}]  # each name once
    return chart


def histogram_chart(rows: Sequence[Row]) -> Chart | None:
    """How often one invoke() took how long, a row of bars for each file."""
    shown = [row for row in rows if row["latency_us"] and "histogram" in row["latency_us"]]
    bars = []
    for row in shown:
        found = row["latency_us"]["histogram"]
        edges = np.linspace(found["from_us"], found["to_us"], len(found["counts"]) + 1)
        total = sum(found["counts"])
        bars += [
            {"name": row["name"], "from": round(low, 4), "to": round(high, 4), "share": count / total}
            for low, high, count in zip(edges[:-1].tolist(), edges[1:].tolist(), found["counts"], strict=True)
        ]
    spoken = [
        f"{row['name']} p50 {found['p50']:.2f} µs, p90 {found['p90']:.2f}, p99 {found['p99']:.2f}"
        for row in shown
        if (found := row["latency_us"])
    ]
    return _chart(
        "How long one invoke() took",
        spoken,
        bars,
        facet={
            "row": {
                "field": "name",
                "title": None,
                "sort": [row["name"] for row in shown],
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
                    {"field": "name"},
                    {"field": "from", "format": ".2f", "title": "from µs"},
                    {"field": "to", "format": ".2f", "title": "to µs"},
                    {"field": "share", "format": ".1%", "title": "of calls"},
                ],
            },
        },
        resolve={"scale": {"y": "independent"}},
    )


def sparsity_chart(kernels: Mapping[str, Sequence[Mapping[str, Any]]]) -> Chart | None:
    """The share of zeros in each kernel of each file.

    Args:
      kernels: by file, in the order they run: {"shape", "zeros", "asked"}; `asked` is None where nobody asked for any.
    """
    cells = [
        {
            "name": name,
            "kernel": f"kernel {at + 1}",
            "shape": " x ".join(map(str, kernel["shape"])),
            "zeros": kernel["zeros"],
            "asked": "-" if kernel["asked"] is None else f"{kernel['asked']:.1%}",
        }
        for name, found in kernels.items()
        for at, kernel in enumerate(found)
    ]
    spoken = [f"{name} {', '.join(format(kernel['zeros'], '.0%') for kernel in found)}" for name, found in kernels.items()]
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
                    "tooltip": [
                        {"field": "name"},
                        {"field": "shape"},
                        {"field": "zeros", "format": ".2%"},
                        {"field": "asked", "title": "asked for"},
                    ],
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


def range_chart(rows: Sequence[Row]) -> Chart | None:
    """How many int8 levels lie between the best two actions: where it is below one, rounding cannot tell them apart."""
    shown = [row for row in rows if row["output_range"]]
    bars = []
    for row in shown:
        low, high, gap = (row["output_range"][key] for key in ("low", "high", "median_gap"))
        levels = INT8_LEVELS * gap / (high - low or 1)
        bars.append({"name": row["name"], "low": low, "high": high, "gap": gap, "levels": levels})
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
                        {"field": "name"},
                        {"field": "low", "format": ".4g"},
                        {"field": "high", "format": ".4g"},
                        {"field": "gap", "format": ".4g", "title": "median gap"},
                        {"field": "levels", "format": ".1f"},
                    ]
                },
            },
            {
                "mark": {"type": "text", "align": "left", "dx": 4},
                "encoding": {"text": {"field": "levels", "type": "quantitative", "format": ".1f"}},
            },
        ],
    )


def _called(point: Mapping[str, Any]) -> str:
    return f"{point['name']} ({point['gate']})"


def _played(rows: Sequence[Row], baseline: str) -> list[tuple[Row, dict[str, Any]]]:
    """Each file where its paired difference puts it, for some play more episodes than others."""
    mean = next((row["return"]["mean"] for row in rows if row["name"] == baseline and row["return"]), None)
    found = []
    for row in rows:
        if mean is not None and row["return"] and row["latency_us"]:
            delta = row["return_delta"]
            low, high = (mean + end for end in delta["ci95"])
            verdict = "baseline" if row["name"] == baseline else row["gate"]
            point = {"name": row["name"], "return": mean + delta["mean"], "low": low, "high": high, "gate": verdict}
            found.append((row, point))
    return found


def _pareto(
    title: str,
    x: str,
    x_title: str,
    points: list[dict[str, Any]],
    spoken: list[str],
    baseline: str,
    margin: float | None,
) -> Chart | None:
    float_return = next((point["return"] for point in points if point["name"] == baseline), None)
    lines = []
    if float_return is not None:
        lines.append({"return": float_return, "line": f"{baseline}, mean", "dash": "line"})
        if margin is not None:
            lines.append({"return": float_return - margin, "line": "the gate allows a mean down to here", "dash": "gate"})
            spoken = [*spoken, f"the gate allows a loss of {margin:.4g}"]
    # Room for the names, which rise from the points: on a perfect score all of them stand at the top.
    scale = {"zero": False, "nice": False, "padding": 36}
    y = {"field": "return", "type": "quantitative", "scale": scale, "title": "return: paired difference, 95 %"}
    place = {
        "x": {"field": x, "type": "quantitative", "scale": {"type": "log", "nice": False, "padding": 24}, "title": x_title},
        "y": y,
    }
    color = {
        "field": "gate",
        "title": None,
        "scale": {"domain": list(VERDICTS), "range": list(VERDICTS.values())},
        "legend": {"orient": "top"},
    }
    fields = ["name", "gate", *(["what"] if points and "what" in points[0] else [])]
    numbers = [{"field": key, "format": ".4g"} for key in (x, "return", "low", "high")]
    return _chart(
        title,
        spoken,
        points,
        width="container",
        height=280,
        layer=[
            {
                "data": {"values": lines},
                "mark": {"type": "rule"},
                "encoding": {
                    "y": y,
                    "strokeDash": {
                        "field": "dash",
                        "legend": None,
                        "scale": {"domain": ["line", "gate"], "range": [[1, 0], [5, 4]]},
                    },
                    "tooltip": [{"field": "line"}, {"field": "return", "format": ".4g"}],
                },
            },
            {
                "mark": "rule",
                "encoding": {"x": place["x"], "y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": color},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
                "encoding": {**place, "color": color, "tooltip": [*({"field": each} for each in fields), *numbers]},
            },
            {
                "mark": {"type": "text", "angle": 320, "align": "left", "dx": 7, "dy": -5, "fontSize": 10},
                "encoding": {**place, "text": {"field": "name"}},
            },
        ],
    )


def _chart(title: str, spoken: Sequence[str], values: list[dict[str, Any]], **marks: Any) -> Chart | None:
    if not values:
        return None
    return {"$schema": SCHEMA, "description": f"{title}: {'; '.join(spoken)}.", "data": {"values": values}, **marks}
