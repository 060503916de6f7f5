"""Plain networks of other widths: new students, and what is left of a network when neurons are removed."""

import itertools
from collections.abc import Sequence

import numpy as np
import tf_keras

from edgedqn.agents.errors import require
from edgedqn.compression.folding import Weights, kernels_of
from edgedqn.compression.report import NetworkSize


def resized(like: tf_keras.Model, *, filters: Sequence[int], hidden: Sequence[int]) -> tf_keras.Model:
    """A plain network for the same inputs and actions, of other widths, its weights not yet set.

    Args:
      like: a plain network: convolutions, if any, then dense layers. Layers are named by position, as in it.
      filters: of each of its convolutions, in order; their sizes and strides stay.
      hidden: the width of each hidden dense layer, as many as are wanted; none makes a linear head.
    Raises:
      InputError: a width below 1, or another number of convolutions.
    """
    convolutions = [layer for layer in like.layers if isinstance(layer, tf_keras.layers.Conv2D)]
    require(
        len(filters) == len(convolutions) and min([1, *filters, *hidden]) >= 1,
        f"Expected {len(convolutions)} numbers of filters, and filters and widths of 1 or more. "
        f"Got filters={tuple(filters)} and hidden={tuple(hidden)}.",
    )
    x = observation = tf_keras.Input(like.input_shape[1:], name="observation")  # [B, ...]
    position = itertools.count()
    for layer, count in zip(convolutions, filters, strict=True):
        settings = {"activation": layer.activation, "name": f"conv_{next(position)}"}
        x = tf_keras.layers.Conv2D(count, layer.kernel_size, layer.strides, layer.padding, **settings)(x)
    if len(x.shape) > 2:
        x = tf_keras.layers.Flatten(name=f"flatten_{next(position)}")(x)  # [B, F]
    for width in hidden:
        x = tf_keras.layers.Dense(width, "relu", name=f"dense_{next(position)}")(x)  # [B, width]
    x = tf_keras.layers.Dense(like.output_shape[-1], name=f"dense_{next(position)}")(x)  # [B, A]
    return tf_keras.Model(observation, x, name="q_network")


def widths(network: tf_keras.Model) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The filters of a plain network's convolutions, and the widths of its hidden dense layers."""
    filters = tuple(layer.filters for layer in network.layers if isinstance(layer, tf_keras.layers.Conv2D))
    units = tuple(layer.units for layer in network.layers if isinstance(layer, tf_keras.layers.Dense))
    return filters, units[:-1]


def size_of(network: tf_keras.Model) -> NetworkSize:
    """Measures a plain network."""
    filters, hidden = widths(network)
    return NetworkSize(filters, hidden, sum(map(np.size, network.get_weights())))


def fresh(network: tf_keras.Model, rng: np.random.Generator) -> tf_keras.Model:
    """Draws a plain network's weights anew: He uniform before a ReLU, Glorot uniform at the output, biases zero.

    Source: He et al. (2015), "Delving deep into rectifiers"; Glorot and Bengio (2010).
    """
    kernels = kernels_of(network)
    weights: Weights = []
    for i, kernel in enumerate(kernels):
        window = int(np.prod(kernel.shape[:-2]))
        inputs, outputs = window * kernel.shape[-2], window * kernel.shape[-1]
        limit = np.sqrt(6 / inputs) if i < len(kernels) - 1 else np.sqrt(6 / (inputs + outputs))
        weights += [rng.uniform(-limit, limit, kernel.shape).astype(np.float32), np.zeros(kernel.shape[-1], np.float32)]
    drawn = tf_keras.models.clone_model(network)
    drawn.set_weights(weights)
    return drawn
