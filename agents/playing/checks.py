"""What an environment gives, held against what it declares: cast where nothing is lost, else refused, before it is learned."""

import inspect
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError, one_line, short, tell
from edgedqn.agents.playing.actions import Action
from edgedqn.agents.playing.observations import Info, Observation

Wrong: TypeAlias = tuple[str, gymnasium.Space[Any], Observation]  # the name, the space and the value of a part
NOT_THEIRS = (InputError, gymnasium.error.DependencyNotInstalled)  # the latter where it is to be drawn
NOT_OF_USERS = tuple(str(Path(each.__file__ or "").parent) for each in (gymnasium, sys.modules[__name__]))  # modules
THOROUGH = 100  # observations that are looked at more closely
EXACT = 2.0**24  # float32 holds each whole number up to here


class CheckedEnvironment(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment that gives what it declares, whatever the user's own inside it gives.

    Observations have the declared shape and dtype, an action leads to five values, the reward is a float. What is otherwise
    is cast where that loses nothing, which is told once, or else an InputError; so is an exception of the environment's.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], env_id: str, *, options: Info | None = None):
        """Takes what to call it, and the options of each reset."""
        super().__init__(env)
        self._id, self._options, self._seen = env_id, options or None, 0
        self._box = env.observation_space if isinstance(env.observation_space, spaces.Box) else None
        self._dtype, self._shape = env.observation_space.dtype, env.observation_space.shape
        self._told_of_size = False
        self._integers = self._dtype is not None and self._dtype.kind in "iub"

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Observation, Info]:
        """As gymnasium's, with the options it was made with; `options=None` where there are none."""
        try:
            result = self.env.reset(seed=seed, options=options or self._options)
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
            result = self.env.step(action)
        except NOT_THEIRS:
            raise
        except (Exception, SystemExit) as error:
            raise self._theirs(error, "step") from error
        if not (isinstance(result, tuple) and len(result) == 5):
            raise self._refusal("step", "observation, reward, terminated, truncated, info", _described(result))
        observation, reward, terminated, truncated, info = result
        if type(reward) is not float:
            reward = self._reward(reward)
        return self._observation(observation), reward, bool(terminated), bool(truncated), info

    def _reward(self, reward: object) -> float:
        given = np.asarray(reward)
        if given.size != 1 or given.dtype.kind not in "biuf":
            hint = " A wrapper makes one of several." if given.size > 1 else ""
            raise self._refusal("reward", "one number", _described(reward), hint)
        if given.ndim:
            tell(f"{self._id}: rewards come as arrays of shape {list(given.shape)}; their one number is taken.")
        return float(given.item())

    def _observation(self, x: Observation) -> Observation:
        self._seen += 1
        if self._box is not None:
            if type(x) is not np.ndarray or x.dtype != self._dtype or x.shape != self._shape:
                x = self._cast(x)
            if self._seen <= THOROUGH:
                self._look_closely(x)
        elif not self.observation_space.contains(x):
            x = self._contained(x)
        return x

    def _cast(self, x: Observation) -> NDArray[Any]:
        """An observation of a Box as it declares them."""
        space, given = self.observation_space, x
        try:
            x = np.asarray(x)
        except ValueError:  # ragged
            x = np.asarray(None)
        if x.dtype.kind not in "biuf":
            raise self._refusal("observation", short(space), _described(given))
        assert space.shape is not None and space.dtype is not None
        if x.shape != space.shape:
            if [size for size in x.shape if size != 1] != [size for size in space.shape if size != 1]:
                raise self._refusal("observation", f"the shape {list(space.shape)}, as {short(space)} says", _described(given))
            tell(f"{self._id}: observations come as {list(x.shape)}; they are taken as {list(space.shape)}, as declared.")
            x = x.reshape(space.shape)
        if x.dtype != space.dtype:
            cast = x.astype(space.dtype)
            if self._integers and not (cast == x).all():
                i = int(np.argmax(np.ravel(cast != x)))
                got = f"{np.ravel(x)[i]:g} in feature {i}, as {x.dtype}"
                raise self._refusal("observation", f"what {short(space)} can hold", got, " Declare what it gives.")
            if self._integers or x.dtype.kind != "f":
                tell(f"{self._id}: observations come as {x.dtype}; they are taken as {space.dtype}, as declared.")
            x = cast
        return x

    def _look_closely(self, x: NDArray[Any]) -> None:
        assert self._box is not None
        below, above = x < self._box.low, x > self._box.high  # a NaN is neither: `check_transition` refuses it
        if below.any() or above.any():
            tell(f"{self._id}: some observations lie outside what it declares, {short(self._box)}.")
        if not self._told_of_size and not self._integers and (np.abs(x) >= EXACT).any():
            self._told_of_size = True
            i = int((np.abs(x) >= EXACT).argmax())
            value = float(np.ravel(x)[i])
            tell(
                f"{self._id}: feature {i} is around {value:.3g}, where float32, in which policies compute, tells numbers "
                f"apart that differ by {np.spacing(np.float32(abs(value))):g} or more. Give differences, or other units."
            )

    def _contained(self, x: Observation) -> Observation:
        """An observation of another space, where it is in it but for its form."""
        space = self.observation_space
        if isinstance(space, spaces.Discrete):
            given = np.asarray(x)
            if given.size == 1 and given.dtype.kind in "biuf" and given.item() in _whole(space):
                if given.ndim or given.dtype.kind == "f":
                    tell(f"{self._id}: numbers of states come as {_described(given)}; they are taken as int.")
                return int(given.item())
        wrong = _first_wrong(space, x, "")
        if wrong:
            raise self._refusal(f"observation{wrong[0]}", short(wrong[1]), _described(wrong[2]))
        return x

    def _refusal(self, what: str, expected: str, got: str, hint: str = "") -> InputError:
        return InputError(f"{self._id} gave a bad {what}: expected {expected}. Got {got}.{hint}")

    def _theirs(self, error: BaseException, method: str) -> InputError:
        """An exception of the user's environment, told as theirs."""
        if unpacked := re.search(r"\(expected (\d)(?:, got (\d))?\)", str(error)):  # by gymnasium's own wrappers
            named = "observation, reward, terminated, truncated, info" if method == "step" else "an observation and a dict"
            return self._refusal(method, named, f"{unpacked[2] or 'other than ' + unpacked[1]} values")
        return InputError(f"{self._id} failed in {method}(): {told(error, type(self.unwrapped))}")


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
    return f"{type(error).__name__}{'' if text == type(error).__name__ else f': {text}'}{place}"


