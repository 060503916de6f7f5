"""Any function as a teacher, and what it may not give."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.actions import ActionLevels
from edgedqn.agents.teaching.teachers import Answer, FunctionTeacher, find_function

OBSERVATIONS = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)


@pytest.mark.parametrize(
    ("function", "gives", "wanted"),
    [
        (lambda x: x[:3], "values", OBSERVATIONS[:, :3]),
        (lambda x: [x[:3].astype(np.float64)], "values", OBSERVATIONS[:, :3]),  # a batch of one
        (lambda x: [0.5, 0.5, 0.0], "probabilities", np.log([[0.5, 0.5, 1e-6]] * 20)),
        (lambda x: int(x[0] > 0), "action", np.eye(3)[(OBSERVATIONS[:, 0] > 0).astype(int)]),
        (lambda x: np.array([2.0]), "action", np.eye(3)[[2] * 20]),
    ],
)
def test_it_ranks_actions(function: Callable[[Any], Any], gives: Answer, wanted: Any) -> None:
    teacher = FunctionTeacher(function, "mine:act", n_actions=3, gives=gives)
    found = teacher.q_values(OBSERVATIONS)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert found.dtype == np.float32
    assert [teacher(x) for x in OBSERVATIONS] == teacher.actions(OBSERVATIONS).tolist() == np.argmax(wanted, axis=1).tolist()
    assert teacher(OBSERVATIONS[0], np.array([False, True, False])) == 1


@pytest.mark.parametrize(
    ("given", "gives", "reason"),
    [
        ([1.0, 2.0], "values", "gave bad values: expected 3 finite numbers, one for each action. Got [1. 2.]"),
        ([1.0, np.nan, 2.0], "values", "gave bad values: expected 3 finite numbers"),
        ("left", "values", "gave bad values: expected 3 finite numbers"),
        (1, "values", 'gave bad values: expected 3 finite numbers, one for each action, or gives="action". Got 1.'),
        ([0.5, 0.4, 0.3], "probabilities", "gave bad probabilities: expected a sum of 1"),
        ([1.5, -0.5, 0.0], "probabilities", "gave bad probabilities"),
        (3, "action", "gave a bad action: expected 0 to 2, as the environment takes it. Got 3"),
        (np.nan, "action", "gave a bad action"),
        (0.5, "action", "gave a bad action"),
        ([0, 1], "action", "gave a bad action"),
    ],
)
def test_what_it_may_not_give_is_refused(given: Any, gives: Answer, reason: str) -> None:
    with pytest.raises(InputError, match=f"^mine:act {re.escape(reason)}"):
        FunctionTeacher(lambda x: given, "mine:act", n_actions=3, gives=gives)(OBSERVATIONS[0])


ACTIONS = {
    "counted from 1": (ActionLevels(((1, 2, 3),), (), "int64"), [(1, 0), (3, 2)], 0),
    "of two numbers": (ActionLevels(((0, 1), (0, 1, 2)), (2,), "int64"), [([0, 2], 2), ([1, 0], 3)], [1, 3]),
    "continuous": (ActionLevels(((-2.0, 0.0, 2.0),), (1,), "float32"), [([-0.9], 1), (1.1, 2), ([9.0], 2)], [np.inf]),
}


@pytest.mark.parametrize(("actions", "pairs", "bad"), ACTIONS.values(), ids=ACTIONS)
def test_an_action_is_one_of_the_environments_own(actions: ActionLevels, pairs: Any, bad: Any) -> None:
    def teacher(given: Any) -> FunctionTeacher:
        return FunctionTeacher(lambda x: given, "mine:act", n_actions=actions.count, gives="action", actions=actions)

    for given, index in pairs:
        assert teacher(given)(OBSERVATIONS[0]) == index
    with pytest.raises(InputError, match="gave a bad action"):
        teacher(bad)(OBSERVATIONS[0])


def test_its_own_error_is_told_with_its_line() -> None:
    def fails(observation: Any) -> Any:
        raise KeyError("speed")

    with pytest.raises(InputError, match=r"^mine:act failed: KeyError: 'speed' \(.*test_teachers\.py, line \d+\)$"):
        FunctionTeacher(fails, "mine:act", n_actions=3)(OBSERVATIONS[0])


def test_a_function_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "steering.py").write_text("def act(observation): return 1\nnumber = 3\n")
    (tmp_path / "broken.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert find_function("steering:act")(OBSERVATIONS[0]) == 1
    for name, reason in (
        ("steering:other", "No function 'steering:other': expected module:function. Got: AttributeError"),
        ("steering:number", "steering:number is no function: expected one of an observation. Got a int."),
        ("broken:act", "No function 'broken:act': expected module:function. Got: ZeroDivisionError"),
    ):
        with pytest.raises(InputError, match=f"^{re.escape(reason)}"):
            find_function(name)
