"""The script of a page, and a chart as a picture of its own: light and dark, spoken, and the same bytes again."""

import sys
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.benchmarks.report.vega import VegaLite, fill_template, page_script, picture

SVG = "{http://www.w3.org/2000/svg}"
CHART: VegaLite = {
    "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
    "description": 'A line: "a" <b> & \\1.',
    "width": "container",
    "data": {"values": [{"a": 1, "b": 2.5}, {"a": 2, "b": 5.0}]},
    "mark": "line",
    "encoding": {
        "x": {"field": "a", "type": "quantitative", "title": "a <b>"},
        "y": {"field": "b", "type": "quantitative"},
    },
}


def test_it_is_an_svg_file_that_speaks_for_light_and_dark() -> None:
    text = picture(CHART)
    root = ET.fromstring(text)
    assert root.tag == f"{SVG}svg"
    assert (root.get("role"), root.get("aria-label")) == ("img", CHART["description"])
    assert "prefers-color-scheme:dark" in (root.findtext(f"{SVG}style") or "")
    assert "a <b>" in [each.text for each in root.iter(f"{SVG}text")]
    assert "currentColor" in text
    assert "#010203" not in text
    assert float(root.attrib["width"]) > 500


def test_the_same_chart_is_the_same_bytes() -> None:
    assert picture(CHART) == picture(CHART)


def encoding(**values: object) -> Any:
    return fill_template("learning_layer", **values)["encoding"]


def test_a_template_takes_values_by_name_and_leaves_out_what_is_none() -> None:
    given = {"values": [1], "mark": {"type": "$mark"}, "name": "$values", "names": ["$name"], "colors": ["red"]}
    area, line = (encoding(**given, y2=y2) for y2 in ({"field": "high"}, None))
    assert area == line | {"y2": {"field": "high"}}
    assert line["color"]["datum"] == "$values"  # a value is never filled in itself
    assert line["color"]["scale"] == {"domain": ["$name"], "range": ["red"]}


def test_the_pages_script_ends_no_script_element() -> None:
    assert "</script" not in page_script()
    assert "vegaEmbed" in page_script()


@pytest.mark.parametrize("ask", [page_script, lambda: picture(CHART)])
def test_without_it_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, ask: Any) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(InputError, match="extra `train`"):
        ask()
