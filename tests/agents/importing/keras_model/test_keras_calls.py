"""What a layer is called with, in the words of each Keras."""

from typing import Any

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.importing.keras_model.keras_calls import Call, call_of, only_layers, only_tensor


def tensor(name: str) -> Any:
    return {"class_name": "__keras_tensor__", "config": {"shape": [None, 4], "dtype": "float32", "keras_history": [name, 0, 0]}}


CALLS: dict[str, tuple[Any, Call]] = {
    "an input": ([], Call((), {})),
    "Keras 1": ([[["a", 0, 0]]], Call(("a",), {})),
    "Keras 2": ([[["a", 0, 0, {}], ["b", 0, 0, {}]]], Call(("a", "b"), {})),
    "an option": ([[["a", 0, 0, {"training": False}]]], Call(("a",), {"training": False})),
    "a function": ([["a", 0, 0, {"y": ["b", 0, 0], "name": None}]], Call(("a", "b"), {"name": None})),
    "a function of a number": ([["_CONSTANT_VALUE", -1, 1.5, {"y": ["a", 0, 0]}]], Call((1.5, "a"), {})),
    "Keras 3": ([{"args": [tensor("a")], "kwargs": {"mask": None}}], Call(("a",), {"mask": None})),
    "a list in Keras 3": ([{"args": [[tensor("a"), tensor("b")]], "kwargs": {}}], Call(("a", "b"), {})),
    "a number in Keras 3": ([{"args": [tensor("a"), 255], "kwargs": {}}], Call(("a", 255.0), {})),
}


@pytest.mark.parametrize(("nodes", "expected"), CALLS.values(), ids=CALLS)
def test_calls(nodes: Any, expected: Call) -> None:
    assert call_of({"inbound_nodes": nodes}, "layer 'x'") == expected


REFUSED: dict[str, tuple[Any, str]] = {
    "two calls": ([[["a", 0, 0, {}]], [["a", 0, 0, {}]]], "is used 2 times"),
    "a second call of the source": ([[["a", 1, 0, {}]]], "expected the one output of a layer"),
    "a text": ([{"args": ["a"], "kwargs": {}}], "takes 'a': expected the output of a layer"),
    "a truth": ([["a", 0, 0, {"y": True}]], "takes True"),
    "a constant tensor": (
        [{"args": [{"class_name": "__numpy__", "config": {}}], "kwargs": {}}],
        "takes {'class_name': '__numpy__'",
    ),
    "options that are none": ([[["a", 0, 0, 3]]], "is called with 3"),
}


@pytest.mark.parametrize(("nodes", "reason"), REFUSED.values(), ids=REFUSED)
def test_others_are_refused(nodes: Any, reason: str) -> None:
    with pytest.raises(InputError, match=f"layer 'x' {reason}|layer 'x' takes .*{reason}"):
        call_of({"inbound_nodes": nodes}, "layer 'x'")


def test_a_layer_takes_layers_only() -> None:
    assert only_layers(Call(("a",), {"training": False, "mask": None}), "layer 'x'") == ["a"]
    with pytest.raises(InputError, match="layer 'x' takes a number"):
        only_layers(Call(("a", 2.0), {}), "layer 'x'")
    with pytest.raises(InputError, match=r"layer 'x' is called with {'training': True}"):
        only_layers(Call(("a",), {"training": True}), "layer 'x'")


def test_one_input_or_output() -> None:
    assert only_tensor(["a", 0, 0], "output") == only_tensor([["a", 0, 0]], "output") == "a"
    with pytest.raises(InputError, match="expected one output"):
        only_tensor([["a", 0, 0], ["b", 0, 0]], "output")
