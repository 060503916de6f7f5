"""A network's architecture as JSON, and back: plain values that can build nothing but the layers listed here.

Keras' own configuration can name functions and modules, which its loader then runs. This can not.
"""

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tf_keras

from edgedqn.agents.errors import InputError, require
from edgedqn.agents.files import Json


def _gelu(x: tf.Tensor) -> tf.Tensor:
    return tf.nn.gelu(x, approximate=False)


def _gelu_tanh(x: tf.Tensor) -> tf.Tensor:
    return tf.nn.gelu(x, approximate=True)


_ACTIVATIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "linear": tf_keras.activations.linear,
    "relu": tf_keras.activations.relu,
    "relu6": tf.nn.relu6,
    "tanh": tf_keras.activations.tanh,
    "sigmoid": tf_keras.activations.sigmoid,
    "softplus": tf_keras.activations.softplus,
    "swish": tf_keras.activations.swish,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "elu": tf_keras.activations.elu,
    "selu": tf_keras.activations.selu,
}
_PADDINGS = ("valid", "same")

# Of each layer, the settings that decide what it computes. Everything else, such as initializers and regularizers, matters
# only while a network is trained, and ours is trained from its weights.
SETTINGS: dict[str, tuple[str, ...]] = {
    "InputLayer": ("shape",),
    "Rescaling": ("scale", "offset"),
    "Dense": ("units", "activation", "use_bias"),
    "Conv2D": ("filters", "kernel_size", "strides", "padding", "activation", "use_bias"),
    "ReLU": (),
    "LeakyReLU": ("alpha",),
    "ELU": ("alpha",),
    "Activation": ("activation",),
    "BatchNormalization": ("epsilon",),
    "LayerNormalization": ("epsilon",),
    "MaxPooling2D": ("pool_size", "strides", "padding"),
    "AveragePooling2D": ("pool_size", "strides", "padding"),
    "GlobalAveragePooling2D": (),
    "ZeroPadding2D": ("padding",),
    "Permute": ("dims",),
    "Add": (),
    "Flatten": (),
    "Reshape": ("target_shape",),
    "Dropout": ("rate",),
    "DuelingMerge": ("n_actions", "quantiles"),
}

# What else decides it, and the only value it may have.
_FIXED: dict[str, Json] = {
    "Conv2D": {"groups": 1, "dilation_rate": (1, 1), "data_format": "channels_last"},
    "ReLU": {"max_value": None, "negative_slope": 0.0, "threshold": 0.0},
    "Flatten": {"data_format": "channels_last"},
    "BatchNormalization": {"center": True, "scale": True},
    "LayerNormalization": {"center": True, "scale": True},
    "MaxPooling2D": {"data_format": "channels_last"},
    "AveragePooling2D": {"data_format": "channels_last"},
    "ZeroPadding2D": {"data_format": "channels_last"},
    "GlobalAveragePooling2D": {"data_format": "channels_last", "keepdims": False},
}
MOST_WEIGHTS = 2**28  # of one layer: a gigabyte


def describe(network: tf_keras.Model) -> list[Json]:
    """The architecture of a functional network as JSON: a list of layers, each with its name, settings and inputs.

    Raises:
      InputError: it has a layer that is not in `SETTINGS`, or one with a setting that cannot be written there.
    """
    layers = []
    for layer in network.layers:
        kind = type(layer).__name__
        require(kind in SETTINGS, f"Layer {layer.name!r} is a {kind}: expected one of {', '.join(SETTINGS)}.")
        values = {"layer": kind, "name": layer.name}
        if kind == "InputLayer":
            values["shape"] = list(layer.output_shape[0][1:])
        else:
            config = layer.get_config()
            for name, only in _FIXED.get(kind, {}).items():
                if config[name] != only:
                    raise InputError(f"Layer {layer.name!r} ({kind}) cannot have {name}={config[name]!r}: expected {only!r}.")
            if kind == "Activation":  # Keras has no name for some
                config["activation"] = next((k for k, v in _ACTIVATIONS.items() if v is layer.activation), config["activation"])
            if kind == "Reshape":  # it may say -1
                config["target_shape"] = layer.output_shape[1:]
            values |= {name: _listed(config[name]) for name in SETTINGS[kind]}
            sources = layer.inbound_nodes[0].inbound_layers
            values["inputs"] = [source.name for source in (sources if isinstance(sources, list | tuple) else [sources])]
        layers.append(values)
    check(layers)
    return layers


def _listed(value: object) -> object:
    """Lists in place of tuples, as in JSON."""
    return list(map(_listed, value)) if isinstance(value, tuple | list) else value


def rebuild(layers: list[Json]) -> tf_keras.Model:
    """Builds the network that `describe` described, with fresh weights.

    Raises:
      InputError: a layer or a setting is not one of those listed here, or they do not fit together.
    """
    check(layers)
    tensors: Json = {}
    unused: dict[str, None] = {}
    inputs = []
    try:
        for values in layers:
            name = values["name"]
            if name in tensors:
                raise ValueError(f"two layers are called {name!r}")
            if values["layer"] == "InputLayer":
                tensors[name] = tf_keras.Input(tuple(values["shape"]), name=name)
                inputs.append(tensors[name])
            else:
                sources = [tensors[source] for source in values["inputs"]]
                settings = {key: values[key] for key in SETTINGS[values["layer"]]}
                size = math.prod(settings.get("kernel_size", ())) * settings.get("units", settings.get("filters", 0))
                if size * sources[0].shape[-1] > MOST_WEIGHTS:
                    raise ValueError(f"{name!r} would have more than {MOST_WEIGHTS:,} weights")
                if values["layer"] == "Activation":
                    settings["activation"] = _ACTIVATIONS[settings["activation"]]
                layer = _LAYERS[values["layer"]](name=name, **settings)
                tensors[name] = layer(sources if len(sources) > 1 else sources[0])
                for source in values["inputs"]:
                    unused.pop(source, None)
            unused[name] = None
        if len(inputs) != 1 or len(unused) != 1:
            raise ValueError(f"expected one input and one output, got {len(inputs)} and {len(unused)}")
        (output,) = unused
        return tf_keras.Model(inputs[0], tensors[output], name="q_network")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"The layers do not make a network: {error!r}.") from error


