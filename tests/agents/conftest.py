"""Environments small enough to know the answer."""

from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest


class Corridor(gymnasium.Env[Any, Any]):
    """Five cells in a row; right (1) from the last ends the episode with reward 1, every other step costs nothing.

    With discount d the value of going right from cell i is d ** (4 - i).
    """

    def __init__(self, bad: str | None = None, at: int = 7) -> None:
        self.observation_space = gymnasium.spaces.Box(0, 1, (5,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(2)
        self._bad, self._at, self._steps = bad, at, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._cell = 0
        return self._observe(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._steps += 1
        over = self._cell == 4 and action == 1
        self._cell = min(self._cell + 1, 4) if action == 1 else max(self._cell - 1, 0)
        reward = float("nan") if self._bad == "reward" and self._steps >= self._at else float(over)
        return self._observe(), reward, over, False, {}

    def _observe(self) -> Any:
        observation = np.eye(5, dtype=np.float32)[self._cell]
        return observation * np.nan if self._bad == "observation" and self._steps >= self._at else observation


class Treadmill(gymnasium.Env[Any, Any]):
    """Pays 1 for each step, whatever is done, and always looks the same. Goes on for ever, or ends after `length` steps.

    With discount d a step is worth 1 / (1 - d) where it goes on for ever, and 1 where it is the last.
    """

    observation_space = gymnasium.spaces.Box(0, 1, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, length: int | None = None) -> None:
        self._length = length

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._steps = 0
        return np.ones(1, np.float32), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._steps += 1
        return np.ones(1, np.float32), 1.0, self._steps == self._length, False, {}


CorridorMaker = Callable[..., gymnasium.Env[Any, Any]]


@pytest.fixture(scope="session")
def make_corridor() -> CorridorMaker:
    """Makes a corridor of episodes of at most `limit` steps; `bad` (observation or reward) is NaN from step `at` on."""
    return lambda limit=50, **settings: gymnasium.wrappers.TimeLimit(Corridor(**settings), limit)


@pytest.fixture(scope="session")
def corridor_id() -> Iterator[str]:
    """A corridor to be made by its name, with episodes of at most 50 steps."""
    gymnasium.register("EdgeDQNTest/Corridor-v0", lambda **settings: Corridor(**settings), max_episode_steps=50)
    yield "EdgeDQNTest/Corridor-v0"
    del gymnasium.registry["EdgeDQNTest/Corridor-v0"]


@pytest.fixture(scope="session")
def make_treadmill() -> Callable[[bool, int], gymnasium.Env[Any, Any]]:
    """Makes a treadmill whose episodes are terminated or truncated after `limit` steps."""
    return lambda terminates, limit: Treadmill(limit) if terminates else gymnasium.wrappers.TimeLimit(Treadmill(), limit)


@pytest.fixture
def corridor(make_corridor: CorridorMaker) -> Iterator[gymnasium.Env[Any, Any]]:
    env = make_corridor()
    yield env
    env.close()
