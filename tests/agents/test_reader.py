"""A network that computes with other weights than it learns is learned, played and averaged as it computes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from edgedqn.agents.dqn import DQN, LearningSchedule
from edgedqn.agents.errors import InputError
from edgedqn.agents.losses import TemporalDifference
from edgedqn.agents.networks import q_network
from edgedqn.agents.numpy_network import Dense, NumpyNetwork
from edgedqn.agents.reader import Networks, PlainReader
from edgedqn.agents.replay import Replay, Sampler
from edgedqn.agents.training.checkpoints import Weights
from edgedqn.agents.training.exploration import EpsilonGreedyExploration
from edgedqn.agents.training.interaction import Step

SHAPE, ACTIONS = (3,), 4
SCHEDULE = LearningSchedule(learning_starts=10, train_freq=4, gradient_steps=2, batch_size=8, target_update_interval=8)


class Halved:
    """Q-values of half the learned weights, and nothing where the mask is zero; it notes when it is told that it learns."""

    acts_in_training = True
    n_actions = ACTIONS
    output_shape = (None, ACTIONS)

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.kernel = tf.Variable(rng.normal(size=(*SHAPE, ACTIONS)).astype(np.float32))
        self.mask = (rng.random((*SHAPE, ACTIONS)) < 0.5).astype(np.float32)
        self.trainable_variables = self.variables = [self.kernel]
        self.told: list[bool] = []

    def __call__(self, observations: tf.Tensor, training: bool = False) -> tf.Tensor:
        self.told.append(training)
        return observations @ self.weights()[0]

    def weights(self) -> Sequence[tf.Tensor]:
        return [self.kernel / 2 * self.mask]

    def admissible(self, weights: Weights) -> Weights:
        return [weights[0] * self.mask]

    def actor(self, weights: Weights) -> NumpyNetwork:
        return NumpyNetwork([Dense(weights[0], np.zeros(ACTIONS, np.float32), False)], SHAPE)


def learned(network: Any, reader: Any, target: Any, averaging: float) -> DQN:
    """An agent after 40 steps of noise."""
    agent = DQN(
        Networks(network, target, reader),
        optimizer=tf_keras.optimizers.SGD(0.05),
        replay=Replay(100, SHAPE, dtype="float32", sampler=Sampler(np.random.default_rng(1))),
        exploration=EpsilonGreedyExploration(lambda step: 0.0, n_actions=ACTIONS, rng=np.random.default_rng(2)),
        schedule=replace(SCHEDULE, averaging=averaging),
        loss=TemporalDifference(n_step=1, discount=0.9, double=True, square=False),
    )
    rng = np.random.default_rng(3)
    states = rng.normal(size=(41, *SHAPE)).astype(np.float32)
    for i in range(40):
        action, reward = int(rng.integers(ACTIONS)), float(rng.normal())
        agent.observe(Step(states[i], action, reward, terminated=False, truncated=False, s_t=states[i + 1]))
    return agent


@pytest.mark.usefixtures("without_xla")
def test_what_the_network_computes_with_is_played_averaged_and_copied_to_the_target() -> None:
    network = Halved()
    target = tf_keras.Sequential([tf_keras.Input(SHAPE), tf_keras.layers.Dense(ACTIONS, use_bias=False)])
    agent = learned(network, network, target, averaging=0.9)
    assert agent.gradient_steps == 16 == SCHEDULE.gradient_steps_by(40)
    observations = np.random.default_rng(5).normal(size=(50, *SHAPE)).astype(np.float32)
    q_values = network(observations).numpy()
    assert agent.act_in_all(observations).tolist() == q_values.argmax(axis=1).tolist()
    (average,) = agent.averaged_weights()
    assert (average[network.mask == 0] == 0).all() and (average != network.weights()[0].numpy()).any()
    # Copied at step 40, to take effect at the next update: here it holds what was computed with at step 32 or later.
    (copy,) = target.get_weights()
    assert (copy[network.mask == 0] == 0).all() and (copy[network.mask == 1] != 0).all()


@pytest.mark.usefixtures("without_xla")
def test_a_network_is_told_that_it_learns_once_per_gradient_step() -> None:
    """Once traced: of the three calls of a loss, that of the target is another network's."""
    network = Halved()
    target = tf_keras.Sequential([tf_keras.Input(SHAPE), tf_keras.layers.Dense(ACTIONS, use_bias=False)])
    learned(network, network, target, averaging=0.0)
    assert network.told == [False, True]


def test_a_layer_that_does_not_learn_is_refused() -> None:
    network = q_network(SHAPE, ACTIONS, hidden=(4,), rng=np.random.default_rng(0))
    network.layers[1].trainable = False
    with pytest.raises(InputError, match=r"^Every layer of a Q-network is learned\. Got one that is not trainable\.$"):
        PlainReader(network)


@pytest.mark.parametrize("starts", [0, 7, 10, 12])
def test_steps_of_the_environment_and_of_the_gradient_are_told_from_each_other(starts: int) -> None:
    schedule = replace(SCHEDULE, learning_starts=starts)
    for count in range(1, 30):
        env_steps = schedule.env_steps_for(count)
        assert schedule.gradient_steps_by(env_steps - 1) < count <= schedule.gradient_steps_by(env_steps)
