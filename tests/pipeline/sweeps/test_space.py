import json
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgedqn.agents.errors import InputError
from edgedqn.compression.recipes import RECIPES
from edgedqn.pipeline.sweeps.space import Choice, Range, Space, changed, grid, space_from_json, suggested

STUDENT = RECIPES["student-qat-int8"]


def test_a_table_of_settings_says_what_varies() -> None:
    table = {"a": 3, "b": {"choice": [[4], [8, 8]]}, "c": {"low": 1, "high": 9}, "d": {"low": 1e-4, "high": 1e-2, "log": True}}
    assert space_from_json(table, what="x") == {
        "a": Choice((3,)),
        "b": Choice(([4], [8, 8])),
        "c": Range(1, 9),
        "d": Range(1e-4, 1e-2, log=True),
    }


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"choice": []}, r"a of x: Expected values to choose from, each once\. Got \[\]"),
        ({"choice": [1, 1]}, "each once"),
        ({"low": 2}, r"or \{ low = A, high = B \} .* for a of x\. Got \{'low': 2\}"),
        ({"low": 2, "high": 2}, r"to a larger one\. Got low=2 and high=2"),
        ({"low": 0, "high": 2, "log": True}, r"numbers above 0\. Got low=0"),
        ({"low": "1", "high": 2}, "Expected a value"),
        ({"low": 1, "high": 2, "log": "yes"}, "Expected a value"),
    ],
)
def test_what_is_no_choice_and_no_range_is_refused(value: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        space_from_json({"a": value}, what="x")


@given(seed=st.integers(0, 100))
def test_what_a_trial_tries_is_of_the_space(seed: int) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed))
    space: Space = {
        "fixed": Choice(([1, 2],)),
        "list": Choice(([4], [8, 8])),
        "whole": Range(2, 5),
        "real": Range(0.5, 8.0, log=True),
    }
    trial = study.ask()
    found = suggested(space, trial, prefix="p/")
    assert found["fixed"] == [1, 2] and found["list"] in ([4], [8, 8])
    assert found["whole"] in (2, 3, 4, 5) and 0.5 <= found["real"] <= 8
    assert set(trial.params) == {"p/list", "p/whole", "p/real"}  # what is fixed is no parameter


def test_a_grid_has_each_combination_of_what_varies_once() -> None:
    space = {"a": Choice((1, 2)), "fixed": Choice((7,)), "b": Choice(([1], [2], [3]))}
    points = list(grid(space, prefix="p/"))
    assert len(points) == 6
    assert points[0] == {"p/a": "1", "p/b": "[1]"} and points[-1] == {"p/a": "2", "p/b": "[3]"}
    assert list(grid({"fixed": Choice((7,))})) == [{}]
    with pytest.raises(InputError, match=r"Expected a as \{ choice = \[...\] \}\. Got a range"):
        list(grid({"a": Range(1, 2)}))


def test_a_recipe_takes_other_settings_also_within_settings() -> None:
    found = changed(STUDENT, {"new_student.hidden": [4, 4], "distil.learning.steps": 100}, name="mine")
    stages: dict[str, Any] = {stage["stage"]: stage for stage in found.to_json()["stages"]}
    assert (found.name, stages["new_student"]["hidden"], stages["distil"]["learning"]["steps"]) == ("mine", [4, 4], 100)
    assert changed(STUDENT, {}) == STUDENT
    assert json.dumps(STUDENT.to_json())  # it is as it was


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"prune.sparsity": 0.5},
            r"Expected STAGE\.SETTING with a stage of student-qat-int8: scale_input, new_student.*Got 'prune",
        ),
        ({"distil": 3}, "Expected STAGE"),
        ({"distil.widths": 3}, r"stage 3 \(distil\): unknown setting 'widths'\. Expected one of learning"),
        ({"new_student.hidden.x": 3}, r"expected settings in hidden\. Got"),
        ({"new_student.hidden": [0]}, "Expected widths of 1 or more"),
    ],
)
def test_settings_that_a_recipe_has_not_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        changed(STUDENT, settings)
