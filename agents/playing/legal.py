"""Which actions are legal, where an environment says so: `info["action_mask"]`, or an observation of that key."""

import math
from collections.abc import Mapping
from typing import Any, SupportsFloat

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError, short
from edgedqn.agents.playing.observations import Info, Observation

MASK = "action_mask"  # where gymnasium's Taxi, and PettingZoo's observations, have it
LEGAL = "legal_actions"  # where `LegalActions` has it: bool [A], True for each legal one, of which there is one at least


def legal_actions(info: Mapping[str, object]) -> NDArray[np.bool_] | None:
    """Bool [A], or None where the policy is not told."""
    legal = info.get(LEGAL)
    assert legal is None or isinstance(legal, np.ndarray)
    return legal


def mask_in(space: gymnasium.Space[Any], n_actions: int) -> bool:
    """Whether observations carry which actions are legal."""
    mask = space.spaces.get(MASK) if isinstance(space, spaces.Dict) else None
    return isinstance(mask, spaces.Box | spaces.MultiBinary) and math.prod(mask.shape) == n_actions


class MaskFromObservation(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Moves the legal actions out of a Dict into `info`."""

    def __init__(self, env: gymnasium.Env[Any, Any]):
        super().__init__(env)
        assert isinstance(env.observation_space, spaces.Dict)
        self.observation_space = spaces.Dict({key: each for key, each in env.observation_space.spaces.items() if key != MASK})

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Observation, Info]:
        observation, info = self.env.reset(seed=seed, options=options)
        return self._without(observation), {**info, MASK: np.ravel(observation[MASK])}

    def step(self, action: int) -> tuple[Observation, SupportsFloat, bool, bool, Info]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._without(observation), reward, terminated, truncated, {**info, MASK: np.ravel(observation[MASK])}

    def _without(self, observation: Observation) -> Observation:
        return {key: each for key, each in observation.items() if key != MASK}


class LegalActions(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Says in each `info` which actions are legal, for the policy to be told. InputError: the environment does not say so."""

    def __init__(self, env: gymnasium.Env[Any, Any], env_id: str, n_actions: int):
        super().__init__(env)
        self._id, self._n_actions = env_id, n_actions

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Observation, Info]:
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, {**info, LEGAL: self._legal(info, is_over=False)}

    def step(self, action: int) -> tuple[Observation, SupportsFloat, bool, bool, Info]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        legal = self._legal(info, is_over=bool(terminated or truncated))
        return observation, reward, terminated, truncated, {**info, LEGAL: legal}

    def _legal(self, info: Info, *, is_over: bool) -> NDArray[np.bool_]:
        mask = mask_of(info, self._n_actions)
        if mask is None and is_over:
            return np.ones(self._n_actions, bool)  # nothing is to be chosen any more
        if mask is None:
            expected, got = f"expected [{self._n_actions}] with a legal action or more", info.get(MASK, "none")
            raise InputError(f"{self._id} gave a bad {MASK}: {expected}. Got {short(got)}. --no-action-mask does without.")
        return mask


def mask_of(info: Info, n_actions: int) -> NDArray[np.bool_] | None:
    """Which actions are legal, where the environment's own `info` says so for so many, and at least one is."""
    try:
        mask = np.asarray(info.get(MASK)) != 0
    except ValueError:  # several of different lengths
        return None
    return mask if mask.shape == (n_actions,) and mask.any() else None


class WithMask(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Puts 1 for each legal action and 0 for each other behind an observation that is a vector, as a network sees it."""

    def __init__(self, env: gymnasium.Env[Any, Any]):
        super().__init__(env)
        space = env.observation_space
        assert isinstance(space, spaces.Box)
        n_actions = int(env.action_space.n)  # type: ignore[attr-defined]
        low, high = (np.concatenate([bound, np.full(n_actions, b)]) for bound, b in ((space.low, 0), (space.high, 1)))
        self.observation_space = spaces.Box(low.astype(space.dtype), high.astype(space.dtype), dtype=space.dtype.type)

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Observation, Info]:
        observation, info = self.env.reset(seed=seed, options=options)
        return self._with(observation, info), info

    def step(self, action: int) -> tuple[Observation, SupportsFloat, bool, bool, Info]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._with(observation, info), reward, terminated, truncated, info

    def _with(self, observation: NDArray[Any], info: Info) -> NDArray[Any]:
        return np.concatenate([observation, info[LEGAL].astype(observation.dtype)])
