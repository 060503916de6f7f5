"""Plots as SVG: text that takes the page's colour, and the lines a return is judged by."""

import re
import sys

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.benchmarks.plots import latency_plot, return_plot, size_plot

LATENCY = {"p50": 1.0, "p90": 2.0, "p99": 3.0}


def row(name, gate=None):
    found = {"mean": 498.0, "ci95": [497.0, 499.0], "episodes": 300}
    return {
        "name": name, "size_bytes": 20_000, "gzip_bytes": 9_000, "latency_us": LATENCY, "step_latency_us": LATENCY,
        "return": found, "gate": gate,
    }  # fmt: skip


ROWS = [row("float32"), row("qat-$int8$", "pass")]
PLOTS = [size_plot, latency_plot, lambda rows: return_plot(rows, "float32", 9.6)]


@pytest.mark.parametrize("plot", PLOTS)
def test_text_is_text_in_the_pages_colour(plot):
    svg = plot(ROWS)
    assert re.search(r"<text [^>]*currentColor", svg)
    assert ">qat-$int8$" in svg
    assert "#010203" not in svg
    assert "#000000" not in svg
    assert re.match(r'<svg viewBox="[^"]+" role="img" aria-label="[^"]*qat-\$int8\$ [^"]+">', svg)


@pytest.mark.parametrize("plot", PLOTS)
def test_the_same_rows_are_the_same_bytes(plot):
    assert plot(ROWS) == plot(ROWS)


@pytest.mark.parametrize("plot", PLOTS)
def test_a_file_that_was_not_measured_is_left_out(plot):
    missing = dict.fromkeys(ROWS[0]) | {"name": "broken"}
    assert plot([missing]) == ""
    assert "broken" not in plot([*ROWS, missing])


def test_ids_of_two_plots_on_a_page_differ():
    one, other = (set(re.findall(r' id="([^"]+)"', plot(ROWS))) for plot in (size_plot, latency_plot))
    assert one
    assert not one & other


def test_the_baseline_and_the_gate_are_drawn():
    assert "float32, mean" in return_plot(ROWS, "float32", None)
    assert "gate: margin" in return_plot(ROWS, "float32", 9.6)
    assert "gate: margin" not in return_plot(ROWS, "float32", None)


def test_a_failed_gate_has_another_colour():
    assert "#d1495b" in return_plot([row("float32"), row("ptq-int8", "fail")], "float32", None)
    assert "#d1495b" not in return_plot(ROWS, "float32", None)


def test_latency_is_labelled_in_plain_numbers():
    assert "mathdefault" not in latency_plot(ROWS)
    assert re.search(r">2</text>", latency_plot(ROWS))


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match="extra `train`"):
        size_plot(ROWS)
