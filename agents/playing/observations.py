"""Observations of any space, as one array or the number of a state: what a device gives, and a policy takes."""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError, require, short, tell
from edgedqn.agents.files import JsonValue

CHANNELS = (1, 3, 4)  # of a picture
LEAST_SIDE, MANY = 4, 32  # pixels of a picture's side: more than the first; where they are many, hardly channels

Observation: TypeAlias = Any  # whatever an environment gives, before it is one array or the number of a state
Info: TypeAlias = dict[str, Any]
Space = gymnasium.Space[Any]
Parts: TypeAlias = "spaces.Dict | spaces.Tuple[Any]"
Convert = Callable[[Observation], Observation]


@dataclass(frozen=True)
class Feature(JsonValue):
    """Numbers of a vector that `one_array` made: what the environment gives under one key.

    Attributes:
      key: of a Dict, or the number of a Tuple's part; of what lies deeper, all of them with / between; "" without any.
      size: how many numbers.
      one_hot: the kinds of each category there, for each of which so many of the numbers stand; () where there are none.
      first: from what number on each is counted; () where all are from 0.
    """

    key: str
    size: int
    one_hot: tuple[int, ...] = ()
    first: tuple[int, ...] = ()

    LEFT_OUT: ClassVar[tuple[str, ...]] = ("one_hot", "first")


class Picked(gymnasium.wrappers.TransformObservation[Any, Any, Any]):
    """Observations made by a function of those below; `features` are what was taken, as a vector has it."""

    def __init__(self, env: gymnasium.Env[Any, Any], convert: Convert, space: Space, features: tuple[Feature, ...]):
        super().__init__(env, convert, space)
        self.features = features


def features_of(env: gymnasium.Env[Any, Any]) -> tuple[Feature, ...]:
    """Of what the vector is made that `one_array` made of the observations of `env`, whatever was wrapped around it since.

    () where the environment gives that vector itself, and where observations are no vector.
    """
    while isinstance(env, gymnasium.Wrapper) and not isinstance(env, Picked):
        env = env.env
    return env.features if isinstance(env, Picked) else ()


def one_array(env: gymnasium.Env[Any, Any], env_id: str, observe: tuple[str, ...] = ()) -> gymnasium.Env[Any, Any]:
    """`env` with observations that are one array or the number of a state, counted from 0; itself, where they are.

    A Dict, a Tuple, MultiDiscrete and MultiBinary become a vector, as `gymnasium.spaces.flatten` makes it, of what is numbers
    in them; where that is one Box, it stays as it is. Pictures get their channels last.

    Args:
      env: gymnasium's.
      env_id: for messages.
      observe: the keys of a Dict or the numbers of a Tuple that are looked at; () for all that are numbers.
    Raises:
      InputError: nothing in the observations is numbers, or they have no such keys.
    """
    space: Space = env.observation_space
    numbers, left_out = _numbers(space)
    if observe:
        numbers, left_out = _chosen(space, numbers, env_id, observe), []
    if numbers is None:
        raise InputError(f"{env_id} has observations without numbers: expected some. Got {short(space)}.")
    if left_out:
        tell(f"{env_id}: observations leave out {', '.join(left_out)}: no numbers, or their number changes.")
    picked, pick = _single(numbers)
    features = _features(numbers)
    if picked is not space:
        env = Picked(env, pick, picked, features if isinstance(picked, spaces.Box) and len(picked.shape) < 2 else ())
    match picked:
        case spaces.Discrete() if picked.start != 0:
            first = int(picked.start)
            return gymnasium.wrappers.TransformObservation(env, lambda x: int(x) - first, spaces.Discrete(picked.n))
        case spaces.Discrete():
            return env
        case spaces.Box() if not picked.shape:
            return gymnasium.wrappers.ReshapeObservation(env, (1,))
        case spaces.Box() if is_channels_first(picked.shape):
            tell(f"{env_id}: pictures come as {list(picked.shape)}, channels first; they are turned to channels last.")
            turned = spaces.Box(_last(picked.low), _last(picked.high), dtype=picked.dtype.type)
            return gymnasium.wrappers.TransformObservation(env, _last, turned)
        case spaces.Box():
            return env
    return _flattened(env, picked, env_id, features)


def undone(space: Space) -> Convert | None:
    """What makes of an observation of `one_array`, with the number of a state one-hot, one of the `space` it was made of: the
    number of a state, a picture with its channels first, a Dict. None, where the space has more than was taken from it."""
    numbers, _ = _numbers(space)
    if numbers is not space:
        return None
    picked, _ = _single(space)

    def give_back(x: Observation) -> Observation:
        match picked:
            case spaces.Discrete():
                own: Observation = int(x.argmax()) + int(picked.start)
            case spaces.Box():
                turned = np.moveaxis(x, -1, 0) if is_channels_first(picked.shape) else x
                own = np.asarray(turned, picked.dtype).reshape(picked.shape)
            case _:
                own = spaces.unflatten(picked, x)
        return own if picked is space else spaces.unflatten(space, spaces.flatten(picked, own))

    return give_back


def is_channels_first(shape: tuple[int, ...]) -> bool:
    """Whether these are pictures as PyTorch has them: fewer channels than rows and columns, which are alike or many."""
    if len(shape) != 3 or min(shape[1:]) <= max(LEAST_SIDE, shape[0]):
        return False
    channels, height, width = shape
    return height == width or min(height, width) >= MANY or (channels in CHANNELS and width not in CHANNELS)


