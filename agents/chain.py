"""What a Q-network computes, written as a plain chain of operators: its heads and scalings folded into Dense and Conv.

Acting in NumPy, compression and export all start from this one reading of a Keras network. B is the batch.
"""

from collections.abc import Sequence
from typing import TypeAlias, TypeVar

import numpy as np
import tf_keras
from numpy.typing import NDArray

from edgedqn.agents.architecture import DuelingMerge
from edgedqn.agents.errors import InputError
from edgedqn.agents.numpy_network import Array, Conv, Dense, Flatten, Operator

Kernel = TypeVar("Kernel", Dense, Conv)
Scale: TypeAlias = NDArray[np.float64]  # [], or [F] of a vector
ONE, NONE = np.ones(()), np.zeros(())


class NotAChainError(InputError):
    """The network is not one layer after the other, or has a layer whose meaning is not known here."""


class ChainReader:
    """Knows how a network's weights make a chain. Made once per architecture; then any weights of it can be read.

    Understood: Dense and Conv2D with linear or ReLU activation, ReLU on its own, Flatten, Dropout, Rescaling,
    BatchNormalization, a reshape to one axis, and at the end a quantile head (a Reshape to [A, N]) or a dueling head
    (`DuelingMerge`). Everything but Dense, Conv and Flatten is folded, exactly in real numbers: a scaling or a normalization
    into the kernel before it, or, behind an activation or the input, into the next one; a dueling head by concatenating its
    streams and adding the value to each action, quantiles by averaging them.
    """

    def __init__(self, network: tf_keras.Model):
        """Reads the layers of a functional model [B, ...] -> [B, A] or [B, A, N].

        Raises:
          NotAChainError: with the layer that is not understood.
        """
        self._slices: dict[str, slice] = {}
        at = 0
        for layer in network.layers:
            self._slices[layer.name] = slice(at, at + len(layer.weights))
            at += len(layer.weights)
        self._quantiles = network.output_shape[2] if len(network.output_shape) == 3 else 0
        self.n_actions: int = network.output_shape[1]
        if len(network.inputs) != 1 or len(network.outputs) != 1 or len(network.layers) < 2:
            raise NotAChainError("A policy network has one input and one output. Got several, or no layers.")
        last = network.outputs[0]._keras_history.layer
        self._dueling: list[list[tf_keras.layers.Layer]] = []
        if isinstance(last, DuelingMerge):
            streams = [_back_to_fork(source) for source in _sources(last)]
            forks = {id(fork) for _, fork in streams}
            if len(forks) != 1:
                raise NotAChainError("The two streams of a dueling head must leave the same layer.")
            self._dueling = [stream for stream, _ in streams]
            trunk = _back_to_input(streams[0][1])
        else:
            trunk = _back_to_input(last)
            if self._quantiles:
                if not isinstance(trunk[-1], tf_keras.layers.Reshape):
                    raise NotAChainError(f"A quantile head ends in a Reshape to [A, N]. Got {trunk[-1].name!r}.")
                trunk = trunk[:-1]
        self._trunk = trunk
        self(network.get_weights())  # names the first layer that is not understood

    def __call__(self, weights: Sequence[Array]) -> list[Operator]:
        """The chain for weights as `network.get_weights()` gives them. The last operator gives Q-values [B, A]."""
        operators, scale, offset = self._read(self._trunk, weights)
        if self._dueling:
            value, advantage = (self._read(stream, weights, scale, offset)[0] for stream in self._dueling)
            operators += _merge_streams(value, advantage, self.n_actions, max(1, self._quantiles))
        last = operators[-1] if operators else None
        if not isinstance(last, Dense) or last.relu:
            raise NotAChainError("A Q-network ends in a Dense layer without activation.")
        if self._quantiles and not self._dueling:
            operators[-1] = _mean_over_quantiles(last, self.n_actions, self._quantiles)
        return operators

    def _read(
        self, layers: Sequence[tf_keras.layers.Layer], weights: Sequence[Array], scale: Scale = ONE, offset: Scale = NONE
    ) -> tuple[list[Operator], Scale, Scale]:
        """The operators of layers whose input is x * scale + offset, and the scale and offset that are left for the next."""
        operators: list[Operator] = []

        def scaled(by: Scale, plus: Scale) -> None:  # what is computed so far, times `by`, plus `plus`
            nonlocal scale, offset
            last = operators[-1] if operators else None
            if isinstance(last, Dense | Conv) and not last.relu and not _is_left(scale, offset):
                bias = last.bias * by + plus
                operators[-1] = last._replace(kernel=(last.kernel * by).astype(np.float32), bias=bias.astype(np.float32))
            else:
                scale, offset = scale * by, offset * by + plus

        for layer in layers:
            own = weights[self._slices[layer.name]]
            match layer:
                case tf_keras.layers.InputLayer() | tf_keras.layers.Dropout():
                    pass
                case tf_keras.layers.Rescaling():
                    scaled(np.asarray(layer.scale, np.float64), np.asarray(layer.offset, np.float64))  # [] or [F], [C]
                case tf_keras.layers.BatchNormalization():
                    scaled(*_normalization(layer, own))
                case tf_keras.layers.Dense() if len(layer.input_shape) == 2:
                    bias = own[1] if layer.use_bias else np.zeros(layer.units, np.float32)
                    operators.append(_rescaled(Dense(own[0], bias, _is_relu(layer)), scale, offset))
                    scale, offset = ONE, NONE
                case tf_keras.layers.Conv2D() if type(layer) is tf_keras.layers.Conv2D:
                    operators.append(_rescaled(_conv(layer, own), scale, offset))
                    scale, offset = ONE, NONE
                case tf_keras.layers.Activation() if layer.activation is tf_keras.activations.linear:
                    pass
                case tf_keras.layers.Reshape() if layer.output_shape == layer.input_shape:
                    pass
                case tf_keras.layers.ReLU() | tf_keras.layers.Activation() if operators:
                    previous = operators[-1]
                    if isinstance(previous, Flatten) or not _is_relu(layer) or _is_left(scale, offset):
                        raise NotAChainError(f"Expected a plain ReLU after a Dense or Conv2D. Got {layer.name!r}.")
                    operators[-1] = previous._replace(relu=True)
                case tf_keras.layers.Flatten() if layer.data_format == "channels_last":
                    operators.append(Flatten())
                    scale, offset = (_per_feature(each, layer) for each in (scale, offset))
                case tf_keras.layers.Reshape() if len(layer.output_shape) == 2:
                    operators.append(Flatten())
                    scale, offset = (_per_feature(each, layer) for each in (scale, offset))
                case _:
                    raise NotAChainError(f"Layer {layer.name!r} ({type(layer).__name__}) is not one of a plain Q-network.")
        return operators, scale, offset


