"""Rewrites of a network that change no decision in float, and that make rounding to integers hurt less."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from edgedqn.agents.chain import ChainReader
from edgedqn.agents.files import JsonValue
from edgedqn.agents.numpy_network import Conv, Dense, Flatten
from edgedqn.agents.playing.spec import EnvironmentSpec, OneHot

Weights = list[NDArray[np.float32]]  # kernel [in, out] or [height, width, in, out] and bias [out] of each layer in turn

HEADROOM = 0.1  # of the range that a feature has on-policy, at each end
BATCH = 256  # states that go through a network at once: stacked Atari images are 29 MB as float32


@dataclass(frozen=True)
class InputScaling(JsonValue):
    """x -> x * scale + offset, along the last axis, so that the input uses the whole of a range that is known beforehand.

    An int8 input has one scale for all features; without this a feature that is small beside the others is rounded away.

    Attributes:
      scale: of each feature or channel, or one for all; finite, > 0.
      offset: as many, finite.
      limits: what is scaled is clamped to [low, high], as the integer input of the device is; None clamps nothing.
    """

    scale: tuple[float, ...]
    offset: tuple[float, ...]
    limits: tuple[float, float] | None = None

    @classmethod
    def identity(cls) -> "InputScaling":
        """Changes nothing."""
        return cls((1.0,), (0.0,))

    @classmethod
    def fitting(
        cls, spec: EnvironmentSpec, observations: NDArray[Any], *, pads: bool, headroom: float = HEADROOM
    ) -> "InputScaling":
        """The scaling for what a network sees of an environment.

        The number of a state, and images of booleans and of bytes, have theirs by their type: it represents each value they
        can have exactly, whatever was visited. Vectors are measured per feature, other images per channel.

        Args:
          spec: of the environment.
          observations: [N, *input_shape], on-policy, N >= 1.
          pads: the first kernel is a convolution that pads with zeros, so a zero must stay one.
          headroom: as `measured` takes it.
        """
        image = len(spec.observation_shape) > 1
        if OneHot() in spec.preprocessing or (image and spec.observation_dtype == "bool"):
            return cls((1.0,), (0.0,), (0.0, 1.0))
        if image and spec.observation_dtype == "uint8":
            scale: tuple[float, ...] = (1 / 255,)  # each byte has a level of its own, whatever the network makes of it
            if spec.masked:
                pixels = observations.shape[-1] // spec.frame_stack - spec.n_actions
                scale = (scale * pixels + (1.0,) * spec.n_actions) * spec.frame_stack
            return cls(scale, (0.0,) * len(scale), (0.0, 1.0))
        return cls.measured(observations.reshape(-1, observations.shape[-1]), headroom=headroom, centred=not pads)

    @classmethod
    def measured(
        cls, observations: NDArray[Any], *, tail: float = 1e-3, headroom: float = HEADROOM, centred: bool = True
    ) -> "InputScaling":
        """Centres and scales each feature by the range it has on-policy, to [-1, 1].

        Args:
          observations: [N, F], on-policy, N >= 1.
          tail: the share of observations that may lie beyond the measured range at each end, so that one outlier does not
            cost all others their resolution.
          headroom: how much wider than measured the range is made, as a share of its width at each end.
          centred: use offsets; without, the range is widened until 0 is its middle.
        """
        x = observations.astype(np.float64)  # [N, F]
        low, high = np.quantile(x, tail, axis=0), np.quantile(x, 1 - tail, axis=0)  # [F], [F]
        if not centred:
            high = np.maximum(np.abs(low), np.abs(high))
            low = -high
        center = (low + high) / 2
        half = (high - low) / 2 * (1 + 2 * headroom)
        # A feature that does not move carries nothing; any width will do that keeps the numbers small.
        half = np.where(half > 1e-6 * np.maximum(np.abs(center), 1e-6), half, np.maximum(np.abs(center), 1.0))
        return cls(tuple((1 / half).tolist()), tuple((-center / half).tolist()), (-1.0, 1.0))

    def __call__(self, observations: NDArray[Any]) -> NDArray[np.float32]:
        """[..., F] of any dtype -> float32 [..., F]."""
        scaled = self._unclamped(observations)
        return scaled if self.limits is None else np.clip(scaled, self.limits[0], self.limits[1])

    def tensor(self, observations: tf.Tensor) -> tf.Tensor:
        """The same in TensorFlow, in float32: [..., F] of any dtype -> [..., F]."""
        scaled = tf.cast(observations, tf.float32) * tf.constant(self.scale) + tf.constant(self.offset)
        return scaled if self.limits is None else tf.clip_by_value(scaled, *self.limits)

    def clipped_fraction(self, observations: NDArray[Any]) -> float:
        """The share of all numbers in [N, ...] that lie beyond the limits."""
        if self.limits is None:
            return 0.0
        low, high = self.limits
        beyond = 0
        for batch in in_batches(observations):
            scaled = self._unclamped(batch)
            beyond += int(((scaled < low) | (scaled > high)).sum())
        return beyond / observations.size

    def _unclamped(self, observations: NDArray[Any]) -> NDArray[np.float32]:
        return (observations * np.asarray(self.scale) + np.asarray(self.offset)).astype(np.float32)


def in_batches(states: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """States [N, ...] in parts of up to 256: as float32, all images at once would not fit into memory."""
    return (states[start : start + BATCH] for start in range(0, len(states), BATCH))


def plain_network(network: tf_keras.Model) -> tf_keras.Model:
    """The equal network of plain Dense, Conv2D and Flatten layers, one behind the other: its heads and scalings folded in.

    Args:
      network: [B, ...] -> Q-values [B, A], or their quantiles [B, A, N], of which the mean is taken.
    Returns:
      A new model [B, ...] -> Q-values [B, A], with ReLU or no activation in each layer. Its names are always the same.
    Raises:
      NotAChainError: it has a layer that is not understood.
    """
    x = observation = tf_keras.Input(network.input_shape[1:], name="observation")  # [B, ...]
    weights: Weights = []
    for i, operator in enumerate(ChainReader(network)(network.get_weights())):
        if isinstance(operator, Flatten):
            x = tf_keras.layers.Flatten(name=f"flatten_{i}")(x) if len(x.shape) > 2 else x  # [B, F]
            continue
        weights += [operator.kernel, operator.bias]
        activation = "relu" if operator.relu else "linear"
        match operator:
            case Dense(kernel):
                x = tf_keras.layers.Dense(kernel.shape[1], activation, name=f"dense_{i}")(x)  # [B, out]
            case Conv(kernel, strides=strides, padding=padding):
                size, filters = kernel.shape[:2], kernel.shape[3]
                x = tf_keras.layers.Conv2D(filters, size, strides, padding, activation=activation, name=f"conv_{i}")(x)
    plain = tf_keras.Model(observation, x, name="q_network")
    plain.set_weights(weights)
    return plain


def kernels_of(network: tf_keras.Model) -> Weights:
    """The kernels of a plain network, or of one with plain fake quantization, in order, without what else it has."""
    return [array for array in network.get_weights() if array.ndim > 1]


def pads_input(network: tf_keras.Model) -> bool:
    """Whether the first kernel of a plain network is a convolution that pads with zeros."""
    first = next(layer for layer in network.layers if layer.weights)
    return isinstance(first, tf_keras.layers.Conv2D) and first.padding == "same"


def fold_input_scaling(weights: Weights, scaling: InputScaling) -> Weights:
    """Moves the inverse of `scaling` into the first layer: network'(x * scale + offset) == network(x), exact in float.

    Args:
      weights: of a plain network. Its first layer must not pad with zeros where the scaling has an offset.
      scaling: per feature or channel of the input; repeated where the first layer takes a flattened image.
    """
    kernel, bias, *rest = weights  # [..., in, out], [out]
    channels = kernel.shape[-2]
    scale, offset = (np.resize(values, channels)[:, np.newaxis] for values in (scaling.scale, scaling.offset))  # [in, 1]
    folded = kernel.astype(np.float64) / scale  # [..., in, out]
    shift = (offset * folded).sum(axis=tuple(range(kernel.ndim - 1)))  # [out]
    return [folded.astype(np.float32), (bias - shift).astype(np.float32), *rest]


def unfold_input_scaling(weights: Weights, scaling: InputScaling) -> Weights:
    """The inverse of `fold_input_scaling`: network'(x) == network(x * scale + offset), before that is clamped."""
    scale, offset = np.asarray(scaling.scale), np.asarray(scaling.offset)
    return fold_input_scaling(weights, InputScaling(tuple((1 / scale).tolist()), tuple((-offset / scale).tolist())))


def solve_ridge(gram: NDArray[np.float64], moments: NDArray[np.float64], ridge: float) -> Weights:
    """The kernel [H, A] and bias [A] of least squares, of the products of features [H + 1] with themselves and the targets."""
    gram = gram + ridge * np.trace(gram) / len(gram) * np.eye(len(gram))
    solution = np.linalg.solve(gram, moments).astype(np.float32)  # [H + 1, A]
    return [solution[:-1], solution[-1]]
