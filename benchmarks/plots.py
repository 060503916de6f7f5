"""A plot as SVG that takes the page's text colour, made by matplotlib, which is loaded only here."""

import html
import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from edgedqn.agents.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# matplotlib needs a colour; this one is replaced by the page's own, which is another in the dark.
INK = "#010203"
# Both are legible on white and on near-black.
MAIN, SECOND = "#2f7ed8", "#e08a1e"

SETTINGS: dict[Any, Any] = {
    "text.parse_math": False,  # a name with $ in it is no formula
    "svg.fonttype": "none",  # text stays text: smaller, searchable, read out
    "svg.hashsalt": "edgedqn",  # the same rows, the same bytes
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "legend.frameon": False,
}


def to_svg(name: str, spoken: str, size: tuple[float, float], draw: Callable[["Axes"], None]) -> str:
    """One plot as an `<svg>` element for the middle of a page.

    Args:
      name: begins the ids of its parts: several share a page, and matplotlib names the parts of each alike.
      spoken: what a screen reader says of it.
      size: in inches, width and height.
      draw: draws into empty axes; what it labels is named in a legend on top.
    Raises:
      InputError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError(
            "The learning curve needs matplotlib: expected the extra `train`, pip install 'edgedqn[train]'."
        ) from error
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=size, layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.add_subplot()
        draw(axes)
        if axes.get_legend_handles_labels()[0]:
            figure.legend(loc="outside upper right", ncols=4, fontsize=9)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    label = _literal(html.escape(spoken))
    return re.sub(r'^<svg [^>]*?viewBox="([^"]*)"[^>]*>', rf'<svg viewBox="\1" role="img" aria-label="{label}">', svg)


def _literal(replacement: str) -> str:
    return replacement.replace("\\", r"\\")
