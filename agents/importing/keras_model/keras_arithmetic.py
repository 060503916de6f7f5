"""Sums, differences and means of layers in a model of Keras: residuals, scalings, and the pieces of a dueling head.

They are layers of Keras, functions of TensorFlow (Keras 2) or operations of Keras 3, whose names are compared with a list.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from edgedqn.agents.errors import InputError, require
from edgedqn.agents.files import Json
from edgedqn.agents.importing.foreign_files import short
from edgedqn.agents.importing.keras_model.keras_calls import Call
from edgedqn.agents.importing.keras_model.keras_layers import MERGING, is_from_keras

_FUNCTIONS = {  # of TensorFlow
    "__operators__.add": "add",
    "math.add": "add",
    "math.subtract": "subtract",
    "math.multiply": "multiply",
    "math.truediv": "divide",
    "math.divide": "divide",
    "math.reduce_mean": "mean",
    "cast": "cast",
    "nn.relu": "relu",
    "math.tanh": "tanh",
    "math.sigmoid": "sigmoid",
}
_OPERATIONS = {  # of Keras 3
    "Add": "add",
    "Subtract": "subtract",
    "Multiply": "multiply",
    "TrueDivide": "divide",
    "Divide": "divide",
    "Mean": "mean",
    "Cast": "cast",
    "Relu": "relu",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
}
_MODULES = ("keras.src.ops.numpy", "keras.src.ops.nn", "keras.src.ops.core")
_FUNCTION_MODULES = tuple(f"{package}layers.core.tf_op_layer" for package in ("keras.", "keras.src.", "tf_keras.src."))
_ACTIVATIONS = ("relu", "tanh", "sigmoid")


class Mean(NamedTuple):
    """The mean of a layer's outputs, [B, 1]."""

    of: str


class Centred(NamedTuple):
    """A layer's outputs without their mean, [B, A]."""

    of: str


class Sum(NamedTuple):
    """A state's value, [B, 1], added to the output for each action, [B, A]."""

    value: str
    actions: str


class Written(NamedTuple):
    """A layer as `architecture` has it."""

    kind: str
    inputs: tuple[str, ...]
    settings: Json


Value: TypeAlias = str | Mean | Centred | Sum
"""What a layer of Keras gives: the output of one of ours, or a piece of a dueling head."""


def operation_of(entry: Json) -> str | None:
    """What an entry of Keras' list does, None where it is no arithmetic."""
    kind, module = entry["class_name"], entry.get("module")
    if not isinstance(kind, str) or not isinstance(module, str | None):
        return None
    if kind == "TFOpLambda" and module in (None, *_FUNCTION_MODULES):
        function = entry["config"]["function"]
        if not isinstance(function, str) or function not in _FUNCTIONS:
            expected = ", ".join(_FUNCTIONS)
            raise InputError(f"layer {short(entry['config']['name'])} is {short(function)} of TensorFlow: expected {expected}.")
        return _FUNCTIONS[function]
    if kind in MERGING and is_from_keras(entry, (kind,)):
        return kind.lower()
    if module in _MODULES or (module is None and kind not in MERGING):  # an .h5 of Keras 3 names no modules
        return _OPERATIONS.get(kind)
    return None


def options_of(entry: Json, call: Call) -> Json:
    """The options of an operation, which Keras 3 has among its settings."""
    options = {**entry["config"], **call.options}
    return {key: value for key, value in options.items() if key not in ("name", "trainable", "function") and value is not None}


def combine(
    what: str, operands: Sequence[Value | float], *, options: Json, widths: Mapping[str, int | None]
) -> Value | Written:
    """What an operation gives.

    Args:
      what: as `operation_of` says.
      operands: of it.
      options: by name.
      widths: of the layers that give vectors, where they are known.
    Raises:
      InputError: it is none of those that are known here.
    """
    if what not in ("mean", "cast"):
        options = {key: value for key, value in options.items() if key != "dtype"}
        require(not options, f"expected no options. Got {short(options)}.")
    found: Value | Written | None = None
    match what, tuple(operands):
        case "cast", (str() as x,) if options.get("dtype") == "float32":
            found = x
        case "mean", (str() as x,) if widths.get(x) and _is_over_actions(options):
            found = Mean(x)
        case "add", (first, second):
            found = _sum(first, second, widths) or _sum(second, first, widths)
        case "subtract", (first, second):
            found = _difference(first, second, widths)
        case "multiply", (str() as x, float() as number) | (float() as number, str() as x):
            found = _scaled(x, number, 0.0)
        case "divide", (str() as x, float() as number) if number:
            found = _scaled(x, 1 / number, 0.0)
        case _, (str() as x,) if what in _ACTIVATIONS:
            found = Written("Activation", (x,), {"activation": what})
    if found is None:
        raise InputError("expected a sum of two layers, a layer and a number, or the pieces of a dueling head, V + A - mean A.")
    return found


def _sum(first: Value | float, second: Value | float, widths: Mapping[str, int | None]) -> Value | Written | None:
    match first, second:
        case str(), float():
            return _scaled(first, 1.0, second)
        case str(), Centred():
            return _dueling(first, second.of, widths)
        case str(), str() if widths.get(first) == 1 and (widths.get(second) or 1) > 1:
            return Sum(first, second)
        case str(), str() if widths.get(second) != 1 or widths.get(first) == 1:
            return Written("Add", (first, second), {})
    return None


def _difference(first: Value | float, second: Value | float, widths: Mapping[str, int | None]) -> Value | Written | None:
    match first, second:
        case str(), float():
            return _scaled(first, 1.0, -second)
        case float(), str():
            return _scaled(second, -1.0, first)
        case Sum(), Mean() if first.actions == second.of:
            return _dueling(first.value, first.actions, widths)
        case str(), Mean() if first == second.of:
            return Centred(first)
    return None


def _is_over_actions(options: Json) -> bool:
    axis = options.get("axis")
    return (axis[0] if isinstance(axis, list) and len(axis) == 1 else axis) in (1, -1) and options.get("keepdims") is True


def _scaled(x: str, scale: float, offset: float) -> Written:
    return Written("Rescaling", (x,), {"scale": scale, "offset": offset})


def _dueling(value: str, actions: str, widths: Mapping[str, int | None]) -> Written:
    require(widths.get(value) == 1, "expected one value of a state beside its actions' advantages.")
    return Written("DuelingMerge", (value, actions), {"n_actions": widths[actions], "quantiles": 0})
