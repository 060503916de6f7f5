"""What a small training of our side runs with."""

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from edgedqn.benchmarks.peers.training_sides import Settings


@pytest.fixture
def small() -> "Settings":
    """Ten windows of a small network on CartPole-v1."""
    from edgedqn.benchmarks.peers.training_sides import ZOO, Settings

    return Settings(config=replace(ZOO["CartPole-v1"], steps=2_560, hidden=(8,), gradient_steps=4, batch_size=8))


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorFlow refuses new thread counts once it runs, as it does in this process."""
    import tensorflow as tf

    monkeypatch.setattr(tf.config.threading, "set_intra_op_parallelism_threads", lambda _: None)
    monkeypatch.setattr(tf.config.threading, "set_inter_op_parallelism_threads", lambda _: None)
