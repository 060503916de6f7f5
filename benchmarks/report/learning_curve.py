"""The learning curve of an agent: what its training episodes returned, what the greedy policy scored, what was chosen."""

import csv
import json
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError
from edgedqn.benchmarks.report.charts import Chart
from edgedqn.benchmarks.report.vega import VegaLite, fill_template

# Of more than this, episodes are drawn as a range and evaluations as a mere line: a page must not grow with the training.
MOST_EPISODES = 400
MOST_STRETCHES = 200
MOST_EVALUATIONS = 100
Numbers = Sequence[float] | NDArray[np.int64] | NDArray[np.float64]
# Legible on white and on near-black.
TRAINING, MEAN, GREEDY, CHOSEN = "#2f7ed8", "#8b5fd6", "#c9761a", "#7d8794"


def learning_chart(agent: Path) -> Chart | None:
    """The curve, or None where nothing is known of the training, as of an imported agent.

    InputError: `training.csv` or `agent.json` in the agent's folder cannot be read.
    """
    steps, returns = _episodes(agent / "training.csv")  # [N], [N]
    evaluations, chosen = _scores(agent / "agent.json")
    layers: list[_Layer] = []
    spoken = []
    if len(steps):
        window = int(np.clip(len(steps) // 20, 5, 100))
        mean = _moving_mean(returns, window)  # [N]
        if len(steps) > MOST_EPISODES:
            middle, low, high = _ranges(steps, returns)
            mark: VegaLite = {"type": "area", "opacity": 0.25}
            layers.append(_Layer("training episodes, range", TRAINING, mark=mark, steps=middle, returns=low, highest=high))
        else:
            dots: VegaLite = {"type": "point", "filled": True, "opacity": 0.55, "size": 18}
            layers.append(_Layer("training episodes", TRAINING, mark=dots, steps=steps, returns=returns))
        shown = np.unique(np.linspace(0, len(steps) - 1, MOST_EPISODES).astype(int))
        line: VegaLite = {"type": "line", "strokeWidth": 2}
        layers.append(_Layer(f"mean of {window}", MEAN, mark=line, steps=steps[shown], returns=mean[shown]))
        spoken.append(
            f"training episodes: {len(steps):,} over {steps[-1]:,} environment steps, mean return of {window} of them "
            f"{mean[:window][-1]:.1f} at first, {mean[-1]:.1f} at last"
        )
    if evaluations:
        at, scores = zip(*evaluations, strict=True)
        line = {"type": "line", "strokeWidth": 1.2, "point": len(at) <= MOST_EVALUATIONS}
        layers.append(_Layer("greedy policy", GREEDY, mark=line, steps=at, returns=scores))
        spoken.append(f"evaluations of the greedy policy: {len(scores)}, from {min(scores):.1f} to {max(scores):.1f}")
    if not layers:
        return None
    if chosen is not None:
        step, score = chosen
        mark = {"type": "point", "size": 140, "strokeWidth": 2.5}
        layers.append(_Layer("chosen", CHOSEN, mark=mark, steps=[step], returns=[score]))
        spoken.append(f"the checkpoint chosen at step {step:,} returned {score:.1f}")
    colors = {layer.name: layer.color for layer in layers}
    told = "; ".join(spoken)
    spec = fill_template("learning", description=f"Learning curve: {told}.", layers=[layer.to_json(colors) for layer in layers])
    return Chart(spec, f"{spoken[-1][0].upper()}{spoken[-1][1:]}.")


@dataclass(frozen=True)
class _Layer:
    """One kind of mark with data of its own; with `highest`, an area from `returns` up to there."""

    name: str
    color: str
    _: KW_ONLY
    mark: VegaLite
    steps: Numbers
    returns: Numbers
    highest: NDArray[np.float64] | None = None

    def to_json(self, colors: dict[str, str]) -> VegaLite:
        """Vega-Lite, with the legend of all layers, whose `colors` go by name."""
        steps, returns = np.asarray(self.steps).round().astype(int), np.asarray(self.returns, np.float64).round(4)
        points: list[VegaLite] = [{"env_steps": x, "return": y} for x, y in zip(steps.tolist(), returns.tolist(), strict=True)]
        if self.highest is not None:
            points = [point | {"high": y} for point, y in zip(points, self.highest.tolist(), strict=True)]
        return fill_template(
            "learning_layer",
            values=points,
            mark=self.mark,
            name=self.name,
            names=list(colors),
            colors=list(colors.values()),
            y2=None if self.highest is None else {"field": "high"},
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


def _scores(path: Path) -> tuple[Sequence[tuple[int, float]], tuple[int, float] | None]:
    """Each evaluation's environment steps and mean return, and those of the checkpoint that was chosen, if one was."""
    try:
        statistics = json.loads(path.read_text())["statistics"]
        chosen = statistics.get("checkpoint")
        return statistics.get("evaluations", ()), chosen and (chosen["env_steps"], chosen["mean_return"])
    except FileNotFoundError:
        return (), None
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} cannot be read: expected an object with statistics. Got: {error!r}.") from error


def _moving_mean(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """[N] -> [N], each the mean of the last `window` values up to there, of fewer at the beginning."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    last = np.arange(1, len(values) + 1)
    first = np.maximum(last - window, 0)
    means: NDArray[np.float64] = (total[last] - total[first]) / (last - first)
    return means


def _ranges(steps: NDArray[np.int64], values: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Middle, lowest and highest value of equal stretches of steps; stretches in which no episode ended are left out."""
    width = steps[-1] / MOST_STRETCHES
    stretch = np.minimum((steps / width).astype(int), MOST_STRETCHES - 1)
    first = np.flatnonzero(np.diff(stretch, prepend=-1))
    middle = (stretch[first] + 0.5) * width
    return middle, np.minimum.reduceat(values, first), np.maximum.reduceat(values, first)
