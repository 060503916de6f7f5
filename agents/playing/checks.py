"""What an environment gives, held against what it declares: cast where nothing is lost, else refused, before it is learned."""

import inspect
import re
import sys
import traceback
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from edgedqn.agents.errors import EnvironmentFaultError, InputError, one_line, short, tell
from edgedqn.agents.playing.actions import Action
from edgedqn.agents.playing.observations import Info, Observation

NOT_THEIRS = (InputError, gymnasium.error.DependencyNotInstalled)  # the latter where it is to be drawn
NOT_OF_USERS = tuple(str(Path(each.__file__ or "").parent) for each in (gymnasium, sys.modules[__name__]))  # modules
THOROUGH = 100  # observations that are looked at more closely
LONGEST = 300  # characters of what an exception says
EXACT = 2.0**24  # float32 holds each whole number up to here


class CheckedEnvironment(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment that gives what it declares, whatever the user's own inside it gives.

    Observations have the declared shape and dtype, an action leads to five values, the reward is a float. What is otherwise
    is cast where that loses nothing, which is told once, or else an InputError; so is an exception of the environment's.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], env_id: str, *, options: Info | None = None):
        """Takes what to call it, and the options of each reset. InputError: it has no spaces."""
        super().__init__(env)
        self._id, self._options, self._seen = env_id, options or None, 0
        self._space = self._own_space("observation_space")
        self._own_space("action_space")
        self._is_box = isinstance(self._space, spaces.Box)
        self._dtype, self._shape = self._space.dtype, self._space.shape
        self._told_of_size = set[str]()  # by the names of parts

    def _own_space(self, name: str) -> gymnasium.Space[Any]:
        try:
            space = getattr(self.env, name)
        except Exception as error:
            raise InputError(f"{self._id} has no {name}: expected a space of gymnasium's. Got {one_line(error)}") from error
        if not isinstance(space, gymnasium.Space):
            raise InputError(f"{self._id} has no {name}: expected a space of gymnasium's. Got {_described(space)}.")
        return space

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Observation, Info]:
        """As gymnasium's, with the options it was made with; `options=None` where there are none."""
        try:
            result = self.env.reset(seed=seed, options=options or deepcopy(self._options))  # it may take out what it has read
        except NOT_THEIRS:
            raise
        except (Exception, SystemExit) as error:
            raise self._theirs(error, "reset") from error
        if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict)):
            raise self._refusal("reset", "an observation and a dict", _described(result))
        return self._observation(result[0]), result[1]

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, Info]:
        """As gymnasium's."""
        try:
            result: Any = self.env.step(action)
        except NOT_THEIRS:
            raise
        except (Exception, SystemExit) as error:
            raise self._theirs(error, "step") from error
        if not (isinstance(result, tuple) and len(result) == 5):
            raise self._refusal("step", "observation, reward, terminated, truncated, info", _described(result))
        observation, reward, terminated, truncated, info = result
        if type(reward) is not float:
            reward = self._reward(reward)
        if type(terminated) is not bool:
            terminated = self._flag("terminated", terminated)
        if type(truncated) is not bool:
            truncated = self._flag("truncated", truncated)
        if not isinstance(info, dict):
            raise self._refusal("info", "a dict", _described(info))
        return self._observation(observation), reward, terminated, truncated, info

    def close(self) -> None:
        """As gymnasium's; an error there costs nothing any more, and is told."""
        try:
            self.env.close()
        except (Exception, SystemExit) as error:
            tell(f"{self._theirs(error, 'close')}.")

    def _reward(self, reward: object) -> float:
        given = np.asarray(reward)
        if given.size != 1 or given.dtype.kind not in "biuf":
            hint = " A wrapper makes one of several." if given.size > 1 else ""
            raise self._refusal("reward", "one number", _described(reward), hint)
        if given.ndim:
            tell(f"{self._id}: rewards come as arrays of shape {list(given.shape)}; their one number is taken.")
        return float(given.item())

    def _flag(self, name: str, flag: object) -> bool:
        given = np.asarray(flag)
        if given.size != 1 or given.dtype.kind not in "biuf" or given.item() not in (0, 1):
            raise self._refusal(name, "True or False", _described(flag))
        return bool(given.item())

    def _observation(self, x: Observation) -> Observation:
        self._seen += 1
        if self._is_box:
            if type(x) is not np.ndarray or x.dtype != self._dtype or x.shape != self._shape:
                x = self._cast(self._space, x, "")
        else:
            x = self._taken(self._space, x, "")
        if self._seen <= THOROUGH:
            self._look_closely(self._space, x, "")
        return x

    def _taken(self, space: gymnasium.Space[Any], x: Observation, name: str) -> Observation:
        """An observation, or its part of this name, in the form that is declared."""
        match space:
            case spaces.Dict():
                if not isinstance(x, Mapping) or not space.spaces.keys() <= x.keys():
                    raise self._refusal(f"observation{name}", short(space), _described(x))
                return {key: self._taken(each, x[key], f"{name} {key}") for key, each in space.spaces.items()}
            case spaces.Tuple():
                if not isinstance(x, tuple | list) or len(x) != len(space.spaces):
                    raise self._refusal(f"observation{name}", short(space), _described(x))
                return tuple(
                    self._taken(each, part, f"{name} {i}") for i, (each, part) in enumerate(zip(space, x, strict=True))
                )
            case spaces.Box():
                return self._cast(space, x, name)
            case spaces.Discrete():
                return self._number(space, x, name)
            case spaces.MultiDiscrete() | spaces.MultiBinary():
                x = self._cast(space, x, name)
                if not space.contains(x):
                    raise self._refusal(f"observation{name}", short(space), _described(x))
        return x  # text, graphs and the like are not looked at

    def _number(self, space: spaces.Discrete, x: Observation, name: str) -> int:
        given = _as_array(x)
        if given.size != 1 or given.dtype.kind not in "biuf" or given.item() not in _whole(space):
            raise self._refusal(f"observation{name}", short(space), _described(x))
        if given.ndim or given.dtype.kind == "f":
            tell(f"{self._id}: numbers of states come as {_described(x)}; they are taken as int.")
        return int(given.item())

    def _cast(self, space: gymnasium.Space[Any], given: Observation, name: str) -> NDArray[Any]:
        """An array of numbers as the space declares it."""
        x, what = _as_array(given), f"observation{name}"
        if x.dtype.kind not in "biuf":
            raise self._refusal(what, short(space), _described(given))
        assert space.shape is not None and space.dtype is not None
        if x.shape != space.shape:
            if [size for size in x.shape if size != 1] != [size for size in space.shape if size != 1]:
                raise self._refusal(what, f"the shape {list(space.shape)}, as {short(space)} says", _described(given))
            tell(f"{self._id}: observations{name} come as {list(x.shape)}; they are taken as {list(space.shape)}, as declared.")
            x = x.reshape(space.shape)
        if x.dtype != space.dtype:
            with np.errstate(over="ignore", invalid="ignore"):
                cast = x.astype(space.dtype)
            is_whole = space.dtype.kind in "iub"
            lost = (cast != x) if is_whole else np.isfinite(x) & ~np.isfinite(cast)
            if lost.any():
                i = int(np.argmax(np.ravel(lost)))
                got = f"{np.ravel(x)[i]:g} in feature {i}, as {x.dtype}"
                raise self._refusal(what, f"what {short(space)} can hold", got, " Declare what it gives.")
            if is_whole or x.dtype.kind != "f":
                tell(f"{self._id}: observations{name} come as {x.dtype}; they are taken as {space.dtype}, as declared.")
            x = cast
        return x

    def _look_closely(self, space: gymnasium.Space[Any], x: Observation, name: str) -> None:
        if isinstance(space, spaces.Dict):
            for key, each in space.spaces.items():
                self._look_closely(each, x[key], f"{name} {key}")
        elif isinstance(space, spaces.Tuple):
            for i, each in enumerate(space):
                self._look_closely(each, x[i], f"{name} {i}")
        elif isinstance(space, spaces.Box):
            self._look_at_numbers(space, x, name)

    def _look_at_numbers(self, space: spaces.Box, x: NDArray[Any], name: str) -> None:
        if (x < space.low).any() or (x > space.high).any():  # a NaN is neither: `check_transition` refuses it
            tell(f"{self._id}: some observations{name} lie outside what it declares, {short(space)}.")
        sizes = np.nan_to_num(np.abs(np.ravel(x).astype(np.float64)), posinf=0.0)
        if name in self._told_of_size or not (sizes >= EXACT).any():
            return
        self._told_of_size.add(name)
        i = int(sizes.argmax())
        told_apart = "no number so large can be held"
        if sizes[i] <= np.finfo(np.float32).max:
            told_apart = f"numbers are told apart that differ by {np.spacing(np.float32(sizes[i])):g} or more"
        tell(
            f"{self._id}: feature {i} of its observations{name} is around {np.ravel(x)[i]:.3g}. In float32, in which policies "
            f"compute, {told_apart}. Give differences, or other units."
        )

    def _refusal(self, what: str, expected: str, got: str, hint: str = "") -> InputError:
        return InputError(f"{self._id} gave a bad {what}: expected {expected}. Got {got}.{hint}")

    def _theirs(self, error: BaseException, method: str) -> InputError:
        """An exception of the user's environment, told as theirs."""
        if unpacked := re.search(r"\(expected (\d)(?:, got (\d))?\)", str(error)):  # by gymnasium's own wrappers
            named = "observation, reward, terminated, truncated, info" if method == "step" else "an observation and a dict"
            return self._refusal(method, named, f"{unpacked[2] or 'other than ' + unpacked[1]} values")
        return EnvironmentFaultError(f"{self._id} failed in {method}(): {told(error, type(self.unwrapped))}")


