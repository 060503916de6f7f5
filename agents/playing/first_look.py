"""A first look at an environment, before anything is learned: what it gives, and whether a seed decides that."""

import math
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import tell
from edgedqn.agents.playing.checks import THOROUGH
from edgedqn.agents.playing.environments import check_transition, make_environment
from edgedqn.agents.playing.legal import MASK, mask_of
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.playing.spec import EnvironmentSpec
from edgedqn.agents.training.bars import tqdm

REPEATED = 10  # steps of an episode that is played twice
BYTE, FEW = 255, 32  # the largest byte; numbers of objects stay below
SEED = 0  # of what is looked at; nothing that is learned or proven depends on it


@dataclass(frozen=True)
class FirstLook:
    """What a hundred steps of random play have shown.

    Attributes:
      observations: [100, *observation_shape].
      masks: how many of them came with an action mask ...
      usable: ... that says of each action whether it is legal, and of one that it is.
    """

    observations: NDArray[Any]
    masks: int
    usable: int


def look_at(source: EnvironmentSource) -> FirstLook:
    """Plays a hundred random steps, in which `CheckedEnvironment` looks closely, and the beginning of an episode twice.

    It tells where the same seed gives other observations.

    Raises:
      InputError: the environment cannot be made, or gives what cannot be taken.
    """
    with closing(make_environment(source)) as env:
        first, second = (_play(env, source.id, REPEATED) for _ in range(2))
        if not all(np.array_equal(a, b) for a, b in zip(first.observations, second.observations, strict=False)):
            tell(
                f"{source.id} gives other observations when it is reset with the same seed, so that files cannot be compared "
                "in the same episodes: the gate is right, but less sure, and another run may end with another verdict."
            )
        return _play(env, source.id, THOROUGH)


def resolved(source: EnvironmentSource) -> EnvironmentSource:
    """The source of what is to be learned, after a look at it: with legal actions, where it has them and nobody declined."""
    look = look_at(source)
    if look.masks == 0 or source.action_mask is not None:
        return source
    if look.usable < THOROUGH:
        tell(
            f"{source.id} has an {MASK} in {look.masks} of {THOROUGH} steps, in {look.usable} of them with one number for each "
            "action, a legal one among them: it is left out."
        )
        return source
    return replace(source, action_mask=True)


def with_scale(spec: EnvironmentSpec) -> EnvironmentSpec:
    """`spec` with what the network is to multiply its input by, where observations are bytes; other types are left as they are.

    A byte up to 255 is divided by that, as a picture's; unless a hundred observations stay below 32, as numbers of objects do:
    then by the largest of them, which is told. A byte whose declared end is less is divided by that.
    """
    if spec.observation_dtype != "uint8":
        return spec
    highs = np.array([BYTE if high is None else high for high in spec.observation_high])  # [F] or [1]
    if len(spec.observation_shape) > 1:
        highs = highs.max(keepdims=True)
    full = highs == BYTE
    if full.any():
        seen = look_at(spec.source).observations.reshape(THOROUGH, -1)
        largest = int((seen if len(full) == 1 else seen[:, full]).max())
        if largest < FEW:
            highs = np.where(full, max(1, largest), highs)
            tell(
                f"{spec.id}: its bytes stay at or below {largest} in {THOROUGH} observations, so they are taken as numbers of "
                f"objects: the network divides them by {max(1, largest)}, not by {BYTE}."
            )
    scale = tuple((1 / np.maximum(highs, 1)).tolist())
    if spec.masked:
        scale = scale * (math.prod(spec.observation_shape) // len(scale)) + (1.0,) * spec.n_actions
    scale = scale[:1] if len(set(scale)) == 1 else scale * spec.frame_stack
    return replace(spec, input_scale=scale)


def _play(env: gymnasium.Env[Any, Any], env_id: str, steps: int) -> FirstLook:
    """Random play from the same seed on, of legal actions where they are named."""
    rng, n_actions = np.random.default_rng(SEED), int(env.action_space.n)  # type: ignore[attr-defined]
    observations, masks, usable = [], 0, 0
    observation, info = env.reset(seed=SEED)
    for step in tqdm(range(steps), desc="look at the environment", unit=" steps", disable=None, leave=False):
        check_transition(env_id, step, observation=observation, reward=0.0)
        observations.append(np.array(observation))
        legal = mask_of(info, n_actions)
        masks += MASK in info
        usable += legal is not None
        action = int(rng.integers(n_actions) if legal is None else rng.choice(np.flatnonzero(legal)))
        observation, reward, terminated, truncated, info = env.step(action)
        check_transition(env_id, step + 1, observation=observation, reward=float(reward))
        if terminated or truncated:
            observation, info = env.reset(seed=SEED + step + 1)
    return FirstLook(np.stack(observations), masks, usable)
