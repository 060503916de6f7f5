"""A first look: whether a seed decides an episode, which actions are legal, and what bytes stand for."""

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from edgedqn.agents.errors import EnvironmentWarning
from edgedqn.agents.playing.environments import make_environment
from edgedqn.agents.playing.first_look import look_at, resolved, with_scale
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.playing.spec import spec_of


class Bytes(gymnasium.Env):
    """Episodes of three steps, whose observations are random bytes below `below`; `seeded` or not."""

    action_space = spaces.Discrete(2)

    def __init__(self, high: Any, below: int, shape: tuple[int, ...] = (4,), seeded: bool = True) -> None:
        self.observation_space = spaces.Box(0, np.broadcast_to(high, shape).astype(np.uint8), dtype=np.uint8)
        self._below, self._seeded = below, seeded

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._t = 0
        return self._draw(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._t += 1
        return self._draw(), 0.0, self._t == 3, False, {}

    def _draw(self) -> Any:
        rng = self.np_random if self._seeded else np.random.default_rng()
        return rng.integers(self._below, size=self.observation_space.shape, dtype=np.uint8)


@pytest.fixture
def bytes_id() -> Iterator[str]:
    gymnasium.register("Bytes-v0", lambda **how: Bytes(**how))
    yield "Bytes-v0"
    gymnasium.registry.pop("Bytes-v0")


def scale_of(source: EnvironmentSource, frame_stack: int = 1) -> tuple[float, ...]:
    env = make_environment(source)
    return with_scale(spec_of(env, source, frame_stack=frame_stack)).input_scale


def test_an_environment_whose_seed_decides_nothing_is_told(bytes_id: str) -> None:
    with pytest.warns(EnvironmentWarning, match=r"^Bytes-v0 gives other observations when it is reset with the same seed"):
        look_at(EnvironmentSource(bytes_id, {"high": 9, "below": 9, "seeded": False}))
    assert look_at(EnvironmentSource(bytes_id, {"high": 9, "below": 9})).observations.shape == (100, 4)


@pytest.mark.parametrize(
    ("how", "scale"),
    [
        ({"high": 255, "below": 256}, (1 / 255,)),  # a picture's
        ({"high": 1, "below": 2}, (1.0,)),  # one-hot planes
        ({"high": [10, 10, 4, 4], "below": 5}, (1 / 10, 1 / 10, 1 / 4, 1 / 4)),
        ({"high": 255, "below": 256, "shape": [5, 5, 3]}, (1 / 255,)),
    ],
)
def test_bytes_are_divided_by_the_largest_they_can_be(bytes_id: str, how: Any, scale: tuple[float, ...]) -> None:
    assert scale_of(EnvironmentSource(bytes_id, how)) == pytest.approx(scale)


def test_bytes_that_stay_small_are_numbers_of_objects(bytes_id: str) -> None:
    with pytest.warns(EnvironmentWarning, match=r"^Bytes-v0: its bytes stay at or below 10 in 100 observations"):
        assert scale_of(EnvironmentSource(bytes_id, {"high": 255, "below": 11, "shape": [7, 7, 3]})) == pytest.approx((1 / 10,))
    with pytest.warns(EnvironmentWarning, match="at or below 10"):
        mixed = scale_of(EnvironmentSource(bytes_id, {"high": [255, 255, 20, 20], "below": 11}), frame_stack=2)
    assert mixed == pytest.approx((1 / 10, 1 / 10, 1 / 20, 1 / 20) * 2)


def test_other_types_are_left_as_they_are() -> None:
    assert scale_of(EnvironmentSource("CartPole-v1")) == (1.0,)


def test_legal_actions_are_taken_where_they_are_named_and_not_declined() -> None:
    assert resolved(EnvironmentSource("Taxi-v4")).action_mask is True
    assert resolved(EnvironmentSource("Taxi-v4", action_mask=False)).action_mask is False
    assert resolved(EnvironmentSource("CartPole-v1")).action_mask is None
