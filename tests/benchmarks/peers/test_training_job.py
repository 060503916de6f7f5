"""A short real training of our side, where its time goes, and what its matrix products take. No speed is asserted."""

from dataclasses import replace

import pytest

pytest.importorskip("tensorflow", reason="trains")

from edgedqn.agents.dqn import DQN
from edgedqn.agents.replay import Replay
from edgedqn.benchmarks.peers.training_job import matrix_products, measure, profile_edgedqn
from edgedqn.benchmarks.peers.training_sides import ZOO, Settings


@pytest.mark.usefixtures("one_thread")
def test_our_side_really_trains(small: Settings) -> None:
    found = measure("edgedqn", small)
    assert found["windows"] == 6  # learning starts at 1,024, and that window is the compiler's: 1,024 to 2,560
    assert found["compile_s"] > 0
    assert found["steps_per_s"] > 0
    assert found["gradient_step_us"] > 0
    assert found["peak_memory_mb"] > 100  # TensorFlow alone takes more


def test_matrix_products_are_those_of_two_forward_passes_and_one_backward(small: Settings) -> None:
    # Per layer: online, target, the kernel's gradient; and the gradient of the input, but for the first layer.
    found = matrix_products(small)
    assert found["count"] == 3 + 4
    assert found["us"] > 0
    images = Settings("MinAtar/Breakout-v1", ZOO["MinAtar/Breakout-v1"])
    assert matrix_products(images)["count"] == 3 + 4 + 4  # one convolution, two Dense layers
    screens = Settings("ALE/Pong-v5", ZOO["ALE/Pong-v5"])
    assert matrix_products(screens)["count"] == 3 + 4 * 4  # three convolutions, two Dense layers
    widths = replace(small, config=replace(small.config, hidden=(8, 8)))
    assert matrix_products(widths)["count"] == 3 + 4 + 4


@pytest.mark.usefixtures("one_thread")
def test_the_profile_accounts_for_all_time_and_leaves_the_classes_as_they_were(small: Settings) -> None:
    before = (DQN.act, DQN.observe, Replay.store, Replay.add, Replay.sample)
    shares = profile_edgedqn(small)["shares"]
    assert set(shares) == {"environment", "acting", "replay", "learning", "other"}
    assert sum(shares.values()) == pytest.approx(1.0)
    assert all(share > 0 for share in shares.values())
    assert (DQN.act, DQN.observe, Replay.store, Replay.add, Replay.sample) == before
