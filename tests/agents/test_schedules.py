"""Values that change while an agent learns, and when it learns."""

import pytest

from edgedqn.agents.schedules import LearningSchedule, LinearDecay


def test_a_decay_falls_and_then_stays() -> None:
    decay = LinearDecay(1.0, 0.1, 10)
    assert [decay(step) for step in (0, 5, 10, 11, 10_000)] == pytest.approx([1.0, 0.55, 0.1, 0.1, 0.1])
    with pytest.raises(ValueError, match=r"at least one step\. Got steps=0"):
        LinearDecay(1.0, 0.1, 0)


@pytest.mark.parametrize("name", ["train_freq", "gradient_steps", "batch_size", "target_update_interval"])
def test_a_schedule_counts_from_one(name: str) -> None:
    counts = {"train_freq": 1, "gradient_steps": 1, "batch_size": 1, "target_update_interval": 1, name: 0}
    with pytest.raises(ValueError, match=rf"^Expected {name} of 1 or more\. Got {name}=0\.$"):
        LearningSchedule(learning_starts=0, **counts)