def told(error: BaseException, environment: type) -> str:
    """An exception raised inside a user's environment in a line, with the user's own file and line where it came through it."""
    frames: Sequence[traceback.FrameSummary] = traceback.extract_tb(error.__traceback__)
    try:
        own = inspect.getfile(environment)
    except (OSError, TypeError):  # typed at a prompt
        own = ""
    others = [each for each in frames if not each.filename.startswith(NOT_OF_USERS)]
    theirs = [each for each in frames if each.filename == own] or others
    place = f" ({theirs[-1].filename}, line {theirs[-1].lineno})" if theirs else ""
    text = one_line(error)
    text = text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
    return f"{type(error).__name__}{'' if text == type(error).__name__ else f': {text}'}{place}"


def _whole(space: spaces.Discrete) -> range:
    return range(int(space.start), int(space.start + space.n))


def _as_array(x: Observation) -> NDArray[Any]:
    """It as NumPy has it; of no numbers where NumPy cannot: lists of different lengths, tensors that live elsewhere."""
    try:
        return np.asarray(x)
    except Exception:  # whatever its own conversion raises
        return np.asarray(None)


def _described(x: object) -> str:
    """A value for a message: what it is, and of an array its shape and dtype."""
    if isinstance(x, np.ndarray | np.generic):
        few = f" {x.tolist()}" if x.size <= 4 else ""
        return f"{x.dtype} of shape {list(x.shape)}{few}"
    if isinstance(x, tuple):
        return f"{len(x)} values"
    text = " ".join(repr(x).split())
    return f"{type(x).__name__} {text if len(text) <= 40 else f'{text[:37]}...'}"
