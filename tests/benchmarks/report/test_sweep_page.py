import dataclasses
import json
import re

import pytest

from edgedqn.agents.playing.statistics import Interval
from edgedqn.benchmarks.report.sweep_page import (
    SearchPart,
    TrialPoint,
    front_chart,
    importance_chart,
    parallel_chart,
    render_sweep,
)

TRIALS = [
    TrialPoint(
        number=0,
        outcome="proven",
        settings={"width": "[4]", "rate": "0.01"},
        values={"return": 0.99, "bytes": 704},
        size_bytes=704,
        kept=0.99,
        interval=Interval(0.995, 0.98, 1.0),
        runs=["work/proof-a"],
    ),
    TrialPoint(
        number=1,
        outcome="did not pass",
        settings={"width": "[16]", "rate": "0.1"},
        values={"return": 0.5, "bytes": 2_000},
        size_bytes=2_000,
        kept=0.5,
    ),
    TrialPoint(number=2, outcome="could not be done", settings={"width": "<b>"}, reason="It diverged."),
]


@pytest.fixture
def search() -> SearchPart:
    importances = {"return": {"width": 0.75, "rate": 0.25}, "bytes": {"width": 1.0, "rate": 0.0}}
    return SearchPart(env_id="CartPole-v1", summary="3 trials.", trials=TRIALS, importances=importances)


def test_the_page_has_each_trial_with_its_runs_and_nothing_from_elsewhere(search: SearchPart) -> None:
    page = render_sweep([search, SearchPart(env_id="Acrobot-v1", summary="No agent could be trained.")])
    assert page == render_sweep([search, SearchPart(env_id="Acrobot-v1", summary="No agent could be trained.")])
    assert '<a href="work/proof-a/report.html">report</a>' in page
    assert "<li>2: It diverged.</li>" in page and "&lt;b&gt;" in page and "No agent could be trained." in page
    assert not re.search(r'(src|href)="https?:', page)
    charts = re.findall(r'id="(chart-[a-z]+-\d)">', page)
    assert charts == ["chart-front-1", "chart-importance-1", "chart-parallel-1"]
    heads = re.findall(r'<th scope="col"><button type="button">(.*?)</button>', page)
    assert heads == ["trial", "outcome", "return", "bytes", "width", "rate", "runs"]


def test_the_front_shows_what_was_done_and_the_interval_of_what_was_proven(search: SearchPart) -> None:
    chart = front_chart(search)
    assert chart is not None
    points = chart["data"]["values"]  # type: ignore[index]
    assert [point["trial"] for point in points] == [1, 0]  # what is proven lies in front
    assert {"KB": 0.704, "kept": 0.995, "low": 0.98, "high": 1.0}.items() <= points[1].items() and "low" not in points[0]
    assert "trial 0 takes 704 bytes" in str(chart["description"])
    assert front_chart(SearchPart(env_id="x", summary="", trials=TRIALS[2:])) is None


def test_the_line_goes_up_from_small_to_large(search: SearchPart) -> None:
    sizes = [(700, 0.9), (800, 0.85), (900, 0.95)]
    trials = [
        dataclasses.replace(TRIALS[0], number=i, size_bytes=size, interval=Interval(kept, kept, kept))
        for i, (size, kept) in enumerate(sizes)
    ]
    chart = front_chart(dataclasses.replace(search, trials=trials))
    assert chart is not None
    assert [point["line"] for point in chart["data"]["values"]] == [True, False, True]  # type: ignore[index]


def test_what_matters_is_a_bar_for_each_setting_and_objective(search: SearchPart) -> None:
    chart = importance_chart(search)
    assert chart is not None and len(chart["data"]["values"]) == 4  # type: ignore[index]
    assert importance_chart(SearchPart(env_id="x", summary="")) is None


def test_a_line_goes_through_what_varied_and_what_came_of_it(search: SearchPart) -> None:
    chart = parallel_chart(search)
    assert chart is not None
    places = {(place["trial"], place["axis"]): place["place"] for place in chart["data"]["values"]}  # type: ignore[index]
    assert places == {
        (0, "width"): 0, (1, "width"): 1, (0, "rate"): 0, (1, "rate"): 1,
        (0, "return"): 1, (1, "return"): 0, (0, "bytes"): 0, (1, "bytes"): 1,
    }  # fmt: skip
    assert json.dumps(chart)
    timed = dataclasses.replace(TRIALS[0], values={**TRIALS[0].values, "µs": 3.0})
    assert parallel_chart(dataclasses.replace(search, trials=[timed, TRIALS[1]])) is not None
    assert parallel_chart(SearchPart(env_id="x", summary="", trials=TRIALS[:1])) is None
