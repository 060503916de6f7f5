"""Keras' own description of a model, translated to that of `architecture`. Looks up nothing that the description names.

Keras' loader imports the modules and runs the functions a configuration names. Here `keras_layers`, `keras_calls` and
`keras_arithmetic` read what is known, and whatever is left over is an error.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from edgedqn.agents.architecture import check
from edgedqn.agents.errors import InputError, require
from edgedqn.agents.files import Json
from edgedqn.agents.importing.foreign_files import Array, short
from edgedqn.agents.importing.keras_model.keras_1 import as_keras_2
from edgedqn.agents.importing.keras_model.keras_arithmetic import Value, Written, combine, operation_of, options_of
from edgedqn.agents.importing.keras_model.keras_calls import Call, call_of, only_layers, only_tensor
from edgedqn.agents.importing.keras_model.keras_layers import INTEGERS, Layer, is_from_keras, plain_shape, read_layer
from edgedqn.agents.playing.observations import is_channels_first

LARGEST_DEPTH = 200  # layers

_MODELS = ("Sequential", "Functional", "Model")
_GROUPS = {
    "Dense": "dense",
    "Conv2D": "conv2d",
    "BatchNormalization": "batch_normalization",
    "LayerNormalization": "layer_normalization",
}
_MOVES = ("Flatten", "Reshape", "Permute", "ZeroPadding2D", "MaxPooling2D", "ReLU", "Activation", "Dropout")  # integers, too
_TO_VECTORS = ("Flatten", "GlobalAveragePooling2D", "DuelingMerge")


class KerasLayer(NamedTuple):
    """One layer: as `architecture` describes it, and which weights files hold of it."""

    description: Json
    weights: tuple[str, ...] = ()  # in the order in which files hold them
    stored_as: str = ""  # where a `.keras` file holds them
    place: int = 0  # in Keras' list of layers, by which files of weights alone are ordered

    def all_weights(self, stored: Sequence[Array]) -> list[Array]:
        """Those that the layer has here, from those that a file holds: without a scale it multiplies by 1, and so on.

        Raises:
          InputError: there are more or less than the layer has.
        """
        if len(stored) != len(self.weights):
            name, shapes = self.description["name"], [array.shape for array in stored]
            raise InputError(f"layer {name!r} has weights {shapes}: expected {', '.join(self.weights)}.")
        if "Normalization" not in self.description["layer"] or not stored:
            return list(stored)
        found = dict(zip(self.weights, stored, strict=True))
        channels = stored[0].shape
        rest = ("moving_mean", "moving_variance") if self.description["layer"] == "BatchNormalization" else ()
        fill = {"gamma": np.ones(channels, np.float32), "beta": np.zeros(channels, np.float32)}
        return [found[name] if name in found else fill[name] for name in ("gamma", "beta", *rest)]


def translate(model: Any) -> list[KerasLayer]:
    """The layers of a saved model, in the order in which they are applied: from `config.json` of a `.keras` file or the
    attribute `model_config` of an HDF5 file, of Keras 1 to 3.

    Raises:
      InputError: it has other layers than `keras_layers` knows, or asks for something that these do not do here.
    """
    try:
        layers = _channels_last(_translate(model))
        check([layer.description for layer in layers])
        return layers
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"its configuration is none that Keras writes: {error!r}"[:200]) from error


def _channels_last(layers: list[KerasLayer]) -> list[KerasLayer]:
    """Without keras-rl's Permute of pictures with their channels first: here an environment gives them last."""
    first, turn = (layers[0].description, layers[1].description) if len(layers) > 1 else ({}, {})
    shape = first.get("shape", ())
    turns = turn.get("layer") == "Permute" and turn.get("dims") == [2, 3, 1] and turn["inputs"] == [first["name"]]
    if not turns or not is_channels_first(tuple(shape)):
        return layers
    others = [each.description["inputs"] for each in layers[2:]]
    require(all(first["name"] not in inputs for inputs in others), "expected pictures that are turned only. Got both.")
    described = {**first, "name": turn["name"], "shape": [*shape[1:], shape[0]]}
    return [layers[0]._replace(description=described), *layers[2:]]


