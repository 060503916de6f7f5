"""What sets bad input apart from a fault of ours."""

import pytest

from edgedqn.agents.environments import BadTransitionError
from edgedqn.agents.errors import InputError
from edgedqn.agents.learner import NonFiniteLossError


def test_bad_input_is_a_value_error_that_keeps_its_sentence():
    with pytest.raises(ValueError, match=r"^Expected 1\. Got 2\.$"):
        raise InputError("Expected 1. Got 2.")


def test_an_environments_nan_is_bad_input_and_a_diverged_loss_is_not():
    assert issubclass(BadTransitionError, InputError)
    assert not issubclass(NonFiniteLossError, InputError)
