"""A short training."""

from collections.abc import Callable

import numpy as np
import pytest
import tf_keras
from numpy.typing import NDArray

from edgedqn.agents.networks import q_network
from edgedqn.compression.folding import InputScaling
from edgedqn.compression.methods.distillation import Distillation, Distiller
from edgedqn.compression.preferences import Targets, median_action_gap

TrainingSet = tuple[NDArray[np.float32], NDArray[np.float32]]


@pytest.fixture(scope="session")
def training_set() -> TrainingSet:
    """Inputs [500, 4] in [-1, 1], and what some other network prefers there, [500, 2]."""
    rng = np.random.default_rng(0)
    inputs = rng.uniform(-1, 1, (500, 4)).astype(np.float32)
    q_values = q_network((4,), 2, hidden=(8,), rng=rng)(inputs).numpy()
    return inputs, Targets()(q_values, median_action_gap(q_values))


@pytest.fixture
def taught(training_set: TrainingSet) -> Callable[[tf_keras.Model], tf_keras.Model]:
    """Trains a network on it for 50 steps, and returns the network."""
    short = Distillation(steps=50, learning_rate=1e-2)

    def teach(network: tf_keras.Model) -> tf_keras.Model:
        distiller = Distiller(network, InputScaling.identity(), config=short)
        distiller.train(*training_set, rng=np.random.default_rng(1), label="test")
        return network

    return teach
