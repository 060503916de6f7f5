"""Actions of any space, as the index that a DQN chooses."""

import itertools
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError, require, short
from edgedqn.agents.files import JsonValue

Action: TypeAlias = Any  # as an environment takes it
MOST_ACTIONS = 512
USUAL_LEVELS = {1: 5, 2: 5, 3: 5}  # of each dimension, by how many there are; from four on, 3


@dataclass(frozen=True)
class ActionLevels(JsonValue):
    """An environment's own actions: each combination of the levels of each of its numbers, the last changing fastest.

    Attributes:
      levels: of each number of an action, in C order.
      shape: of an action; () for a single number, which is one of `levels[0]`.
      dtype: NumPy's name of what the environment takes.
    """

    levels: tuple[tuple[float, ...], ...]
    shape: tuple[int, ...]
    dtype: str

    @property
    def count(self) -> int:
        """How many actions there are."""
        return math.prod(map(len, self.levels))

    @cached_property
    def table(self) -> NDArray[Any]:
        """[A, *shape]: the action of each index."""
        return np.array(list(itertools.product(*self.levels))).astype(self.dtype).reshape(-1, *self.shape)


class IndexedActions(gymnasium.ActionWrapper[Any, Any, Any]):
    """Takes the index of an action in place of the action."""

    def __init__(self, env: gymnasium.Env[Any, Any], actions: ActionLevels):
        super().__init__(env)
        self.actions = actions
        self.action_space = spaces.Discrete(actions.count)
        self._takes_a_number = isinstance(env.action_space, spaces.Discrete)

    def action(self, action: int) -> Action:
        """The environment's own: an int where its space is Discrete, else an array of its own."""
        own = self.actions.table[action]
        return int(own) if self._takes_a_number else np.array(own)


def indexed(env: gymnasium.Env[Any, Any], env_id: str, levels: int | None) -> gymnasium.Env[Any, Any]:
    """`env` with actions numbered from 0; itself, where they are.

    `levels` are those of each dimension of continuous actions; None takes the usual number.

    Raises:
      InputError: there is nothing to decide, or too much to number.
    """
    space = env.action_space
    if isinstance(space, spaces.Discrete) and (space.start == 0 or space.n > MOST_ACTIONS):
        require(space.n >= 2, f"{env_id} leaves nothing to decide: expected two actions or more. Got {space.n}.")
        most = f"numbers {space.n:,} actions from {space.start}: expected at most {MOST_ACTIONS}, or from 0"
        require(space.start == 0, f"{env_id} {most}. Got {short(space)}.")
        require(levels is None, f"{env_id} has no continuous actions: expected no levels. Got {levels} and {short(space)}.")
        return env
    found = _levels(space, env_id, levels)
    if levels is not None and not isinstance(space, spaces.Box):
        raise InputError(f"{env_id} has no continuous actions: expected no levels. Got {levels} and {short(space)}.")
    count = math.prod(map(len, found))
    require(count >= 2, f"{env_id} leaves nothing to decide: expected two actions or more. Got {count}.")
    if count > MOST_ACTIONS:
        fewer = f", or less than {levels or _usual(space)} levels in each" if isinstance(space, spaces.Box) else ""
        raise InputError(
            f"{env_id} has too many actions to rank: expected at most {MOST_ACTIONS}{fewer}. Got {count:,} of {short(space)}."
        )
    return IndexedActions(env, ActionLevels(tuple(found), tuple(space.shape or ()), str(np.dtype(space.dtype))))


def actions_of(env: gymnasium.Env[Any, Any]) -> ActionLevels | None:
    """What `indexed` made of the actions of `env`, whatever was wrapped around it since; None where it left them."""
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, IndexedActions):
            return env.actions
        env = env.env
    return None


def _levels(space: gymnasium.Space[Any], env_id: str, levels: int | None) -> list[tuple[float, ...]]:
    """Of each number of an action."""
    match space:
        case spaces.Discrete():
            return [tuple(range(int(space.start), int(space.start + space.n)))]
        case spaces.MultiDiscrete():
            first, counts = space.start.ravel().tolist(), space.nvec.ravel().tolist()
            return [tuple(range(start, start + count)) for start, count in zip(first, counts, strict=True)]
        case spaces.MultiBinary():
            return [(0, 1)] * math.prod(space.shape)
        case spaces.Box():
            require(bool(math.prod(space.shape)), f"{env_id} leaves nothing to decide: expected a number. Got {short(space)}.")
            low, high = (bound.ravel().astype(np.float64) for bound in (space.low, space.high))
            if not (np.isfinite(low) & np.isfinite(high)).all() or max(abs(low).max(), abs(high).max()) > 1e30:
                raise InputError(f"{env_id} has actions without an end: expected finite bounds. Got {short(space)}.")
            count = levels or _usual(space)
            steps = [np.unique(np.linspace(first, last, count)) for first, last in zip(low, high, strict=True)]
            if np.dtype(space.dtype).kind in "iu":
                steps = [np.unique(np.rint(each)) for each in steps]
            return [tuple(each.astype(space.dtype).tolist()) for each in steps]
    raise InputError(
        f"{env_id} has an action space DQN cannot rank: expected Discrete, MultiDiscrete, MultiBinary, Box. Got {short(space)}."
    )


def _usual(space: gymnasium.Space[Any]) -> int:
    return USUAL_LEVELS.get(math.prod(space.shape or ()), 3)
