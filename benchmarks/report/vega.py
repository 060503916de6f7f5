"""Vega-Lite: charts made of templates; the script that draws a page's charts, and a chart as a picture of its own."""

import json
from html import escape
from importlib.resources import files
from types import ModuleType

from edgedqn.agents.errors import InputError

FILES = files("edgedqn.benchmarks.report.files")
VegaLite = dict[str, object]  # a specification, see https://vega.github.io/vega-lite, or a part of one

# Vega needs a colour; this one is replaced by the picture's own, which is another in the dark.
INK, LINE = "#010203", "#8a94a1"
TEXT = {"labelColor": INK, "titleColor": INK}
AXIS = TEXT | {"gridColor": LINE, "gridOpacity": 0.35, "domainColor": LINE, "tickColor": LINE, "titleFontWeight": "normal"}
CONFIG = {"background": None, "font": "sans-serif", "axis": AXIS, "legend": TEXT, "view": {"stroke": None}}
SIZE = {"width": 560, "height": 280}
STYLE = (
    "<style>svg{color:#1d2530;background:#fff}@media(prefers-color-scheme:dark){svg{color:#e4e8ee;background:#14181e}}</style>"
)


def fill_template(template: str, **values: object) -> VegaLite:
    """The specification in `files/TEMPLATE.json`: a value for each text "$NAME", which is left out where the value is None."""

    def filled(part: object) -> object:
        if isinstance(part, dict):
            return {key: value for key, each in part.items() if (value := filled(each)) is not None or each is None}
        if isinstance(part, list):
            return [value for each in part if (value := filled(each)) is not None or each is None]
        return values[part[1:]] if isinstance(part, str) and part.startswith("$") else part

    chart = filled(json.loads((FILES / f"{template}.json").read_text(encoding="utf-8")))
    assert isinstance(chart, dict)
    return chart


def page_script() -> str:
    """Vega-Lite and what draws it, as the text of one script element.

    Raises:
      InputError: vl-convert-python is not installed.
    """
    bundle: str = _library().javascript_bundle()
    return bundle.replace("</script", "<\\/script")


def picture(chart: VegaLite) -> str:
    """A chart of one view as an SVG file for light and dark, 560 by 280 pixels without its axes, its `description` the label.

    The same chart gives the same text. InputError: vl-convert-python is not installed.
    """
    svg: str = _library().vegalite_to_svg(json.dumps({**chart, **SIZE}), config=CONFIG)
    head, body = svg.replace(INK, "currentColor").split(">", 1)
    label = escape(str(chart["description"]), quote=True)
    return f'{head} role="img" aria-label="{label}">{STYLE}{body}'


def _library() -> ModuleType:
    try:
        import vl_convert
    except ImportError as error:
        raise InputError("Plots need vl-convert-python: expected the extra `train`, pip install 'edgedqn[train]'.") from error
    return vl_convert
