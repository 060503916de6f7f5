"""How an environment is written down, and which cannot be learned.

An environment is seen from two sides. A *device* gets what the environment gives: one frame, the number of a state. The
network takes a float array: frames stacked, a state one-hot. The steps between the two are the spec's `preprocessing`:
`EdgePolicy` does them on a device, `environments.agent_view` with gymnasium's own wrappers where an agent is trained.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError, require
from edgedqn.agents.files import Json
from edgedqn.agents.training.config import LEAST_IMAGE


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


@dataclass(frozen=True, kw_only=True)
class EnvironmentSpec:
    """What a policy needs of its environment: the form of observations and actions. Round-trips through JSON."""

    id: str  # gymnasium's, or `module:Id` for an environment that registers itself when `module` is imported
    observation_shape: tuple[int, ...]  # as the device gets it, without the batch: [F], [H, W] or [H, W, C]; () for a state
    observation_dtype: str  # NumPy's name of the dtype the environment gives
    observation_low: tuple[float | None, ...]  # per feature, or one number where all are the same; None where it is unbounded
    observation_high: tuple[float | None, ...]  # likewise
    n_actions: int  # actions are 0 .. n_actions - 1
    preprocessing: tuple[Step, ...] = ()  # the steps between the simulator's observation and the network's input, in order

    @property
    def frame_stack(self) -> int:
        """How many observations the network sees at once."""
        return next((step.count for step in self.preprocessing if isinstance(step, FrameStack)), 1)

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
        return shape

    def to_json(self) -> Json:
        """The JSON object `from_json` reads."""
        return asdict(self) | {"preprocessing": tuple(format_steps(self.preprocessing))}

    @classmethod
    def from_json(cls, value: Json) -> "EnvironmentSpec":
        """Reads what `to_json` wrote."""
        fields: Json = {key: tuple(field) if isinstance(field, list) else field for key, field in value.items()}
        return cls(**fields | {"preprocessing": parse_steps(value["preprocessing"])})


def parse_steps(texts: Iterable[str]) -> tuple[Step, ...]:
    """The steps that JSON names, in order. Raises InputError where one is no `atari`, `frame_stack:K`, `one_hot`, `flatten`."""
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


def spec_of(env: gymnasium.Env[Any, Any], env_id: str, *, frame_stack: int = 1, flatten: bool = False) -> EnvironmentSpec:
    """Describes `env` as `make_environment` makes it, or says why it cannot be learned.

    The network is to see `frame_stack` observations at once; `flatten` makes vectors of arrays of rank 2 and more.

    Raises:
      InputError: the action space is not Discrete from 0, or the observation space neither a Box that is a vector, an image or
        to be flattened, nor Discrete from 0.
    """
    n_actions, observations = _count_actions(env.action_space, env_id), env.observation_space
    if frame_stack < 1:
        raise InputError(f"A network sees one observation at least. Expected frame_stack of 1 or more. Got {frame_stack}.")
    shape: tuple[int, ...] = ()
    preprocessing: list[Step] = []
    if isinstance(observations, gymnasium.spaces.Discrete):
        if observations.start != 0:
            raise InputError(f"{env_id} numbers its states from {observations.start}: expected from 0. Wrap the environment.")
        if frame_stack > 1:
            raise InputError(f"{env_id} gives the number of a state, which cannot be stacked. Got frame_stack={frame_stack}.")
        preprocessing.append(OneHot())
        low, high = np.zeros(1), np.array([observations.n - 1])
    else:
        shape = _array_shape(observations, env_id, flatten)
        if _is_wrapped(env, gymnasium.wrappers.AtariPreprocessing):
            preprocessing.append(Atari())
        flatten = flatten and len(shape) > 1
        if flatten:  # first, so that the frames of a stack stay in one piece each
            preprocessing.append(Flatten())
        if frame_stack > 1 or (len(shape) == 2 and not flatten):  # a convolution wants channels: [H, W] becomes [H, W, 1]
            preprocessing.append(FrameStack(frame_stack))
        assert isinstance(observations, gymnasium.spaces.Box)
        low, high = observations.low, observations.high
    return EnvironmentSpec(
        id=env_id,
        observation_shape=shape,
        observation_dtype=str(observations.dtype),
        observation_low=_bounds(low),
        observation_high=_bounds(high),
        n_actions=n_actions,
        preprocessing=tuple(preprocessing),
    )


def _count_actions(actions: gymnasium.Space[Any], env_id: str) -> int:
    if not isinstance(actions, gymnasium.spaces.Discrete):
        raise InputError(f"{env_id} has an action space DQN cannot rank: expected Discrete(n). Got {_short(actions)}.")
    require(actions.n >= 2, f"{env_id} leaves nothing to decide: expected two actions or more. Got {actions.n}.")
    require(actions.start == 0, f"{env_id} numbers its actions from {actions.start}: expected from 0. Wrap the environment.")
    return int(actions.n)


def _array_shape(observations: gymnasium.Space[Any], env_id: str, flatten: bool) -> tuple[int, ...]:
    if not isinstance(observations, gymnasium.spaces.Box):
        raise InputError(
            f"{env_id} has observations that are no single array: expected a Box or Discrete. Got {_short(observations)}. "
            "gymnasium.wrappers.FlattenObservation makes one of a Dict or Tuple."
        )
    shape = tuple(observations.shape)
    require(bool(shape), f"{env_id} has single numbers as observations: expected an array. Got {_short(observations)}.")
    if len(shape) > 3 and not flatten:
        raise InputError(
            f"{env_id} has observations of rank {len(shape)}: expected a vector or an image, or the network mlp, which takes "
            f"them as a vector. Got {_short(observations)}."
        )
    return shape


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


def _short(space: gymnasium.Space[Any]) -> str:
    text = " ".join(str(space).split())  # NumPy breaks the lines of long bounds
    return text if len(text) <= 80 else f"{text[:77]}..."


def observation_kind(shape: tuple[int, ...], preprocessing: tuple[Step, ...]) -> str:
    """Which of the defaults of `training.presets` applies to observations as an `EnvironmentSpec` describes them."""
    if Atari() in preprocessing:
        return "atari"
    if not shape:
        return "state"
    if len(shape) not in (2, 3) or min(shape[:2]) < LEAST_IMAGE["minatar"]:
        return "vector"
    return "image" if min(shape[:2]) >= LEAST_IMAGE["nature"] else "small image"
