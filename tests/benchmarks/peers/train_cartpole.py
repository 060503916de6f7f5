"""Writes cartpole.npz: the policies that tests/benchmarks/peers and docs/results/imported.py write as other projects do.

python tests/benchmarks/peers/train_cartpole.py   # half a minute

`relu_0` to `relu_5`, kernels and biases in turn: two hidden layers of 24 neurons, the preset of CartPole-v1, training seed 0.
`tanh_0` to `tanh_5`: a network with tanh in place of ReLU that was fitted to its Q-values.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.agents.training.config import TrainingConfig
from edgedqn.agents.training.presets import find_preset
from edgedqn.pipeline.scripting import train

HIDDEN = (24, 24)
STEPS, BATCH, GAP_WEIGHT = 20_000, 256, 20.0


def fit_tanh(agent: TrainedAgent) -> list[NDArray[np.float32]]:
    """Weights of a network with tanh that has the Q-values of the agent's, where it goes and around that."""
    rng = np.random.default_rng(0)
    visited = agent.observations
    around = visited + rng.normal(0, visited.std(axis=0), visited.shape).astype(np.float32)  # [N, 4]
    states = np.concatenate([visited, around])
    q_values = agent.policy.q_values(states)  # [2 N, 2]
    mean, scale = q_values.mean(), q_values.std()
    tf_keras.utils.set_random_seed(0)
    hidden = [tf_keras.layers.Dense(width, "tanh") for width in HIDDEN]
    network = tf_keras.Sequential([tf_keras.Input(states.shape[1:]), *hidden, tf_keras.layers.Dense(2)])

    def loss(wanted: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
        error = found - wanted  # [B, 2]
        return tf.reduce_mean(error**2) + GAP_WEIGHT * tf.reduce_mean((error[:, 1] - error[:, 0]) ** 2)

    decay = tf_keras.optimizers.schedules.CosineDecay(3e-3, STEPS)
    network.compile(tf_keras.optimizers.Adam(decay), loss, jit_compile=True)
    network.fit(states, (q_values - mean) / scale, BATCH, epochs=STEPS * BATCH // len(states), verbose=0)
    *first, kernel, bias = network.get_weights()
    return [*first, kernel * scale, bias * scale + mean]


def main() -> None:
    preset = find_preset("CartPole-v1")
    assert isinstance(preset, TrainingConfig)
    agent = train("CartPole-v1", seed=0, config=replace(preset, hidden=HIDDEN))
    weights = {f"relu_{i}": array for i, array in enumerate(agent.network.get_weights())}
    weights |= {f"tanh_{i}": array for i, array in enumerate(fit_tanh(agent))}
    np.savez(Path(__file__).with_name("cartpole.npz"), allow_pickle=False, **weights)


if __name__ == "__main__":
    main()
