"""Frozen dataclasses as JSON and back, by their fields' names and types."""

from collections.abc import Mapping
from dataclasses import fields
from types import NoneType
from typing import Any, ClassVar, Self, get_args, get_origin, get_type_hints

Json = Mapping[str, Any]


class JsonValue:
    """Base of a frozen dataclass of numbers, texts, tuples, and values that have `to_json` and `from_json`.

    Attributes:
      KEYS: what a field is called in JSON, where that is no name in Python.
      LEFT_OUT: fields that are not written where they are None or without elements.
    """

    KEYS: ClassVar[Mapping[str, str]] = {}
    LEFT_OUT: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def keys(cls) -> dict[str, str]:
        """The fields' names in JSON, by field."""
        return {each.name: cls.KEYS.get(each.name, each.name) for each in fields(cls)}  # type: ignore[arg-type]

    def to_json(self) -> dict[str, Any]:
        """An object in the order of the fields; a tuple is a list."""
        found = {key: _to_json(getattr(self, name)) for name, key in self.keys().items()}
        return {key: value for key, value in found.items() if key not in self.LEFT_OUT or value not in (None, [])}

    @classmethod
    def from_json(cls, value: Json) -> Self:
        """The reverse of `to_json`. A field that has a default may be missing; what is no field is passed over.

        Raises:
          KeyError, TypeError, ValueError: the object is none of these.
        """
        hints = get_type_hints(cls)
        known = {name: key for name, key in cls.keys().items() if key in value or not hasattr(cls, name)}
        return cls(**{name: _from_json(hints[name], value[key]) for name, key in known.items()})


def _to_json(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_to_json(each) for each in value]
    return value.to_json() if hasattr(value, "to_json") else value


def _from_json(hint: Any, value: Any) -> Any:
    kinds = [each for each in get_args(hint) if each is not NoneType]
    if value is None or get_origin(hint) is Mapping:
        return value
    if get_origin(hint) is tuple:
        return tuple(_from_json(kinds[0], each) for each in value)
    if kinds:  # X | None
        return _from_json(kinds[0], value)
    return hint.from_json(value) if hasattr(hint, "from_json") else value
