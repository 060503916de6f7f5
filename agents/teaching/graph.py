"""A network of any layers that `architecture` describes, run in NumPy, without TensorFlow: to act. B is the batch."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from edgedqn.agents.files import Json
from edgedqn.agents.numpy_network import PER_CHANNEL, Array, Conv, GreedyPolicy, NumpyNetwork, same_margins

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772  # Klambauer et al. (2017), "Self-normalizing neural networks"

_erf = np.vectorize(math.erf, otypes=[np.float32])


def _elu(x: Array, alpha: float = 1.0) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _sigmoid(x: Array) -> Array:
    return 0.5 * (1 + np.tanh(0.5 * x))  # which does not overflow


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "softplus": lambda x: np.logaddexp(0, x),
    "swish": lambda x: x * _sigmoid(x),
    "gelu": lambda x: 0.5 * x * (1 + _erf(x / math.sqrt(2))),
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "elu": _elu,
    "selu": lambda x: SELU_SCALE * _elu(x, SELU_ALPHA),
}


class NumpyGraph(GreedyPolicy):
    """The forward pass of a network with branches, normalizations or any known activation, in NumPy.

    A call is a policy: it returns the greedy action, the lowest index among equals.
    """

    def __init__(self, layers: Sequence[Json], weights: Sequence[Array], *, masked: bool = False):
        """Takes what `architecture.describe` says of a network and its `get_weights()`; `masked` as of `NumpyNetwork`."""
        self._masked, remaining = masked, iter(weights)
        self._layers = [(layer, [next(remaining) for _ in range(_count(layer))]) for layer in layers]
        self._rank = len(layers[0]["shape"])
        self._convolutions: dict[str, NumpyNetwork] = {}

    def q_values(self, observations: NDArray[np.generic]) -> NDArray[np.float32]:
        """Float32 Q-values [..., A] of observations [..., *observation_shape]; of quantiles the mean."""
        x = observations.astype(np.float32, copy=False)
        batch = x.shape[: x.ndim - self._rank]
        found = {self._layers[0][0]["name"]: x.reshape(-1, *x.shape[x.ndim - self._rank :])}  # [B, *observation_shape]
        for layer, own in self._layers[1:]:
            found[layer["name"]] = x = self._after(layer, own, [found[name] for name in layer["inputs"]])
        q_values = x.mean(axis=2) if x.ndim == 3 else x  # [B, A]
        return q_values.reshape(*batch, -1).astype(np.float32, copy=False)

    def _after(self, layer: Json, own: list[Array], inputs: list[Array]) -> Array:
        x = inputs[0]
        match layer["layer"]:
            case "Dense":
                return ACTIVATIONS[layer["activation"]](x @ own[0] + (own[1] if layer["use_bias"] else np.float32(0)))
            case "Conv2D":
                return ACTIVATIONS[layer["activation"]](self._convolved(layer, own, x))
            case "Add":
                return inputs[0] + inputs[1]
            case "DuelingMerge":
                return _merged(layer, *inputs)
            case "BatchNormalization":
                gamma, beta, mean, variance = own
                return (x - mean) * (gamma / np.sqrt(variance + np.float32(layer["epsilon"]))) + beta
            case "LayerNormalization":
                centred = x - x.mean(axis=-1, keepdims=True)
                variance = np.square(centred).mean(axis=-1, keepdims=True)
                return centred / np.sqrt(variance + np.float32(layer["epsilon"])) * own[0] + own[1]
            case _:
                return _PLAIN[layer["layer"]](layer, x)

    def _convolved(self, layer: Json, own: list[Array], x: Array) -> Array:
        name = layer["name"]
        if name not in self._convolutions:  # the shape of its input is known now
            bias = own[1] if layer["use_bias"] else np.zeros(layer["filters"], np.float32)
            down, right = layer["strides"]
            convolution = Conv(kernel=own[0], bias=bias, relu=False, strides=(down, right), padding=layer["padding"])
            self._convolutions[name] = NumpyNetwork([convolution], x.shape[1:])
        return self._convolutions[name].q_values(x)


def _count(layer: Json) -> int:
    """How many arrays of weights a layer has."""
    return 1 + layer["use_bias"] if "use_bias" in layer else PER_CHANNEL.get(layer["layer"], 0)


def _merged(layer: Json, value: Array, advantages: Array) -> Array:
    """[B, N], [B, A * N] -> [B, A], or [B, A, N] of quantiles; see `architecture.DuelingMerge`."""
    advantages = advantages.reshape(len(advantages), layer["n_actions"], -1)
    q_values = value[:, np.newaxis] + advantages - advantages.mean(axis=1, keepdims=True)
    return q_values if layer["quantiles"] else q_values[:, :, 0]


def _pooled(layer: Json, x: Array) -> Array:
    """[B, H, W, C] -> [B, H', W', C]; what is padded counts for nothing."""
    is_max = layer["layer"] == "MaxPooling2D"
    size, strides = layer["pool_size"], layer["strides"]
    if layer["padding"] == "same":
        sides = zip(x.shape[1:3], size, strides, strict=True)
        margins = [same_margins(side, window=window, stride=stride) for side, window, stride in sides]
        inside = np.pad(np.ones((1, *x.shape[1:3], 1), np.float32), [(0, 0), *margins, (0, 0)])
        x = np.pad(x, [(0, 0), *margins, (0, 0)], constant_values=-np.inf if is_max else 0)
    else:
        inside = np.ones((1, *x.shape[1:3], 1), np.float32)

    def windows(of: Array) -> Array:
        return sliding_window_view(of, size, axis=(1, 2))[:, :: strides[0], :: strides[1]]

    if is_max:
        return windows(x).max(axis=(-2, -1))
    return windows(x).sum(axis=(-2, -1)) / windows(inside).sum(axis=(-2, -1))


_PLAIN: dict[str, Callable[[Json, Array], Array]] = {
    "Rescaling": lambda layer, x: x * np.asarray(layer["scale"], np.float32) + np.asarray(layer["offset"], np.float32),
    "ReLU": lambda layer, x: np.maximum(x, 0),
    "LeakyReLU": lambda layer, x: np.where(x > 0, x, np.float32(layer["alpha"]) * x),
    "ELU": lambda layer, x: _elu(x, layer["alpha"]),
    "Activation": lambda layer, x: ACTIVATIONS[layer["activation"]](x),
    "MaxPooling2D": _pooled,
    "AveragePooling2D": _pooled,
    "GlobalAveragePooling2D": lambda layer, x: x.mean(axis=(1, 2)),
    "ZeroPadding2D": lambda layer, x: np.pad(x, [(0, 0), *map(tuple, layer["padding"]), (0, 0)]),
    "Permute": lambda layer, x: x.transpose(0, *layer["dims"]),
    "Flatten": lambda layer, x: x.reshape(len(x), -1),
    "Reshape": lambda layer, x: x.reshape(len(x), *layer["target_shape"]),
    "Dropout": lambda layer, x: x,
}
