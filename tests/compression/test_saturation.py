"""Where an int8 output saturates."""

import numpy as np

from edgedqn.compression.saturation import fake_quantized, lost_choices, output_ranges


def test_an_output_range_heeds_legal_actions_alone() -> None:
    rng = np.random.default_rng(3)
    wanted = rng.normal(size=(400, 3)).astype(np.float32)
    legal = np.ones((400, 5), bool)
    legal[:, 3:] = False
    wild = np.hstack([wanted, 1000 * rng.normal(size=(400, 2)).astype(np.float32)])  # what is never legal was never learned
    assert output_ranges(wild, wild, legal) == output_ranges(wanted, wanted)


def test_the_widest_output_keeps_rare_choices_and_lets_others_tie() -> None:
    rng = np.random.default_rng(4)
    spread = np.where(np.arange(4_000) < 120, 1.0, 0.03)[:, np.newaxis]  # 3 % of the states are far from the others
    wanted = (rng.normal(0, spread) + rng.normal(0, 0.3 * spread, size=(4_000, 3))).astype(np.float32)
    narrow, wide, _ = output_ranges(wanted, wanted)
    assert wide[1] - wide[0] > 2 * (narrow[1] - narrow[0])
    (lost, ties), (lost_wide, ties_wide) = (
        lost_choices(fake_quantized(wanted, limits).numpy(), wanted) for limits in (narrow, wide)
    )
    assert lost_wide < 0.5 * lost and ties < ties_wide
