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
    return Fragility(mean_return=100.0, random_return=0.0, median_gap=0.2, tolerance=0.02, env_steps=1_000, losses=losses)


ROBUST = fragility(loss("random actions", 0.01, 0.0), loss("random actions", 0.05, 0.005), loss("noise", 0.3, 0.0))
FRAGILE = fragility(loss("random actions", 0.005, 0.05), loss("random actions", 0.05, 0.3), loss("noise", 0.3, 0.06, 0.02))


def test_the_summary_names_the_fewest_mistakes_that_cost_something() -> None:
    assert FRAGILE.summary == (
        "This policy loses 5% (4% to 6%) with 0.5% random actions and 6% (4% to 8%) with noise of 0.3 action gaps. "
        "It is fragile: expect it to need fine-tuning by reinforcement learning, or train it longer."
    )
    assert ROBUST.summary == (
        "This policy loses nothing with 5% random actions and nothing with noise of 0.3 action gaps. "
        "Expect rounding to keep it."
    )
    assert "no better than acting at random" in fragility().summary


def test_what_is_chance_and_what_only_many_mistakes_cost() -> None:
    harmless = loss("noise", 0.3, 0.0)
    unclear = fragility(loss("random actions", 0.02, 0.05, width=0.06), harmless)
    assert unclear.is_fragile is None
    assert "nothing that shows, and at most 11%, with 2% random actions" in unclear.summary
    assert unclear.summary.endswith("Its returns vary too much to tell what a few mistakes cost.")
    # In proportion 20 % at 5 % of random actions are 8 % at 2 %, unless these were played and cost nothing.
    many = loss("random actions", 0.05, 0.2)
    assert fragility(loss("random actions", 0.02, 0.05, width=0.06), many, harmless).is_fragile is True
    late = fragility(loss("random actions", 0.02, 0.0), many, harmless)
    assert late.is_fragile is False and "20% (19% to 21%) with 5% random actions" in late.summary
    assert (FRAGILE.is_fragile, ROBUST.is_fragile) == (True, False)


def test_it_tolerates_what_was_shown_to_cost_nothing() -> None:
    found = fragility(
        loss("random actions", 0.5, 0.0, changed=0.4),
        loss("noise", 0.3, 0.0, changed=0.03),
        loss("noise", 0.9, 0.015, changed=0.08),
        loss("noise", 2.0, 0.4, changed=0.2),
    )
    assert found.tolerates(0.03, tolerance=0.02)
    assert not found.tolerates(0.08, tolerance=0.02) and found.tolerates(0.08, tolerance=0.05)
    assert not found.tolerates(0.1, tolerance=0.05)
    assert not found.tolerates(0.3, tolerance=0.05), "so much noise was not played"
    assert not fragility().tolerates(0.0, tolerance=0.05)


def test_it_stays_what_it_is_on_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "fragility.json"
    FRAGILE.save(path)
    assert Fragility.load(path) == FRAGILE
    path.write_text('{"schema": 1, "losses": 3}')
    with pytest.raises(InputError, match="does not say how fragile"):
        Fragility.load(path)
