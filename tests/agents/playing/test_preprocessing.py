"""The steps to the network as values and as text; what they do to observations is in `test_environments`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.preprocessing import (
    Atari,
    Flatten,
    FrameStack,
    OneHot,
    Step,
    format_steps,
    parse_steps,
)


def test_each_step_has_one_text() -> None:
    steps = (Atari(), FrameStack(4), OneHot(), Flatten())
    assert format_steps(steps) == ["atari", "frame_stack:4", "one_hot", "flatten"]


@given(st.lists(st.sampled_from([Atari(), OneHot(), Flatten()]) | st.integers(1, 9_999).map(FrameStack)))
def test_what_is_written_is_read(steps: list[Step]) -> None:
    assert parse_steps(format_steps(steps)) == tuple(steps)


@pytest.mark.parametrize(
    "text", ["", "Atari", "frame_stack", "frame_stack:0", "frame_stack:04", "frame_stack:²", "frame_stack:4\n", "sharpen"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"^Unknown preprocessing: expected atari, one_hot, flatten or frame_stack:K\. Got"):
        parse_steps(["flatten", text])
