"""One loader for all pages: they share their frame, and a value that a template asks for and nobody gave is a fault."""

import json

import pytest
from jinja2 import UndefinedError

from edgedqn.benchmarks.report.templates import embedded, render_page
from edgedqn.benchmarks.report.vega import VegaLite


def test_a_page_has_the_frame_its_charts_and_what_draws_them() -> None:
    given: VegaLite = {"description": "A <b>."}
    text = render_page("sweep", {"front-1": given}, searches=[])
    assert text.startswith("<!DOCTYPE html>") and "<title>EdgeDQN: a sweep</title>" in text
    assert "vegaEmbed" in text and len(text) > len(render_page("sweep", {}, searches=[])) + 100_000
    assert render_page("sweep", {}, searches=[]) == render_page("sweep", {}, searches=[])


def test_what_is_not_given_is_a_fault() -> None:
    with pytest.raises(UndefinedError, match="searches"):
        render_page("sweep", {})


def test_a_chart_cannot_end_its_script() -> None:
    text = embedded({"description": "</script>"})
    assert "<" not in text and json.loads(text) == {"description": "</script>"}
