"""One layer of Keras by its own settings, in the words of `architecture`. Looks up nothing that they name.

A name is compared with those of a short list, plain values are copied, and whatever is left over is an error.
"""

from typing import Any, NamedTuple

from edgedqn.agents.architecture import SETTINGS
from edgedqn.agents.errors import InputError, require
from edgedqn.agents.files import Json
from edgedqn.agents.importing.foreign_files import short

MERGING = ("Add", "Subtract")  # of several layers; `keras_arithmetic` says what of
_TRAINING_LAYERS = (
    "GaussianNoise",
    "GaussianDropout",
    "AlphaDropout",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "ActivityRegularization",
)
LAYERS = (*(kind for kind in SETTINGS if kind not in ("Add", "DuelingMerge")), *MERGING)

# What holds only while a network is trained, as far as these layers go. Not looked at, so it may name anything.
_TRAINING_ONLY = frozenset(
    f"{what}_{rule}"
    for what in ("kernel", "bias", "activity", "beta", "gamma", "moving_mean", "moving_variance")
    for rule in ("initializer", "regularizer", "constraint")
) | {"trainable", "seed", "noise_shape", "momentum", "synchronized", "renorm_momentum"}

# Settings that `architecture` does not have, with the one value that it means.
_IMAGES: Json = {"data_format": "channels_last"}
_FIXED: dict[str, Json] = {
    "InputLayer": {"sparse": False, "ragged": False, "optional": False},
    "Conv2D": {**_IMAGES, "dilation_rate": [1, 1], "groups": 1},
    "ReLU": {"negative_slope": 0.0, "threshold": 0.0, "max_value": None},
    "Flatten": _IMAGES,
    "BatchNormalization": {"renorm": False, "mode": 0},  # the second of Keras 1
    "LayerNormalization": {"rms_scaling": False},
    "MaxPooling2D": _IMAGES,
    "AveragePooling2D": _IMAGES,
    "GlobalAveragePooling2D": {**_IMAGES, "keepdims": False},
    "ZeroPadding2D": _IMAGES,
}
_RENAMED = {("LeakyReLU", "negative_slope"): "alpha"}  # Keras 3
_ACTIVATIONS = {
    name: name for name in ("linear", "relu", "relu6", "tanh", "sigmoid", "softplus", "swish", "gelu", "elu", "selu")
}
_ACTIVATIONS |= {"silu": "swish"}  # Keras 3
_AS_LAYERS = ("ReLU", "LeakyReLU", "ELU")  # which are given as activations, too
_POLICIES = ("DTypePolicy", "FloatDTypePolicy", "Policy")  # of Keras 3, its first versions, and Keras 2
INTEGERS = ("uint8", "int8", "int16", "int32", "int64", "bool")
_INPUT_TYPES = ("float32", "float64", *INTEGERS)
_WEIGHTS = {
    "Dense": ("kernel", "bias"),
    "Conv2D": ("kernel", "bias"),
    "BatchNormalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "LayerNormalization": ("gamma", "beta"),
}
_SWITCHES = {"use_bias": "bias", "scale": "gamma", "center": "beta"}
MODULES = (
    "keras",
    "keras.layers",
    "keras.models",
    "keras.engine.functional",
    "keras.src.engine.functional",
    "keras.src.models.functional",
    "tf_keras.layers",
    "tf_keras.src.engine.functional",
)


class Layer(NamedTuple):
    """One layer of Keras."""

    name: str
    description: Json | None  # without its inputs; None of what is no layer here
    behind: Json | None = None  # the activation, where `architecture` has it as a layer of its own
    weights: tuple[str, ...] = ()  # in the order in which files hold them
    axes: tuple[int, ...] = (-1,)  # those that a normalization is over, counted with the batch


def read_layer(entry: Json) -> Layer:
    """A layer by its entry in Keras' list. Raises InputError with its name where it is none that is known here."""
    kind, name = entry["class_name"], entry["config"]["name"]
    if not isinstance(name, str) or entry.get("name", name) != name:
        raise InputError(f"a layer has no name, or two: {short(name)}.")
    where = f"layer {short(name)} ({kind})" if kind in LAYERS else f"layer {short(name)}"
    if kind == "Lambda":
        raise InputError(
            f"{where} is a Lambda, which is code and is not run. Put layers of Keras in its place, or write a function that "
            "gives the model's Q-values, and import that: module:function --gives values."
        )
    if kind in _TRAINING_LAYERS and is_from_keras(entry, (kind,)):
        return Layer(name, {"layer": "Dropout", "name": name, "rate": 0.0})  # does nothing once a network is trained
    if kind not in LAYERS or not is_from_keras(entry, (kind,)):
        origin = entry.get("registered_name") or entry.get("module")
        raise InputError(f"{where} is a {short(kind)} of {short(origin)}: expected Keras' own {', '.join(LAYERS)}.")
    if kind in MERGING:
        return Layer(name, {"layer": kind, "name": name})
    settings = _settings(entry["config"], kind, where)
    absent = {weight for switch, weight in _SWITCHES.items() if settings.get(switch) is False}
    weights = tuple(weight for weight in _WEIGHTS.get(kind, ()) if weight not in absent)
    axes = settings.get("axis", -1)
    description = {"layer": kind, "name": name, **{key: settings[key] for key in SETTINGS[kind] if key in settings}}
    missing = [setting for setting in SETTINGS[kind] if setting not in settings]
    require(not missing, f"{where}: expected {', '.join(missing)}. Got {', '.join(map(short, entry['config']))}.")
    description, behind = _with_activation(description, settings, where)
    axes = tuple(axes) if isinstance(axes, list) else (axes,)
    return Layer(name, description, behind=behind, weights=weights, axes=axes)


