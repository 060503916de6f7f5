"""Rewrites of a network that are exact in float, and after which rounding does less harm. B is the batch, N the states."""

from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from edgedqn.compression.folding import Weights, solve_ridge

Batches = Callable[[], Iterator[NDArray[np.float32]]]  # of inputs [B, ...], anew at each call

FITS, FITTED_STATES = 12, 20_000  # of the common value: how often, and to how many states at most
LEAST_WEIGHT = 1e-3  # of a neuron, its reach times its largest outgoing weight, as a share of the most
LEAST_REACH = 0.01  # of the farthest neuron's: one that hardly ever fires would be given weights far larger than all others


def without_common_value(network: tf_keras.Model, batches: Batches, *, keep_zeros: bool = False) -> Weights:
    """The weights of a network whose outputs [B, A] have all lost the same number, which lies between their two largest.

    Which is the largest does not change, but what an int8 output has to span: of Q-values, the value of a state is most. The
    number is linear in the last hidden layer, so it is folded into the last layer, exactly. It is fitted by least squares to
    the nearest point between the two largest outputs, again and again: where an action is clearly the best, any such point will
    do, for the output may saturate on either side of it. States that are far from theirs count more, because the farthest set
    the range of the output. With `keep_zeros`, hidden neurons that do not reach all outputs have no part in it.
    """
    trunk = tf_keras.Model(network.input, network.layers[-1].input)
    hidden = np.concatenate([np.asarray(trunk(batch), np.float64) for batch in batches()])  # [N, H]
    hidden = hidden[:: -(-len(hidden) // FITTED_STATES)]
    *rest, kernel, bias = network.get_weights()
    chosen = (kernel != 0).all(axis=1) if keep_zeros else np.ones(len(kernel), bool)  # [H], of which C are
    features = np.column_stack([hidden[:, chosen], np.ones(len(hidden))])  # [N, C + 1]
    second, best = np.sort(hidden @ kernel + bias, axis=1)[:, -2:].T  # [N], [N]
    slack = float(np.median(best - second)) / 2
    wanted, weights = (best + second) / 2, np.ones(len(best))  # [N], [N]
    for _ in range(FITS):
        weighted = features * weights[:, np.newaxis]
        solution = np.concatenate(solve_ridge(weighted.T @ features, weighted.T @ wanted[:, np.newaxis], 1e-3), axis=None)
        fitted = features @ solution  # [N]
        wanted = np.clip(fitted, second, best)
        distance = np.square(np.abs(fitted - wanted) + slack)
        weights = (weights + np.minimum(distance / distance.mean(), np.quantile(distance, 0.9995) / distance.mean())) / 2
    shift = np.zeros((len(kernel), 1), np.float32)  # [H, 1]
    shift[chosen, 0] = solution[:-1]
    return [*rest, kernel - shift, bias - np.float32(solution[-1])]


def with_balanced_ranges(network: tf_keras.Model, batches: Batches, *, share: float) -> Weights:
    """The weights of the same function whose hidden neurons, or filters, suit one scale for all better on these inputs.

    A neuron's weights are divided, and what the next layer makes of it is multiplied, by a positive number, which a ReLU lets
    through. With a share of 0 all neurons reach equally far then, and rounding them costs least; with 1 their largest outgoing
    weights are equal, and rounding those costs least. Those into the outputs are taken without what all outputs have in common.

    Source: Nagel et al. (2019), "Data-free quantization through weight equalization and bias correction", which has a share of
      one half, here with measured ranges.
    """
    layers = [layer for layer in network.layers if layer.weights]
    hidden = tf_keras.Model(network.input, [layer.output for layer in layers[:-1]])
    reach = [np.zeros(layer.output_shape[-1]) for layer in layers[:-1]]
    for batch in batches():
        for i, activation in enumerate(tf.nest.flatten(hidden(batch))):
            reach[i] = np.maximum(reach[i], activation.numpy().reshape(-1, len(reach[i])).max(axis=0))
    weights = network.get_weights()
    for i, found in enumerate(reach):
        alive = found > LEAST_REACH * found.max()
        if not alive.any():
            continue
        following = weights[2 * i + 2]  # [..., in, out]; a flattened image repeats its channels
        told = following - following.mean(axis=-1, keepdims=True) if i == len(reach) - 1 else following
        outgoing = np.abs(told).max(axis=-1).reshape(-1, len(found)).max(axis=0)  # [out]
        weight = np.maximum(found * outgoing, LEAST_WEIGHT * (found * outgoing)[alive].max() or 1.0)
        factor = np.where(alive, found * weight**-share, 1.0)
        factor = np.where(alive, factor / np.exp(np.log(factor[alive]).mean()), 1.0)  # [out]
        weights[2 * i] = (weights[2 * i] / factor).astype(np.float32)
        weights[2 * i + 1] = (weights[2 * i + 1] / factor).astype(np.float32)
        weights[2 * i + 2] = (following * np.resize(factor, following.shape[-2])[:, np.newaxis]).astype(np.float32)
    return weights
