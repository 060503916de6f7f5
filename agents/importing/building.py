"""A network of layers and weights that somebody else made: nothing is allocated before all shapes are known to fit."""

import math

import numpy as np
import tf_keras

from edgedqn.agents.architecture import check, rebuild
from edgedqn.agents.errors import InputError, require
from edgedqn.agents.files import Json
from edgedqn.agents.importing.foreign_files import Array
from edgedqn.agents.numpy_network import PER_CHANNEL

LARGEST_ACTIVATION = 2**24  # numbers between two layers
Shape = tuple[int, ...]
_POOLS = ("MaxPooling2D", "AveragePooling2D")


def build(layers: list[Json], weights: dict[str, list[Array]]) -> tf_keras.Model:
    """The network [B, *shape] -> Q-values [B, A], or quantiles [B, A, N], with these weights.

    Raises:
      InputError: the layers do not fit together, or the weights do not have the shapes that these ask for.
    """
    check(layers)
    layers = with_plain_input(layers)
    shapes: dict[str, Shape] = {}
    for layer in layers:
        name = layer["name"]
        missing = [source for source in layer.get("inputs", ()) if source not in shapes]
        require(not missing, f"layer {name!r} takes the output of {missing}, which is not before it.")
        shape, expected = _after(layer, [shapes[source] for source in layer.get("inputs", ())])
        if min(shape, default=1) < 1 or math.prod(shape) > LARGEST_ACTIVATION:
            raise InputError(f"layer {name!r} gives {shape}: expected 1 to {LARGEST_ACTIVATION:,} numbers.")
        own = weights.get(name, [])
        is_bare = layer["layer"] == "LayerNormalization" and not own  # it multiplies by 1 and adds 0
        if (got := [array.shape for array in own]) != expected and not is_bare:
            raise InputError(f"layer {name!r} has weights {got}: expected {expected}.")
        finite = all(np.isfinite(array).all() for array in own)
        require(finite, f"layer {name!r} has a weight that is no finite number.")
        shapes[name] = shape
    is_quantiles = len(shape) == 2 and layers[-1]["layer"] in ("Reshape", "DuelingMerge")
    require(len(shape) == 1 or is_quantiles, f"it gives {shape}: expected one Q-value per action.")
    network = rebuild(layers)
    for layer in layers:  # by name: the order of all weights is another one where there are branches
        if weights.get(layer["name"]):
            network.get_layer(layer["name"]).set_weights(weights[layer["name"]])
    return network


def with_plain_input(layers: list[Json]) -> list[Json]:
    """Agents see a matrix as an image of one channel, which makes no difference behind a Flatten; and keras-rl puts an axis of
    1 in front of a vector, then flattens that."""
    first = layers[0]
    shape = first.get("shape", ())
    if len(shape) != 2 or len(layers) < 2:
        return layers
    if shape[0] == 1 and layers[1]["layer"] == "Flatten":
        renamed = {layers[1]["name"]: first["name"]}
        behind = [{**each, "inputs": [renamed.get(name, name) for name in each["inputs"]]} for each in layers[2:]]
        return [{**first, "shape": shape[1:]}, *behind]
    return [{**first, "shape": [*shape, 1]}, *layers[1:]]


def _after(layer: Json, sources: list[Shape]) -> tuple[Shape, list[Shape]]:
    """The shape behind a layer, without the batch, and the shapes of its weights."""
    kind, name = layer["layer"], layer["name"]
    if kind == "InputLayer":
        return tuple(layer["shape"]), []
    if kind == "DuelingMerge":
        return (layer["n_actions"], layer["quantiles"]) if layer["quantiles"] else (layer["n_actions"],), []
    shape = sources[0]
    if kind == "Add":
        same = len(sources) == 2 and sources[0] == sources[1]
        require(same, f"layer {name!r} (Add) takes {sources}: expected two of one shape.")
        return shape, []
    require(len(sources) == 1, f"layer {name!r} ({kind}) takes {len(sources)} inputs: expected one.")
    if kind == "Flatten":
        return (math.prod(shape),), []
    if kind == "Reshape":
        target = tuple(layer["target_shape"])
        require(math.prod(target) == math.prod(shape), f"layer {name!r} (Reshape) makes {target} of {shape}.")
        return target, []
    if kind == "Permute":
        require(len(layer["dims"]) == len(shape), f"layer {name!r} (Permute) orders {layer['dims']} of {shape}.")
        return tuple(shape[axis - 1] for axis in layer["dims"]), []
    if kind == "Rescaling":
        return shape, _check_scale(layer, shape)
    if kind in PER_CHANNEL:
        return shape, [shape[-1:]] * PER_CHANNEL[kind]
    if kind == "Dense":
        units = layer["units"]
        require(len(shape) == 1, f"layer {name!r} (Dense) takes {shape}: expected a vector. A Flatten before it is missing.")
        return (units,), [(shape[0], units)] + ([(units,)] if layer["use_bias"] else [])
    if kind in ("Conv2D", "ZeroPadding2D", "GlobalAveragePooling2D", *_POOLS):
        return _after_image(layer, shape)
    return shape, []


def _check_scale(layer: Json, shape: Shape) -> list[Shape]:
    for setting in ("scale", "offset"):
        count = len(layer[setting]) if isinstance(layer[setting], list) else 1
        if count not in (1, shape[-1]):
            raise InputError(f"layer {layer['name']!r} (Rescaling) has {count} values of {setting}: expected 1 or {shape[-1]}.")
    return []


def _after_image(layer: Json, shape: Shape) -> tuple[Shape, list[Shape]]:
    """The same for layers that take images."""
    kind, name = layer["layer"], layer["name"]
    require(len(shape) == 3, f"layer {name!r} ({kind}) takes {shape}: expected an image of height, width and channels.")
    if kind == "GlobalAveragePooling2D":
        return shape[2:], []
    if kind == "ZeroPadding2D":
        if any(margin > side for side, pair in zip(shape, layer["padding"], strict=False) for margin in pair):
            raise InputError(f"layer {name!r} (ZeroPadding2D) adds {layer['padding']} to {shape[:2]}: expected less than that.")
        return (*(side + sum(pair) for side, pair in zip(shape, layer["padding"], strict=False)), shape[2]), []
    size = layer["pool_size" if kind in _POOLS else "kernel_size"]
    if any(window > 2 * side for side, window in zip(shape, size, strict=False)):
        raise InputError(f"layer {name!r} ({kind}) looks at {size} of {shape[:2]}: expected at most twice the image.")
    sides = tuple(
        (side - window) // stride + 1 if layer["padding"] == "valid" else -(-side // stride)
        for side, window, stride in zip(shape, size, layer["strides"], strict=False)
    )
    if kind in _POOLS:
        return (*sides, shape[2]), []
    filters = layer["filters"]
    return (*sides, filters), [(*size, shape[2], filters)] + ([(filters,)] if layer["use_bias"] else [])
