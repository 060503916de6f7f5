"""Observations of any space as one array, against gymnasium's own flattening."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedqn.agents.errors import EnvironmentWarning, InputError
from edgedqn.agents.playing.observations import Feature, features_of, one_array, undone

TOLD = "ignore::edgedqn.agents.errors.EnvironmentWarning"


class Gives(gymnasium.Env):
    """A random observation of its space."""

    action_space = spaces.Discrete(2)

    def __init__(self, observations: Any) -> None:
        self.observation_space = observations

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.observation_space.seed(seed)
        self.given = self.observation_space.sample()
        return self.given, {}


def seen(env: Any, observe: tuple[str, ...] = ()) -> Any:
    """What the policy sees first; it must be of the space that is declared."""
    wrapped = one_array(env, "My-v0", observe)
    observation, _ = wrapped.reset(seed=3)
    assert observation in wrapped.observation_space
    return observation


LEAVES = st.sampled_from(
    [
        spaces.Box(-1, 1, (2,), np.float32),
        spaces.Box(0, 9, (2, 2), np.uint8),
        spaces.Discrete(3, start=2),
        spaces.MultiDiscrete([2, 4]),
        spaces.MultiBinary(3),
    ]
)
SPACES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, min_size=2, max_size=3).map(spaces.Tuple)
        | st.dictionaries(st.sampled_from("abc"), inner, min_size=2, max_size=3).map(spaces.Dict)
    ),
    max_leaves=5,
)


@pytest.mark.filterwarnings(TOLD)
@settings(max_examples=60, deadline=None)
@given(SPACES.filter(lambda space: isinstance(space, spaces.Dict | spaces.Tuple)))
def test_parts_are_flattened_as_gymnasium_does(space: Any) -> None:
    env = Gives(space)
    observation = seen(env)
    assert observation.tolist() == spaces.flatten(space, env.given).tolist()  # type: ignore[union-attr]


@pytest.mark.filterwarnings(TOLD)
@settings(max_examples=40, deadline=None)
@given(SPACES | st.sampled_from([spaces.Box(0, 255, (3, 40, 50), np.uint8), spaces.Box(-1, 1, ()), spaces.Discrete(4)]))
def test_what_was_made_of_an_observation_is_undone(space: Any) -> None:
    env = Gives(space)
    observation = seen(env)
    as_number = isinstance(observation, int | np.integer)
    as_input = np.eye(64, dtype=np.uint8)[observation] if as_number else observation
    undo = undone(space)
    assert undo is not None
    back = undo(as_input)
    assert back in space
    found, expected = (np.asarray(spaces.flatten(space, each)) for each in (back, env.given))
    np.testing.assert_allclose(found, expected)


def test_what_was_left_out_is_not_made_up() -> None:
    assert undone(spaces.Dict({"x": spaces.Box(0, 1, (2,)), "text": spaces.Text(3)})) is None


@pytest.mark.filterwarnings(TOLD)
def test_whole_numbers_take_the_smallest_type_that_holds_them() -> None:
    parts = spaces.Dict({"direction": spaces.Discrete(4), "image": spaces.Box(0, 255, (3, 3, 3), np.uint8)})
    assert one_array(Gives(parts), "My-v0").observation_space.dtype == np.uint8
    assert one_array(Gives(spaces.MultiDiscrete([5, 5])), "My-v0").observation_space.dtype == np.uint8


def test_text_is_left_out_and_named_and_one_part_stays_as_it_is() -> None:
    image = spaces.Box(0, 255, (7, 7, 3), np.uint8)
    env = Gives(spaces.Dict({"image": image, "mission": spaces.Text(8), "more": spaces.Sequence(spaces.Discrete(2))}))
    with pytest.warns(EnvironmentWarning, match=r"^My-v0: observations leave out mission \(Text\), more \(Sequence\)"):
        observation = seen(env)
    np.testing.assert_array_equal(observation, env.given["image"])


@pytest.mark.filterwarnings(TOLD)
def test_parts_can_be_chosen() -> None:
    parts = spaces.Dict({"a": spaces.Box(0, 1, (2,)), "b": spaces.Discrete(2), "c": spaces.Box(0, 1, (3,))})
    env = Gives(parts)
    assert seen(env, ("c", "b")).tolist() == [*np.eye(2)[env.given["b"]], *env.given["c"]]  # a Dict's order is its own
    assert seen(env, ("a",)).tolist() == env.given["a"].tolist()
    many = Gives(spaces.Tuple([spaces.Text(3), *(spaces.Box(i, i, (1,)) for i in range(1, 13))]))
    with pytest.warns(EnvironmentWarning, match=r"one vector of 12, in this order: 1 1, 2 1, 3 1, .*, 10 1, 11 1, 12 1\.$"):
        assert seen(many).tolist() == list(range(1, 13))  # "10" is not before "2"
    assert seen(many, ("11", "2")).tolist() == [2, 11]
    pair = Gives(spaces.Tuple([spaces.Discrete(3), spaces.Box(0, 1, (2,))]))
    assert seen(pair, ("1",)).tolist() == pair.given[1].tolist()


@pytest.mark.filterwarnings(TOLD)
def test_a_vector_is_known_by_the_keys_of_what_it_is_made_of() -> None:
    """As `EdgePolicy` puts it together again; see tests/export/test_edge_policy_features.py."""
    inner = spaces.Dict({"speed": spaces.Box(-1, 1, (2, 3)), "gears": spaces.MultiDiscrete([2, 3], start=[0, 1])})
    parts = spaces.Dict({"robot": inner, "at": spaces.Discrete(4), "text": spaces.Text(3)})
    found = (Feature("at", 4, (4,)), Feature("robot/gears", 5, (2, 3), (0, 1)), Feature("robot/speed", 6))
    assert features_of(one_array(Gives(parts), "My-v0")) == found
    assert features_of(gymnasium.wrappers.TimeLimit(one_array(Gives(parts), "My-v0"), 9)) == found
    assert features_of(one_array(Gives(parts), "My-v0", ("at", "robot")))[1:] == found[1:]
    picture, twice = spaces.Box(0, 255, (9, 9, 3), np.uint8), spaces.Box(0, 1, (2,))
    for unnamed in (picture, spaces.Dict({"image": picture}), spaces.Dict({"a/b": twice, "a": spaces.Dict({"b": twice})})):
        assert features_of(one_array(Gives(unnamed), "My-v0")) == ()


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (spaces.Discrete(5, start=10), lambda given: int(given) - 10),
        (spaces.Box(0, 1, (), np.float32), lambda given: [given.item()]),
        (spaces.Box(0, 255, (3, 16, 20), np.uint8), lambda given: given.transpose(1, 2, 0).tolist()),
        (spaces.Box(0, 255, (16, 20, 3), np.uint8), lambda given: given.tolist()),
        (spaces.Box(0, 1, (4, 10, 10), np.float32), lambda given: given.transpose(1, 2, 0).tolist()),  # planes of numbers
        (spaces.Box(0, 255, (12, 84, 84), np.uint8), lambda given: given.transpose(1, 2, 0).tolist()),  # four frames
        (spaces.Box(0, 255, (10, 10, 6), np.uint8), lambda given: given.tolist()),
        (spaces.Box(0, 1, (5, 20, 8), np.float32), lambda given: given.tolist()),  # five rows, or five planes
    ],
)
@pytest.mark.filterwarnings(TOLD)
def test_arrays_and_states(space: Any, expected: Any) -> None:
    env = Gives(space)
    observation = seen(env)
    assert np.asarray(observation).tolist() == expected(env.given)


@pytest.mark.parametrize(
    ("space", "observe", "reason"),
    [
        (spaces.Text(5), (), r"observations without numbers: expected some\. Got Text"),
        (spaces.Dict({"a": spaces.Text(5)}), (), r"observations without numbers"),
        (spaces.Box(0, 1, (2,)), ("a",), r"nothing to choose from: expected observations in a Dict or Tuple\. Got Box"),
        (spaces.Dict({"a": spaces.Discrete(2)}), ("b",), r"no observation 'b' of numbers: expected one of a\. Got 'b'\."),
    ],
)
def test_what_cannot_be_seen_is_refused_in_one_line(space: Any, observe: tuple[str, ...], reason: str) -> None:
    with pytest.raises(InputError, match=rf"^My-v0 has {reason}") as caught:
        one_array(Gives(space), "My-v0", observe)
    assert "\n" not in str(caught.value)
