"""The exceptions that mean: the input was bad, not our code; what is said of it; and NumPy's numbers as Python's."""

import difflib
import warnings
from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from operator import is_
from typing import TypeVar, cast

T = TypeVar("T")
_told: set[str] = set()  # by `tell`


class InputError(ValueError):
    """Something the user gave us cannot be used.

    Its message is one line for a person: what was wrong, what was expected, what was got. The command line prints it and
    exits with 2; any other exception is a fault of ours and exits with 1.
    """


class DivergedError(InputError):
    """Learning went astray: a loss became NaN or infinite, or values grew beyond what the rewards allow.

    Nothing is repaired; what was learned since the last checkpoint is lost, the checkpoint is not.
    """


class EnvironmentFaultError(InputError):
    """A user's environment raised an error: neither ours nor that of the file that plays in it."""


def require(condition: bool, message: str) -> None:
    """Raises InputError with this message where the condition does not hold."""
    if not condition:
        raise InputError(message)


def one_line(error: BaseException) -> str:
    """The error as a reason for a person: its message in one line, or its type where it has none, or it fails to say it."""
    try:
        return " ".join(str(error).split()) or type(error).__name__
    except Exception:
        return type(error).__name__


class EnvironmentWarning(UserWarning):
    """An environment is not quite what it says, or is taken otherwise than one might think."""


def tell(text: str) -> None:
    """Warns of an environment, in a line without a place in our code; the same words once in a process.

    Python's own memory of what it warned of will not do: it is lost whenever somebody changes the filters, as TensorFlow does.
    """
    if text not in _told:
        _told.add(text)
        warnings.warn_explicit(text, EnvironmentWarning, "EdgeDQN", 0)


def nearest(word: str, known: Iterable[str]) -> list[str]:
    """The three at most that were probably meant, the likeliest first; upper and lower case are alike."""
    lowered = {each.lower(): each for each in known}
    return [lowered[each] for each in difflib.get_close_matches(word.lower(), lowered, n=3, cutoff=0.5)]


def hint(word: str, known: Iterable[str]) -> str:
    """A sentence that names them, after a space; empty where there are none."""
    near = nearest(word, known)
    return f" Nearest: {', '.join(near)}." if near else ""


def short(space: object) -> str:
    """A space, or anything else that is printed over several lines, in one line of at most 80 characters."""
    text = " ".join(str(space).split())  # NumPy breaks the lines of long bounds
    return text if len(text) <= 80 else f"{text[:77]}..."


def plain(value: T) -> T:
    """A value with Python's numbers in place of NumPy's, which JSON and many a check refuse; in containers, too."""
    found: object = value
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        found = value.item()
    elif isinstance(value, tuple):
        found = tuple(map(plain, value))
    elif isinstance(value, list):
        each_plain = list(map(plain, value))
        found = value if all(map(is_, value, each_plain)) else each_plain  # it is somebody's own, where nothing changes
    elif isinstance(value, dict):
        by_key = {key: plain(each) for key, each in value.items()}
        found = value if all(map(is_, value.values(), by_key.values())) else by_key
    elif is_dataclass(value) and not isinstance(value, type):
        found = replace(value, **{each.name: plain(getattr(value, each.name)) for each in fields(value) if each.init})
    return cast(T, found)


def make_plain(value: object) -> None:
    """Does the same to the fields of a frozen dataclass that is being made; for its `__post_init__`."""
    for name, each in vars(value).items():
        object.__setattr__(value, name, plain(each))
