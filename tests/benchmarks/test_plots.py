"""A plot as SVG: text that takes the page's colour, ids of its own, and the same bytes again."""

import re
import sys

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.benchmarks.plots import INK, to_svg


def plot(name="one", spoken="A line: qat-$int8$ \\1."):
    def draw(axes):
        axes.plot([1, 2], color=INK, label="qat-$int8$")
        axes.set_xlabel("a <b>")

    return to_svg(name, spoken, (4, 3), draw)


def test_text_is_text_in_the_pages_colour():
    svg = plot()
    assert re.search(r"<text [^>]*currentColor", svg)
    assert ">qat-$int8$" in svg
    assert ">a &lt;b&gt;" in svg
    assert "#010203" not in svg
    assert "#000000" not in svg
    assert re.match(r'<svg viewBox="[^"]+" role="img" aria-label="A line: qat-\$int8\$ \\1\.">', svg)


def test_the_same_is_the_same_bytes_and_two_on_a_page_share_no_id():
    assert plot() == plot()
    one, other = (set(re.findall(r' id="([^"]+)"', plot(name))) for name in ("one", "other"))
    assert one
    assert not one & other


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match="extra `train`"):
        plot()