def _translate(model: Json) -> list[KerasLayer]:
    kind = model["class_name"]
    if kind not in _MODELS or not is_from_keras(model, _MODELS):
        raise InputError(f"expected a Sequential or Functional model of plain layers. Got a {short(kind)}.")
    config = model["config"]
    if isinstance(config, list):  # a Sequential of Keras 1, and of Keras 2 before 2.2.3
        config = {"layers": config}
    entries = [as_keras_2(entry) for entry in config["layers"]]
    require(len(entries) <= LARGEST_DEPTH, f"expected at most {LARGEST_DEPTH} layers. Got {len(entries)}.")
    nodes = [_Node(entry, operation_of(entry)) for entry in entries]
    if kind == "Sequential":
        if not nodes or not nodes[0].is_input:
            first = entries[0]["config"] if entries else {}
            batch_shape = first.get("batch_input_shape") or first.get("batch_shape") or config.get("build_input_shape")
            shape = {"name": "observation", "batch_input_shape": [None, *plain_shape(batch_shape)]}
            nodes.insert(0, _Node({"class_name": "InputLayer", "config": shape}, None))
        for node, before in zip(nodes[1:], nodes, strict=False):
            node.call = Call((before.name,), {})
        last = nodes[-1].name
    else:
        for node in nodes:
            node.call = call_of(node.entry, node.where)
        last = only_tensor(config["output_layers"], "output")
        if only_tensor(config["input_layers"], "input") not in {node.name for node in nodes if node.is_input}:
            raise InputError("its input is no InputLayer.")
    return _written(nodes, last)


class _Node:
    """One entry of Keras' list."""

    def __init__(self, entry: Json, operation: str | None):
        self.entry, self.operation = entry, operation
        self.layer = Layer(entry["config"]["name"], None) if operation else read_layer(entry)
        self.name = self.layer.name
        self.where = f"layer {short(self.name)}"
        self.is_input = (self.layer.description or {}).get("layer") == "InputLayer"
        self.is_integer = self.is_input and entry["config"].get("dtype") in INTEGERS
        self.call = Call((), {})

    @property
    def sources(self) -> list[str]:
        return [operand for operand in self.call.operands if isinstance(operand, str)]


def _written(nodes: list[_Node], last: str) -> list[KerasLayer]:
    """The layers in the order in which they are applied."""
    by_name = {node.name: node for node in nodes}
    if len(by_name) != len(nodes):
        raise InputError("its configuration is none that Keras writes: two layers have the same name.")
    order = _order({node.name: node.sources for node in nodes}, last)
    if len(order) != len(nodes):
        raise InputError(f"expected layers that all lead to the output. Got {len(nodes)}, of which {len(order)} do.")
    stored = dict(zip(by_name, _stored_as(nodes), strict=True))
    places = {name: i for i, name in enumerate(by_name)}
    writer = _Writer()
    for name in order:
        writer.write(by_name[name], KerasLayer({}, by_name[name].layer.weights, stored[name], places[name]))
    end = writer.values[last]
    require(isinstance(end, str), "its output is a part of a dueling head, and no Q-values.")
    return writer.layers