def _settings(config: Json, kind: str, where: str) -> Json:
    """The settings that decide what a layer computes, by the names that Keras has for them today."""
    found: Json = {}
    for key, value in config.items():
        key = _RENAMED.get((kind, key), key)
        if key == "name" or key in _TRAINING_ONLY:
            continue
        if key == "dtype":
            _check_dtype(value, kind, where)
        elif key in ("batch_shape", "batch_input_shape"):  # beside an InputLayer, the first layer of a Sequential repeats it
            if kind == "InputLayer":
                found["shape"] = plain_shape(value)
        elif kind in ("BatchNormalization", "LayerNormalization") and key in ("axis", "center", "scale"):
            if not (isinstance(value, bool) if key != "axis" else _is_axis(value)):
                raise InputError(f"{where} cannot have {key}={short(value)}.")
            found[key] = value
        elif key == "activation" or key in SETTINGS[kind] or (kind == "ReLU" and _makes_another_relu(key, value, config)):
            found[key] = value
        elif key in _FIXED.get(kind, ()):
            only = _FIXED[kind][key]
            require(value == only, f"{where}: expected {key}={only}. Got {key}={short(value)}.")
        elif value is not None:
            raise InputError(f"{where} has a setting that is not understood: {short(key)}={short(value)}.")
    return found


def _is_axis(value: object) -> bool:
    return all(isinstance(each, int) for each in value) if isinstance(value, list) and value else isinstance(value, int)


def _makes_another_relu(key: str, value: Any, config: Json) -> bool:
    """Whether a setting alone makes a ReLU one that is known under another name."""
    if key == "max_value":
        return bool(value == 6)
    return key == "negative_slope" and isinstance(value, float) and config.get("max_value") is None


def _with_activation(layer: Json, settings: Json, where: str) -> tuple[Json, Json | None]:
    """A layer, and its activation where that is one of its own; or the activation that a layer is by other settings."""
    kind, name = layer["layer"], layer["name"]
    if kind == "Reshape" and isinstance(layer["target_shape"], list) and len(layer["target_shape"]) == 1:
        return {"layer": "Flatten", "name": name}, None  # what a reshape to one axis is, whether it is written as -1 or not
    if kind == "ReLU" and settings.get("max_value") is not None:
        return {"layer": "Activation", "name": name, "activation": "relu6"}, None
    if kind == "ReLU" and settings.get("negative_slope"):
        return {"layer": "LeakyReLU", "name": name, "alpha": settings["negative_slope"]}, None
    if "activation" not in layer:
        return layer, None
    own = _activation(settings["activation"], name, where)
    if kind == "Activation":
        return own, None
    if own.get("activation") in ("linear", "relu"):
        return {**layer, "activation": own["activation"]}, None
    return {**layer, "activation": "linear"}, {**own, "name": f"{name}/{own.get('activation', own['layer'])}"}


def _activation(value: Any, name: str, where: str) -> Json:
    """An activation by its name, or a layer in its place."""
    if isinstance(value, dict) and value.get("class_name") in _AS_LAYERS:
        found = read_layer({**value, "name": value["config"]["name"]}).description
        assert found is not None
        return {**found, "name": name}
    if value == "leaky_relu":
        return {"layer": "LeakyReLU", "name": name, "alpha": 0.2}  # Keras' own default, where PyTorch has 0.01
    if not isinstance(value, str) or value not in _ACTIVATIONS:
        raise InputError(f"{where}: expected an activation of {', '.join(_ACTIVATIONS)}. Got {short(value)}.")
    return {"layer": "Activation", "name": name, "activation": _ACTIVATIONS[value]}


def is_from_keras(entry: Json, names: tuple[str, ...]) -> bool:
    """Whether an object claims to be one of Keras' own, as opposed to a custom one of the same class name."""
    module, registered = entry.get("module"), entry.get("registered_name")
    return (module is None or module in MODULES) and (registered is None or registered in names)


def _check_dtype(value: Any, kind: str, where: str) -> None:
    if isinstance(value, dict) and value["class_name"] in _POLICIES:
        value = value["config"]["name"]
    allowed = _INPUT_TYPES if kind == "InputLayer" else ("float32",)
    require(value in allowed, f"{where} computes in {short(value)}: expected {' or '.join(allowed)}.")


def plain_shape(batch_shape: Any) -> list[Any]:
    """Without the batch; the values are checked with all others."""
    if not isinstance(batch_shape, list) or len(batch_shape) < 2:
        raise InputError(f"expected an input of a known shape. Got {short(batch_shape)}.")
    return batch_shape[1:]
