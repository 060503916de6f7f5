"""What sets bad input apart from a fault of ours."""

from typing import Any

import pytest

from edgedqn.agents.chain import NotAChainError
from edgedqn.agents.errors import DivergedError, InputError, require
from edgedqn.agents.playing.environments import BadTransitionError


def test_bad_input_is_a_value_error_that_keeps_its_sentence() -> None:
    with pytest.raises(ValueError, match=r"^Expected 1\. Got 2\.$"):
        raise InputError("Expected 1. Got 2.")
    with pytest.raises(InputError, match=r"^Expected 1\. Got 2\.$"):
        require(False, "Expected 1. Got 2.")
    require(True, "")


@pytest.mark.parametrize("error", [BadTransitionError, DivergedError, NotAChainError])
def test_what_the_user_can_mend_is_bad_input(error: Any) -> None:
    assert issubclass(error, InputError)
