"""Keras' own description of a model, translated to that of `architecture`. Looks up nothing that the description names.

Keras' loader imports the modules and runs the functions a configuration names. Here a name is compared with those of a short
list, plain values are copied, and whatever is left over is an error.
"""

from typing import Any, NamedTuple

from edgedqn.agents.architecture import SETTINGS, check
from edgedqn.agents.errors import InputError, require
from edgedqn.agents.files import Json
from edgedqn.agents.importing.foreign_files import short
from edgedqn.agents.importing.keras_model.keras_1 import as_keras_2

LAYERS = ("InputLayer", "Rescaling", "Dense", "Conv2D", "ReLU", "Activation", "Flatten", "Reshape", "Dropout")
LARGEST_DEPTH = 200  # layers

# What holds only while a network is trained, as far as these layers go. Not looked at, so it may name anything.
_TRAINING_ONLY = frozenset(
    f"{what}_{rule}" for what in ("kernel", "bias", "activity") for rule in ("initializer", "regularizer", "constraint")
) | {"trainable", "seed", "noise_shape"}

# Settings that `architecture` does not have, with the one value that it means.
_FIXED: dict[str, Json] = {
    "InputLayer": {"sparse": False, "ragged": False, "optional": False},
    "Conv2D": {"data_format": "channels_last", "dilation_rate": [1, 1], "groups": 1},
    "ReLU": {"negative_slope": 0.0, "threshold": 0.0},
    "Flatten": {"data_format": "channels_last"},
}
_ACTIVATIONS = {
    name: name for name in ("linear", "relu", "relu6", "tanh", "sigmoid", "softplus", "swish", "gelu", "elu", "selu")
}
_ACTIVATIONS |= {"silu": "swish"}  # Keras 3
_MODELS = ("Sequential", "Functional", "Model")
_MODULES = (
    "keras",
    "keras.layers",
    "keras.models",
    "keras.engine.functional",
    "keras.src.engine.functional",
    "keras.src.models.functional",
    "tf_keras.layers",
    "tf_keras.src.engine.functional",
)
_POLICIES = ("DTypePolicy", "FloatDTypePolicy", "Policy")  # of Keras 3, its first versions, and Keras 2
_WITH_WEIGHTS = {"Dense": "dense", "Conv2D": "conv2d"}
_INPUT_TYPES = ("float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool")


class KerasLayer(NamedTuple):
    """One layer of a chain: as `architecture` describes it, and where a `.keras` file stores its weights, "" if it has none."""

    description: Json
    stored_as: str


def translate(model: Any) -> list[KerasLayer]:
    """The layers of a saved model, in the order in which they are applied: from `config.json` of a `.keras` file or the
    attribute `model_config` of an HDF5 file, of Keras 2 or 3.

    Raises:
      InputError: it is no chain of the layers in `LAYERS`, or asks for something that these do not do here.
    """
    try:
        layers = _translate(model)
        check([layer.description for layer in layers])
        return layers
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"its configuration is none that Keras writes: {error!r}"[:200]) from error


def _translate(model: Json) -> list[KerasLayer]:
    kind = model["class_name"]
    if kind not in _MODELS or not _is_from_keras(model, _MODELS):
        raise InputError(f"expected a Sequential or Functional model of plain layers. Got a {short(kind)}.")
    config = model["config"]
    if isinstance(config, list):  # a Sequential of Keras 1, and of Keras 2 before 2.2.3
        config = {"layers": config}
    entries = [as_keras_2(entry) for entry in config["layers"]]
    require(len(entries) <= LARGEST_DEPTH, f"expected at most {LARGEST_DEPTH} layers. Got {len(entries)}.")
    layers = [_layer(entry) for entry in entries]
    if kind == "Sequential":
        if not layers or layers[0]["layer"] != "InputLayer":
            first = entries[0]["config"] if entries else {}
            batch_shape = first.get("batch_input_shape") or first.get("batch_shape") or config.get("build_input_shape")
            layers.insert(0, {"layer": "InputLayer", "name": "observation", "shape": _shape(batch_shape)})
        sources = [None, *(layer["name"] for layer in layers[:-1])]
        last = layers[-1]["name"]
    else:
        sources = [_source(entry, layer) for entry, layer in zip(entries, layers, strict=True)]
        last = _only(config["output_layers"], "output")
        if _only(config["input_layers"], "input") not in {layer["name"] for layer in layers if layer["layer"] == "InputLayer"}:
            raise InputError("its input is no InputLayer.")
    chain = _chain({layer["name"]: source for layer, source in zip(layers, sources, strict=True)}, last)
    if len(chain) != len(layers):
        raise InputError(f"expected layers one after the other. Got {len(layers)}, of which {len(chain)} lead to the output.")
    stored = dict(zip((layer["name"] for layer in layers), _stored_as(layers), strict=True))
    by_name = {layer["name"]: layer for layer in layers}
    translated: list[KerasLayer] = []
    for name in chain:
        inputs = {"inputs": [translated[-1].description["name"]]} if translated else {}
        description = by_name[name] | inputs
        activation = description.get("activation")
        behind = description["layer"] in _WITH_WEIGHTS and activation not in ("linear", "relu")  # `architecture` has it apart
        translated.append(KerasLayer(description | ({"activation": "linear"} if behind else {}), stored[name]))
        if behind:
            apart = {"layer": "Activation", "name": f"{name}/{activation}", "activation": activation, "inputs": [name]}
            translated.append(KerasLayer(apart, ""))
    return translated


