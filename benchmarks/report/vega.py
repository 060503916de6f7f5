"""Vega-Lite, which vl-convert-python carries: the script that draws a page's charts, and a chart as a picture of its own."""

import json
from html import escape
from types import ModuleType
from typing import Any

from edgedqn.agents.errors import InputError

# Vega needs a colour; this one is replaced by the picture's own, which is another in the dark.
INK, LINE = "#010203", "#8a94a1"
TEXT = {"labelColor": INK, "titleColor": INK}
CONFIG = {
    "background": None,
    "font": "sans-serif",
    "axis": {
        **TEXT,
        "gridColor": LINE,
        "gridOpacity": 0.35,
        "domainColor": LINE,
        "tickColor": LINE,
        "titleFontWeight": "normal",
    },
    "legend": TEXT,
    "view": {"stroke": None},
}
SIZE = {"width": 560, "height": 280}
STYLE = (
    "<style>svg{color:#1d2530;background:#fff}@media(prefers-color-scheme:dark){svg{color:#e4e8ee;background:#14181e}}</style>"
)


def page_script() -> str:
    """Vega-Lite and what draws it, as the text of one script element.

    Raises:
      InputError: vl-convert-python is not installed.
    """
    bundle: str = _library().javascript_bundle()
    return bundle.replace("</script", "<\\/script")


def picture(chart: dict[str, Any]) -> str:
    """The chart as an SVG file for light and dark, 560 by 280 pixels without its axes; the same chart gives the same text.

    Args:
      chart: a Vega-Lite specification of one view, with a `description`, which becomes the picture's label.
    Raises:
      InputError: vl-convert-python is not installed.
    """
    svg: str = _library().vegalite_to_svg(json.dumps({**chart, **SIZE}), config=CONFIG)
    head, body = svg.replace(INK, "currentColor").split(">", 1)
    label = escape(chart["description"], quote=True)
    return f'{head} role="img" aria-label="{label}">{STYLE}{body}'


def _library() -> ModuleType:
    try:
        import vl_convert
    except ImportError as error:
        raise InputError("Plots need vl-convert-python: expected the extra `train`, pip install 'edgedqn[train]'.") from error
    return vl_convert