def _whole(space: spaces.Discrete) -> range:
    return range(int(space.start), int(space.start + space.n))


def _first_wrong(space: gymnasium.Space[Any], x: Observation, name: str) -> Wrong | None:
    """The name, the space and the value of the first part that flattening would misread; None where only its form is wrong."""
    match space:
        case spaces.Dict():
            parts = space.spaces
            if not isinstance(x, dict) or not parts.keys() <= x.keys():
                return name, space, x
            return next(filter(None, (_first_wrong(each, x[key], f" {name}{key}") for key, each in parts.items())), None)
        case spaces.Tuple():
            if not isinstance(x, tuple | list) or len(x) != len(space.spaces):
                return name, space, x
            return next(filter(None, (_first_wrong(s, x[i], f" {name}{i}") for i, s in enumerate(space.spaces))), None)
        case spaces.Box():
            is_like = np.shape(x) == space.shape and np.asarray(x).dtype.kind in "biuf"
            kept = not is_like or np.dtype(space.dtype).kind == "f" or bool((np.asarray(x).astype(space.dtype) == x).all())
            return None if is_like and kept else (name, space, x)
        case spaces.Discrete() | spaces.MultiDiscrete() | spaces.MultiBinary():
            as_declared = np.asarray(x)
            if as_declared.dtype.kind in "biu" and space.contains(as_declared.astype(space.dtype)):
                return None
            if isinstance(space, spaces.Discrete) and as_declared.ndim == 0 and as_declared.dtype.kind in "biu":
                return None if space.start <= as_declared < space.start + space.n else (name, space, x)
            return name, space, x
    return None


def _described(x: object) -> str:
    """A value for a message: what it is, and of an array its shape and dtype."""
    if isinstance(x, np.ndarray | np.generic):
        few = f" {x.tolist()}" if x.size <= 4 else ""
        return f"{x.dtype} of shape {list(x.shape)}{few}"
    if isinstance(x, tuple):
        return f"{len(x)} values"
    text = " ".join(repr(x).split())
    return f"{type(x).__name__} {text if len(text) <= 40 else f'{text[:37]}...'}"
