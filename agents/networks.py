"""Q-networks in Keras: what looks at the observation (the torso), hidden layers, and a head. B is the batch."""

import importlib
import itertools
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
import tf_keras

from edgedqn.agents.architecture import MOST_WEIGHTS, DuelingMerge
from edgedqn.agents.errors import InputError, require

Torso = Callable[[tf.Tensor, np.random.Generator], tf.Tensor]
"""A user's own: takes the observation [B, *shape] as float32, as the environment gives it, and a generator for the initial
weights; returns features [B, F]. Its layers are plain Keras layers, without custom code. Layers that are given no seed
for their first weights have them drawn from the generator all the same."""


def q_network(
    observation_shape: tuple[int, ...],
    n_actions: int,
    *,
    hidden: Sequence[int],
    rng: np.random.Generator,
    torso: Torso | None = None,
    dueling: bool = False,
    quantiles: int = 0,
    input_scale: float | Sequence[float] = 1.0,
) -> tf_keras.Model:
    """A Q-network from observations [B, *observation_shape] to Q-values [B, A], or to their quantiles [B, A, N].

    Args:
      observation_shape: without the batch; (F,) without a torso.
      n_actions: A >= 1.
      hidden: the width of each hidden layer between torso and head, each >= 1; none makes a linear head. With `dueling`, the
        last one is doubled: one for the state's value, one for the advantages.
      rng: draws the initial weights: He uniform before a ReLU, Glorot uniform at the output, biases zero.
      torso: what looks at the observation; none passes a vector on.
      dueling: Q = V + A - mean A, with a stream each.
      quantiles: N of each action's return, for quantile regression; 0 for plain Q-values.
      input_scale: observations are multiplied by it first, 1/255 for images of bytes: one for all, or of a vector one for each.
    Raises:
      InputError: an observation that is no vector without a torso, a width below 1, or a torso that gives no vector.
    Source: He et al. (2015), "Delving deep into rectifiers"; Glorot and Bengio (2010); Wang et al. (2016), "Dueling network
      architectures"; Dabney et al. (2018), "Distributional reinforcement learning with quantile regression".
    """
    fits = torso is not None or len(observation_shape) == 1
    require(fits, f"An MLP takes vectors. Expected an observation shape (F,). Got {observation_shape}.")
    require(all(width >= 1 for width in hidden), f"Expected widths of 1 or more. Got hidden={tuple(hidden)}.")
    if any(a * b > MOST_WEIGHTS for a, b in itertools.pairwise(hidden)):
        raise InputError(f"A layer has up to {MOST_WEIGHTS:,} weights. Expected smaller widths. Got {tuple(hidden)}.")
    observation = x = tf_keras.Input(observation_shape, name="observation")  # [B, *shape]
    if np.any(np.asarray(input_scale) != 1.0):
        x = tf_keras.layers.Rescaling(input_scale, name="image_scale")(x)  # [B, *shape]
    if torso is not None:
        unseeded = np.random.default_rng(int(rng.integers(2**31)))
        x = torso(x, rng)  # [B, F]
        require(len(x.shape) == 2, f"A torso gives a vector of features. Expected the shape [B, F]. Got {tuple(x.shape)}.")
        _draw_anew(tf_keras.Model(observation, x).layers, unseeded)
    shared, streams = (hidden[:-1], hidden[-1:]) if dueling else (hidden, ())
    for i, width in enumerate(shared):
        x = _relu(width, f"hidden_{i}", rng)(x)  # [B, width]
    if dueling:
        value, advantages = x, x
        for width in streams:
            value = _relu(width, "value_hidden", rng)(value)  # [B, width]
            advantages = _relu(width, "advantage_hidden", rng)(advantages)  # [B, width]
        value = _linear(max(1, quantiles), "value", rng)(value)  # [B, N]
        advantages = _linear(n_actions * max(1, quantiles), "advantages", rng)(advantages)  # [B, A * N]
        q_values = DuelingMerge(n_actions, quantiles, name="dueling")([value, advantages])  # [B, A] or [B, A, N]
    else:
        q_values = _linear(n_actions * max(1, quantiles), "q_values", rng)(x)  # [B, A * N]
        if quantiles:
            q_values = tf_keras.layers.Reshape((n_actions, quantiles), name="quantiles")(q_values)  # [B, A, N]
    return tf_keras.Model(observation, q_values, name="q_network")


def table_network(n_states: int, n_actions: int) -> tf_keras.Model:
    """A Q-table [S, A] as a network from one-hot states [B, S] to Q-values [B, A]: its kernel is the table, it has no bias."""
    state = tf_keras.Input((n_states,), name="observation")  # [B, S]
    return tf_keras.Model(state, tf_keras.layers.Dense(n_actions, use_bias=False, name="q_values")(state), name="q_network")


