"""Values that change while an agent learns."""

import pytest

from edgedqn.agents.schedules import LinearDecay


def test_a_decay_falls_and_then_stays():
    decay = LinearDecay(1.0, 0.1, 10)
    assert [decay(step) for step in (0, 5, 10, 11, 10_000)] == pytest.approx([1.0, 0.55, 0.1, 0.1, 0.1])
    with pytest.raises(ValueError, match=r"at least one step\. Got steps=0"):
        LinearDecay(1.0, 0.1, 0)
