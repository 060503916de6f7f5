"""Weights that Keras saved without their layers, `.h5` or `.weights.h5`: put into layers that are told."""

import re
from collections.abc import Mapping, Sequence

from edgedqn.agents.errors import InputError, require
from edgedqn.agents.importing.foreign_files import Array, Network, parse_json, short
from edgedqn.agents.importing.keras_model.hdf5_reader import Hdf5, read_hdf5
from edgedqn.agents.importing.keras_model.keras_config import translate
from edgedqn.agents.importing.keras_model.keras_files import are_numbered, listed, numbered
from edgedqn.agents.importing.layer_writer import LayerWriter, known_activation, order_of

_NOT_OF_THE_MODEL = ("optimizer", "seed_generator", "metrics", "compile_metrics")


def read_keras_weights(
    content: bytes, *, hidden: Sequence[int] | None = None, activation: str = "relu", model_json: str | None = None
) -> tuple[Network, tuple[str, ...]]:
    """Reads weights as `model.save_weights` writes them, of Keras 1 to 3. Returns what was assumed beside the network.

    Args:
      content: of the file.
      hidden: the widths of the hidden layers, where the network is a chain of Dense layers.
      activation: of these.
      model_json: the text that `model.to_json()` gives, in place of them.
    Raises:
      InputError: it is damaged, or its weights are not those of such layers.
    """
    activation = known_activation(activation)
    file = read_hdf5(content, groups=(), attributes=("layer_names", "weight_names", "name", "backend"))
    groups = _named(file) if "@layer_names" in file.texts else _numbered(file)
    if model_json is not None:
        layers = translate(parse_json(model_json, "the model's JSON"))
        owners = [layer for layer in layers if layer.weights]
        if owners and are_numbered(file, owners):
            weights = {each.description["name"]: numbered(file, each) for each in owners}
            return ([layer.description for layer in layers], weights), ()
    return put_into_layers(groups, hidden=hidden, activation=activation, model_json=model_json)


def put_into_layers(
    groups: Mapping[str, list[Array]], *, hidden: Sequence[int] | None, activation: str, model_json: str | None
) -> tuple[Network, tuple[str, ...]]:
    """Puts the weights of one layer after the other, by its name, into layers that are told; see `read_keras_weights`."""
    groups = {name: group for name, group in groups.items() if group}
    require(bool(groups), "expected weights as model.save_weights writes them. Got none.")
    found = ", ".join(str(list(group[0].shape)) for group in [*groups.values()][:12])
    if model_json is None and hidden is None:
        raise InputError(f"expected hidden= or the model's JSON beside weights alone. Got kernels of {found}.")
    if model_json is None:
        activation = known_activation(activation)
        network = _chain([*groups.values()], tuple(hidden or ()), activation=activation, found=found)
        return network, (f"a {activation} behind each hidden layer", order_of({name: each[0] for name, each in groups.items()}))
    layers = translate(parse_json(model_json, "the model's JSON"))
    owners = sorted((layer for layer in layers if layer.weights), key=lambda layer: layer.place)
    if len(owners) != len(groups):
        raise InputError(f"expected the weights of {len(owners)} layers. Got those of {len(groups)}, of {found}.")
    pairs = zip(owners, groups.values(), strict=True)
    weights = {layer.description["name"]: layer.all_weights(group) for layer, group in pairs}
    return ([layer.description for layer in layers], weights), ()


def _chain(groups: list[list[Array]], hidden: tuple[int, ...], *, activation: str, found: str) -> Network:
    """A chain of Dense layers."""
    are_dense = all(len(group) in (1, 2) and group[0].ndim == 2 for group in groups)
    widths = tuple(group[0].shape[1] for group in groups[:-1]) if are_dense else ()
    if not are_dense or widths != hidden:
        raise InputError(f"expected kernels of Dense layers with hidden widths of {short(hidden)}. Got kernels of {found}.")
    writer = LayerWriter()
    writer.add("InputLayer", "observation", shape=[groups[0][0].shape[0]])
    for i, (kernel, *bias) in enumerate(groups):
        is_last = i == len(groups) - 1
        name, behind = ("q_values", "linear") if is_last else (f"hidden_{i}", activation)
        writer.linear(kernel.T, bias[0] if bias else None, name=name, activation=behind)
    return writer.network


def _named(file: Hdf5) -> dict[str, list[Array]]:
    """The weights of each layer in an `.h5` file, which lists the layers in their order, and the weights of each."""
    layers = file.texts["@layer_names"]
    if not isinstance(layers, list):
        raise InputError("expected the names of the layers. Got something else.")
    return {layer: listed(file, layer) for layer in layers}


def _numbered(file: Hdf5) -> dict[str, list[Array]]:
    """The weights of each layer in a `.weights.h5` file, where they are numbered, and so are layers of one kind."""
    owners: dict[str, list[int]] = {}
    for path in file.arrays:
        owner, _, number = path.rpartition("/vars/")
        if owner and number.isdecimal() and len(number) < 4 and owner.split("/")[0] not in _NOT_OF_THE_MODEL:
            owners.setdefault(owner, []).append(int(number))
    ordered = sorted(owners, key=_natural)
    return {owner: [file.array(f"{owner}/vars/{i}") for i in sorted(owners[owner])] for owner in ordered}


def _natural(path: str) -> list[tuple[str, int]]:
    """dense, dense_1, dense_2, dense_10."""
    return [(text, int(number or -1)) for text, number in re.findall(r"([^\d]+)(\d{0,6})", path)]
