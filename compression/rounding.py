"""Rounds a plain network to int8 without training it, so that its decisions suffer least. B is the batch, N the states."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from edgedqn.compression.folding import Weights
from edgedqn.compression.rewriting import Batches
from edgedqn.compression.saturation import OutputRanges, Range, fake_quantized, output_ranges

LEVELS = 127  # of a weight, on either side of 0
RIDGE = 0.01  # of a Gram matrix, as a share of its mean diagonal: what few states show is not relied on
MOST_ROWS = 512  # of a batch, per layer: a convolution sees one per pixel
RANGE_SHARES = np.linspace(0.3, 1.0, 29)  # of the largest activation
MOST_VALUES = 5_000  # of an activation and batch, to choose its range


@dataclass(frozen=True)
class Rounded:
    """A network in integers: of each layer with a kernel, in order.

    Attributes:
      weights: kernels and biases in turn; a kernel's are multiples of its scales, but for one that stays in float.
      scales: [out] of a rounded kernel.
      ranges: of rounded outputs, after the activation.
      widest: of the last output, where ties do not matter.
    """

    weights: Weights
    scales: tuple[NDArray[np.float32], ...]
    ranges: tuple[Range, ...]
    widest: Range | None = None

    def widened(self) -> "Rounded | None":
        """The same with the widest output; None where it has that already, or is in float."""
        if self.widest is None or self.widest == self.ranges[-1]:
            return None
        return replace(self, ranges=(*self.ranges[:-1], self.widest))


def round_network(
    network: tf_keras.Model,
    batches: Batches,
    *,
    limits: Range | None,
    per_output: bool = True,
    keep_zeros: bool = False,
    float_output: bool = False,
    ranges_of: Callable[[NDArray[np.float32], NDArray[np.float32]], OutputRanges] = output_ranges,
) -> Rounded:
    """Rounds the kernels one after the other, each on what the rounded ones before it compute.

    Args:
      network: [B, ...] -> [B, A], plain; its largest output is the action. It stays as it is.
      batches: of inputs, on-policy and beside it.
      limits: of the input; None leaves it, and all activations, in float.
      per_output: a Dense kernel has one scale per output, else one for all. Of a convolution each filter has its own.
      keep_zeros: weights that are 0 stay 0.
      float_output: the last layer is not rounded, but makes up for what those before it have lost.
      ranges_of: where the output may saturate: of what the rounded last layer makes [N, A], and of what it should [N, A].
    """
    state = _Rounding(network, batches, limits)
    scales, widest = list[NDArray[np.float32]](), None
    for i, layer in enumerate(network.layers):
        if not layer.weights:
            continue
        is_last = layer is network.layers[-1]
        fitted = _fit_kernel(layer, state.inputs_of(i), keep_zeros=keep_zeros)
        if is_last and float_output:
            state.twin.layers[i].set_weights(fitted.in_float)
            break
        *rounded, scale = fitted.rounded(one_for_all=not per_output and isinstance(layer, tf_keras.layers.Dense))
        state.twin.layers[i].set_weights(rounded)
        scales.append(scale)
        if limits is None:
            continue
        outputs = (state.twin.layers[i](x).numpy() for _, x in state.inputs_of(i))
        if is_last:
            wanted = np.concatenate([network(batch).numpy() for batch in batches()])  # [N, A]
            state.ranges[layer.name], widest, _ = ranges_of(np.concatenate(list(outputs)), wanted)
        else:
            state.ranges[layer.name] = _activation_range(np.concatenate([_some(each) for each in outputs]))
    return Rounded(state.twin.get_weights(), tuple(scales), tuple(state.ranges.values()), widest)


class _Rounding:
    """A network and its twin, which is rounded up to the layer that is looked at."""

    def __init__(self, network: tf_keras.Model, batches: Batches, limits: Range | None):
        self.twin = tf_keras.models.clone_model(network)
        self.twin.set_weights(network.get_weights())
        self.ranges: dict[str, Range] = {}  # of the rounded layers' outputs
        self._network, self._batches, self._limits = network, batches, limits

    def inputs_of(self, index: int) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
        """What a layer is given, batch by batch: in float, and by the rounded layers before it."""
        before = list(zip(self._network.layers[1:index], self.twin.layers[1:index], strict=True))
        for batch in self._batches():
            exact, rounded = batch, batch if self._limits is None else fake_quantized(batch, self._limits)
            for layer, copy in before:
                exact, rounded = layer(exact), copy(rounded)
                if layer.name in self.ranges:
                    rounded = fake_quantized(rounded, self.ranges[layer.name])
            yield exact, rounded


@dataclass(frozen=True, kw_only=True)
class _Fitted:
    """A kernel as [in, out] that makes up for what its inputs have lost, before it is rounded itself.

    Attributes:
      kernel: as the layer has it, [..., out].
      bias: of the layer, [out].
      wanted: the kernel that makes up for it, [in, out].
      free: which of its weights may be other than 0, [in, out].
      gram: of the rounded inputs, [in, in].
      means: of the inputs in float and of the rounded ones, [2, in].
    """

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]
    wanted: NDArray[np.float64]
    free: NDArray[np.bool_]
    gram: NDArray[np.float64]
    means: NDArray[np.float64]

    @property
    def in_float(self) -> Weights:
        """Kernel and bias."""
        return self._with_bias(self.wanted)

    def rounded(self, *, one_for_all: bool) -> Weights:
        """The kernel in multiples of its scales, the bias, and the scales [out]."""
        scales = np.abs(self.wanted).max(axis=0) / LEVELS  # [out]
        if one_for_all:
            scales = np.full_like(scales, scales.max())
        scales = np.maximum(scales, 1e-12)
        found = _round_weights(self.wanted, self.gram, scales=scales, free=self.free)
        return [*self._with_bias(found), scales.astype(np.float32)]

    def _with_bias(self, found: NDArray[np.float64]) -> Weights:
        exact = self.kernel.reshape(found.shape)
        bias = self.bias + (self.means[0] @ exact - self.means[1] @ found)
        return [found.reshape(self.kernel.shape).astype(np.float32), bias.astype(np.float32)]


def _fit_kernel(layer: tf_keras.layers.Layer, inputs: Iterator[tuple[tf.Tensor, tf.Tensor]], *, keep_zeros: bool) -> _Fitted:
    """Of a layer, from its inputs in float and rounded, batch by batch."""
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
    gram[np.diag_indices(len(gram))] += RIDGE * np.trace(gram) / len(gram) or 1.0  # where no input ever fires
    free = weights != 0 if keep_zeros else np.ones(weights.shape, bool)
    wanted = np.where(free, weights + np.linalg.solve(gram, lost @ weights), 0)
    return _Fitted(kernel=kernel, bias=bias, wanted=wanted, free=free, gram=gram, means=means / rows)


def _round_weights(
    weights: NDArray[np.float64],
    gram: NDArray[np.float64],
    *,
    scales: NDArray[np.float64],
    free: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Rounds weights [in, out] to multiples of their scales [out], input by input, from the strongest to the weakest.

    What an input's rounding changes in the outputs, the weights of later inputs take back, as far as these go together with it:
    that is what the Gram matrix [in, in] of the inputs says. Weights that are not `free` become 0. The largest weight of an
    output keeps its integer, so that who measures the kernel again finds the same scale.

    Source: Frantar et al. (2023), "GPTQ: accurate post-training quantization for generative pre-trained transformers".
    """
    order = np.argsort(-np.diag(gram))
    weights, gram, free = weights[order], gram[np.ix_(order, order)], free[order]
    largest = np.rint(weights / scales) * (np.abs(weights) == np.abs(weights).max(axis=0))  # [in, out]
    upper = np.linalg.cholesky(np.linalg.inv(gram)).T  # [in, in]
    rounded = np.empty_like(weights)
    for i in range(len(weights)):
        nearest = np.where(largest[i] != 0, largest[i], np.rint(weights[i] / scales))  # [out]
        rounded[i] = np.clip(nearest, -LEVELS, LEVELS) * scales * free[i]
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
    """With 0 in it, where the squares of what is rounded and of what is cut off are least, together."""
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    if low == high:
        return 0.0, 1.0  # it never fires
    ranges = [(low * share, high * share) for share in RANGE_SHARES.tolist()]
    errors = [np.square(values - fake_quantized(values, each).numpy()).mean() for each in ranges]
    return ranges[int(np.argmin(errors))]
