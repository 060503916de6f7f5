"""Rounds a plain network to int8 without training it, so that its decisions suffer least.

What is exact in float comes first: `without_common_value` and `with_equal_ranges` change no decision. Then `round_network`
rounds the kernels one after the other. B is the batch, N the states.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from edgedqn.compression.folding import Weights
from edgedqn.compression.methods.distillation import solve_ridge

Batches = Callable[[], Iterator[NDArray[np.float32]]]  # of inputs [B, ...], anew at each call
Range = tuple[float, float]

LEVELS = 127  # of a weight, on either side of 0
FITS, FITTED_STATES = 12, 20_000  # of the common value: how often, and to how many states at most
RIDGE = 0.01  # of a Gram matrix, as a share of its mean diagonal: what few states show is not relied on
LEAST_REACH = 0.01  # of the farthest neuron's: one that hardly ever fires would be given weights far larger than all others
MOST_ROWS = 512  # of a batch, per layer: a convolution sees one per pixel
RANGE_SHARES = np.linspace(0.3, 1.0, 29)  # of the largest activation
# Of the largest outputs and below them, in median gaps: where an output may saturate.
TAILS, WIDTHS = (0, 1e-4, 3e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2), (0.0, 0.5, 1.0, 2.0)
MOST_TIES = 0.02  # some more are in states that it was not chosen on
MOST_VALUES = 5_000  # of an activation and batch, to choose its range


@dataclass(frozen=True)
class Rounded:
    """A network in integers: of each layer with a kernel, in order.

    Attributes:
      weights: kernels and biases in turn; a kernel's are multiples of its scales.
      scales: [out] of a kernel.
      ranges: of the outputs, after the activation.
    """

    weights: Weights
    scales: tuple[NDArray[np.float32], ...]
    ranges: tuple[Range, ...]


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


def with_equal_ranges(network: tf_keras.Model, batches: Batches) -> Weights:
    """The weights of the same function whose hidden neurons, or filters, all reach equally far on these inputs.

    One scale then suits them all. A neuron's weights are divided, and what the next layer makes of it is multiplied, by a
    positive number, which a ReLU lets through.

    Source: Nagel et al. (2019), "Data-free quantization through weight equalization and bias correction", here with measured
      ranges.
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
        factor = np.where(alive, found / np.exp(np.log(found[alive]).mean()), 1.0)  # [out]
        weights[2 * i] = (weights[2 * i] / factor).astype(np.float32)
        weights[2 * i + 1] = (weights[2 * i + 1] / factor).astype(np.float32)
        following = weights[2 * i + 2]  # [..., in, out]; a flattened image repeats its channels
        weights[2 * i + 2] = (following * np.resize(factor, following.shape[-2])[:, np.newaxis]).astype(np.float32)
    return weights


def round_network(
    network: tf_keras.Model, batches: Batches, *, limits: Range, gap: float, per_output: bool = True, keep_zeros: bool = False
) -> Rounded:
    """Rounds the kernels one after the other, each on what the rounded ones before it compute.

    Args:
      network: [B, ...] -> [B, A], plain; its largest output is the action. It stays as it is.
      batches: of inputs, on-policy and beside it.
      limits: of the input.
      gap: between the best and the second-best output, the median: the unit of the output's resolution, > 0.
      per_output: a Dense kernel has one scale per output, else one for all. Of a convolution each filter has its own.
      keep_zeros: weights that are 0 stay 0.
    """
    state = _Rounding(network, batches, limits)
    scales: list[NDArray[np.float32]] = []
    wanted = np.concatenate([network(batch).numpy() for batch in batches()])  # [N, A]
    for i, layer in enumerate(network.layers):
        if not layer.weights:
            continue
        one_for_all = not per_output and isinstance(layer, tf_keras.layers.Dense)
        kernel, bias, scale = _round_kernel(layer, state.inputs_of(i), one_for_all=one_for_all, keep_zeros=keep_zeros)
        rounded = state.twin.layers[i]
        rounded.set_weights([kernel, bias])
        scales.append(scale)
        outputs = (rounded(x).numpy() for _, x in state.inputs_of(i))
        if layer is network.layers[-1]:
            state.ranges[layer.name] = _output_range(np.concatenate(list(outputs)), wanted, gap)
        else:
            state.ranges[layer.name] = _activation_range(np.concatenate([_some(each) for each in outputs]))
    return Rounded(state.twin.get_weights(), tuple(scales), tuple(state.ranges.values()))


class _Rounding:
    """A network and its twin, which is rounded up to the layer that is looked at."""

    def __init__(self, network: tf_keras.Model, batches: Batches, limits: Range):
        self.twin = tf_keras.models.clone_model(network)
        self.twin.set_weights(network.get_weights())
        self.ranges: dict[str, Range] = {}  # of the rounded layers' outputs
        self._network, self._batches, self._limits = network, batches, limits

    def inputs_of(self, index: int) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
        """What a layer is given, batch by batch: in float, and by the rounded layers before it."""
        before = list(zip(self._network.layers[1:index], self.twin.layers[1:index], strict=True))
        for batch in self._batches():
            exact, rounded = batch, fake_quantized(batch, self._limits)
            for layer, copy in before:
                exact, rounded = layer(exact), copy(rounded)
                if layer.name in self.ranges:
                    rounded = fake_quantized(rounded, self.ranges[layer.name])
            yield exact, rounded