def _is_left(scale: Scale, offset: Scale) -> bool:
    """Whether the next kernel has something to take in."""
    return bool((scale != 1).any() or offset.any())


def _per_feature(values: Scale, layer: tf_keras.layers.Layer) -> Scale:
    """One number for all, or those of the channels, repeated for each pixel of what is flattened."""
    return np.resize(values, layer.output_shape[1]) if values.ndim else values


def _normalization(layer: tf_keras.layers.Layer, own: Sequence[Array]) -> tuple[Scale, Scale]:
    """What it multiplies by and adds once it has learned: [C] each."""
    if list(layer.axis) != [len(layer.input_shape) - 1]:
        raise NotAChainError(f"BatchNormalization {layer.name!r} is understood over the last axis only.")
    remaining = iter(np.asarray(each, np.float64) for each in own)
    gamma = next(remaining) if layer.scale else ONE
    beta = next(remaining) if layer.center else NONE
    mean, variance = remaining
    by = gamma / np.sqrt(variance + layer.epsilon)
    return by, beta - mean * by


def _sources(layer: tf_keras.layers.Layer) -> list[tf_keras.layers.Layer]:
    """The layers whose output `layer` takes."""
    if len(layer.inbound_nodes) != 1:
        raise NotAChainError(f"Layer {layer.name!r} is used more than once.")
    sources = layer.inbound_nodes[0].inbound_layers
    return list(sources) if isinstance(sources, list | tuple) else [sources]


def _back_to_input(layer: tf_keras.layers.Layer) -> list[tf_keras.layers.Layer]:
    layers = [layer]
    while not isinstance(layers[0], tf_keras.layers.InputLayer):
        sources = _sources(layers[0])
        if len(sources) != 1:
            raise NotAChainError(f"Layer {layers[0].name!r} ({type(layers[0]).__name__}) joins several layers.")
        layers.insert(0, sources[0])
    return layers


