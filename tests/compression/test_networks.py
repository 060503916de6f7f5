import numpy as np
import pytest
import tf_keras

from edgedqn.agents.errors import InputError
from edgedqn.agents.networks import minatar_torso, q_network
from edgedqn.compression.folding import plain_network
from edgedqn.compression.networks import fresh, resized, size_of, widths
from edgedqn.compression.report import Findings, NetworkSize


def image_network() -> tf_keras.Model:
    """10 x 10 x 4 -> 16 filters -> 32 -> 3 actions."""
    return plain_network(q_network((10, 10, 4), 3, hidden=(32,), rng=np.random.default_rng(0), torso=minatar_torso))


def test_widths_are_those_of_the_hidden_layers() -> None:
    assert widths(plain_network(q_network((4,), 2, hidden=(16, 8), rng=np.random.default_rng(0)))) == ((), (16, 8))
    assert widths(plain_network(q_network((4,), 2, hidden=(), rng=np.random.default_rng(0)))) == ((), ())
    assert widths(image_network()) == ((16,), (32,))


@pytest.mark.parametrize("hidden", [(), (5,), (7, 3, 2)])
def test_a_resized_network_has_the_widths_asked_for_and_the_same_ends(hidden: tuple[int, ...]) -> None:
    for like, filters in (
        (plain_network(q_network((4,), 2, hidden=(16, 8), rng=np.random.default_rng(0))), ()),
        (image_network(), (6,)),
    ):
        network = resized(like, filters=filters, hidden=hidden)
        assert widths(network) == (filters, hidden)
        assert (network.input_shape, network.output_shape) == (like.input_shape, like.output_shape)
        relus = [layer.activation.__name__ for layer in network.layers if layer.weights]
        assert relus == ["relu"] * (len(filters) + len(hidden)) + ["linear"]


def test_the_same_widths_make_the_same_network() -> None:
    like = image_network()
    filters, hidden = widths(like)
    again = resized(like, filters=filters, hidden=hidden)
    assert [layer.name for layer in again.layers] == [layer.name for layer in like.layers]
    again.set_weights(like.get_weights())
    images = np.random.default_rng(1).random((5, 10, 10, 4)).astype(np.float32)
    np.testing.assert_array_equal(again(images), like(images))


@pytest.mark.parametrize(("filters", "hidden"), [((), (4,)), ((4, 4), (4,)), ((0,), (4,)), ((4,), (0,))])
def test_refuses_widths_that_fit_nothing(filters: tuple[int, ...], hidden: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="Expected 1 numbers of filters, and filters and widths of 1 or more"):
        resized(image_network(), filters=filters, hidden=hidden)


def test_fresh_weights_have_the_spread_that_their_layer_needs() -> None:
    like = plain_network(q_network((100,), 2, hidden=(400, 300), rng=np.random.default_rng(0)))
    network = fresh(like, np.random.default_rng(3))
    assert network is not like
    first, _, second, bias, last, _ = network.get_weights()
    for kernel, limit in ((first, np.sqrt(6 / 100)), (second, np.sqrt(6 / 400)), (last, np.sqrt(6 / 302))):
        assert 0.98 * limit < np.abs(kernel).max() <= limit
        assert kernel.std() == pytest.approx(limit / np.sqrt(3), rel=0.05)
    assert not bias.any()
    for array, again in zip(network.get_weights(), fresh(like, np.random.default_rng(3)).get_weights(), strict=True):
        np.testing.assert_array_equal(array, again)


def test_describes_widths_and_counts_weights() -> None:
    network = plain_network(q_network((10, 10, 4), 3, hidden=(12,), rng=np.random.default_rng(5), torso=minatar_torso))
    weights = 3 * 3 * 4 * 16 + 16 + 8 * 8 * 16 * 12 + 12 + 12 * 3 + 3
    assert size_of(network) == NetworkSize((16,), (12,), weights)
    assert size_of(network).to_json() == {"filters": [16], "hidden": [12], "weights": weights}
    assert NetworkSize.from_json({"filters": [16], "hidden": [12], "weights": weights, "passed": True}) == size_of(network)
    assert Findings.from_json({"passed": True}).size is None
