"""An ONNX graph, one node after the other, becomes layers.

ONNX has images channels first and layers here have them last, so each value remembers which axis of the layer's output is which
of ONNX's, and behind a Flatten which number is which. Nothing is moved but where a layer's weights can be reordered instead.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgedqn.agents.errors import InputError, one_line, require
from edgedqn.agents.importing.foreign_files import Network, short
from edgedqn.agents.importing.layer_writer import LayerWriter
from edgedqn.agents.importing.onnx_model.constants import fold
from edgedqn.agents.importing.onnx_model.operands import Operands
from edgedqn.agents.importing.onnx_model.operators import ATTRIBUTES, OPERATORS
from edgedqn.agents.importing.onnx_model.tidying import tidy
from edgedqn.agents.importing.onnx_model.values import (
    BATCH,
    INT64,
    Action,
    Constant,
    Graph,
    Node,
    Quantiles,
    Signal,
    Value,
)

_OF_IMAGES = ("Conv", "MaxPool", "AveragePool", "GlobalAveragePool")
_PASSES_ON = ("Identity", "Cast", "Add", "Sub", "Mul", "Div")
# What is the same of integers as of real numbers: moves, and what takes one of several numbers.
_OF_INTEGERS = ("Identity", "Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Dropout", "Relu", "MaxPool")
# By which of its inputs an operator takes the batch's size without counting with it.
_OF_SIZES = dict.fromkeys(("Identity", "Gather", "Shape", "Slice", "Squeeze", "Unsqueeze"), (0,)) | {"Reshape": (1,)}
MOST_CONSTANTS = 2**28  # numbers, beside each other
LARGEST_OUTPUT = 2**12  # actions


def translate_graph(graph: Graph) -> Network:
    """The layers from the observation to the output.

    Raises:
      InputError: a node has an operator, or one with a setting, that no layer here computes; with its name.
    """
    writer = LayerWriter()
    writer.add("InputLayer", "observation", shape=[])
    values: dict[str, Value] = dict(graph.constants)
    observation = observation_of(graph)
    axes = observation.axes or (0,)
    writer.layers[0]["shape"] = [graph.shape[axes.index(axis)] for axis in range(len(axes))]
    values[graph.observation] = observation
    for node in graph.nodes:
        try:
            _translate(node, values, writer, is_single=graph.is_single)
        except (ValueError, TypeError, IndexError, KeyError, ArithmeticError, AssertionError) as error:
            if isinstance(error, InputError):
                raise
            what = f"the node {short(node.operator)} that gives {short(', '.join(node.outputs))}"
            raise InputError(f"{what} has inputs or settings that such a node cannot have: {one_line(error)[:200]}.") from error
    output = values.get(graph.output)
    if isinstance(output, Action | Quantiles):
        output = output.of
    elif isinstance(output, Signal) and len(output.shape) != 1:
        raise InputError(f"its output is {output.shape}: expected one Q-value per action.")
    if not isinstance(output, Signal) or output.order is not None or output.size > LARGEST_OUTPUT:
        raise InputError(f"its output {short(graph.output)} is none of a network: expected one Q-value per action.")
    return tidy(writer.network, output.layer)


def observation_of(graph: Graph) -> Signal:
    """The input. Images come channels first, but where they are turned at once or no layer takes them as images."""
    shape, is_integer = graph.shape, not graph.dtype.startswith("float")
    if len(shape) == 1:
        return Signal(layer="observation", shape=shape, is_integer=is_integer)
    turned = False
    names = {graph.observation}
    for node in graph.nodes:
        if names & set(node.inputs) and node.operator in _PASSES_ON:
            names |= set(node.outputs)
        elif names & set(node.inputs):
            turned |= node.operator == "Transpose" and node.attributes.get("perm") == [0, 3, 1, 2]
    of_images = len(shape) == 3 and any(node.operator in _OF_IMAGES for node in graph.nodes)
    axes = (2, 0, 1) if of_images and not turned else tuple(range(len(shape)))
    return Signal(layer="observation", shape=shape, axes=axes, is_integer=is_integer)


def _translate(node: Node, values: dict[str, Value], writer: LayerWriter, *, is_single: bool) -> None:
    operator = node.operator
    missing = [name for name in node.inputs if name and name not in values]
    require(not missing, f"{short(operator)} takes {short(missing)}, which no node before it gives.")
    given = [values[name] if name else None for name in node.inputs]
    _check_batch(node, given)
    is_integer = any(isinstance(each, Signal) and each.is_integer for each in given)
    result: Value | None
    if operator == "Constant":
        result = _constant(node)
    elif operator == "Shape":
        result = _shape(node, given[0] if given else None)
    elif all(each is None or isinstance(each, np.ndarray) for each in given):
        constants: list[Constant | None] = [each for each in given if each is None or isinstance(each, np.ndarray)]
        result = fold(node, constants)
        require(result is not None, f"the operator {short(operator)} is not understood of constants.")
    else:
        rule = OPERATORS.get(operator)
        if rule is None:
            known = ", ".join(sorted({*OPERATORS, "Constant", "Shape"}))
            raise InputError(f"the operator {short(operator)} is not understood: expected {known}.")
        unknown = sorted(set(node.attributes) - ATTRIBUTES.get(operator, frozenset()))
        require(not unknown, f"the operator {operator} is not understood with {short(unknown)}.")
        if is_integer and operator not in (*_OF_INTEGERS, "Cast"):
            raise InputError(f"the operator {operator} is not understood of integers: expected a Cast to float before it.")
        result = rule(Operands(node=node, values=given, writer=writer, is_single=is_single))
        if isinstance(result, Signal):
            result = replace(result, is_integer=is_integer and operator != "Cast")
    if node.outputs:
        name = node.outputs[0]
        require(name not in values, f"two nodes give {short(name)}.")
        assert result is not None
        values[name] = result
        if isinstance(result, np.ndarray):
            total = sum(each.size for each in values.values() if isinstance(each, np.ndarray))
            require(total <= MOST_CONSTANTS, f"its constants have {total:,} numbers: expected at most {MOST_CONSTANTS:,}.")


def _check_batch(node: Node, given: Sequence[Value | None]) -> None:
    """Refuses the batch's size as a number: it is not known, and stands for itself in the shape of a Reshape."""
    every = node.operator == "Concat" or (node.operator == "Cast" and node.integer("to", 0) == INT64)
    allowed: Sequence[int] = range(len(given)) if every else _OF_SIZES.get(node.operator, ())
    for i, each in enumerate(given):
        if isinstance(each, np.ndarray) and each.dtype == np.int64 and i not in allowed and (each == BATCH).any():
            raise InputError(f"the operator {short(node.operator)} counts with the size of the batch: expected a shape alone.")


def _constant(node: Node) -> Constant:
    for name in ("value", "value_float", "value_int", "value_floats", "value_ints"):
        value = node.attributes.get(name)
        if isinstance(value, np.ndarray):
            return value
        if isinstance(value, float | int | list):
            return np.asarray(value, np.int64 if "int" in name else np.float32)
    raise InputError("a Constant has no value of numbers.")


def _shape(node: Node, given: Value | None) -> Constant:
    if isinstance(given, np.ndarray):
        sizes = list(given.shape)
    elif isinstance(given, Signal):
        sizes = [BATCH, *given.shape]
    else:
        raise InputError("the operator Shape is understood of constants and a layer's output only.")
    return np.asarray(sizes[node.integer("start", 0) : node.integer("end", len(sizes))], np.int64)