def _back_to_fork(layer: tf_keras.layers.Layer) -> tuple[list[tf_keras.layers.Layer], tf_keras.layers.Layer]:
    """The layers of one stream of a dueling head, and the layer it leaves."""
    layers = [layer]
    source = _sources(layer)[0]
    while len(source.outbound_nodes) == 1 and isinstance(source, tf_keras.layers.Dense | tf_keras.layers.Dropout):
        layers.insert(0, source)
        source = _sources(source)[0]
    return layers, source


def _is_relu(layer: tf_keras.layers.Layer) -> bool:
    if isinstance(layer, tf_keras.layers.ReLU):
        if layer.max_value is None and not layer.negative_slope and not layer.threshold:
            return True
    elif layer.activation is tf_keras.activations.relu:
        return True
    elif layer.activation is tf_keras.activations.linear:
        return False
    raise NotAChainError(f"Layer {layer.name!r} has an activation that is neither linear nor a plain ReLU.")


def _conv(layer: tf_keras.layers.Layer, own: Sequence[Array]) -> Conv:
    if layer.data_format != "channels_last" or layer.groups != 1 or layer.dilation_rate != (1, 1):
        raise NotAChainError(f"Conv2D {layer.name!r} is understood channels last, in one group, without dilation only.")
    bias = own[1] if layer.use_bias else np.zeros(layer.filters, np.float32)
    return Conv(kernel=own[0], bias=bias, relu=_is_relu(layer), strides=layer.strides, padding=layer.padding)


def _rescaled(operator: Kernel, scale: Scale, offset: Scale) -> Kernel:
    """The operator on x that equals the given one on x * scale + offset."""
    if (scale == 1).all() and (offset == 0).all():
        return operator
    if offset.any() and isinstance(operator, Conv) and operator.padding == "same":
        raise NotAChainError("A Rescaling with an offset cannot be folded into a convolution that pads with zeros.")
    kernel = operator.kernel  # [in, out], or [height, width, in, out]
    by, plus = (np.broadcast_to(each, kernel.shape[-2]).astype(np.float32)[:, None] for each in (scale, offset))
    bias = operator.bias + (plus * kernel).sum(axis=tuple(range(kernel.ndim - 1)))
    return operator._replace(kernel=kernel * by, bias=bias)


def _mean_over_quantiles(dense: Dense, n_actions: int, quantiles: int) -> Dense:
    """[B, A * N] -> [B, A], the mean over the N quantiles of each action."""
    kernel = dense.kernel.reshape(-1, n_actions, quantiles).mean(axis=2)  # [in, A]
    return dense._replace(kernel=kernel, bias=dense.bias.reshape(n_actions, quantiles).mean(axis=1))


def _merge_streams(value: list[Operator], advantage: list[Operator], n_actions: int, quantiles: int) -> list[Operator]:
    """The two streams side by side in each layer, and V + A - mean A in the last one."""
    dense = [[each for each in stream if isinstance(each, Dense)] for stream in (value, advantage)]
    if not value or len({len(value), len(advantage), *map(len, dense)}) != 1:
        raise NotAChainError("The two streams of a dueling head must be Dense layers, equally many in both.")
    pairs = list(zip(*dense, strict=True))
    if any(v.relu != a.relu for v, a in pairs) or pairs[-1][0].relu:
        raise NotAChainError("The two streams of a dueling head must have the same activations, and none at their ends.")
    merged: list[Operator] = []
    for i, (v, a) in enumerate(pairs[:-1]):
        kernel = np.hstack([v.kernel, a.kernel]) if i == 0 else _block_diagonal(v.kernel, a.kernel)
        merged.append(Dense(kernel, np.concatenate([v.bias, a.bias]), v.relu))
    v, a = pairs[-1]
    a = _mean_over_quantiles(a, n_actions, quantiles)
    v = Dense(v.kernel.mean(axis=1, keepdims=True), v.bias.mean(keepdims=True), False)  # [in, 1]
    centred = a.kernel - a.kernel.mean(axis=1, keepdims=True)  # [in, A]
    of_value = np.repeat(v.kernel, n_actions, axis=1)  # [in, A]
    kernel = np.vstack([of_value, centred]) if merged else of_value + centred
    return [*merged, Dense(kernel, v.bias + a.bias - a.bias.mean(), False)]


def _block_diagonal(first: Array, second: Array) -> Array:
    upper = np.hstack([first, np.zeros((first.shape[0], second.shape[1]), np.float32)])
    lower = np.hstack([np.zeros((second.shape[0], first.shape[1]), np.float32), second])
    return np.vstack([upper, lower])
