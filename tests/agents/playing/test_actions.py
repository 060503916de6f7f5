"""Actions of any space as an index, and what cannot be numbered."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.actions import ActionLevels, IndexedActions, actions_of, indexed


class Acts(gymnasium.Env):
    """Remembers what it was given."""

    observation_space = spaces.Box(-1, 1, (1,))

    def __init__(self, actions: Any) -> None:
        self.action_space = actions
        self.given: Any = None

    def step(self, action: Any) -> Any:
        self.given = action
        return np.zeros(1, np.float32), 0.0, False, False, {}


def table_of(space: Any, levels: int | None = None) -> Any:
    found = actions_of(indexed(Acts(space), "My-v0", levels))
    return None if found is None else found.table.tolist()


@pytest.mark.parametrize(
    ("space", "levels", "table"),
    [
        (spaces.Discrete(3), None, None),
        (spaces.Discrete(3, start=-1), None, [-1, 0, 1]),
        (spaces.MultiDiscrete([2, 3], start=[0, 5]), None, [[0, 5], [0, 6], [0, 7], [1, 5], [1, 6], [1, 7]]),
        (spaces.MultiBinary(2), None, [[0, 0], [0, 1], [1, 0], [1, 1]]),
        (spaces.Box(-2, 2, (1,)), None, [[-2], [-1], [0], [1], [2]]),
        (spaces.Box(np.array([0, -1], np.float32), np.array([1, 1], np.float32)), 2, [[0, -1], [0, 1], [1, -1], [1, 1]]),
        (spaces.Box(0, 2, (1,), np.int64), None, [[0], [1], [2]]),
        (spaces.Box(-1, 1, (), np.float32), 3, [-1, 0, 1]),
        (spaces.Box(-1, 1, (1, 1)), 3, [[[-1]], [[0]], [[1]]]),
    ],
)
def test_each_action_has_a_number(space: Any, levels: int | None, table: Any) -> None:
    assert table_of(space, levels) == table


def test_four_dimensions_and_more_have_three_levels() -> None:
    assert len(table_of(spaces.Box(-1, 1, (4,)))) == 3**4
    assert len(table_of(spaces.Box(-1, 1, (5,)))) == 3**5


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4).filter(lambda nvec: np.prod(nvec) >= 2))
def test_the_environment_gets_its_own_action(nvec: list[int]) -> None:
    env = Acts(spaces.MultiDiscrete(nvec))
    wrapped = indexed(env, "My-v0", None)
    assert isinstance(wrapped, IndexedActions)
    for index in range(int(wrapped.action_space.n)):  # type: ignore[attr-defined]
        wrapped.step(index)
        assert env.given in env.action_space and np.ravel_multi_index(tuple(env.given), nvec) == index


def test_a_discrete_space_gets_an_int() -> None:
    env = Acts(spaces.Discrete(2, start=7))
    indexed(env, "My-v0", None).step(np.int64(1))
    assert type(env.given) is int and env.given == 8


def test_levels_round_trip_through_json() -> None:
    levels = ActionLevels(((-1.0, 0.5), (0.0, 1.0, 2.0)), (2,), "float32")
    assert ActionLevels.from_json(levels.to_json()) == levels
    assert levels.table.dtype == np.float32 and levels.count == 6


@pytest.mark.parametrize(
    ("space", "levels", "reason"),
    [
        (spaces.Discrete(1), None, r"leaves nothing to decide: expected two actions or more\. Got 1\."),
        (spaces.MultiBinary(10), None, r"too many actions to rank: expected at most 512\. Got 1,024 of MultiBinary\(10\)"),
        (spaces.Box(-1, 1, (6,)), None, r"expected at most 512, or less than 3 levels in each\. Got 729"),
        (spaces.Box(-np.inf, np.inf, (1,)), None, r"actions without an end: expected finite bounds\. Got Box\(-inf"),
        (spaces.Discrete(3), 5, r"no continuous actions: expected no levels\. Got 5 and Discrete\(3\)"),
        (spaces.Text(4), None, r"an action space DQN cannot rank: expected Discrete, MultiDiscrete, MultiBinary, Box"),
        (spaces.Dict({"a": spaces.Discrete(2)}), None, r"cannot rank: .* Got Dict\("),
    ],
)
def test_what_cannot_be_numbered_is_refused_in_one_line(space: Any, levels: int | None, reason: str) -> None:
    with pytest.raises(InputError, match=rf"^My-v0 .*{reason}") as caught:
        indexed(Acts(space), "My-v0", levels)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 250
