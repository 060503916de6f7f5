"""How an environment is made: its id, and all that is done to it before anybody plays."""

import importlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NoReturn, Self

import gymnasium

from edgedqn.agents.errors import InputError, make_plain, one_line, require, short
from edgedqn.agents.files import Json, JsonValue


@dataclass(frozen=True)
class WrapperSource(JsonValue):
    """A wrapper of the user's: `module:Class`, a `gymnasium.Wrapper`, and what it is given besides the environment."""

    name: str
    arguments: Mapping[str, object] = field(default_factory=dict, hash=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `module:Class[:key=value[:key=value ...]]`; InputError for any other text."""
        module, _, rest = text.partition(":")
        name, *arguments = re.split(r":(?=[A-Za-z_][A-Za-z_0-9]*=)", rest)  # a value may have colons of its own
        require(bool(module and name), f"Bad wrapper {text!r}: expected module:Class[:key=value ...].")
        return cls(f"{module}:{name}", parse_arguments(arguments))

    def __str__(self) -> str:
        return ":".join([self.name, *format_arguments(self.arguments)])

    def wrap(self, env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
        """`env` inside it. InputError: there is no such wrapper, or it does not take these arguments."""
        module, _, name = self.name.partition(":")
        expected = f"No wrapper {self.name!r}: expected module:Class, a gymnasium.Wrapper."
        try:
            wrapper = getattr(importlib.import_module(module), name)
        except Exception as error:  # the user's module may raise anything
            raise InputError(f"{expected} Got: {one_line(error)}.") from error
        if not (isinstance(wrapper, type) and issubclass(wrapper, gymnasium.Wrapper)):  # a file may name it: run nothing else
            raise InputError(f"{expected} Got {wrapper!r}.")
        try:
            return wrapper(env, **self.arguments)
        except Exception as error:  # it is the user's: whatever it raises is theirs to mend
            raise InputError(f"The wrapper {self} cannot be put around the environment: {one_line(error)}.") from error


@dataclass(frozen=True)
class EnvironmentSource(JsonValue):
    """An environment, as `environments.make_environment` makes it. Round-trips through JSON.

    Attributes:
      id: gymnasium's, or `module:Id` for an environment that registers itself when `module` is imported.
      arguments: of its constructor, by name; JSON values.
      wrappers: put around it, in this order.
      max_episode_steps: after which an episode is cut off, in place of its own limit.
      reset_options: given to each reset.
      observe: the keys of a Dict, or the numbers of a Tuple, that the policy sees; all that are numbers by default.
      action_levels: of each dimension of continuous actions; by default 5, and 3 from four dimensions on.
      action_mask: whether the policy is told which actions are legal, as the environment has it in `info["action_mask"]` or
        in an observation of that key. None where it was not asked for: a training is told where the environment has it.
    """

    id: str
    arguments: Mapping[str, object] = field(default_factory=dict, hash=False)
    wrappers: tuple[WrapperSource, ...] = ()
    max_episode_steps: int | None = None
    reset_options: Mapping[str, object] = field(default_factory=dict, hash=False)
    observe: tuple[str, ...] = ()
    action_levels: int | None = None
    action_mask: bool | None = None

    def __post_init__(self) -> None:
        make_plain(self)
        for name, least in (("max_episode_steps", 1), ("action_levels", 2)):
            value = getattr(self, name)
            require(
                value is None or (type(value) is int and value >= least), f"Expected {name} of {least} or more. Got {value!r}."
            )
        keys = self.observe
        is_tuple = isinstance(keys, tuple) and all(isinstance(key, str) for key in keys)
        require(is_tuple, f"Expected observe, the keys of what is seen, as a tuple of texts. Got {keys!r}.")
        wrapped = isinstance(self.wrappers, tuple) and all(isinstance(each, WrapperSource) for each in self.wrappers)
        require(wrapped, f"Expected wrappers as a tuple of WrapperSource. Got {self.wrappers!r}.")
        for name in ("arguments", "reset_options"):
            _require_json(name, getattr(self, name))

    @classmethod
    def of(cls, source: "str | EnvironmentSource") -> "EnvironmentSource":
        """The source of an id, made without more ado; or the one that is given."""
        return source if isinstance(source, EnvironmentSource) else cls(source)

    @property
    def name(self) -> str:
        """The id without its module."""
        return self.id.rpartition(":")[2]

    def to_json(self) -> Json:
        """The JSON object `from_json` reads: what is not the default."""
        usual, full = super(EnvironmentSource, EnvironmentSource(self.id)).to_json(), super().to_json()
        return {key: value for key, value in full.items() if key == "id" or value != usual[key]}

    def options(self) -> list[str]:
        """What asks for it on the command line, besides the id: words, not yet quoted."""
        words = [word for each in format_arguments(self.arguments) for word in ("--env-arg", each)]
        words += [word for each in self.wrappers for word in ("--wrapper", str(each))]
        words += ["--max-episode-steps", str(self.max_episode_steps)] if self.max_episode_steps else []
        words += [word for each in format_arguments(self.reset_options) for word in ("--reset-option", each)]
        words += ["--observe", *self.observe] if self.observe else []
        words += ["--action-levels", str(self.action_levels)] if self.action_levels else []
        return words + (["--no-action-mask"] if self.action_mask is False else [])


def _require_json(name: str, values: object) -> None:
    """InputError: these are no values by name that JSON can hold, which keeps them with the run."""
    expected = f"Expected {name} as a dict of values that JSON can hold. Got {short(values)}"
    require(isinstance(values, Mapping), f"{expected}.")
    try:
        json.dumps(values, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"{expected}: {one_line(error)}.") from error


def parse_arguments(texts: Iterable[str]) -> Json:
    """Reads `key=value`: the value as JSON (numbers, true, false, null, lists), or as text where it is none.

    Raises:
      InputError: there is no key, or one twice.
    """
    found: Json = {}
    for text in texts:
        key, equals, value = text.partition("=")
        require(bool(equals) and key.isidentifier(), f"Expected key=value. Got {text!r}.")
        require(key not in found, f"Expected each key once. Got {key} twice.")
        try:
            found[key] = json.loads(value, parse_constant=_no_number, parse_float=_finite)
        except json.JSONDecodeError:
            found[key] = {"True": True, "False": False, "None": None}.get(value, value)
    return found


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text)


def _no_number(text: str) -> NoReturn:
    raise InputError(f"Expected a finite number, which JSON can hold. Got {text}.")


def format_arguments(arguments: Mapping[str, object]) -> list[str]:
    """The texts that `parse_arguments` reads."""

    def shown(value: object) -> str:
        if isinstance(value, str):
            with suppress(InputError):
                if parse_arguments([f"x={value}"])["x"] == value:
                    return value
        return json.dumps(value)

    return [f"{key}={shown(value)}" for key, value in arguments.items()]
