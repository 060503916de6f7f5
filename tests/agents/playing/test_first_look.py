"""A first look: whether a seed decides an episode, which actions are legal, and what bytes stand for."""

import re
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from edgedqn.agents.errors import EnvironmentWarning, InputError
from edgedqn.agents.playing.environments import make_environment, register_factory
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


class Sides(gymnasium.Env):
    """Episodes of ten steps; whether the first of four numbers is positive is the best action. Others are odd."""

    observation_space: Any = spaces.Box(-np.inf, np.inf, (4,), np.float32)
    action_space = spaces.Discrete(2)
    length = 10

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.t, self.x = 0, self.draw()
        return self.seen(), {}

    def step(self, action: Any) -> Any:
        reward = self.reward(action == (self.x[0] > 0))
        self.t, self.x = self.t + 1, self.draw()
        return self.seen(), reward, self.t >= self.length, False, {}

    def draw(self) -> Any:
        return self.np_random.uniform(-1, 1, 4).astype(np.float32)

    def seen(self) -> Any:
        return self.x

    def reward(self, right: Any) -> Any:
        return float(right)


class Fractions(Sides):
    observation_space = spaces.Box(0, 255, (4,), np.uint8)

    def seen(self) -> Any:
        return np.abs(self.x)


class Reals(Sides):
    observation_space = spaces.Box(-10, 10, (4,), np.int64)


class Nested(Sides):
    def seen(self) -> Any:
        return self.x[None]


class Short(Sides):
    def seen(self) -> Any:
        return self.x[:1]


class ArrayReward(Sides):
    def reward(self, right: Any) -> Any:
        return np.array([right], np.float32)


class Options(Sides):
    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return super().reset(seed=seed if options is None else options["seed"])


class Raises(Sides):
    def reward(self, right: Any) -> Any:
        raise RuntimeError("the simulator lost its connection")


class FourValues(Sides):
    def step(self, action: Any) -> Any:
        return super().step(action)[:4]


class NeedsRender(Sides):
    def __init__(self, render_mode: Any) -> None:
        self.render_mode = render_mode


class Unseeded(Sides):
    def draw(self) -> Any:
        return np.random.default_rng().uniform(-1, 1, 4).astype(np.float32)


class Forever(Sides):
    length = 10**12


class Timestamps(Sides):
    def seen(self) -> Any:
        return self.x * 100 + np.float32(1.7e9)


ODD: list[tuple[type[Sides], str | None]] = [  # what is told of each, or why it is refused
    (Sides, None),
    (Fractions, r"gave a bad observation: expected what Box\(0, 255, \(4,\), uint8\) can hold\. Got 0\."),
    (Reals, r"gave a bad observation: expected what Box\(-10, 10, \(4,\), int64\) can hold\. Got 0\."),
    (Nested, r": observations come as \[1, 4\]; they are taken as \[4\], as declared\."),
    (Short, r"gave a bad observation: expected the shape \[4\], as Box\(.* says\. Got float32 of shape \[1\]"),
    (ArrayReward, r": rewards come as arrays of shape \[1\]; their one number is taken\."),
    (Options, None),
    (Raises, r"failed in step\(\): RuntimeError: the simulator lost its connection \(.*test_first_look\.py, line \d+\)"),
    (FourValues, r"gave a bad step: expected observation, reward, terminated, truncated, info\. Got 4 values\."),
    (NeedsRender, None),
    (Unseeded, r"gives other observations when it is reset with the same seed"),
    (Forever, None),
    (Timestamps, r": feature 0 of its observations is around 1\.7e\+09\. In float32, .* told apart that differ by 128 or more"),
]


@pytest.fixture
def bytes_id() -> Iterator[str]:
    gymnasium.register("Bytes-v0", lambda **how: Bytes(**how))
    yield "Bytes-v0"
    gymnasium.registry.pop("Bytes-v0")


def scale_of(source: EnvironmentSource, frame_stack: int = 1) -> tuple[float, ...]:
    env = make_environment(source)
    return with_scale(spec_of(env, source, frame_stack=frame_stack)).input_scale


@pytest.mark.parametrize(("odd", "told"), ODD, ids=[odd.__name__ for odd, _ in ODD])
def test_an_odd_environment_is_taken_as_it_is_or_told_or_refused(
    odd: type[Sides], told: str | None, recwarn: pytest.WarningsRecorder
) -> None:
    gymnasium.register("Odd-v0", lambda **how: odd(**how))
    try:
        look_at(EnvironmentSource("Odd-v0"))
        heard = [str(warning.message) for warning in recwarn if warning.category is EnvironmentWarning]
    except InputError as refusal:
        heard = [str(refusal)]
    finally:
        gymnasium.registry.pop("Odd-v0")
    assert len(heard) == (told is not None), heard
    assert told is None or re.match(rf"Odd-v0 ?{told}", heard[0]), heard


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
    mixed = scale_of(EnvironmentSource(bytes_id, {"high": [255, 255, 20, 20], "below": 11}), frame_stack=2)  # told before
    assert mixed == pytest.approx((1 / 10, 1 / 10, 1 / 20, 1 / 20) * 2)


def test_other_types_are_left_as_they_are() -> None:
    assert scale_of(EnvironmentSource("CartPole-v1")) == (1.0,)


def test_legal_actions_are_taken_where_they_are_named_and_not_declined() -> None:
    assert resolved(EnvironmentSource("Taxi-v4")).action_mask is True
    assert resolved(EnvironmentSource("Taxi-v4", action_mask=False)).action_mask is False
    assert resolved(EnvironmentSource("CartPole-v1")).action_mask is None


def test_a_mask_that_never_fits_is_left_out_and_told() -> None:
    class Misfit(gymnasium.Wrapper[Any, Any, Any, Any]):
        def reset(self, **how: Any) -> Any:
            return self.env.reset(**how)[0], {"action_mask": np.ones(7, np.int8)}

        def step(self, action: Any) -> Any:
            return (*self.env.step(action)[:4], {"action_mask": np.ones(7, np.int8)})

    register_factory("Misfit-v0", lambda **_: Misfit(gymnasium.make("CartPole-v1")))
    told = r"^Misfit-v0 has an action_mask in 100 of 100 steps, in 0 of them with one number for each action"
    with pytest.warns(EnvironmentWarning, match=told):
        assert resolved(EnvironmentSource("Misfit-v0")).action_mask is None