def _numbers(space: Space, name: str = "") -> tuple[Space | None, list[str]]:
    """What of a space is so many numbers, None where nothing is, and the names of what is not."""
    match space:
        case spaces.Box() | spaces.Discrete() | spaces.MultiDiscrete() | spaces.MultiBinary():
            return space, []
        case spaces.Dict() | spaces.Tuple():
            found = {key: _numbers(each, f"{name}/{key}".strip("/")) for key, each in _parts(space)}
            left_out = [each for _, names in found.values() for each in names]
            kept = {key: each for key, (each, _) in found.items() if each is not None}
            if all(kept.get(key) is each for key, each in _parts(space)):
                return space, []
            return (spaces.Dict(OrderedDict(kept)) if kept else None), left_out  # or it would be sorted: "10" before "2"
    return None, [f"{name} ({type(space).__name__})" if name else type(space).__name__]


def _parts(space: Parts) -> Iterator[tuple[str, Space]]:
    """Its parts by name; those of a Tuple by their numbers."""
    yield from space.spaces.items() if isinstance(space, spaces.Dict) else ((str(i), s) for i, s in enumerate(space.spaces))


def _chosen(space: Space, numbers: Space | None, env_id: str, observe: tuple[str, ...]) -> Space:
    if not isinstance(space, spaces.Dict | spaces.Tuple):
        raise InputError(f"{env_id} has nothing to choose from: expected observations in a Dict or Tuple. Got {short(space)}.")
    known = dict(_parts(numbers)) if isinstance(numbers, spaces.Dict | spaces.Tuple) else {}
    for key in observe:
        require(
            key in known, f"{env_id} has no observation {key!r} of numbers: expected one of {', '.join(known)}. Got {key!r}."
        )
    return spaces.Dict(OrderedDict((key, each) for key, each in known.items() if key in observe))


def _features(numbers: Space) -> tuple[Feature, ...]:
    """Of a vector of all that is in a space; () of one that is a vector itself, and where two would have one name, or a part
    has none."""

    def found(space: Space, name: str) -> Iterator[Feature]:
        match space:
            case spaces.Dict() | spaces.Tuple():
                for key, each in _parts(space):
                    yield from found(each, f"{name}/{key}" if name else key)
            case spaces.Discrete() | spaces.MultiDiscrete():
                kinds = np.ravel(space.n if isinstance(space, spaces.Discrete) else space.nvec).tolist()
                first = np.ravel(space.start).tolist()
                yield Feature(name, sum(kinds), tuple(kinds), tuple(first) if any(first) else ())
            case _ if math.prod(space.shape or ()):
                yield Feature(name, math.prod(space.shape or ()))

    if _has_nameless(numbers):
        return ()
    features = tuple(found(numbers, "")) if isinstance(numbers, spaces.Dict | spaces.Tuple | spaces.MultiDiscrete) else ()
    return features if len({feature.key for feature in features}) == len(features) else ()


def _has_nameless(space: Space) -> bool:
    return isinstance(space, spaces.Dict | spaces.Tuple) and any(not key or _has_nameless(each) for key, each in _parts(space))


def _single(numbers: Space) -> tuple[Space, Convert]:
    """The one part where there is one, else all of them; and what takes that out of an observation."""
    path, space = [], numbers
    while isinstance(space, spaces.Dict | spaces.Tuple) and len(space.spaces) == 1:
        ((key, space),) = _parts(space)
        path.append(key)

    def pick(observation: Observation) -> Observation:
        for key in path:
            observation = observation[key if isinstance(observation, dict) else int(key)]
        return _matching(space, observation)

    return space, pick


def _matching(space: Space, observation: Observation) -> Observation:
    """What of an observation is in a space that `_numbers` made."""
    match space:
        case spaces.Dict():
            own = isinstance(observation, dict)
            return {key: _matching(s, observation[key if own else int(key)]) for key, s in space.spaces.items()}
        case spaces.Tuple():
            return tuple(_matching(each, part) for each, part in zip(space.spaces, observation, strict=True))
    return observation


def _flattened(
    env: gymnasium.Env[Any, Any], space: Space, env_id: str, features: tuple[Feature, ...]
) -> gymnasium.Env[Any, Any]:
    """Its observations, of numbers, as a vector, in the smallest type that holds those of each part."""
    count = spaces.flatdim(space)
    if isinstance(space, spaces.Dict | spaces.Tuple):
        sizes = ", ".join(f"{key} {spaces.flatdim(each)}" for key, each in _parts(space))
        tell(f"{env_id}: observations are taken as one vector of {count}, in this order: {sizes}.")
    flat = spaces.flatten_space(space)
    assert isinstance(flat, spaces.Box)
    dtype = np.result_type(*_dtypes(space))
    vector = spaces.Box(flat.low.astype(dtype), flat.high.astype(dtype), dtype=dtype.type)
    return Picked(env, lambda x: np.asarray(spaces.flatten(space, x), dtype), vector, features)


def _dtypes(space: Space) -> list[np.dtype[Any]]:
    """Of the parts' numbers; what is one-hot, and bits, are bytes."""
    match space:
        case spaces.Dict() | spaces.Tuple():
            return [dtype for _, each in _parts(space) for dtype in _dtypes(each)]
        case spaces.Box():
            return [np.dtype(np.float32) if space.dtype == np.float64 else np.dtype(space.dtype)]
    return [np.dtype(np.uint8)]


def _last(picture: NDArray[Any]) -> NDArray[Any]:
    """[C, H, W] -> [H, W, C]."""
    return np.ascontiguousarray(np.moveaxis(picture, 0, -1))
