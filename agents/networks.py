"""Q-networks in Keras."""

from collections.abc import Sequence

import numpy as np
import tf_keras


def mlp(observation_shape: tuple[int, ...], n_actions: int, hidden: Sequence[int], rng: np.random.Generator) -> tf_keras.Model:
    """A multi-layer perceptron from observations [B, F] to Q-values [B, A], ReLU between its layers.

    Args:
      observation_shape: without the batch, (F,).
      n_actions: A >= 1.
      hidden: the width of each hidden layer, each >= 1; none makes a linear network.
      rng: draws the initial weights: He uniform before a ReLU, Glorot uniform at the output, biases zero.
    Raises:
      ValueError: an observation that is no vector, or a width below 1.
    Source: He et al. (2015), "Delving deep into rectifiers"; Glorot and Bengio (2010).
    """
    if len(observation_shape) != 1:
        raise ValueError(f"An MLP takes vectors. Expected an observation shape (F,). Got {observation_shape}.")
    if any(width < 1 for width in hidden):
        raise ValueError(f"Expected widths of 1 or more. Got hidden={tuple(hidden)}.")
    seeds = rng.integers(2**31, size=len(hidden) + 1).tolist()
    observation = x = tf_keras.Input(observation_shape, name="observation")  # [B, F]
    for i, width in enumerate(hidden):
        initializer = tf_keras.initializers.HeUniform(seed=seeds[i])
        x = tf_keras.layers.Dense(width, "relu", kernel_initializer=initializer, name=f"hidden_{i}")(x)  # [B, width]
    initializer = tf_keras.initializers.GlorotUniform(seed=seeds[-1])
    q_values = tf_keras.layers.Dense(n_actions, kernel_initializer=initializer, name="q_values")(x)  # [B, A]
    return tf_keras.Model(observation, q_values, name="q_network")


def hidden_widths(network: tf_keras.Model) -> tuple[int, ...]:
    """The widths `mlp` was given to make `network`."""
    return tuple(layer.units for layer in network.layers[1:-1])