def check(layers: object) -> None:
    """Looks at every value before any of them is used. Raises InputError with the layer and the setting."""
    if not isinstance(layers, list) or not layers:
        raise InputError(f"Expected a list of layers. Got {str(layers)[:80]}.")
    for layer in layers:
        kind = layer.get("layer") if isinstance(layer, dict) else None
        if not isinstance(kind, str) or kind not in SETTINGS:
            raise InputError(f"Expected layers of {', '.join(SETTINGS)}. Got {kind!r}.")
        wanted = {"layer", "name", *SETTINGS[kind]} | ({"inputs"} if kind != "InputLayer" else set())
        if set(layer) != wanted:
            raise InputError(f"A {kind} is described by {', '.join(sorted(wanted))}. Got {', '.join(map(str, layer))}.")
        for setting, value in layer.items():
            inside = setting == "activation" and kind != "Activation"  # of a kernel
            if not _CHECKS[setting](value) or (inside and value not in ("linear", "relu")):
                raise InputError(f"Layer {layer['name']!r} ({kind}) cannot have {setting}={str(value)[:80]!r}.")


class DuelingMerge(tf_keras.layers.Layer):  # type: ignore[misc]
    """Joins a state's value and its actions' advantages to Q-values: Q = V + A - mean over actions of A.

    Called on [value [B, N], advantages [B, A * N]], where N is the number of quantiles, 1 without. Gives [B, A], or
    [B, A, N] where quantiles are learned.

    Source: Wang et al. (2016), "Dueling network architectures", equation 9.
    """

    def __init__(self, n_actions: int, quantiles: int = 0, **keras: Any):
        """Takes A >= 1 and the number of quantiles, 0 for plain Q-values."""
        super().__init__(**keras)
        self.n_actions = n_actions
        self.quantiles = quantiles

    def build(self, input_shape: Any) -> None:
        count = max(1, self.quantiles)
        (*_, value), (*_, advantages) = input_shape
        if (value, advantages) != (count, self.n_actions * count):
            raise ValueError(f"Expected widths of {count} and {self.n_actions * count} to merge. Got {value} and {advantages}.")
        super().build(input_shape)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        value, advantages = inputs
        advantages = tf.reshape(advantages, (-1, self.n_actions, max(1, self.quantiles)))  # [B, A, N]
        q = value[:, tf.newaxis, :] + advantages - tf.reduce_mean(advantages, axis=1, keepdims=True)  # [B, A, N]
        return q if self.quantiles else tf.squeeze(q, axis=2)

    def get_config(self) -> Json:
        return {**super().get_config(), "n_actions": self.n_actions, "quantiles": self.quantiles}


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 2**24


def _are_counts(value: object) -> bool:
    return isinstance(value, list) and 0 < len(value) <= 4 and all(map(_is_count, value))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e30


def _are_numbers(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_number, value))


def _are_margins(value: object) -> bool:
    """[[top, bottom], [left, right]]."""
    if not isinstance(value, list) or len(value) != 2 or not all(isinstance(pair, list) and len(pair) == 2 for pair in value):
        return False
    return all(side == 0 or _is_count(side) for pair in value for side in pair)


_LAYERS = {kind: DuelingMerge if kind == "DuelingMerge" else getattr(tf_keras.layers, kind) for kind in SETTINGS}

_CHECKS: dict[str, Callable[[Any], bool]] = {
    "layer": lambda value: isinstance(value, str),
    "name": lambda value: isinstance(value, str) and 0 < len(value) <= 200,
    "inputs": lambda value: isinstance(value, list) and 0 < len(value) <= 2 and all(isinstance(v, str) for v in value),
    "shape": _are_counts,
    "target_shape": _are_counts,
    "kernel_size": lambda value: _are_counts(value) and len(value) == 2,
    "strides": lambda value: _are_counts(value) and len(value) == 2,
    "units": _is_count,
    "filters": _is_count,
    "n_actions": _is_count,
    "quantiles": lambda value: value == 0 or _is_count(value),
    "rate": lambda value: _is_number(value) and 0 <= value < 1,
    "scale": lambda value: _is_number(value) or _are_numbers(value),
    "offset": lambda value: _is_number(value) or _are_numbers(value),
    "alpha": lambda value: _is_number(value) and value >= 0,
    "epsilon": lambda value: _is_number(value) and value > 0,
    "pool_size": lambda value: _are_counts(value) and len(value) == 2,
    "dims": lambda value: _are_counts(value) and sorted(value) == list(range(1, len(value) + 1)),
    "activation": lambda value: isinstance(value, str) and value in _ACTIVATIONS,
    "padding": lambda value: value in _PADDINGS or _are_margins(value),
    "use_bias": lambda value: isinstance(value, bool),
}
