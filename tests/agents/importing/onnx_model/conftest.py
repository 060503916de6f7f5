"""Graphs written by hand, and the networks that are made of them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgedqn.agents.importing.building import build
from edgedqn.agents.importing.onnx_model.graph import translate_graph
from edgedqn.agents.importing.onnx_model.values import Graph, Node


def _node(operator: str, inputs: str, output: str, **attributes: Any) -> Node:
    """`inputs` in one text, "-" for one that is absent."""
    return Node(operator, tuple("" if name == "-" else name for name in inputs.split()), (output,), attributes)


def _translated(shape: tuple[int, ...], *nodes: Node, is_single: bool = False, dtype: str = "float32", **constants: Any) -> Any:
    """The layers of nodes that end in "y", with a Dense of ones behind it where `head` says how many numbers that takes."""
    arrays = {name: np.asarray(value) for name, value in constants.items() if name != "head"}
    made, output = list(nodes), "y"
    if "head" in constants:
        count = constants["head"]
        arrays["ones"] = np.linspace(-1, 1, count * 2, dtype=np.float32).reshape(count, 2)
        made += [_node("Flatten", "y", "flat"), _node("MatMul", "flat ones", "q")]
        output = "q"
    graph = Graph(nodes=made, constants=arrays, observation="x", shape=shape, is_single=is_single, output=output, dtype=dtype)
    return translate_graph(graph)


@pytest.fixture(scope="session")
def node() -> Callable[..., Any]:
    return _node


@pytest.fixture(scope="session")
def translated() -> Callable[..., Any]:
    return _translated


@pytest.fixture(scope="session")
def computed() -> Callable[..., Any]:
    """What the network of some nodes makes of observations, whose images come channels last."""
    return lambda observations, *args, **more: build(*_translated(*args, **more))(observations).numpy()
