"""The steps between what an environment gives and what the network takes, and how they are written in JSON.

`EdgePolicy` does them on a device, `preprocessed` with gymnasium's own wrappers where an agent is trained.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError


@dataclass(frozen=True)
class Atari:
    """The caller's part, gymnasium's AtariPreprocessing: every 4th frame, the brighter of two, 84x84 gray bytes."""


@dataclass(frozen=True)
class FrameStack:
    """The last `count` observations along the last axis, oldest first; the first of an episode is there `count` times."""

    count: int


@dataclass(frozen=True)
class OneHot:
    """The number of a state as a vector."""


@dataclass(frozen=True)
class Flatten:
    """An array as a vector, in C order."""


Step = Atari | FrameStack | OneHot | Flatten

_PLAIN: dict[str, Step] = {"atari": Atari(), "one_hot": OneHot(), "flatten": Flatten()}
_TEXTS = {step: text for text, step in _PLAIN.items()}


def parse_steps(texts: Iterable[str]) -> tuple[Step, ...]:
    """The steps that JSON names, in order.

    Args:
      texts: each `atari`, `frame_stack:K`, `one_hot` or `flatten`.
    Raises:
      InputError: a text is none of these.
    """
    return tuple(map(_parse, texts))


def format_steps(steps: Iterable[Step]) -> list[str]:
    """The texts that `parse_steps` reads."""
    return [f"frame_stack:{step.count}" if isinstance(step, FrameStack) else _TEXTS[step] for step in steps]


def stacked_frames(steps: Iterable[Step]) -> int:
    """How many observations the network sees at once."""
    return next((step.count for step in steps if isinstance(step, FrameStack)), 1)


def preprocessed(env: gymnasium.Env[Any, Any], step: Step) -> gymnasium.Env[Any, Any]:
    """`env` with one more step done to its observations."""
    match step:
        case Atari():  # done already, by `make_environment`
            return env
        case OneHot() | Flatten():
            return gymnasium.wrappers.FlattenObservation(env)
        case FrameStack(count):
            # A copy first: the wrapper keeps references, and some environments go on writing to the array they gave.
            env = gymnasium.wrappers.TransformObservation(env, np.array, env.observation_space)
            env = gymnasium.wrappers.FrameStackObservation(env, count)
            space = env.observation_space
            assert isinstance(space, gymnasium.spaces.Box)
            join = partial(_stack_last, rank=len(space.shape) - 1)
            joined = gymnasium.spaces.Box(join(space.low), join(space.high), dtype=space.dtype.type)
            return gymnasium.wrappers.TransformObservation(env, join, joined)


def _parse(text: str) -> Step:
    if text in _PLAIN:
        return _PLAIN[text]
    if match := re.fullmatch(r"frame_stack:([1-9][0-9]{0,3})", text):
        return FrameStack(int(match[1]))
    raise InputError(f"Unknown preprocessing: expected {', '.join(_PLAIN)} or frame_stack:K. Got {text!r}.")


def _stack_last(frames: NDArray[Any], rank: int) -> NDArray[Any]:
    """[K, F] -> [K F], [K, H, W] -> [H, W, K], [K, H, W, C] -> [H, W, K C]."""
    if rank == 2:
        return np.ascontiguousarray(np.moveaxis(frames, 0, -1))
    return np.concatenate(frames, axis=-1)
