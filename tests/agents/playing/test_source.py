"""How an environment is made: read from words, written as JSON and as words again, and what is refused."""

import json
from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.source import EnvironmentSource, WrapperSource, format_arguments, parse_arguments

VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)


@example({"a": "NaN"})
@given(st.dictionaries(st.from_regex(r"[a-z_]{1,6}", fullmatch=True), VALUES | st.lists(VALUES, max_size=3)))
def test_arguments_keep_their_types_through_words(arguments: dict[str, object]) -> None:
    again = parse_arguments(format_arguments(arguments))
    assert again == arguments
    assert {key: type(value) for key, value in again.items()} == {key: type(value) for key, value in arguments.items()}


def test_values_are_json_or_python_or_text() -> None:
    given = ["a=1", "b=0.5", "c=true", "d=False", "e=None", "f=[1, 2]", "g=5x5", 'h="1"', "i=x=y"]
    expected = {"a": 1, "b": 0.5, "c": True, "d": False, "e": None, "f": [1, 2], "g": "5x5", "h": "1", "i": "x=y"}
    assert parse_arguments(given) == expected


@pytest.mark.parametrize("texts", [["a"], ["=1"], ["a b=1"], ["a=1", "a=2"], ["a=NaN"], ["a=[-Infinity]"], ["a=1e999"]])
def test_what_is_no_argument_is_refused(texts: list[str]) -> None:
    with pytest.raises(InputError, match=r"^Expected "):
        parse_arguments(texts)


def test_only_what_is_not_usual_is_written_and_it_round_trips() -> None:
    assert EnvironmentSource("CartPole-v1").to_json() == {"id": "CartPole-v1"}
    source = EnvironmentSource(
        "mine:Mine-v0",
        arguments={"size": 5},
        wrappers=(WrapperSource.parse("mine:Cut:at=3:how=hard"),),
        max_episode_steps=100,
        reset_options={"start": [0, 1]},
        observe=("image",),
        action_levels=7,
        action_mask=False,
    )
    written = json.loads(json.dumps(source.to_json()))
    assert EnvironmentSource.from_json(written) == source
    assert EnvironmentSource.from_json({**written, "n_actions": 2}) == source  # a spec has both
    assert hash(EnvironmentSource.from_json(written)) == hash(source)
    assert (source.name, EnvironmentSource.of(source)) == ("Mine-v0", source)
    assert source.options() == [
        *("--env-arg", "size=5", "--wrapper", "mine:Cut:at=3:how=hard", "--max-episode-steps", "100"),
        *("--reset-option", "start=[0, 1]", "--observe", "image", "--action-levels", "7", "--no-action-mask"),
    ]


@pytest.mark.parametrize(
    "settings",
    [
        *({"max_episode_steps": 0}, {"max_episode_steps": 2.5}, {"max_episode_steps": "50"}, {"action_levels": 1}),
        *({"observe": "image"}, {"wrappers": ("mine:Cut",)}, {"arguments": None}, {"arguments": {"x": object()}}),
        {"reset_options": {"x": float("inf")}},
    ],
)
def test_what_no_run_could_keep_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=rf"^Expected {next(iter(settings))}[ ,].*\. Got"):
        EnvironmentSource("CartPole-v1", **settings)


def test_numpys_numbers_are_kept_as_pythons() -> None:
    numbers: Any = {"arguments": {"sizes": [np.int64(3)], "low": np.float32(0.5)}, "max_episode_steps": np.int64(50)}
    source = EnvironmentSource("CartPole-v1", **numbers)
    assert json.loads(json.dumps(source.to_json())) == {
        "id": "CartPole-v1",
        "arguments": {"sizes": [3], "low": 0.5},
        "max_episode_steps": 50,
    }


def test_a_wrapper_is_put_around_with_its_arguments() -> None:
    env = gymnasium.make("CartPole-v1")
    wrapped = WrapperSource.parse("gymnasium.wrappers:TimeLimit:max_episode_steps=3").wrap(env)
    assert (
        isinstance(wrapped, gymnasium.wrappers.TimeLimit) and wrapped.spec is not None and wrapped.spec.max_episode_steps == 3
    )
    env.close()
    assert WrapperSource.parse("m:C:path=a:b:at=[1, 2]") == WrapperSource("m:C", {"path": "a:b", "at": [1, 2]})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("gymnasium.wrappers", r"^Bad wrapper 'gymnasium\.wrappers': expected module:Class"),
        ("no.such:Thing", r"^No wrapper 'no\.such:Thing': expected module:Class, a gymnasium\.Wrapper\. Got: No module"),
        ("gymnasium.wrappers:Nothing", r"Got: module 'gymnasium\.wrappers' has no attribute"),
        ("os:system", r"a gymnasium\.Wrapper\. Got <built-in function system>\.$"),  # a file may name it
        ("gymnasium.wrappers:TimeLimit:no=1", r"TimeLimit:no=1 cannot be put around the environment: .*'no'"),
    ],
)
def test_what_is_no_wrapper_is_refused_and_not_run(text: str, reason: str) -> None:
    env = gymnasium.make("CartPole-v1")
    with pytest.raises(InputError, match=reason):
        WrapperSource.parse(text).wrap(env)
    env.close()
