"""Settings as Keras 1 wrote them, in the words of Keras 2. Source: keras/legacy/interfaces.py of Keras 2.0."""

from typing import Any

from edgedqn.agents.errors import InputError
from edgedqn.agents.files import Json
from edgedqn.agents.importing.foreign_files import short

_CLASSES = {"Convolution2D": "Conv2D"}
_NAMES: dict[str, dict[str, str]] = {
    "Dense": {"output_dim": "units", "bias": "use_bias"},
    "Conv2D": {"nb_filter": "filters", "subsample": "strides", "border_mode": "padding", "bias": "use_bias"},
    "Dropout": {"p": "rate"},
    "SpatialDropout2D": {"p": "rate"},
    "GaussianNoise": {"sigma": "stddev"},
    "MaxPooling2D": {"border_mode": "padding"},
    "AveragePooling2D": {"border_mode": "padding"},
    "GlobalAveragePooling2D": {},
}
# How it was trained, and what the weights' shapes say themselves.
_PASSED_OVER = ("init", "input_dim", "input_length", "input_dtype", "batch_input_dtype", "nb_row", "nb_col")
_LAYERS_1 = ("output_dim", "nb_filter", "p", "sigma", "border_mode", "dim_ordering")  # settings that Keras 2 does not have


def as_keras_2(entry: Json) -> Json:
    """An entry of a model's list of layers, translated where Keras 1 wrote it."""
    if not isinstance(entry, dict) or not isinstance(entry.get("config"), dict) or not isinstance(entry.get("class_name"), str):
        return entry  # refused later
    config: Json = entry["config"]
    name: str = entry["class_name"]
    kind = _CLASSES.get(name, name)
    renamed = _NAMES.get(kind, {})
    is_old = any(setting in config for setting in _LAYERS_1) and kind in _NAMES
    if not is_old:
        found = {key: value for key, value in config.items() if key not in ("input_dtype",)}
        if kind == "ZeroPadding2D":
            found["padding"] = _margins(config.get("padding"))
        return {**entry, "config": found}
    found = {}
    for key, value in config.items():
        if key == "dim_ordering":
            if value != "tf":
                raise InputError(f"expected images with their channels last, dim_ordering='tf'. Got {short(value)}, of Theano.")
        elif key not in _PASSED_OVER and not key.endswith(("_regularizer", "_constraint")):
            found[renamed.get(key, key)] = value
    if kind == "Conv2D":
        found["kernel_size"] = [config.get("nb_row"), config.get("nb_col")]
    return {**entry, "class_name": kind, "config": found}


def _margins(padding: Any) -> Any:
    """[rows, columns] or [top, bottom, left, right] of Keras 1 as [[top, bottom], [left, right]]."""
    if not isinstance(padding, list) or not all(isinstance(each, int) for each in padding) or len(padding) not in (2, 4):
        return padding
    return [[each, each] for each in padding] if len(padding) == 2 else [padding[:2], padding[2:]]