# Filters, size and stride of each convolution.
MINATAR = ((16, 3, 1),)
NIPS = ((16, 8, 4), (32, 4, 2))
NATURE = ((32, 8, 4), (64, 4, 2), (64, 3, 1))


def minatar_torso(x: tf.Tensor, rng: np.random.Generator) -> tf.Tensor:
    """[B, 10, 10, C] -> [B, 1024]: one convolution of 16 filters, 3x3.

    Source: Young and Tian (2019), "MinAtar"; theirs has a hidden layer of 128 behind it.
    """
    return _convolutions(x, rng, MINATAR)


def nature_torso(x: tf.Tensor, rng: np.random.Generator) -> tf.Tensor:
    """[B, 84, 84, C] -> [B, 3136]: three convolutions of 32, 64 and 64 filters, 8x8, 4x4 and 3x3, strides 4, 2 and 1.

    Source: Mnih et al. (2015), "Human-level control through deep reinforcement learning"; theirs has a hidden layer of 512.
    """
    return _convolutions(x, rng, NATURE)


def nips_torso(x: tf.Tensor, rng: np.random.Generator) -> tf.Tensor:
    """[B, 84, 84, C] -> [B, 2592]: two convolutions of 16 and 32 filters, 8x8 and 4x4, strides 4 and 2; a third of the products
    of `nature_torso`.

    Source: Mnih et al. (2013), "Playing Atari with deep reinforcement learning"; theirs has a hidden layer of 256.
    """
    return _convolutions(x, rng, NIPS)


CONVOLUTIONS = {"minatar": MINATAR, "nips": NIPS, "nature": NATURE}
TORSOS: dict[str, Torso | None] = {"mlp": None, "minatar": minatar_torso, "nips": nips_torso, "nature": nature_torso}


def find_torso(name: str) -> Torso | None:
    """One of `TORSOS`, or a user's own from `module:function`. Raises InputError where there is none of this name."""
    if name in TORSOS:
        return TORSOS[name]
    module, _, function = name.partition(":")
    try:
        torso: Torso = getattr(importlib.import_module(module), function)
        if not callable(torso):
            raise TypeError(f"{function} is a {type(torso).__name__}, no function")
        return torso
    except (ImportError, AttributeError, SyntaxError, TypeError, ValueError) as error:
        raise InputError(f"No network {name!r}: expected {', '.join(TORSOS)} or module:function. Got: {error}.") from error


def _draw_anew(layers: Sequence[tf_keras.layers.Layer], rng: np.random.Generator) -> None:
    """Draws the first weights again of those layers that took them from Keras' global generator, because they have no seed.

    Weights that a layer was given otherwise stay: they differ from what its initializer gives, which is the same each time.
    """
    for layer in layers:
        for name in ("kernel", "bias"):
            initializer, variable = getattr(layer, f"{name}_initializer", None), getattr(layer, name, None)
            if initializer is None or variable is None:
                continue
            config = initializer.get_config()
            if config.get("seed", 0) is not None:  # it has one, or needs none
                continue
            # When it is called twice. A filter for good, because `catch_warnings` is not safe in threads.
            warnings.filterwarnings("ignore", "The initializer .* is unseeded and being called multiple times")
            fresh = initializer(variable.shape)
            if np.array_equal(fresh, variable):
                seeded = type(initializer).from_config({**config, "seed": int(rng.integers(2**31))})
                variable.assign(seeded(variable.shape))


def _relu(width: int, name: str, rng: np.random.Generator) -> tf_keras.layers.Layer:
    return tf_keras.layers.Dense(width, "relu", kernel_initializer=_he(rng), name=name)


def _linear(width: int, name: str, rng: np.random.Generator) -> tf_keras.layers.Layer:
    initializer = tf_keras.initializers.GlorotUniform(seed=int(rng.integers(2**31)))
    return tf_keras.layers.Dense(width, kernel_initializer=initializer, name=name)


def _convolutions(x: tf.Tensor, rng: np.random.Generator, layers: Sequence[tuple[int, int, int]]) -> tf.Tensor:
    for i, (filters, size, stride) in enumerate(layers):
        layer = tf_keras.layers.Conv2D(filters, size, stride, activation="relu", kernel_initializer=_he(rng), name=f"conv_{i}")
        x = layer(x)  # [B, H, W, filters]
    return tf_keras.layers.Flatten(name="flatten")(x)  # [B, F]


def _he(rng: np.random.Generator) -> tf_keras.initializers.Initializer:
    return tf_keras.initializers.HeUniform(seed=int(rng.integers(2**31)))
