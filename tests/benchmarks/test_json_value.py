"""Frozen dataclasses as JSON and back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import pytest

from edgedqn.benchmarks.json_value import JsonValue


@dataclass(frozen=True)
class Inner(JsonValue):
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Outer(JsonValue):
    KEYS: ClassVar[Mapping[str, str]] = {"class_": "class"}
    LEFT_OUT = ("later",)

    class_: str
    inner: tuple[Inner, ...]
    words: Mapping[str, str | None]
    one: Inner | None = None
    later: int | None = None


VALUE = Outer("a", (Inner((1, 2)), Inner(())), {"b": None}, Inner((3,)))
JSON = {"class": "a", "inner": [{"numbers": [1, 2]}, {"numbers": []}], "words": {"b": None}, "one": {"numbers": [3]}}


def test_there_and_back():
    assert VALUE.to_json() == JSON
    assert Outer.from_json(JSON) == VALUE
    assert Outer.from_json(JSON | {"later": 0}).to_json() == JSON | {"later": 0}


def test_what_has_a_default_may_be_missing_and_what_is_unknown_is_passed_over():
    assert Outer.from_json({"class": "a", "inner": [], "words": {}, "unknown": 1}) == Outer("a", (), {})
    with pytest.raises(KeyError, match="inner"):
        Outer.from_json({"class": "a"})
