"""The learning curve: what it shows of a training, what it says of it, and what it does where little is known."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.benchmarks.report import learning_curve as module
from edgedqn.benchmarks.report.charts import Chart
from edgedqn.benchmarks.report.learning_curve import learning_chart
from edgedqn.benchmarks.report.vega import picture

STATISTICS = {
    "evaluations": [[1_000, 20.0], [2_000, 180.0], [3_000, 150.5]],
    "checkpoint": {"env_steps": 2_000, "mean_return": 171.25},
}


def agent(folder: Path, episodes: int = 40, statistics: Any = STATISTICS) -> Path:
    """An agent folder: an episode each 50 steps, returning 1, 2, 3, ..."""
    lines = ["env_steps,episode_return,episode_length,epsilon,learning_rate,loss,seconds"]
    lines += [f"{50 * n},{float(n)},50,0.1,0.001,nan,0.5" for n in range(1, episodes + 1)]
    (folder / "training.csv").write_text("\n".join(lines) + "\n")
    (folder / "agent.json").write_text(json.dumps({"schema": 2, "statistics": statistics}))
    return folder


def drawn(chart: Chart | None) -> Any:
    assert chart is not None
    return chart.spec


def layers(chart: Any) -> dict[str, Any]:
    """The points of each layer, by what the legend calls it."""
    return {layer["encoding"]["color"]["datum"]: layer["data"]["values"] for layer in chart["layer"]}


def test_episodes_mean_evaluations_and_choice_are_shown_and_told(tmp_path: Path) -> None:
    chart = drawn(learning_chart(agent(tmp_path)))
    shown = layers(chart)
    assert list(shown) == ["training episodes", "mean of 5", "greedy policy", "chosen"]
    assert shown["training episodes"] == [{"env_steps": 50 * n, "return": float(n)} for n in range(1, 41)]
    assert shown["mean of 5"][-1] == {"env_steps": 2_000, "return": 38.0}
    assert shown["greedy policy"][1] == {"env_steps": 2_000, "return": 180.0}
    assert shown["chosen"] == [{"env_steps": 2_000, "return": 171.25}]
    assert chart["description"] == (
        "Learning curve: training episodes: 40 over 2,000 environment steps, mean return of 5 of them 3.0 at first, "
        "38.0 at last; evaluations of the greedy policy: 3, from 20.0 to 180.0; "
        "the checkpoint chosen at step 2,000 returned 171.2."
    )
    for layer in chart["layer"]:
        assert layer["encoding"]["color"]["scale"]["domain"] == list(shown)
        assert len(set(layer["encoding"]["color"]["scale"]["range"])) == len(shown)


def test_what_is_to_be_seen_is_the_choice(tmp_path: Path) -> None:
    chart = learning_chart(agent(tmp_path))
    assert chart is not None and chart.seen == "The checkpoint chosen at step 2,000 returned 171.2."


def test_vega_lite_draws_it(tmp_path: Path) -> None:
    svg = picture(drawn(learning_chart(agent(tmp_path))))
    for text in ("training episodes", "mean of 5", "greedy policy", "chosen", "environment steps", "return per episode"):
        assert f">{text}</text>" in svg
    assert ">training episodes, range</text>" in picture(drawn(learning_chart(agent(tmp_path, episodes=2_000))))


def test_the_size_does_not_grow_with_the_training(tmp_path: Path) -> None:
    statistics = {"evaluations": [[100 * n, float(n % 7)] for n in range(1, 1_000)]}
    charts = [drawn(learning_chart(agent(tmp_path, episodes, statistics))) for episodes in (2_000, 20_000)]
    sizes = [len(json.dumps(chart)) for chart in charts]
    assert sizes[1] < 1.2 * sizes[0] < 80_000
    assert list(layers(charts[1])) == ["training episodes, range", "mean of 100", "greedy policy"]
    assert all(value["return"] <= value["high"] for value in layers(charts[1])["training episodes, range"])


def test_the_moving_mean_is_of_the_last_ones() -> None:
    values = np.random.default_rng(0).normal(size=30)
    expected = [values[max(0, i - 6) : i + 1].mean() for i in range(30)]
    assert module._moving_mean(values, 7) == pytest.approx(expected)


def test_the_ranges_hold_every_episode() -> None:
    rng = np.random.default_rng(0)
    steps = np.cumsum(rng.integers(1, 400, 2_000))
    values = rng.normal(size=2_000)
    middle, low, high = module._ranges(steps, values)
    assert len(middle) <= module.MOST_STRETCHES
    assert (np.diff(middle) > 0).all()
    nearest = np.abs(steps[:, None] - middle).argmin(axis=1)
    for at in range(len(middle)):
        mine = values[nearest == at]
        assert low[at] <= mine.min() + 1e-12
        assert high[at] >= mine.max() - 1e-12
    assert (low.min(), high.max()) == (values.min(), values.max())


@pytest.mark.parametrize("statistics", [{}, {"evaluations": []}])
def test_without_a_training_there_is_no_picture(tmp_path: Path, statistics: dict[str, Any]) -> None:
    assert learning_chart(tmp_path) is None
    (tmp_path / "agent.json").write_text(json.dumps({"statistics": statistics}))
    assert learning_chart(tmp_path) is None


def test_what_there_is_is_shown(tmp_path: Path) -> None:
    agent(tmp_path)
    (tmp_path / "agent.json").unlink()
    assert drawn(learning_chart(tmp_path))["description"].endswith("38.0 at last.")
    agent(tmp_path)
    (tmp_path / "training.csv").unlink()
    assert list(layers(drawn(learning_chart(tmp_path)))) == ["greedy policy", "chosen"]
    assert "5 of them 1.0 at first, 1.0 at last" in drawn(learning_chart(agent(tmp_path, episodes=1)))["description"]


@pytest.mark.parametrize("name", ["training.csv", "agent.json"])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (agent(tmp_path) / name).write_text("{nonsense\n1")
    with pytest.raises(InputError, match=rf"{name} cannot be read: expected"):
        learning_chart(tmp_path)
