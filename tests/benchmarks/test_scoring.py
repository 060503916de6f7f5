"""Returns, deltas and verdicts, from returns that are written down."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedqn.agents.playing.environments import BadTransitionError, make_environment
from edgedqn.agents.playing.gate import Gate
from edgedqn.agents.playing.statistics import Interval
from edgedqn.benchmarks import scoring
from edgedqn.benchmarks.filling import BaselineError, Rows
from edgedqn.benchmarks.playing import Play
from edgedqn.benchmarks.rows import model_of
from edgedqn.export.edge_policy import read_verified

FLOAT = np.tile([9.0, 11.0], 30)  # mean 10 against a random policy's 0: the margin is 1


class Scripted:
    """Stands in for `Players`: returns by file stem, None being the random policy; a string is an error."""

    def __init__(self, script: Any) -> None:
        self.script = script
        self.asked: dict[str | None, int] = {}
        self.taught_by: Any = None

    def __call__(self, play: Any, progress: Any) -> Any:
        return self

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: Any) -> None:
        return None

    def returns(self, path: Path, episodes: int = 0) -> Any:
        name = None if path is None else path.stem
        self.asked[name] = max(self.asked.get(name, 0), episodes)
        values = self.script[name][: episodes or self.asked[name]]
        if not np.isfinite(values).all():
            raise BadTransitionError(f"{name} met a NaN")
        return values

    def to_compare(self, baseline: Path, episodes: int) -> Any:
        return self.returns(baseline, episodes) if self.taught_by is None else self.taught_by[:episodes]


@pytest.fixture
def run(models: Path, steer: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    def run(script: Any, reason: str | None = None, taught_by: Any = None) -> tuple[Any, dict[str, Any], Any]:
        players = Scripted({None: np.zeros(60), **script})
        monkeypatch.setattr(scoring, "Players", players)
        rows = Rows({name: name for name in script}, "float32")
        rows.each(lambda row: replace(row, reason=reason))
        play = Play(
            make_environment=partial(make_environment, f"{steer}:Steer-v0"),
            seeds=range(60),
            gate=Gate(tolerance=0.1, looks=(30, 60)),
            random_seed=0,
            taught_by=taught_by,
        )
        players.taught_by = taught_by
        told: dict[str, Any] = {}
        files = {name: read_verified(models / f"{name}.tflite") for name in script}
        scoring.score(rows, files, play=play, on_gate=told.__setitem__, progress=False)
        return rows.by_name, told, players.asked

    return run


def test_a_clear_verdict_stops_at_the_first_look(run: Any) -> None:
    rows, told, asked = run({"float32": FLOAT, "int8": FLOAT - 0.5, "reversed": FLOAT - 2})
    assert (rows["int8"].gate, rows["reversed"].gate, rows["float32"].gate) == ("pass", "fail", None)
    assert rows["int8"].return_delta == Interval(-0.5, -0.5, -0.5)
    assert set(asked.values()) == {30}
    assert told["int8"].margin == 1.0


def test_an_open_verdict_plays_on_and_says_why_it_stayed_open(run: Any) -> None:
    rows, _, asked = run({"float32": FLOAT, "int8": FLOAT - np.tile([0, 0, 2, 2], 15), "reversed": FLOAT})
    assert rows["int8"].gate == "undecided"
    assert rows["int8"].reason.startswith("After 60 episodes the loss may be anything in [0.")
    assert asked == {"float32": 60, "int8": 60, "reversed": 30, None: 30}
    assert rows["float32"].episode_return.episodes == rows["int8"].episode_return.episodes == 60
    assert rows["reversed"].episode_return.episodes == 30
    assert rows["reversed"].return_delta.mean == 0


def test_what_was_said_of_a_file_before_stays(run: Any) -> None:
    files = {"float32": FLOAT, "int8": FLOAT - np.tile([0, 0, 2, 2], 15), "reversed": FLOAT}
    rows, _, _ = run(files, reason="No manifest.")
    assert rows["reversed"].reason == "No manifest."
    assert rows["int8"].reason.startswith("No manifest. After 60 episodes")
    rows, _, _ = run({"float32": FLOAT - 10, "int8": FLOAT}, reason="No manifest.")
    assert rows["int8"].reason.startswith("No manifest. the float agent is not better than random")


def test_a_late_fault_of_the_baseline_is_not_the_candidates(run: Any) -> None:
    broken = FLOAT.copy()
    broken[45] = np.nan
    with pytest.raises(BaselineError, match="baseline float32 cannot be played"):
        run({"float32": broken, "int8": FLOAT - np.tile([0, 0, 2, 2], 15)})


def test_a_fault_of_a_candidate_ends_its_row(run: Any) -> None:
    broken = FLOAT.copy()
    broken[3] = np.nan
    rows, told, _ = run({"float32": FLOAT, "int8": broken, "reversed": FLOAT})
    assert (rows["int8"].status, rows["int8"].gate, rows["int8"].reason) == ("failed", None, "int8 met a NaN")
    assert rows["reversed"].gate == "pass"
    assert list(told) == ["reversed"]


@pytest.mark.parametrize("luck", [0.0, 0.01], ids=["equal", "above by luck"])
def test_no_better_than_random_leaves_it_undecided(run: Any, luck: float) -> None:
    rows, told, asked = run({"float32": (FLOAT - 10) + luck, "int8": FLOAT})
    assert rows["int8"].gate == "undecided"
    assert rows["int8"].reason == f"the float agent is not better than random: {luck:.4g} against 0 over 60 episodes"
    assert told == {} and asked == {"float32": 60, None: 60, "int8": 30}


def test_what_was_taught_is_compared_with_its_teacher_and_has_to_pass(run: Any) -> None:
    rows, told, _ = run({"float32": FLOAT - 0.5, "int8": FLOAT - 0.75, "reversed": FLOAT - 2}, taught_by=FLOAT)
    assert (rows["float32"].gate, rows["int8"].gate, rows["reversed"].gate) == ("pass", "pass", "fail")
    assert rows["float32"].return_delta == Interval(-0.5, -0.5, -0.5) and rows["int8"].return_delta.mean == -0.75
    assert {name: result.margin for name, result in told.items()} == dict.fromkeys(rows, 1.0)  # a share of its teacher's
    assert model_of(list(rows.values()), "float32") == ("the policy that taught float32", 10.0)


def test_of_equally_large_files_it_says_which_is_better_by_the_paired_interval(run: Any) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 60)
    rows, _, _ = run({"float32": FLOAT, "int8": FLOAT + noise, "reversed": FLOAT + 0.5})
    assert {name: row.better_than for name, row in rows.items()} == {"float32": None, "int8": (), "reversed": ("int8",)}
    rows, _, _ = run({"float32": FLOAT, "int8": FLOAT + noise, "reversed": FLOAT + noise[::-1]})
    assert not any(row.better_than for row in rows.values())
