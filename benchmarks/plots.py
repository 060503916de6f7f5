"""The report's plots as SVG that takes the page's text colour, made by matplotlib, which is loaded only here."""

import html
import io
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from edgedqn.agents.errors import InputError
from edgedqn.benchmarks.rows import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# matplotlib needs a colour; this one is replaced by the page's own, which is another in the dark.
INK = "#010203"
# Both are legible on white and on near-black.
MAIN, SECOND, ALARM = "#2f7ed8", "#e08a1e", "#d1495b"

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


def size_plot(rows: Sequence[Row]) -> str:
    """Bars of raw and gzip size in KB, one pair per file. Returns "" where no row has them."""
    shown = [row for row in rows if row["size_bytes"] is not None]

    def draw(axes: "Axes") -> None:
        for i, row in enumerate(shown):
            raw, packed = row["size_bytes"] / 1_000, row["gzip_bytes"] / 1_000
            axes.barh(i - 0.18, raw, 0.34, color=MAIN, label="file" if i == 0 else None)
            axes.barh(i + 0.18, packed, 0.34, color=SECOND, label="gzip" if i == 0 else None)
            axes.annotate(f"{raw:.1f}", (raw, i - 0.18), (4, 0), textcoords="offset points", va="center", fontsize=9)
            axes.annotate(f"{packed:.1f}", (packed, i + 0.18), (4, 0), textcoords="offset points", va="center", fontsize=9)
        axes.set_xlabel("KB (1,000 bytes)")
        axes.set_xlim(left=0)
        axes.margins(x=0.12)

    spoken = [f"{row['name']} {row['size_bytes'] / 1_000:.1f} KB, gzip {row['gzip_bytes'] / 1_000:.1f} KB" for row in shown]
    return _svg("size", "Size per file", shown, spoken, draw)


def latency_plot(rows: Sequence[Row]) -> str:
    """The median of one invoke() and of a whole step in µs, with marks at the 90th and 99th percentile."""
    shown = [row for row in rows if row["latency_us"] is not None and row["step_latency_us"] is not None]

    def draw(axes: "Axes") -> None:
        from matplotlib.ticker import LogLocator

        for i, row in enumerate(shown):
            for key, shift, color, label in (
                ("latency_us", -0.15, MAIN, "invoke()"),
                ("step_latency_us", 0.15, SECOND, "whole step"),
            ):
                found, y = row[key], i + shift
                axes.plot([found["p50"], found["p99"]], [y, y], color=color, linewidth=1.5)
                axes.plot([found["p90"], found["p99"]], [y, y], "|", color=color, markersize=9, markeredgewidth=1.5)
                axes.plot(found["p50"], y, "o", color=color, markersize=7, label=label if i == 0 else None)
                axes.annotate(
                    f"{found['p50']:.2f}", (found["p50"], y), (0, 6), textcoords="offset points", ha="center", fontsize=9
                )
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
        axes.set_xlabel("µs, logarithmic: dot p50, marks p90 and p99")

    spoken = [
        f"{row['name']} invoke {row['latency_us']['p50']:.2f} µs, p99 {row['latency_us']['p99']:.2f}, "
        f"whole step {row['step_latency_us']['p50']:.2f} µs, p99 {row['step_latency_us']['p99']:.2f}"
        for row in shown
    ]
    return _svg("latency", "Latency per file, median", shown, spoken, draw)


def return_plot(rows: Sequence[Row], baseline: str, margin: float | None) -> str:
    """The mean return with its 95 % interval, the baseline's mean, and the lowest mean the gate lets through.

    Args:
      rows: as in `benchmark.json`.
      baseline: the name of the float row.
      margin: the gate's, in reward units; None draws no gate.
    """
    shown = [row for row in rows if row["return"] is not None]

    def draw(axes: "Axes") -> None:
        for i, row in enumerate(shown):
            mean, (low, high) = row["return"]["mean"], row["return"]["ci95"]
            color = ALARM if row["gate"] == "fail" else MAIN
            axes.plot([low, high], [i, i], color=color, linewidth=2, solid_capstyle="butt")
            axes.plot([low, high], [i, i], "|", color=color, markersize=9, markeredgewidth=2)
            axes.plot(mean, i, "o", color=color, markersize=7)
        for row in shown:
            if row["name"] == baseline:
                axes.axvline(row["return"]["mean"], color=INK, linewidth=1, zorder=0, label=f"{baseline}, mean")
                if margin is not None:
                    axes.axvline(row["return"]["mean"] - margin, color=ALARM, linewidth=1, linestyle="--", label="gate: margin")
        # Beside the names, where no line crosses the numbers.
        axes.set_yticks(range(len(shown)), [f"{row['name']}  {row['return']['mean']:.1f}" for row in shown])
        axes.set_xlabel("return per episode: mean and 95 % interval")
        axes.margins(x=0.08)

    spoken = [
        f"{row['name']} {row['return']['mean']:.1f}, between {row['return']['ci95'][0]:.1f} and {row['return']['ci95'][1]:.1f}"
        for row in shown
    ]
    if margin is not None:
        spoken.append(f"the gate allows a loss of {margin:.4g}")
    return _svg("return", "Return per file", shown, spoken, draw)


def _svg(name: str, title: str, rows: Sequence[Row], spoken: Sequence[str], draw: Callable[["Axes"], None]) -> str:
    if not rows:
        return ""

    def draw_rows(axes: "Axes") -> None:
        axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
        draw(axes)
        axes.set_ylim(len(rows) - 0.4, -0.6)  # the first row on top, as in the table

    return to_svg(name, f"{title}: {'; '.join(spoken)}.", (5.4, 1.1 + 0.5 * len(rows)), draw_rows)


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
            "The report's plots need matplotlib: expected the extra `train`, pip install 'edgedqn[train]'."
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
