"""A Keras model file, `.keras` or HDF5, of Keras 2 or 3: its layers and its weights. Never loads it with Keras."""

from collections.abc import Sequence

from edgedqn.agents.errors import InputError, require
from edgedqn.agents.importing.foreign_files import (
    Array,
    Network,
    open_archive,
    parse_json,
    read_json_member,
    read_member,
    short,
)
from edgedqn.agents.importing.keras_model.hdf5_reader import Hdf5, read_hdf5
from edgedqn.agents.importing.keras_model.keras_config import KerasLayer, translate

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
_LAYERS = ("layers", "_layer_checkpoint_dependencies")  # the second name up to Keras 2.12
_NAMED = "model_weights"


def read_keras_archive(content: bytes) -> Network:
    """Reads a `.keras` file. Raises InputError where it is damaged, or has a layer that is not understood."""
    archive = open_archive(content)
    layers = translate(read_json_member(archive, CONFIG))
    file = read_hdf5(read_member(archive, WEIGHTS), groups=_LAYERS, attributes=("name",))
    for layer in layers:
        _check_name(file, layer)
    weights = {layer.description["name"]: numbered(file, layer) for layer in layers if layer.weights}
    return [layer.description for layer in layers], weights


def read_keras_hdf5(content: bytes) -> Network:
    """Reads an `.h5` file as `model.save` writes it.

    Raises:
      InputError: it is damaged, holds weights without their layers, or has a layer that is not understood.
    """
    file = read_hdf5(content, groups=(_NAMED,), attributes=("model_config", "weight_names", "backend"))
    if "@model_config" not in file.texts:
        raise InputError(
            "expected a whole model, as model.save writes it. Got HDF5 data without the text model_config: weights alone need "
            "their layers, hidden=(64, 64) for instance, or the text of model.to_json()."
        )
    layers = translate(parse_json(file.text("", "model_config"), "model_config"))
    owners = {layer.description["name"]: layer for layer in layers if layer.weights}
    weights = {name: layer.all_weights(listed(file, name, root=_NAMED)) for name, layer in owners.items()}
    return [layer.description for layer in layers], weights


def listed(file: Hdf5, layer: str, *, root: str = "") -> list[Array]:
    """A layer's weights in an `.h5` file, which lists their paths within the layer's group; `root` is the group of all layers.

    A convolution of Theano turns its kernel around, and one of TensorFlow does not: so Keras does, and so it is done here.
    Source: `_need_convert_kernel` in engine/saving.py of Keras 2.3.
    """
    path = f"{root}/{layer}".strip("/")
    names = file.texts.get(f"{path}@weight_names", [])
    require(isinstance(names, list), f"expected the names of the weights of layer {short(layer)}. Got something else.")
    found = [file.array(f"{path}/{name}") for name in names[:8]]
    turned = file.texts.get(f"{root}@backend") == "theano"
    return [array[::-1, ::-1] if turned and array.ndim == 4 else array for array in found]


def numbered(file: Hdf5, layer: KerasLayer) -> list[Array]:
    """A layer's weights in a `.keras` or `.weights.h5` file, which numbers them."""
    return layer.all_weights([file.array(f"{_place(file, layer)}/{i}") for i in range(len(layer.weights))])


def are_numbered(file: Hdf5, layers: Sequence[KerasLayer]) -> bool:
    """Whether a file has weights where a `.keras` file would have those of these layers."""
    return all(f"{_place(file, layer)}/0" in file.arrays for layer in layers)


def _place(file: Hdf5, layer: KerasLayer) -> str:
    root = next((root for root in _LAYERS if any(path.startswith(f"{root}/") for path in file.arrays)), _LAYERS[0])
    return f"{root}/{layer.stored_as}/vars"


def _check_name(file: Hdf5, layer: KerasLayer) -> None:
    """Keras 3 adds the name, which the counted groups do not have."""
    path, name = _place(file, layer), layer.description["name"]
    if layer.weights and f"{path}@name" in file.texts and file.text(path, "name") != name:
        raise InputError(f"the weights of layer {name!r} are those of {file.text(path, 'name')[:80]!r}.")