def _round_kernel(
    layer: tf_keras.layers.Layer, inputs: Iterator[tuple[tf.Tensor, tf.Tensor]], *, one_for_all: bool, keep_zeros: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """The kernel in multiples of its scales, the bias, and the scales [out]."""
    kernel, bias = layer.get_weights()
    weights = kernel.reshape(-1, kernel.shape[-1]).astype(np.float64)  # [in, out]
    gram, lost = np.zeros((len(weights), len(weights))), np.zeros((len(weights), len(weights)))
    means, rows = np.zeros((2, len(weights))), 0
    for exact, rounded in inputs:
        x, x_rounded = _rows(layer, exact), _rows(layer, rounded)  # [R, in]
        gram += x_rounded.T @ x_rounded
        lost += x_rounded.T @ (x - x_rounded)
        means += x.sum(axis=0), x_rounded.sum(axis=0)
        rows += len(x)
    gram[np.diag_indices(len(gram))] += RIDGE * np.trace(gram) / len(gram)
    wanted = weights + np.linalg.solve(gram, lost @ weights)  # makes up for what its inputs have lost
    scales = np.abs(wanted).max(axis=0) / LEVELS  # [out]
    if one_for_all:
        scales = np.full_like(scales, scales.max())
    scales = np.maximum(scales, 1e-12)
    found = _round_weights(wanted, gram, scales=scales, free=weights != 0 if keep_zeros else None)
    bias = bias + (means[0] @ weights - means[1] @ found) / rows
    return found.reshape(kernel.shape).astype(np.float32), bias.astype(np.float32), scales.astype(np.float32)


def _round_weights(
    weights: NDArray[np.float64],
    gram: NDArray[np.float64],
    *,
    scales: NDArray[np.float64],
    free: NDArray[np.bool_] | None,
) -> NDArray[np.float64]:
    """Rounds weights [in, out] to multiples of their scales [out], input by input, from the strongest to the weakest.

    What an input's rounding changes in the outputs, the weights of later inputs take back, as far as these go together with it:
    that is what the Gram matrix [in, in] of the inputs says. Weights that are not `free` become 0.

    Source: Frantar et al. (2023), "GPTQ: accurate post-training quantization for generative pre-trained transformers".
    """
    order = np.argsort(-np.diag(gram))
    weights, gram = weights[order], gram[np.ix_(order, order)]
    upper = np.linalg.cholesky(np.linalg.inv(gram)).T  # [in, in]
    rounded = np.empty_like(weights)
    for i in range(len(weights)):
        rounded[i] = np.clip(np.rint(weights[i] / scales), -LEVELS, LEVELS) * scales
        if free is not None:
            rounded[i] *= free[order[i]]
        error = (weights[i] - rounded[i]) / upper[i, i]  # [out]
        weights[i + 1 :] -= np.outer(upper[i, i + 1 :], error)
    return rounded[np.argsort(order)]


def _rows(layer: tf_keras.layers.Layer, x: tf.Tensor) -> NDArray[np.float64]:
    """What multiplies a kernel [in, out]: a batch [B, in], or some of the patches [R, height * width * channels] of images."""
    if isinstance(layer, tf_keras.layers.Dense):
        return np.asarray(x, np.float64)
    patches = tf.image.extract_patches(  # [B, H', W', in]
        x,
        sizes=(1, *layer.kernel_size, 1),
        strides=(1, *layer.strides, 1),
        rates=(1, 1, 1, 1),
        padding=layer.padding.upper(),
    )
    rows = np.asarray(patches, np.float64).reshape(-1, patches.shape[-1])
    return rows[:: -(-len(rows) // MOST_ROWS)]


def _some(activation: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of a batch, flat."""
    values = activation.ravel()
    return values[:: -(-values.size // MOST_VALUES)]


def _activation_range(values: NDArray[np.float32]) -> Range:
    """From 0 to where the squares of what is rounded and of what is cut off are least, together."""
    largest = float(values.max())
    if largest <= 0:
        return 0.0, 1.0  # it never fires
    highs = largest * RANGE_SHARES
    errors = [np.square(values - fake_quantized(values, (0.0, high)).numpy()).mean() for high in highs]
    return 0.0, float(highs[np.argmin(errors)])


def _output_range(outputs: NDArray[np.float32], wanted: NDArray[np.float32], gap: float) -> Range:
    """Where the outputs [N, A] may saturate: the range in which they choose most like the wanted ones [N, A], by gap.

    What lies below the best action by more than some gaps may as well be lower; int8 clips it for nothing.
    """
    ordered = np.sort(wanted, axis=1)
    gaps, best = ordered[:, -1] - ordered[:, -2], wanted.argmax(axis=1)  # [N]
    second, largest = np.sort(outputs, axis=1)[:, -2:].T  # [N], [N]
    lowest = min(0.0, float(outputs.min()))
    found = np.inf, (lowest, max(lowest + gap, float(outputs.max())))  # where no action is better than another
    for top in TAILS:
        for bottom in TAILS:
            for width in WIDTHS:
                low = min(0.0, float(np.quantile(largest, bottom)) - width * gap)
                high = max(0.0, float(np.quantile(second, 1 - top)) + width * gap)
                if high - low < gap:
                    continue
                rounded = fake_quantized(outputs, (low, high)).numpy()
                chosen = rounded.max(axis=1, keepdims=True)
                ties = ((rounded == chosen).sum(axis=1) > 1).mean()
                wrong = gaps[rounded.argmax(axis=1) != best].sum() / gaps.sum()
                cost = wrong + max(0.0, ties - MOST_TIES)
                if cost < found[0]:
                    found = cost, (low, high)
    return found[1]


def fake_quantized(values: NDArray[np.float32] | tf.Tensor, limits: Range) -> tf.Tensor:
    """As an int8 tensor of this range holds them; 0 is exact."""
    return tf.quantization.fake_quant_with_min_max_args(values, *limits, num_bits=8)