class _Writer:
    """Writes layers one after the other, and knows what each one of Keras gives."""

    def __init__(self) -> None:
        self.layers: list[KerasLayer] = []
        self.values: dict[str, Value] = {}  # what each layer of Keras gives
        self.ranks: dict[str, int] = {}  # of what ours give, without the batch
        self.widths: dict[str, int | None] = {}  # of those that give vectors, where that is known
        self.integers: set[str] = set()  # those layers of Keras that give integers, with which one counts otherwise

    def write(self, node: _Node, to_store: KerasLayer) -> None:
        takes_integers = any(name in self.integers for name in node.sources)
        if node.operation:
            self.values[node.name] = self._combined(node, takes_integers=takes_integers)
            return
        inputs = only_layers(node.call, node.where)
        sources = [self.values[name] for name in inputs]
        require(node.is_input == (not sources), f"{node.where} takes {len(sources)} tensors: expected one.")
        require(len(sources) <= 1, f"{node.where} takes {len(sources)} tensors: expected one.")
        source = sources[0] if sources else ""
        if not isinstance(source, str):
            raise InputError(f"{node.where} takes a part of a dueling head: expected the output of a layer.")
        assert node.layer.description is not None
        if node.is_integer or (takes_integers and node.layer.description["layer"] in _MOVES):
            self.integers.add(node.name)
        _check_axes(node, self.ranks.get(source, 0))
        self._add(to_store._replace(description=node.layer.description), [source] if source else [])
        if node.layer.behind:
            self._add(KerasLayer(node.layer.behind), [node.name])
        self.values[node.name] = self.layers[-1].description["name"]

    def _combined(self, node: _Node, *, takes_integers: bool) -> Value:
        operands = [self.values[each] if isinstance(each, str) else each for each in node.call.operands]
        options = options_of(node.entry, node.call)
        assert node.operation is not None
        try:
            require(not takes_integers or node.operation in ("cast", "divide"), "expected a cast to float32 before it.")
            value: Value | float = operands[0] if operands else 0.0
            for i in range(1, max(2, len(operands))):  # an Add takes as many as there are
                given = operands if len(operands) < 2 else [value, operands[i]]
                found = combine(node.operation, given, options=options, widths=self.widths)
                value = self._named(found, node.name if i >= len(operands) - 1 else f"{node.name}/{i}")
        except InputError as error:
            raise InputError(f"{node.where} ({short(node.entry['class_name'])}) cannot be translated: {error}") from error
        assert not isinstance(value, float)
        return value

    def _named(self, found: Value | Written, name: str) -> Value:
        if not isinstance(found, Written):
            return found
        self._add(KerasLayer({"layer": found.kind, "name": name, **found.settings}), list(found.inputs))
        return name

    def _add(self, layer: KerasLayer, inputs: list[str]) -> None:
        description = layer.description | ({"inputs": inputs} if inputs else {})
        self.layers.append(layer._replace(description=description))
        self._remember(description, inputs)

    def _remember(self, layer: Json, inputs: list[str]) -> None:
        kind, name = layer["layer"], layer["name"]
        given = layer.get("shape") or layer.get("target_shape")
        before = self.ranks.get(inputs[0], 0) if inputs else 0
        rank = 1 if kind in _TO_VECTORS else len(given) if given else before
        width = self.widths.get(inputs[0]) if inputs and kind not in _TO_VECTORS else None
        width = layer.get("units") or layer.get("n_actions") or (given[-1] if given else width)
        self.ranks[name], self.widths[name] = rank, width if rank == 1 else None


def _check_axes(node: _Node, rank: int) -> None:
    """Refuses a normalization over another axis than the last, or of anything but a vector or an image."""
    description = node.layer.description or {}
    if "Normalization" in description["layer"] and (node.layer.axes not in ((-1,), (rank,)) or rank not in (1, 3)):
        axes = ", ".join(map(str, node.layer.axes))
        raise InputError(f"{node.where} is over axis {axes} of {rank + 1}: expected the last one, of vectors or images.")


def _order(sources_of: Mapping[str, list[str]], last: str) -> list[str]:
    """The layers that lead to the last one, each behind its sources."""
    order: dict[str, None] = {}
    path = [last]
    while path:
        missing = [source for source in sources_of[path[-1]] if source not in order]
        if not missing:
            order[path.pop()] = None
        elif missing[0] in path:
            raise InputError("expected layers that lead to the output. Got a loop.")
        else:
            path.append(missing[0])
    return list(order)


def _stored_as(nodes: list[_Node]) -> list[str]:
    """The groups of a `.keras` file: the class name in snake case, counted in the order of the configuration.

    Source: `_save_container_state` in saving/saving_lib.py of both.
    """
    counts: dict[str, int] = {}
    names = []
    for node in nodes:
        group = _GROUPS.get((node.layer.description or {}).get("layer", ""), "")
        count = counts[group] = counts.get(group, -1) + 1
        names.append(f"{group}_{count}" if group and count else group)
    return names
