"""What sets bad input apart from a fault of ours."""

import json
import warnings
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from edgedqn.agents.chain import NotAChainError
from edgedqn.agents.errors import (
    DivergedError,
    EnvironmentWarning,
    InputError,
    make_plain,
    nearest,
    one_line,
    plain,
    require,
    short,
    tell,
)
from edgedqn.agents.playing.environments import BadTransitionError


def test_bad_input_is_a_value_error_that_keeps_its_sentence() -> None:
    with pytest.raises(ValueError, match=r"^Expected 1\. Got 2\.$"):
        raise InputError("Expected 1. Got 2.")
    with pytest.raises(InputError, match=r"^Expected 1\. Got 2\.$"):
        require(False, "Expected 1. Got 2.")
    require(True, "")


@dataclass(frozen=True)
class Inner:
    number: float


@dataclass(frozen=True)
class Outer:
    steps: int
    several: tuple[Inner, ...]
    text: str = "as it is"

    def __post_init__(self) -> None:
        make_plain(self)


def test_numpys_numbers_become_pythons() -> None:
    for given, meant in ((np.int64(3), 3), (np.float32(0.5), 0.5), (np.bool_(True), True), (np.array(2), 2), (None, None)):
        assert plain(given) == meant and type(plain(given)) is type(meant)
    made = Outer(np.int32(2000), (Inner(np.float64(0.25)),))  # type: ignore[arg-type]
    assert json.dumps(asdict(made)) == '{"steps": 2000, "several": [{"number": 0.25}], "text": "as it is"}'
    assert json.dumps(plain({"a": [np.int64(1), (np.float32(0.5),)]})) == '{"a": [1, [0.5]]}'
    for kept in (np.ones(3), [1, "a"], {"a": 0.5}):
        assert plain(kept) is kept


def test_an_error_that_cannot_say_what_it_is_goes_by_its_type() -> None:
    class OddError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert (one_line(OddError()), one_line(ValueError("a\nb")), one_line(ValueError())) == ("OddError", "a b", "ValueError")


@pytest.mark.parametrize("error", [BadTransitionError, DivergedError, NotAChainError])
def test_what_the_user_can_mend_is_bad_input(error: Any) -> None:
    assert issubclass(error, InputError)


def test_a_user_is_told_by_a_warning_that_can_be_silenced() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tell("Mine-v0 is odd.")
        warnings.simplefilter("always")  # makes Python forget what it warned of
        tell("Mine-v0 is odd.")
    assert [(each.category, str(each.message)) for each in caught] == [(EnvironmentWarning, "Mine-v0 is odd.")]
    (one,) = caught
    told = warnings.formatwarning(one.message, one.category, one.filename, one.lineno)
    assert told == "EdgeDQN:0: EnvironmentWarning: Mine-v0 is odd.\n"


def test_the_nearest_are_probably_meant() -> None:
    assert nearest("sparsty", ["begin", "sparsity", "end"]) == ["sparsity"]
    assert nearest("cartpole", ["CartPole-v1", "CartPole-v0", "Acrobot-v1"]) == ["CartPole-v1", "CartPole-v0"]
    assert nearest("q", ["begin"]) == []


def test_a_space_is_told_in_one_line() -> None:
    long = short(spaces.Box(-np.arange(40.0), np.arange(40.0), dtype=np.float64))
    assert "\n" not in long and len(long) == 80 and long.endswith("...")
    assert short(spaces.Discrete(3)) == "Discrete(3)"
