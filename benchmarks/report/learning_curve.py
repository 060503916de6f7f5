"""The learning curve of an agent: what its training episodes returned, what the greedy policy scored, what was chosen."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError
from edgedqn.agents.files import Json
from edgedqn.benchmarks.report.charts import SCHEMA, Chart

# Of more than this, episodes are drawn as a range and evaluations as a mere line: a page must not grow with the training.
MOST_EPISODES = 400
MOST_STRETCHES = 200
MOST_EVALUATIONS = 100
Numbers = Sequence[float] | NDArray[np.generic]
# Legible on white and on near-black.
TRAINING, GREEDY, CHOSEN = "#2f7ed8", "#c9761a", "#7d8794"
X = {
    "field": "env_steps",
    "type": "quantitative",
    "title": "environment steps",
    "axis": {"format": ",d", "tickCount": 6},
}


def learning_chart(agent: Path) -> Chart | None:
    """The curve as a Vega-Lite specification, or None where nothing is known of the training, as of an imported agent.

    Args:
      agent: the agent folder, with `training.csv` and `agent.json` or without.
    Raises:
      InputError: one of them cannot be read.
    """
    steps, returns = _episodes(agent / "training.csv")  # [N], [N]
    statistics = _statistics(agent / "agent.json")
    evaluations: Sequence[Sequence[float]] = statistics.get("evaluations", ())
    chosen: Mapping[str, float] | None = statistics.get("checkpoint")
    layers: list[Chart] = []
    spoken = []
    if len(steps):
        window = int(np.clip(len(steps) // 20, 5, 100))
        mean = _moving_mean(returns, window)  # [N]
        shown = np.unique(np.linspace(0, len(steps) - 1, MOST_EPISODES).astype(int))
        if len(steps) > MOST_EPISODES:
            middle, low, high = _ranges(steps, returns)
            area = _layer("training episodes, range", TRAINING, {"type": "area", "opacity": 0.25}, steps=middle, returns=low)
            for value, top in zip(area["data"]["values"], high.tolist(), strict=True):
                value["high"] = top
            area["encoding"]["y2"] = {"field": "high"}
            layers.append(area)
        else:
            dots = {"type": "point", "filled": True, "opacity": 0.55, "size": 18}
            layers.append(_layer("training episodes", TRAINING, dots, steps=steps, returns=returns))
        layers.append(
            _layer(f"mean of {window}", TRAINING, {"type": "line", "strokeWidth": 2}, steps=steps[shown], returns=mean[shown])
        )
        spoken.append(
            f"training episodes: {len(steps):,} over {steps[-1]:,} environment steps, mean return of {window} of them "
            f"{mean[:window][-1]:.1f} at first, {mean[-1]:.1f} at last"
        )
    if evaluations:
        at, scores = zip(*evaluations, strict=True)
        line = {"type": "line", "strokeWidth": 1.2, "point": len(at) <= MOST_EVALUATIONS}
        layers.append(_layer("greedy policy", GREEDY, line, steps=at, returns=scores))
        spoken.append(f"evaluations of the greedy policy: {len(scores)}, from {min(scores):.1f} to {max(scores):.1f}")
    if not layers:
        return None
    if chosen is not None:
        step, score = chosen["env_steps"], chosen["mean_return"]
        layers.append(
            _layer("chosen", CHOSEN, {"type": "point", "size": 140, "strokeWidth": 2.5}, steps=[step], returns=[score])
        )
        spoken.append(f"the checkpoint chosen at step {step:,} returned {score:.1f}")
    _share_legend(layers)
    description = f"Learning curve: {'; '.join(spoken)}."
    return {"$schema": SCHEMA, "description": description, "width": "container", "height": 280, "layer": layers}


def _layer(
    name: str,
    color: str,
    mark: Json,
    *,
    steps: Sequence[float] | NDArray[np.generic],
    returns: Sequence[float] | NDArray[np.generic],
) -> Chart:
    """One kind of mark with data of its own; `color` is left for `_share_legend`."""
    at, values = np.asarray(steps).round().astype(int).tolist(), np.asarray(returns, np.float64).round(4).tolist()
    return {
        "data": {"values": [{"env_steps": step, "return": value} for step, value in zip(at, values, strict=True)]},
        "mark": dict(mark),
        "encoding": {
            "x": X,
            "y": {"field": "return", "type": "quantitative", "title": "return per episode", "scale": {"zero": False}},
            "color": {"datum": name, "scale": color},
            "tooltip": [{"field": "env_steps", "format": ",d"}, {"field": "return", "format": ".4g"}],
        },
    }


def _share_legend(layers: Sequence[Chart]) -> None:
    colors = {layer["encoding"]["color"]["datum"]: layer["encoding"]["color"]["scale"] for layer in layers}
    for layer in layers:
        layer["encoding"]["color"].update(
            type="nominal",
            title=None,
            scale={"domain": list(colors), "range": list(colors.values())},
            legend={"orient": "top", "labelLimit": 0, "columns": 4, "columnPadding": 20, "symbolOpacity": 1},
        )


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
