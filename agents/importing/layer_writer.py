"""Layers written down one after the other, with PyTorch's tensors turned into Keras' weights.

PyTorch's kernels are [out, in] and [out, in, height, width], its images channels first; Keras has both the other way round.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from edgedqn.agents.errors import InputError
from edgedqn.agents.files import Json
from edgedqn.agents.importing.foreign_files import Array, Network, short

LEAKY_SLOPE, ELU_ALPHA = 0.01, 1.0  # PyTorch's, where a model does not say otherwise
_LAYERS_OF_THEIR_OWN: dict[str, tuple[str, Json]] = {
    "leaky_relu": ("LeakyReLU", {"alpha": LEAKY_SLOPE}),
    "elu": ("ELU", {"alpha": ELU_ALPHA}),
}
_PLAIN = ("linear", "relu", "relu6", "tanh", "sigmoid", "softplus", "swish", "gelu", "gelu_tanh", "selu")
_SYNONYMS = {"silu": "swish", "leakyrelu": "leaky_relu", "identity": "linear"}
ACTIVATIONS = (*_PLAIN, *_LAYERS_OF_THEIR_OWN, *_SYNONYMS)


def known_activation(name: str) -> str:
    """The activation by its name here. Raises InputError where there is none of that name."""
    lower = name.lower()
    if lower not in ACTIVATIONS:
        raise InputError(f"expected an activation of {', '.join(ACTIVATIONS)}. Got {short(name)}.")
    return _SYNONYMS.get(lower, lower)


def order_of(kernels: Mapping[str, Array]) -> str:
    """Says in which order layers are assumed to follow each other, and which might as well be in another one."""
    alike: dict[tuple[int, ...], list[str]] = {}
    for name, kernel in kernels.items():
        alike.setdefault(kernel.shape, []).append(name or "the layer")
    told = f"one layer behind the other, in this order: {', '.join(name or 'the layer' for name in kernels)[:400]}"
    several = [", ".join(names) for names in alike.values() if len(names) > 1]
    return f"{told}; of one shape, so that they could be swapped: {' and '.join(several)[:400]}" if several else told


class LayerWriter:
    """The layers as `architecture` describes them, each on the output of the one before, or of one that is named."""

    def __init__(self) -> None:
        self.layers: list[Json] = []
        self.weights: dict[str, list[Array]] = {}
        self.at = ""  # the layer on whose output the next one stands

    @property
    def network(self) -> Network:
        return self.layers, self.weights

    def add(self, kind: str, name: str, weights: Sequence[Array] = (), **settings: object) -> None:
        inputs = {"inputs": [self.at]} if self.at else {}
        self.layers.append({"layer": kind, "name": name, **inputs, **settings})
        if weights:
            self.weights[name] = [np.ascontiguousarray(array, np.float32) for array in weights]
        self.at = name

    def activation(self, activation: str, name: str) -> None:
        """An activation that is not written into the kernel's layer."""
        if activation in _LAYERS_OF_THEIR_OWN:
            kind, settings = _LAYERS_OF_THEIR_OWN[activation]
            self.add(kind, name, **settings)
        elif activation != "linear":
            self.add("Activation", name, activation=activation)

    def linear(
        self, weight: Array, bias: Array | None, *, name: str, activation: str, flattened: tuple[int, ...] | None = None
    ) -> None:
        """A Linear of PyTorch and the activation behind it.

        Args:
          weight: [out, in].
          bias: [out].
          name: of the layer.
          activation: one of `ACTIVATIONS`, by its name here.
          flattened: [H, W, C], the image before it, whose features PyTorch has in the order C, H, W.
        """
        if flattened is not None:
            height, width, channels = flattened
            if weight.shape[1] != height * width * channels:
                raise InputError(f"{name!r} has {weight.shape[1]} inputs: expected {height * width * channels}.")
            rows = weight.reshape(-1, channels, height, width)  # [out, C, H, W]
            weight = rows.transpose(0, 2, 3, 1).reshape(len(weight), -1)  # [out, H W C]
        inside = activation if activation == "relu" else "linear"
        weights = [weight.T, *([] if bias is None else [bias])]
        self.add("Dense", name, weights, units=len(weight), activation=inside, use_bias=bias is not None)
        if activation != inside:
            self.activation(activation, f"{name}_{activation}")

    def convolution(self, weight: Array, bias: Array | None, *, name: str, activation: str, stride: int) -> None:
        """A Conv2d of PyTorch without padding, and the activation behind it; `weight` is [out, in, height, width]."""
        inside = activation if activation == "relu" else "linear"
        self.add(
            "Conv2D",
            name,
            [weight.transpose(2, 3, 1, 0), *([] if bias is None else [bias])],
            filters=len(weight),
            kernel_size=list(weight.shape[2:]),
            strides=[stride, stride],
            padding="valid",
            activation=inside,
            use_bias=bias is not None,
        )
        if activation != inside:
            self.activation(activation, f"{name}_{activation}")
