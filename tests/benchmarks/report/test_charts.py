"""The plots' data is that of the rows, what was not measured is left out, and Vega-Lite takes all of them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import vl_convert

from edgedqn.agents.playing.statistics import Interval
from edgedqn.benchmarks.report.charts import (
    Chart,
    KernelZeros,
    histogram_chart,
    latency_chart,
    range_chart,
    return_chart,
    size_chart,
    sparsity_chart,
    stress_chart,
)
from edgedqn.benchmarks.report.vega import picture
from edgedqn.benchmarks.rows import BenchmarkRow, Latency, Stress, Stressed, StressTest

HISTOGRAM = {"from_us": 1.0, "to_us": 3.0, "counts": [6, 3, 0, 1]}
LATENCY = {"p50": 1.0, "p90": 2.0, "p99": 3.0, "mean": 1.5, "n": 10, "timer_us": 0.04, "histogram": HISTOGRAM}


def row(name: str, gate: str | None = None, **fields: Any) -> BenchmarkRow:
    found = {
        "name": name,
        "file": name,
        "size_bytes": 20_000,
        "gzip_bytes": 10_000,
        "latency_us": LATENCY,
        "step_latency_us": LATENCY,
        "return": {"mean": 498.0, "ci95": [497.0, 499.0], "episodes": 300},
        "return_delta": {"mean": 0.0, "ci95": [0.0, 0.0]},
        "output_range": {"low": -128.0, "high": 127.0, "median_gap": 51.0},
        "gate": gate,
    }
    return BenchmarkRow.from_json(found | fields)


ROWS = [row("float32"), row("qat-int8", "pass", size_bytes=1_500, twin_step_latency_us=LATENCY)]
MISSING, UNPLAYED = BenchmarkRow(name="broken", file="f"), BenchmarkRow(name="baseline", file="f")
KERNELS = {
    "float32": [KernelZeros((8, 4), 0.0, None)],
    "qat-int8": [KernelZeros((8, 4), 0.98, 0.975), KernelZeros((2, 8), 0.5, 0.5)],
}
ONE, TWO, THREE, FOUR = (Interval(mean, mean - 0.5, mean + 0.5) for mean in (1.0, 2.0, 3.0, 4.0))
STRESS = StressTest(
    episodes=300,
    note="What goes wrong.",
    stresses=(
        Stress(
            "noise 1%",
            (
                Stressed(name="float32", mean_return=497.0, loss=ONE, excess=None),
                Stressed(name="q", mean_return=493.0, loss=FOUR, excess=THREE),
            ),
        ),
        Stress(
            "delay 1 step",
            (
                Stressed(name="float32", mean_return=496.0, loss=TWO, excess=None),
                Stressed(name="q", mean_return=495.0, loss=TWO, excess=Interval(0.0, -1.0, 1.0)),
            ),
        ),
    ),
)
CHARTS: dict[str, Callable[[list[BenchmarkRow]], Chart | None]] = {
    "return": lambda rows: return_chart(rows, rows[0].name, margin=9.6),
    "size": lambda rows: size_chart(rows, rows[0].name),
    "latency": lambda rows: latency_chart(rows, rows[0].name),
    "histogram": lambda rows: histogram_chart(rows, rows[0].name),
    "range": range_chart,
    "sparsity": lambda rows: sparsity_chart({row.name: KERNELS[row.name] for row in rows if row.name in KERNELS}),
}


@pytest.mark.parametrize("chart", CHARTS.values(), ids=CHARTS)
def test_vega_lite_draws_it_and_it_speaks(chart: Any) -> None:
    made = chart(ROWS).spec
    svg = vl_convert.vegalite_to_svg(made | ({"width": 300} if made.get("width") == "container" else {}))
    assert svg.startswith("<svg")
    assert all(name in svg for name in ("qat-int8", "float32"))
    assert "qat-int8" in made["description"]


@pytest.mark.parametrize("chart", CHARTS.values(), ids=CHARTS)
def test_a_file_that_was_not_measured_is_left_out(chart: Any) -> None:
    assert chart([UNPLAYED, MISSING]) is None
    assert "broken" not in str(chart([*ROWS, MISSING]))


def drawn(chart: Chart | None) -> Any:
    assert chart is not None
    return chart.spec


def test_the_baseline_and_the_gate_are_drawn() -> None:
    def lines(margin: float | None) -> list[Any]:
        return [line["return"] for line in drawn(return_chart(ROWS, "float32", margin=margin))["layer"][0]["data"]["values"]]

    assert lines(None) == [498.0]
    assert lines(9.6) == [498.0, 488.4]
    assert "a loss of 9.6" in drawn(return_chart(ROWS, "float32", margin=9.6))["description"]


def test_each_step_is_a_point_of_its_own() -> None:
    points = drawn(latency_chart(ROWS, "float32"))["data"]["values"]
    assert [(point["name"], point["what"]) for point in points] == [
        ("float32", "invoke"),
        ("float32", "step"),
        ("qat-int8", "invoke"),
        ("qat-int8", "step"),
        ("qat-int8", "step of the twin"),
    ]


def test_each_file_has_a_point_under_each_stress() -> None:
    chart = drawn(stress_chart(STRESS))
    assert [(each["stress"], each["name"], each["loss"]) for each in chart["data"]["values"]] == [
        ("noise 1%", "float32", 1.0),
        ("noise 1%", "q", 4.0),
        ("delay 1 step", "float32", 2.0),
        ("delay 1 step", "q", 2.0),
    ]
    assert "noise 1%: float32 1, q 4" in chart["description"] and "delay 1 step" in picture(chart)
    assert stress_chart(None) is None


def test_a_histograms_shares_add_up() -> None:
    bars = drawn(histogram_chart(ROWS[:1], "float32"))["data"]["values"]
    assert [bar["share"] for bar in bars] == [0.6, 0.3, 0.1]  # where no call was, nothing is drawn
    assert (bars[0]["from"], bars[-1]["to"]) == (1.0, 3.0)


def test_levels_are_255ths_of_the_range() -> None:
    assert drawn(range_chart(ROWS))["data"]["values"][0]["levels"] == 51.0
    flat = row("flat", output_range={"low": 1.0, "high": 1.0, "median_gap": 0.0})
    assert drawn(range_chart([flat]))["data"]["values"][0]["levels"] == 0.0


def test_zeros_stand_beside_what_was_asked() -> None:
    cells = drawn(sparsity_chart(KERNELS))["data"]["values"]
    assert [(cell["kernel"], cell["zeros"], cell["asked"]) for cell in cells[1:]] == [
        ("1", 0.98, "97.5%"),
        ("2", 0.5, "50.0%"),
    ]


def test_a_file_stands_where_its_paired_difference_puts_it() -> None:
    lucky = {"mean": 499.5, "ci95": [499.0, 500.0], "episodes": 100}  # on easier episodes than the baseline's 300
    rows = [row("float32"), row("q", "pass", **{"return": lucky, "return_delta": {"mean": -1.5, "ci95": [-3.0, 0.5]}})]
    chart = drawn(return_chart(rows, "float32", margin=9.6))
    points = [(point["low"], point["return"], point["high"]) for point in chart["data"]["values"] if point["name"] == "q"]
    assert points == [(495.0, 496.5, 498.5)]
    assert "q (pass)" in chart["description"]


def test_each_chart_says_what_is_to_be_seen_in_it() -> None:
    rows = [*ROWS, *(row(f"q{i}", "fail", size_bytes=3_000 + i) for i in range(6))]
    charts = {name: chart(rows) for name, chart in CHARTS.items()}
    seen = {name: chart.seen for name, chart in charts.items() if chart is not None}
    assert seen == {
        "return": "1 of 7 files passed the gate; q0, q1, q2, q3 and 2 more did not.",
        "size": "qat-int8 is the smallest int8 file that passed: 1.50 KB, 7.5% of float32.",
        "latency": "One invoke() of qat-int8 takes 1.00 µs; its whole step 1.00 µs.",
        "histogram": "In 99 of 100 calls float32 took at most 3.00 µs.",
        "range": "float32 has 51.0 levels between its best two actions.",
        "sparsity": "The kernel with the most zeros, 98%, is one of qat-int8.",
    }
    twin = replace(ROWS[0], twin_step_latency_us=Latency.from_json(LATENCY | {"p50": 0.75}))
    loaded = latency_chart([twin], "float32")
    assert loaded is not None and loaded.seen.endswith("its whole step 0.75 µs."), "as the table has it"
    fits = return_chart(rows[:2], "float32", margin=None)
    assert fits is not None and fits.seen == "1 of 1 files passed the gate."
