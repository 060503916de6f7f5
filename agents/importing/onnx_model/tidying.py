"""Layers as one would have written them: none that leads nowhere, biases and ReLUs in the layer before them."""

from collections import Counter

import numpy as np

from edgedqn.agents.files import Json
from edgedqn.agents.importing.foreign_files import Array, Network

_KERNELS = ("Dense", "Conv2D")


def tidy(network: Network, output: str) -> Network:
    """The same network up to the layer `output`, which comes last."""
    layers, weights = network
    needed = _needed(layers, output)
    layers = [layer for layer in layers if layer["name"] in needed]
    weights = {name: own for name, own in weights.items() if name in needed}
    uses = Counter(name for layer in layers for name in layer.get("inputs", ()))
    kept: dict[str, Json] = {}
    renamed: dict[str, str] = {}
    for layer in layers:
        layer = dict(layer)
        if "inputs" in layer:
            layer["inputs"] = [renamed.get(name, name) for name in layer["inputs"]]
            before = kept[layer["inputs"][0]]
            name = before["name"]
            alone = uses[layer["inputs"][0]] == 1 and before.get("activation") == "linear" and before["layer"] in _KERNELS
            if alone and (_is_relu(layer) or _is_bias(layer, before)):
                if _is_relu(layer):
                    before["activation"] = "relu"
                else:
                    weights[name] = _with_bias(weights[name], layer["offset"])
                    before["use_bias"] = True
                renamed[layer["name"]] = name
                uses[name] = uses[layer["name"]]
                continue
        kept[layer["name"]] = layer
    return _named(list(kept.values()), weights)


def _needed(layers: list[Json], output: str) -> set[str]:
    needed = {output}
    for layer in reversed(layers):
        if layer["name"] in needed:
            needed |= set(layer.get("inputs", ()))
    return needed


def _is_relu(layer: Json) -> bool:
    return layer["layer"] == "Activation" and layer["activation"] == "relu"


def _is_bias(layer: Json, before: Json) -> bool:
    offset = layer.get("offset")
    if layer["layer"] != "Rescaling" or layer["scale"] != 1:
        return False
    return not isinstance(offset, list) or len(offset) == before.get("units", before.get("filters"))


def _with_bias(own: list[Array], offset: float | list[float]) -> list[Array]:
    kernel = own[0]
    bias = own[1] if len(own) > 1 else np.zeros(kernel.shape[-1], np.float32)
    return [kernel, (bias + np.asarray(offset, np.float64)).astype(np.float32)]


def _named(layers: list[Json], weights: dict[str, list[Array]]) -> Network:
    """The output last, as `q_values`."""
    last, names = layers[-1]["name"], {layer["name"]: layer["name"] for layer in layers}
    names[last] = "q_values"
    for layer in layers:
        layer["name"] = names[layer["name"]]
        if "inputs" in layer:
            layer["inputs"] = [names[name] for name in layer["inputs"]]
    return layers, {names[name]: own for name, own in weights.items()}
