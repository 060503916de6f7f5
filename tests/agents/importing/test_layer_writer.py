"""Layers are written down as `architecture` describes them, with PyTorch's tensors turned."""

import numpy as np
import pytest

from edgedqn.agents.architecture import rebuild
from edgedqn.agents.errors import InputError
from edgedqn.agents.importing.layer_writer import ACTIVATIONS, LayerWriter, known_activation


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_can_be_built(name: str) -> None:
    writer = LayerWriter()
    writer.add("InputLayer", "observation", shape=[4])
    writer.linear(np.ones((2, 4), np.float32), np.zeros(2, np.float32), name="q", activation=known_activation(name))
    network = rebuild(writer.layers)
    assert network.output_shape == (None, 2)
    assert known_activation(name.upper()) == known_activation(name)


def test_an_unknown_one_is_refused() -> None:
    with pytest.raises(InputError, match=r"expected an activation of linear, .* Got 'os\.system'"):
        known_activation("os.system")


def test_features_of_an_image_change_their_order() -> None:
    writer = LayerWriter()
    writer.add("InputLayer", "observation", shape=[2, 3, 5])
    writer.add("Flatten", "flatten")
    weight = np.random.default_rng(0).normal(size=(4, 30)).astype(np.float32)
    writer.linear(weight, None, name="q", activation="linear", flattened=(2, 3, 5))
    image = np.random.default_rng(1).normal(size=(5, 2, 3)).astype(np.float32)  # [C, H, W]
    expected = weight @ image.reshape(-1)
    got = image.transpose(1, 2, 0).reshape(-1) @ writer.weights["q"][0]
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    with pytest.raises(InputError, match="'more' has 30 inputs: expected 60"):
        writer.linear(weight, None, name="more", activation="linear", flattened=(2, 3, 10))


def test_a_layer_stands_on_the_one_that_is_named() -> None:
    writer = LayerWriter()
    writer.add("InputLayer", "observation", shape=[4])
    for name in ("value", "advantage"):
        writer.at = "observation"
        writer.add("Flatten", name)
    assert [each.get("inputs") for each in writer.layers] == [None, ["observation"], ["observation"]]
