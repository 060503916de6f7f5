"""What sets bad input apart from a fault of ours."""

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pytest

from edgedqn.agents.chain import NotAChainError
from edgedqn.agents.errors import DivergedError, InputError, make_plain, plain, require
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
    array = np.ones(3)
    assert plain(array) is array


@pytest.mark.parametrize("error", [BadTransitionError, DivergedError, NotAChainError])
def test_what_the_user_can_mend_is_bad_input(error: Any) -> None:
    assert issubclass(error, InputError)