def _layer(entry: Json) -> Json:
    kind, name = entry["class_name"], entry["config"]["name"]
    if not isinstance(name, str) or entry.get("name", name) != name:
        raise InputError(f"a layer has no name, or two: {short(name)}.")
    where = f"layer {short(name)} ({kind})" if kind in LAYERS else f"layer {short(name)}"
    if kind not in LAYERS or not _is_from_keras(entry, (kind,)):
        origin = entry.get("registered_name") or entry.get("module")
        raise InputError(f"{where} is a {short(kind)} of {short(origin)}: expected Keras' own {', '.join(LAYERS)}.")
    layer: Json = {"layer": kind, "name": name}
    for key, value in entry["config"].items():
        if key == "name" or key in _TRAINING_ONLY:
            continue
        if key == "dtype":
            _check_dtype(value, kind, where)
        elif key in ("batch_shape", "batch_input_shape"):  # beside an InputLayer, the first layer of a Sequential repeats it
            if kind == "InputLayer":
                layer["shape"] = _shape(value)
        elif key == "activation":
            if not isinstance(value, str) or value not in _ACTIVATIONS:
                raise InputError(f"{where}: expected an activation of {', '.join(_ACTIVATIONS)}. Got {short(value)}.")
            layer[key] = _ACTIVATIONS[value]
        elif key in SETTINGS[kind]:
            layer[key] = value
        elif key in _FIXED.get(kind, ()):
            only = _FIXED[kind][key]
            require(value == only, f"{where}: expected {key}={only}. Got {key}={short(value)}.")
        elif value is not None:
            raise InputError(f"{where} has a setting that is not understood: {short(key)}={short(value)}.")
    missing = [setting for setting in SETTINGS[kind] if setting not in layer]
    require(not missing, f"{where}: expected {', '.join(missing)}. Got {', '.join(map(short, entry['config']))}.")
    if kind == "Reshape" and isinstance(layer["target_shape"], list) and len(layer["target_shape"]) == 1:
        return {"layer": "Flatten", "name": name}  # what a reshape to one axis is, whether it is written as -1 or not
    return layer


def _is_from_keras(entry: Json, names: tuple[str, ...]) -> bool:
    """Whether an object claims to be one of Keras' own, as opposed to a custom one of the same class name."""
    module, registered = entry.get("module"), entry.get("registered_name")
    return (module is None or module in _MODULES) and (registered is None or registered in names)


def _check_dtype(value: Any, kind: str, where: str) -> None:
    if isinstance(value, dict) and value["class_name"] in _POLICIES:
        value = value["config"]["name"]
    allowed = _INPUT_TYPES if kind == "InputLayer" else ("float32",)
    require(value in allowed, f"{where} computes in {short(value)}: expected {' or '.join(allowed)}.")


def _shape(batch_shape: Any) -> list[Any]:
    """Without the batch; the values are checked with all others."""
    if not isinstance(batch_shape, list) or len(batch_shape) < 2:
        raise InputError(f"expected an input of a known shape. Got {short(batch_shape)}.")
    return batch_shape[1:]


def _source(entry: Json, layer: Json) -> str | None:
    """The layer whose output this one of a Functional model takes."""
    nodes, where = entry["inbound_nodes"], f"layer {short(layer['name'])}"
    if layer["layer"] == "InputLayer" and nodes == []:
        return None
    require(len(nodes) == 1, f"{where} is used {len(nodes)} times: expected once.")
    if isinstance(nodes[0], dict):  # Keras 3
        if len(nodes[0]["args"]) != 1 or nodes[0]["args"][0]["class_name"] != "__keras_tensor__":
            raise InputError(f"{where} takes something else than one tensor.")
        history, options = nodes[0]["args"][0]["config"]["keras_history"], nodes[0]["kwargs"]
    else:
        require(len(nodes[0]) == 1, f"{where} takes {len(nodes[0])} tensors: expected one.")
        history, options = nodes[0][0][:3], (nodes[0][0][3:] or [{}])[0]  # Keras 1 has no options
    # training=True would have a Dropout drop, and so on.
    if not isinstance(options, dict) or any(value not in (None, False) for value in options.values()):
        raise InputError(f"{where} is called with {short(options)}: expected no options.")
    return _plain_output(history, where)


def _only(tensors: Any, what: str) -> str:
    """The layer of the one input or output: ["name", 0, 0] or [["name", 0, 0]]."""
    if isinstance(tensors, list) and len(tensors) == 1:
        tensors = tensors[0]
    if not isinstance(tensors, list) or len(tensors) != 3 or not isinstance(tensors[0], str):
        raise InputError(f"expected one {what}. Got {short(tensors)}.")
    return _plain_output(tensors, f"the {what}")


def _plain_output(history: Any, where: str) -> str:
    name, node, tensor = history
    if not isinstance(name, str) or node != 0 or tensor != 0:
        raise InputError(f"{where} takes {short(history)}: expected the one output of a layer.")
    return name


def _chain(source_of: dict[str, str | None], last: str) -> dict[str, str | None]:
    """From the input to the last layer, each with its source."""
    chain: dict[str, str | None] = {}
    name: str | None = last
    while name is not None and name not in chain:
        chain[name] = source_of[name]
        name = source_of[name]
    return dict(reversed(chain.items()))


def _stored_as(layers: list[Json]) -> list[str]:
    """The groups of a `.keras` file: the class name in snake case, counted in the order of the configuration.

    Source: `_save_container_state` in saving/saving_lib.py of both.
    """
    counts: dict[str, int] = {}
    names = []
    for layer in layers:
        name = _WITH_WEIGHTS.get(layer["layer"], "")
        count = counts[name] = counts.get(name, -1) + 1
        names.append(f"{name}_{count}" if name and count else name)
    return names
