"""What an operator is given is of the kind that it takes, or refused with the operator's name."""

from typing import Any

import numpy as np
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.importing.layer_writer import LayerWriter
from edgedqn.agents.importing.onnx_model.operands import IMAGE, Operands, to_vector
from edgedqn.agents.importing.onnx_model.values import Action, Signal


def operands(node: Any, *values: Any) -> Operands:
    writer = LayerWriter()
    writer.add("InputLayer", "in", shape=[2, 3, 4])
    return Operands(node=node("Op", "x", "y"), values=values, writer=writer, is_single=False)


def test_each_kind_is_told_from_the_others(node: Any) -> None:
    vector, image = Signal(layer="in", shape=(4,)), Signal(layer="in", shape=(4, 2, 3), axes=IMAGE)
    given = operands(node, vector, np.ones(3), None, Action(vector), image)
    assert given.signal() is vector and given.vector() is vector and given.optional(2) is None and given.optional(9) is None
    assert given.constant(1).shape == (3,) and len(given.constants()) == 1
    for ask in (
        lambda: given.signal(3),
        lambda: given.constant(0),
        lambda: given.constant(2),
        lambda: given.optional(3),
        lambda: given.vector(4),
        given.image,
    ):
        with pytest.raises(InputError, match="the operator Op "):
            ask()


def test_an_image_gets_its_channels_last(node: Any) -> None:
    image = Signal(layer="in", shape=(4, 2, 3), axes=IMAGE)
    assert operands(node, image).image() is image
    given = operands(node, Signal(layer="in", shape=(2, 3, 4), axes=(0, 1, 2)))  # channels first in the layer, too
    turned = given.image()
    assert (turned.axes, turned.shape, given.writer.layers[-1]["dims"]) == (IMAGE, (2, 3, 4), [2, 3, 1])


def test_a_flatten_knows_which_number_is_where(node: Any) -> None:
    theirs = np.arange(24).reshape(4, 2, 3)  # [C, H, W]
    given = operands(node)
    flat = to_vector(given, Signal(layer="in", shape=(4, 2, 3), axes=IMAGE))
    ours = theirs.transpose(1, 2, 0).reshape(-1)
    assert flat.order is not None
    np.testing.assert_array_equal(ours[flat.order], theirs.reshape(-1))
    assert to_vector(given, Signal(layer="in", shape=(2, 3, 4), axes=(0, 1, 2))).order is None
