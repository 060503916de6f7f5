"""How an environment is written down, and which cannot be learned.

An environment is seen from two sides. A *device* gets what the environment gives: one frame, the number of a state. The
network takes a float array: frames stacked, a state one-hot. The steps between the two are the spec's `preprocessing`:
`EdgePolicy` does them on a device, `environments.agent_view` with gymnasium's own wrappers where an agent is trained.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError, require, short
from edgedqn.agents.files import Json
from edgedqn.agents.playing.actions import ActionLevels, actions_of
from edgedqn.agents.playing.observations import Feature, features_of
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.training.config import LEAST_IMAGE

MOST_FEATURES = 1_000_000


@dataclass(frozen=True)
class Atari:
    """What `simulators.atari.as_seen` does: every 4th frame, which is the caller's part on a device, and of the last two
    screens the brighter, in 84x84 gray bytes, which `EdgePolicy` makes there."""


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


@dataclass(frozen=True)
class ActionMask:
    """Behind a vector, 1 for each action that is legal and 0 for each other."""


Step = Atari | FrameStack | OneHot | Flatten | ActionMask

_PLAIN: dict[str, Step] = {"atari": Atari(), "one_hot": OneHot(), "flatten": Flatten(), "action_mask": ActionMask()}


@dataclass(frozen=True, kw_only=True)
class EnvironmentSpec:
    """What a policy needs of its environment: the form of observations and actions. Round-trips through JSON."""

    source: EnvironmentSource  # how it is made
    observation_shape: tuple[int, ...]  # as the device gets it, without the batch: [F], [H, W] or [H, W, C]; () for a state
    observation_dtype: str  # NumPy's name of the dtype the environment gives
    observation_low: tuple[float | None, ...]  # per feature, or one number where all are the same; None where it is unbounded
    observation_high: tuple[float | None, ...]  # likewise
    n_actions: int  # actions are 0 .. n_actions - 1
    actions: ActionLevels | None = None  # the environment's own of each; None where they are these numbers
    features: tuple[Feature, ...] = ()  # of a vector, in order, where the environment gives these under keys
    input_scale: tuple[float, ...] = (1.0,)  # what the network multiplies its input by first: per feature, or one for all
    preprocessing: tuple[Step, ...] = ()  # the steps between the simulator's observation and the network's input, in order

    @property
    def id(self) -> str:
        """gymnasium's, or `module:Id`."""
        return self.source.id

    @property
    def frame_stack(self) -> int:
        """How many observations the network sees at once."""
        return next((step.count for step in self.preprocessing if isinstance(step, FrameStack)), 1)

    @property
    def masked(self) -> bool:
        """Whether the policy is told which actions are legal: by the last `n_actions` features of what its network takes."""
        return ActionMask() in self.preprocessing

    def legal_in(self, states: NDArray[Any]) -> NDArray[np.bool_] | None:
        """Which actions are legal in states [N, ...] as the network sees them: [N, A]; None where the policy is not told."""
        return states[:, -self.n_actions :].astype(bool) if self.masked else None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of what the network takes, without the batch."""
        shape = self.observation_shape
        for step in self.preprocessing:
            match step:
                case FrameStack(count):
                    *lead, channels = shape if len(shape) != 2 else (*shape, 1)
                    shape = (*lead, channels * count)
                case OneHot():
                    assert self.observation_high[0] is not None
                    shape = (int(self.observation_high[0]) + 1,)
                case Flatten():
                    shape = (math.prod(shape),)
                case ActionMask():
                    shape = (*shape[:-1], shape[-1] + self.n_actions)
        return shape

    def to_json(self) -> Json:
        """The JSON object `from_json` reads."""
        plain = {
            "observation_shape": self.observation_shape,
            "observation_dtype": self.observation_dtype,
            "observation_low": self.observation_low,
            "observation_high": self.observation_high,
            "n_actions": self.n_actions,
            "input_scale": self.input_scale,
            "preprocessing": tuple(format_steps(self.preprocessing)),
        }
        plain |= {"actions": self.actions.to_json()} if self.actions else {}
        plain |= {"features": tuple(feature.to_json() for feature in self.features)} if self.features else {}
        return self.source.to_json() | plain

    @classmethod
    def from_json(cls, value: Json) -> "EnvironmentSpec":
        """Reads what `to_json` wrote, also that of earlier versions."""
        bytes_before = (1 / 255,) if value["observation_dtype"] == "uint8" else (1.0,)  # whatever they stood for
        return cls(
            source=EnvironmentSource.from_json(value),
            observation_shape=tuple(value["observation_shape"]),
            observation_dtype=value["observation_dtype"],
            observation_low=tuple(value["observation_low"]),
            observation_high=tuple(value["observation_high"]),
            n_actions=value["n_actions"],
            actions=ActionLevels.from_json(value["actions"]) if "actions" in value else None,
            features=tuple(map(Feature.from_json, value.get("features", ()))),
            input_scale=tuple(value.get("input_scale", bytes_before)),
            preprocessing=parse_steps(value["preprocessing"]),
        )


def parse_steps(texts: Iterable[str]) -> tuple[Step, ...]:
    """The steps that JSON names, in order. Raises InputError where one is none of `_PLAIN` and no `frame_stack:K`."""
    steps: list[Step] = []
    for text in texts:
        stack = re.fullmatch(r"frame_stack:([1-9][0-9]{0,3})", text)
        if text not in _PLAIN and not stack:
            raise InputError(f"Unknown preprocessing: expected {', '.join(_PLAIN)} or frame_stack:K. Got {text!r}.")
        steps.append(FrameStack(int(stack[1])) if stack else _PLAIN[text])
    return tuple(steps)


def format_steps(steps: Iterable[Step]) -> list[str]:
    """The texts that `parse_steps` reads."""
    texts = {step: text for text, step in _PLAIN.items()}
    return [f"frame_stack:{step.count}" if isinstance(step, FrameStack) else texts[step] for step in steps]


def is_beyond_images(env: gymnasium.Env[Any, Any]) -> bool:
    """Whether its observations are arrays of more axes than an image has, so that they are only learned from as vectors."""
    return len(env.observation_space.shape or ()) > 3


def spec_of(
    env: gymnasium.Env[Any, Any], source: str | EnvironmentSource, *, frame_stack: int = 1, flatten: bool = False
) -> EnvironmentSpec:
    """Describes `env` as `make_environment` makes it, or says why it cannot be learned.

    The network is to see `frame_stack` observations at once; `flatten` makes vectors of arrays of rank 2 and more.

    Raises:
      InputError: the observations are to be stacked and cannot be, or are of a rank that no network here looks at.
    """
    source, observations = EnvironmentSource.of(source), env.observation_space
    assert isinstance(env.action_space, gymnasium.spaces.Discrete)
    require(frame_stack >= 1, f"A network sees one observation at least. Expected frame_stack of 1 or more. Got {frame_stack}.")
    count = gymnasium.spaces.flatdim(observations)
    if not 1 <= count <= MOST_FEATURES:
        expected = f"expected 1 to {MOST_FEATURES:,} numbers"
        raise InputError(f"{source.id} has observations no network here takes: {expected}. Got {short(observations)}.")
    preprocessing: list[Step] = []
    mask: list[Step] = [ActionMask()] if source.action_mask else []
    if isinstance(observations, gymnasium.spaces.Discrete):
        if frame_stack > 1:
            raise InputError(
                f"{source.id} gives the number of a state, which cannot be stacked. Got frame_stack={frame_stack}."
            )
        preprocessing += [OneHot(), *mask]
        shape: tuple[int, ...] = ()
        low, high = np.zeros(1), np.array([observations.n - 1])
    else:
        assert isinstance(observations, gymnasium.spaces.Box)
        shape, low, high = tuple(observations.shape), observations.low, observations.high
        if len(shape) > 3 and not flatten:
            raise InputError(
                f"{source.id} has observations of rank {len(shape)}: expected a vector or an image, or the network mlp, which "
                f"takes them as a vector. Got {short(observations)}."
            )
        if _is_wrapped(env, gymnasium.wrappers.AtariPreprocessing):
            preprocessing.append(Atari())
        flatten = flatten and len(shape) > 1
        if flatten:  # first, so that the frames of a stack stay in one piece each
            preprocessing.append(Flatten())
        if mask and len(shape) > 1 and not flatten:
            raise InputError(
                f"{source.id} says which actions are legal, which no network for images looks at: expected the network mlp, or "
                f"no action mask. Got observations of {list(shape)}."
            )
        preprocessing += mask  # in front of a stack, so that the last features are those of now
        if frame_stack > 1 or (len(shape) == 2 and not flatten):  # a convolution wants channels: [H, W] becomes [H, W, 1]
            preprocessing.append(FrameStack(frame_stack))
    return EnvironmentSpec(
        source=source,
        observation_shape=shape,
        observation_dtype=str(observations.dtype),
        observation_low=_bounds(low),
        observation_high=_bounds(high),
        n_actions=int(env.action_space.n),
        actions=actions_of(env),
        features=features_of(env),
        input_scale=(1 / 255,) if observations.dtype == np.uint8 else (1.0,),
        preprocessing=tuple(preprocessing),
    )


def _is_wrapped(env: gymnasium.Env[Any, Any], wrapper: type) -> bool:
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, wrapper):
            return True
        env = env.env
    return False


def _bounds(values: NDArray[Any]) -> tuple[float | None, ...]:
    # gymnasium writes "unbounded" as an infinity or as the largest float; JSON has neither.
    flat = values.ravel().astype(np.float64)
    bounds = flat[:1] if flat.size > 1 and values.ndim > 1 and (flat == flat[0]).all() else flat
    return tuple(float(v) if abs(v) < np.finfo(np.float32).max else None for v in bounds)


def observation_kind(shape: tuple[int, ...], preprocessing: tuple[Step, ...]) -> str:
    """Which of the defaults of `training.presets` applies to observations as an `EnvironmentSpec` describes them."""
    if Atari() in preprocessing:
        return "atari"
    if not shape:
        return "state"
    if len(shape) not in (2, 3) or min(shape[:2]) < LEAST_IMAGE["minatar"]:
        return "vector"
    return "image" if min(shape[:2]) >= LEAST_IMAGE["nature"] else "small image"
