"""The steps between what an environment gives and what the network takes, and how they are written in JSON.

`EdgePolicy` does them on a device, `environments.agent_view` with gymnasium's own wrappers where an agent is trained.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

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
    """The steps that JSON names, in order: each `atari`, `frame_stack:K`, `one_hot` or `flatten`.

    Raises:
      InputError: a text is none of these.
    """
    return tuple(map(_parse, texts))


def format_steps(steps: Iterable[Step]) -> list[str]:
    """The texts that `parse_steps` reads."""
    return [f"frame_stack:{step.count}" if isinstance(step, FrameStack) else _TEXTS[step] for step in steps]


def _parse(text: str) -> Step:
    if text in _PLAIN:
        return _PLAIN[text]
    if match := re.fullmatch(r"frame_stack:([1-9][0-9]{0,3})", text):
        return FrameStack(int(match[1]))
    raise InputError(f"Unknown preprocessing: expected {', '.join(_PLAIN)} or frame_stack:K. Got {text!r}.")
