"""What a layer of a Functional model is called with, as Keras 1 to 3 write it down: other layers' outputs, numbers, options."""

from typing import Any, NamedTuple, TypeAlias

from edgedqn.agents.errors import InputError, require
from edgedqn.agents.files import Json
from edgedqn.agents.importing.foreign_files import short

Operand: TypeAlias = str | float
"""The layer whose output is taken, or a number."""
_CONSTANT = "_CONSTANT_VALUE"  # which Keras 2 writes in place of a layer


class Call(NamedTuple):
    """The one call of a layer."""

    operands: tuple[Operand, ...]
    options: Json


def call_of(entry: Json, where: str) -> Call:
    """What the layer is called with by its entry in Keras' list; nothing, where that is an input.

    Raises:
      InputError: it is called several times, or with something else.
    """
    nodes = entry["inbound_nodes"]
    if nodes == []:
        return Call((), {})
    require(len(nodes) == 1, f"{where} is used {len(nodes)} times: expected once.")
    (node,) = nodes
    if isinstance(node, dict):  # Keras 3
        args = node["args"]
        if len(args) == 1 and isinstance(args[0], list):
            args = args[0]
        return Call(tuple(_of_keras_3(arg, where) for arg in args), _options(node["kwargs"], where))
    if isinstance(node[0], str):  # a function of TensorFlow in Keras 2: its first argument, then all others by name
        history, options = node[:3], dict(_options(node[3], where))
        operands = [_operand(history, where)]
        if "y" in options:
            operands.append(_operand(options.pop("y"), where))
        return Call(tuple(operands), options)
    operands, options = [], {}
    for history in node:
        operands.append(_operand(history[:3], where))
        options |= _options((history[3:] or [{}])[0], where)  # Keras 1 has none
    return Call(tuple(operands), options)


def only_layers(call: Call, where: str) -> list[str]:
    """The layers, where a layer of Keras takes nothing else. Raises InputError where it does."""
    # training=True would have a Dropout drop, and so on.
    if any(value not in (None, False) for value in call.options.values()):
        raise InputError(f"{where} is called with {short(call.options)}: expected no options.")
    layers = [operand for operand in call.operands if isinstance(operand, str)]
    require(len(layers) == len(call.operands), f"{where} takes a number: expected the output of a layer.")
    return layers


def _options(options: Any, where: str) -> Json:
    if not isinstance(options, dict):
        raise InputError(f"{where} is called with {short(options)}: expected no options.")
    return options


def _of_keras_3(arg: Any, where: str) -> Operand:
    if isinstance(arg, dict) and arg["class_name"] == "__keras_tensor__":
        return plain_output(arg["config"]["keras_history"], where)
    return _number(arg, where)


def _operand(value: Any, where: str) -> Operand:
    if not isinstance(value, list):
        return _number(value, where)
    return _number(value[2], where) if value[0] == _CONSTANT else plain_output(value, where)


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{where} takes {short(value)}: expected the output of a layer.")
    return float(value)


def plain_output(history: Any, where: str) -> str:
    """The layer of a tensor, ["name", 0, 0]."""
    name, node, tensor = history
    if not isinstance(name, str) or node != 0 or tensor != 0:
        raise InputError(f"{where} takes {short(history)}: expected the one output of a layer.")
    return name


def only_tensor(tensors: Any, what: str) -> str:
    """The layer of the one input or output: ["name", 0, 0] or [["name", 0, 0]]."""
    if isinstance(tensors, list) and len(tensors) == 1:
        tensors = tensors[0]
    if not isinstance(tensors, list) or len(tensors) != 3 or not isinstance(tensors[0], str):
        raise InputError(f"expected one {what}. Got {short(tensors)}.")
    return plain_output(tensors, f"the {what}")
