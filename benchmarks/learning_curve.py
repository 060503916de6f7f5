"""The learning curve of an agent: what its training episodes returned, what the greedy policy scored, what was chosen."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError
from edgedqn.benchmarks.plots import INK, MAIN, SECOND, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Of more than this, episodes are drawn as a range and evaluations as a mere line: a page must not grow with the training.
MOST_EPISODES = 400
MOST_STRETCHES = 200
MOST_EVALUATIONS = 100


def learning_curve(agent: Path) -> str:
    """The curve as an `<svg>` element for a page, or "" where nothing is known of the training, as of an imported agent.

    Args:
      agent: the agent folder, with `training.csv` and `agent.json` or without.
    Raises:
      InputError: one of them cannot be read, or matplotlib is not installed.
    """
    steps, returns = _episodes(agent / "training.csv")  # [N], [N]
    statistics = _statistics(agent / "agent.json")
    evaluations: Sequence[Sequence[float]] = statistics.get("evaluations", ())
    chosen: Mapping[str, float] | None = statistics.get("checkpoint")
    if not len(steps) and not evaluations:
        return ""
    window = int(np.clip(len(steps) // 20, 5, 100))
    mean = _moving_mean(returns, window)  # [N]

    def draw(axes: "Axes") -> None:
        from matplotlib.ticker import MaxNLocator

        if len(steps) > MOST_EPISODES:
            middle, low, high = _ranges(steps, returns)
            axes.fill_between(middle, low, high, color=MAIN, alpha=0.25, linewidth=0, label="training episodes, range")
        elif len(steps):
            axes.plot(steps, returns, ".", color=MAIN, alpha=0.55, markersize=5, markeredgewidth=0, label="training episodes")
        if len(steps):
            shown = np.unique(np.linspace(0, len(steps) - 1, MOST_EPISODES).astype(int))
            axes.plot(steps[shown], mean[shown], color=MAIN, linewidth=1.5, label=f"mean of {window}")
        if evaluations:
            at, scores = zip(*evaluations, strict=True)
            axes.plot(
                at,
                scores,
                "o-" if len(at) <= MOST_EVALUATIONS else "-",
                color=SECOND,
                markersize=3.5,
                linewidth=1,
                label="greedy policy",
            )
        if chosen is not None:
            step, score = chosen["env_steps"], chosen["mean_return"]
            axes.axvline(step, color=INK, linewidth=0.8, linestyle=":")
            axes.plot(step, score, "o", color=INK, markersize=9, markerfacecolor="none", markeredgewidth=1.5, label="chosen")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.set_xlim(left=0)
        axes.set_xlabel("environment steps")
        axes.set_ylabel("return per episode")

    spoken = []
    if len(steps):
        spoken.append(
            f"training episodes: {len(steps):,} over {steps[-1]:,} environment steps, mean return of {window} of them "
            f"{mean[:window][-1]:.1f} at first, {mean[-1]:.1f} at last"
        )
    if evaluations:
        scores = [score for _, score in evaluations]
        spoken.append(f"evaluations of the greedy policy: {len(scores)}, from {min(scores):.1f} to {max(scores):.1f}")
    if chosen is not None:
        spoken.append(f"the checkpoint chosen at step {chosen['env_steps']:,} returned {chosen['mean_return']:.1f}")
    return to_svg("learning", f"Learning curve: {'; '.join(spoken)}.", (6.4, 3.4), draw)


def standalone(svg: str) -> str:
    """The same as a file of its own: with the namespaces that a page does without, and a light and a dark ground."""
    name, attributes, body = svg[:4], *svg[4:].split(">", 1)
    assert name == "<svg"
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    style = (
        "<style>svg{color:#1d2530;background:#fff}"
        "@media(prefers-color-scheme:dark){svg{color:#e4e8ee;background:#14181e}}</style>"
    )
    return f"{name} {spaces}{attributes}>{style}{body}"


def _episodes(path: Path) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    try:
        with path.open(newline="") as file:
            rows = [(int(row["env_steps"]), float(row["episode_return"])) for row in csv.DictReader(file)]
    except FileNotFoundError:
        rows = []
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} cannot be read: expected columns env_steps and episode_return. Got: {error!r}.") from error
    return np.array([steps for steps, _ in rows], np.int64), np.array([value for _, value in rows], np.float64)


def _statistics(path: Path) -> dict[str, Any]:
    try:
        statistics: dict[str, Any] = json.loads(path.read_text())["statistics"]
    except FileNotFoundError:
        return {}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} cannot be read: expected an object with statistics. Got: {error!r}.") from error
    return statistics


def _moving_mean(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """[N] -> [N], each the mean of the last `window` values up to there, of fewer at the beginning."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    last = np.arange(1, len(values) + 1)
    first = np.maximum(last - window, 0)
    means: NDArray[np.float64] = (total[last] - total[first]) / (last - first)
    return means


def _ranges(steps: NDArray[np.int64], values: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Middle, lowest and highest value of equal stretches of steps; stretches in which no episode ended are left out."""
    width = steps[-1] / MOST_STRETCHES
    stretch = np.minimum((steps / width).astype(int), MOST_STRETCHES - 1)
    first = np.flatnonzero(np.diff(stretch, prepend=-1))
    middle = (stretch[first] + 0.5) * width
    return middle, np.minimum.reduceat(values, first), np.maximum.reduceat(values, first)
