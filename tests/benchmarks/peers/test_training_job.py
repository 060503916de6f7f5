"""A short real training of our side. No speed is asserted."""

import pytest

pytest.importorskip("tensorflow", reason="trains")

from edgedqn.benchmarks.peers.training_job import measure
from edgedqn.benchmarks.peers.training_sides import Settings


@pytest.mark.usefixtures("one_thread")
def test_our_side_really_trains(small: Settings) -> None:
    found = measure("edgedqn", small)
    assert found["windows"] == 6  # learning starts at 1,024, and that window is the compiler's: 1,024 to 2,560
    assert found["compile_s"] > 0
    assert found["steps_per_s"] > 0
    assert found["gradient_step_us"] > 0
    assert found["peak_memory_mb"] > 100  # TensorFlow alone takes more
