"""What a person reads, what the ladder may rely on, and what stays on the disk."""

from pathlib import Path

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.fragility import Fragility, Loss, Mistakes
from edgedqn.agents.playing.statistics import Interval


def loss(mistakes: Mistakes, size: float, mean: float, width: float = 0.01, changed: float = 0.01) -> Loss:
    share = Interval(mean, mean - width, mean + width)
    return Loss(mistakes=mistakes, size=size, disagreement=changed, mean_return=90.0, share=share, episodes=50)


def fragility(*losses: Loss) -> Fragility:
    return Fragility(mean_return=100.0, random_return=0.0, median_gap=0.2, env_steps=1_000, losses=losses)


def actions(size: float, mean: float, width: float = 0.01, changed: float = 0.01) -> Loss:
    return loss("random actions", size, mean, width, changed)


ROBUST = fragility(actions(0.01, 0.0), actions(0.05, 0.005), actions(0.107, 0.08), loss("noise", 1.0, 0.5))
FRAGILE = fragility(actions(0.005, 0.05), actions(0.05, 0.3), loss("noise", 0.3, 0.0))


def test_the_summary_says_what_the_fewest_random_actions_cost() -> None:
    advice = "It is fragile: expect it to need fine-tuning by reinforcement learning, or train it longer."
    assert FRAGILE.summary == f"This policy loses 5% (4% to 6%) with 0.5% random actions. {advice}"
    few, many = "nothing with 5% random actions", "8% (7% to 9%) with 11% random actions"
    noise = "50% (49% to 51%) with noise of 1 action gap"
    advice = "Rounding alone may cost some of it; fine-tuning is to keep it."
    assert ROBUST.summary == f"This policy loses {few}, {many}, and {noise}. {advice}"
    quiet = fragility(*ROBUST.losses[:3], loss("noise", 1.0, 0.005))
    assert quiet.summary == f"This policy loses {few}, and {many}. Expect rounding to keep it."
    little = fragility(actions(0.02, 0.006, width=0.004))
    assert little.summary.startswith("This policy loses 0.6% (0.2% to 1%) with 2% random actions."), "its interval excludes 0"
    assert "no better than acting at random" in fragility().summary
    assert (FRAGILE.is_fragile, ROBUST.is_fragile) == (True, False)
    assert [str(each) for each in ROBUST.losses[2:]] == ["11% random actions", "noise of 1 action gap"]


def test_what_is_chance_and_what_only_many_mistakes_cost() -> None:
    unclear = fragility(actions(0.01, 0.05, width=0.06), actions(0.05, 0.01, width=0.1))
    assert unclear.is_fragile is None
    told = "This policy loses nothing that shows, and at most 11%, with 5% random actions."
    assert unclear.summary == f"{told} Its returns vary too much to tell what a few of them cost."
    # In proportion 20 % with 5 % of random actions are 4 % with 1 %, unless these, or more, were played and cost nothing.
    many = actions(0.05, 0.2)
    assert fragility(actions(0.01, 0.05, width=0.06), many).is_fragile is True
    assert fragility(actions(0.02, 0.0), many).is_fragile is False
    assert fragility(actions(0.01, 0.0, width=0.03), actions(0.05, 0.09)).is_fragile is None, "1.8 % in proportion"


def test_it_tolerates_what_was_shown_to_cost_nothing() -> None:
    found = fragility(
        actions(0.04, 0.0, changed=0.03),
        actions(0.107, 0.015, changed=0.08),
        actions(0.4, 0.4, changed=0.3),
        loss("noise", 0.9, 0.5, changed=0.05),
    )
    assert found.tolerates(0.03, tolerance=0.02)
    assert not found.tolerates(0.08, tolerance=0.02) and found.tolerates(0.08, tolerance=0.05)
    assert not found.tolerates(0.1, tolerance=0.05)
    assert not found.tolerates(0.5, tolerance=0.05), "as many were not played"
    assert not fragility().tolerates(0.0, tolerance=0.05)


def test_it_stays_what_it_is_on_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "fragility.json"
    FRAGILE.save(path)
    assert Fragility.load(path) == FRAGILE
    path.write_text('{"schema": 1, "losses": 3}')
    with pytest.raises(InputError, match="does not say how fragile"):
        Fragility.load(path)
