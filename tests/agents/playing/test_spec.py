"""What can be learned, what is refused and in which words, and how it is written down."""

import json
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.actions import ActionLevels
from edgedqn.agents.playing.environments import make_environment
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.playing.spec import (
    ActionMask,
    Atari,
    EnvironmentSpec,
    Flatten,
    FrameStack,
    OneHot,
    Step,
    format_steps,
    observation_kind,
    parse_steps,
    spec_of,
)

VECTOR = spaces.Box(-1, 1, (3,), np.float32)
SMALL_IMAGE: spaces.Box[Any] = spaces.Box(0, 1, (10, 10, 4), bool)
TWO = spaces.Discrete(2)


class Fixed(gymnasium.Env):
    """Two spaces and no life."""

    def __init__(self, observations: Any = VECTOR, actions: Any = TWO) -> None:
        self.observation_space, self.action_space = observations, actions


def test_a_rank_that_no_network_looks_at_is_refused_in_one_line() -> None:
    with pytest.raises(
        InputError, match=r"^My-v0 has observations of rank 4: expected a vector or an image, or the network mlp"
    ):
        spec_of(Fixed(spaces.Box(0, 1, (2, 2, 2, 2), np.float32)), "My-v0")


@pytest.mark.parametrize("space", [spaces.Box(0, 1, (0,), np.float32), spaces.Discrete(2_000_000)])
def test_so_is_nothing_to_look_at_and_far_too_much(space: Any) -> None:
    with pytest.raises(InputError, match=r"^My-v0 has observations no network here takes: expected 1 to 1,000,000 numbers\."):
        spec_of(Fixed(space), "My-v0")


@pytest.mark.parametrize(
    ("env", "frame_stack", "reason"),
    [
        (Fixed(), 0, r"^A network sees one observation at least\. Expected frame_stack of 1 or more\. Got 0\.$"),
        (Fixed(spaces.Discrete(16)), 2, r"^My-v0 gives the number of a state, which cannot be stacked\. Got frame_stack=2\.$"),
    ],
)
def test_so_is_a_stack_of_nothing_and_one_of_states(env: Fixed, frame_stack: int, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        spec_of(env, "My-v0", frame_stack=frame_stack)


def test_the_spec_of_cartpole_round_trips_through_json() -> None:
    env = make_environment("CartPole-v1")
    spec = spec_of(env, "CartPole-v1")
    env.close()
    assert spec.observation_shape == (4,)
    assert spec.observation_dtype == "float32"
    assert spec.n_actions == 2
    # Position and angle have bounds, the velocities none; JSON has no infinity.
    assert [low is None for low in spec.observation_low] == [False, True, False, True]
    assert spec.observation_high[0] == pytest.approx(4.8)
    assert EnvironmentSpec.from_json(json.loads(json.dumps(spec.to_json(), allow_nan=False))) == spec
    made = replace(
        spec,
        source=EnvironmentSource("CartPole-v1", {"sutton_barto_reward": True}),
        actions=ActionLevels(((0, 2),), (), "int64"),
    )
    assert EnvironmentSpec.from_json(json.loads(json.dumps(made.to_json(), allow_nan=False))) == made
    assert hash(spec) == hash(EnvironmentSpec.from_json(json.loads(json.dumps(spec.to_json()))))  # tuples again, no lists


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_infinity_and_the_largest_float_both_mean_unbounded(dtype: Any) -> None:
    largest = np.finfo(np.float32).max
    high = np.array([1, np.inf, largest, 2], dtype)
    spec = spec_of(Fixed(spaces.Box(-high, high, dtype=dtype)), "My-v0")
    assert spec.observation_high == (1.0, None, None, 2.0)
    assert spec.observation_low == (-1.0, None, None, -2.0)


def test_bounds_that_are_all_the_same_are_one_number_for_images_alone() -> None:
    image = spec_of(Fixed(spaces.Box(0, 255, (84, 84, 3), np.uint8)), "My-v0")
    assert (image.observation_low, image.observation_high) == ((0.0,), (255.0,))
    vector = spec_of(Fixed(spaces.Box(0, 255, (3,), np.uint8)), "My-v0")
    assert (vector.observation_low, vector.observation_high) == ((0.0,) * 3, (255.0,) * 3)
    high = np.ones((2, 2), np.float32)
    high[1, 0] = 3
    assert spec_of(Fixed(spaces.Box(0, high)), "My-v0").observation_high == (1.0, 1.0, 3.0, 1.0)


@pytest.mark.parametrize(
    ("space", "frame_stack", "flatten", "preprocessing", "input_shape", "kind"),
    [
        (VECTOR, 1, False, (), (3,), "vector"),
        (VECTOR, 2, True, (FrameStack(2),), (6,), "vector"),
        (spaces.Discrete(16), 1, False, (OneHot(),), (16,), "state"),
        (SMALL_IMAGE, 1, False, (), (10, 10, 4), "small image"),
        (spaces.Box(0, 255, (84, 84, 3), np.uint8), 4, False, (FrameStack(4),), (84, 84, 12), "image"),
        (spaces.Box(0, 255, (84, 84), np.uint8), 1, False, (FrameStack(1),), (84, 84, 1), "image"),
        (spaces.Box(0, 1, (5, 4), np.float32), 1, True, (Flatten(),), (20,), "small image"),
        (spaces.Box(0, 1, (5, 4), np.float32), 3, True, (Flatten(), FrameStack(3)), (60,), "small image"),
        (spaces.Box(0, 1, (2, 3, 4, 5), np.float32), 1, True, (Flatten(),), (120,), "vector"),
        (spaces.Box(0, 1, (1, 4), np.float32), 1, True, (Flatten(),), (4,), "vector"),
    ],
)
def test_the_steps_to_the_network_are_written_down(
    space: Any, frame_stack: int, flatten: bool, preprocessing: tuple[Any, ...], input_shape: tuple[int, ...], kind: str
) -> None:
    spec = spec_of(Fixed(space), "My-v0", frame_stack=frame_stack, flatten=flatten)
    assert spec.preprocessing == preprocessing
    assert spec.input_shape == input_shape
    assert observation_kind(spec.observation_shape, spec.preprocessing) == kind
    assert EnvironmentSpec.from_json(json.loads(json.dumps(spec.to_json(), allow_nan=False))) == spec


def test_each_step_has_one_text() -> None:
    steps = (Atari(), FrameStack(4), OneHot(), Flatten(), ActionMask())
    assert format_steps(steps) == ["atari", "frame_stack:4", "one_hot", "flatten", "action_mask"]


@given(st.lists(st.sampled_from([Atari(), OneHot(), Flatten(), ActionMask()]) | st.integers(1, 9_999).map(FrameStack)))
def test_what_is_written_is_read(steps: list[Step]) -> None:
    assert parse_steps(format_steps(steps)) == tuple(steps)


@pytest.mark.parametrize(
    "text", ["", "Atari", "frame_stack", "frame_stack:0", "frame_stack:04", "frame_stack:²", "frame_stack:4\n", "sharpen"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(
        InputError, match=r"^Unknown preprocessing: expected atari, one_hot, flatten, action_mask or frame_stack:K\. Got"
    ):
        parse_steps(["flatten", text])
