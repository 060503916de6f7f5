"""The Keras network: its shape, and where its first weights come from."""

import itertools
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tf_keras
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError
from edgedqn.agents.networks import TORSOS, find_torso, minatar_torso, nature_torso, nips_torso, q_network, table_network


def by_name(network: Any) -> dict[str, Any]:
    return {weights.name: weights.shape for weights in network.weights}


@settings(max_examples=15, deadline=None)
@given(features=st.integers(1, 9), n_actions=st.integers(1, 6), hidden=st.lists(st.integers(1, 20), max_size=3))
def test_the_network_has_the_shape_asked_for(features: int, n_actions: int, hidden: Any) -> None:
    network = q_network((features,), n_actions, hidden=hidden, rng=np.random.default_rng(0))
    widths = [features, *hidden, n_actions]
    expected = [shape for n_in, n_out in itertools.pairwise(widths) for shape in ((n_in, n_out), (n_out,))]
    assert [w.shape for w in network.get_weights()] == expected
    assert network(np.zeros((3, features), np.float32)).shape == (3, n_actions)


@pytest.mark.parametrize(
    ("settings", "output_shape", "last"),
    [
        ({}, (3,), {"q_values": (8, 3)}),
        ({"quantiles": 5}, (3, 5), {"q_values": (8, 15)}),
        (
            {"dueling": True},
            (3,),
            {"value_hidden": (16, 8), "advantage_hidden": (16, 8), "value": (8, 1), "advantages": (8, 3)},
        ),
        ({"dueling": True, "quantiles": 5}, (3, 5), {"value_hidden": (16, 8), "value": (8, 5), "advantages": (8, 15)}),
    ],
    ids=["plain", "quantiles", "dueling", "both"],
)
def test_heads(settings: dict[str, Any], output_shape: tuple[int, ...], last: dict[str, tuple[int, ...]]) -> None:
    network = q_network((4,), 3, hidden=(16, 8), rng=np.random.default_rng(0), **settings)
    assert network.output_shape == (None, *output_shape)
    shapes = by_name(network)
    assert shapes["hidden_0/kernel:0"] == (4, 16)
    assert {name: shapes[f"{name}/kernel:0"] for name in last} == last
    assert ("hidden_1/kernel:0" in shapes) != ("dueling" in settings)  # with two streams, the last hidden layer is theirs


def test_the_minatar_network_is_that_of_the_paper() -> None:
    network = q_network((10, 10, 4), 3, hidden=(128,), rng=np.random.default_rng(0), torso=minatar_torso)
    assert list(by_name(network).values())[::2] == [(3, 3, 4, 16), (1024, 128), (128, 3)]
    assert network.count_params() == 592 + 131_200 + 387


def test_the_nature_network_is_that_of_the_paper() -> None:
    network = q_network((84, 84, 4), 6, hidden=(512,), rng=np.random.default_rng(0), torso=nature_torso, input_scale=1 / 255)
    assert list(by_name(network).values())[::2] == [(8, 8, 4, 32), (4, 4, 32, 64), (3, 3, 64, 64), (3136, 512), (512, 6)]
    assert [layer.strides for layer in network.layers if isinstance(layer, tf_keras.layers.Conv2D)] == [(4, 4), (2, 2), (1, 1)]
    assert network.count_params() == 8_224 + 32_832 + 36_928 + 1_606_144 + 3_078


def test_bytes_are_scaled_inside() -> None:
    rng = np.random.default_rng(0)
    scaled = q_network((4,), 2, hidden=(8,), rng=rng, input_scale=1 / 255)
    plain = q_network((4,), 2, hidden=(8,), rng=rng)
    plain.set_weights(scaled.get_weights())
    observations = rng.integers(256, size=(20, 4)).astype(np.float32)
    np.testing.assert_allclose(scaled(observations), plain(observations / 255), rtol=1e-5, atol=1e-6)


def test_a_table_is_a_kernel() -> None:
    network = table_network(16, 4)
    table = np.random.default_rng(0).normal(size=(16, 4)).astype(np.float32)
    network.set_weights([table])
    np.testing.assert_array_equal(network(np.eye(16, dtype=np.float32)), table)


def test_the_rng_decides_the_weights_and_nothing_else_does() -> None:
    def weights(seed: int, global_seed: Any) -> NDArray[Any]:
        tf_keras.utils.set_random_seed(global_seed)
        network = q_network((9, 9, 2), 2, hidden=[8, 8], rng=np.random.default_rng(seed), torso=minatar_torso, dueling=True)
        return np.concatenate([w.ravel() for w in network.get_weights()])

    np.testing.assert_array_equal(weights(1, 0), weights(1, 99))
    assert not np.array_equal(weights(1, 0), weights(2, 0))


def test_two_networks_of_one_rng_and_two_layers_of_one_network_differ() -> None:
    rng = np.random.default_rng(0)
    first, second = (
        q_network((8,), 8, hidden=[8, 8], rng=rng).get_weights(),
        q_network((8,), 8, hidden=[8, 8], rng=rng).get_weights(),
    )
    assert not np.array_equal(first[0], second[0])
    assert not np.array_equal(first[0], first[2])


def test_first_weights_fill_their_papers_ranges_and_biases_are_zero() -> None:
    w1, b1, w2, b2, w3, b3 = q_network((50,), 40, hidden=[300, 200], rng=np.random.default_rng(0)).get_weights()
    conv, b4, *_ = q_network((9, 9, 20), 2, hidden=[4], rng=np.random.default_rng(0), torso=minatar_torso).get_weights()
    limits = (w1, sqrt(6 / 50)), (w2, sqrt(6 / 300)), (w3, sqrt(6 / (200 + 40))), (conv, sqrt(6 / (3 * 3 * 20)))
    for kernel, limit in limits:
        assert 0.99 * limit < np.abs(kernel).max() <= limit
        assert kernel.std() == pytest.approx(limit / sqrt(3), rel=0.03)  # uniform over the range
    assert not any(bias.any() for bias in (b1, b2, b3, b4))


def test_an_image_without_a_torso_and_an_empty_layer_are_refused() -> None:
    with pytest.raises(InputError, match=r"takes vectors\. Expected an observation shape \(F,\)\. Got \(84, 84, 4\)\."):
        q_network((84, 84, 4), 2, hidden=[8], rng=np.random.default_rng(0))
    with pytest.raises(InputError, match=r"Expected widths of 1 or more\. Got hidden=\(8, 0\)\."):
        q_network((4,), 2, hidden=[8, 0], rng=np.random.default_rng(0))


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A user's module with torsos of their own."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_networks.py").write_text("""
import tf_keras
def small(x, rng):
    x = tf_keras.layers.Conv2D(4, 2, activation="relu", name="mine")(x)
    return tf_keras.layers.Flatten()(x)
def unfinished(x, rng):
    return tf_keras.layers.Conv2D(4, 2)(x)
""")
    return "my_networks"


def test_the_cnn_of_2013_has_its_layers_and_gives_2592_features() -> None:
    network = q_network((84, 84, 4), 6, hidden=(256,), rng=np.random.default_rng(0), torso=nips_torso, input_scale=1 / 255)
    shapes = [weight.shape for weight in network.get_weights()[::2]]
    assert shapes == [(8, 8, 4, 16), (4, 4, 16, 32), (2592, 256), (256, 6)]


def test_a_torso_of_the_users_own(module: str) -> None:
    network = q_network((5, 5, 1), 2, hidden=(8,), rng=np.random.default_rng(0), torso=find_torso(f"{module}:small"))
    assert by_name(network)["mine/kernel:0"] == (2, 2, 1, 4)
    assert by_name(network)["hidden_0/kernel:0"] == (64, 8)
    with pytest.raises(InputError, match=r"^A torso gives a vector .*Expected the shape \[B, F\]\. Got \(None, 4, 4, 4\)\.$"):
        q_network((5, 5, 1), 2, hidden=(8,), rng=np.random.default_rng(0), torso=find_torso(f"{module}:unfinished"))


@pytest.mark.parametrize("name", ["nurture", "no_such_module:small", "my_networks:large", ":small", "my_networks:", "a.:b"])
def test_a_torso_that_is_not_there(module: str, name: str) -> None:
    with pytest.raises(
        InputError, match=rf"^No network '{name}': expected mlp, minatar, nips, nature or module:function\. Got: "
    ):
        find_torso(name)


def test_the_torsos_by_their_names() -> None:
    expected = {"mlp": None, "minatar": minatar_torso, "nips": nips_torso, "nature": nature_torso}
    assert {name: find_torso(name) for name in TORSOS} == expected


@pytest.mark.parametrize("somebody_seeded_keras", [False, True])
def test_layers_without_a_seed_of_their_own_have_their_first_weights_from_the_rng(somebody_seeded_keras: bool) -> None:
    if somebody_seeded_keras:
        tf_keras.utils.set_random_seed(7)

    def torso(x: Any, rng: np.random.Generator) -> Any:
        x = tf_keras.layers.Dense(5, kernel_initializer="he_normal", bias_initializer=tf_keras.initializers.RandomNormal())(x)
        return tf_keras.layers.Dense(6, "relu")(x)

    first, again, other = (
        q_network((3,), 2, hidden=(4,), rng=np.random.default_rng(seed), torso=torso).get_weights() for seed in (0, 0, 1)
    )
    for ours, theirs in zip(first, again, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for i in (0, 1, 2):  # the last bias is zero, which is no draw
        assert not np.array_equal(first[i], other[i])
    assert not first[3].any()
    limit = 2 * sqrt(2 / 3)  # a truncated He normal of three inputs, within two deviations (of the untruncated one, 14 % more)
    assert 0 < np.abs(first[0]).max() <= 1.14 * limit


def test_weights_that_layers_were_given_stay() -> None:
    given = [np.full((3, 5), 7, np.float32), np.full(5, 8, np.float32)]

    def torso(x: Any, rng: np.random.Generator) -> Any:
        layer = tf_keras.layers.Dense(5)
        y = layer(x)
        layer.set_weights(given)
        return y

    found = q_network((3,), 2, hidden=(), rng=np.random.default_rng(0), torso=torso).get_weights()[:2]
    for ours, theirs in zip(found, given, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_layer_that_no_memory_holds_is_refused_before_it_is_made() -> None:
    with pytest.raises(InputError, match=r"up to 268,435,456 weights\. .* Got \(1000000, 1000000\)"):
        q_network((3,), 2, hidden=(1_000_000, 1_000_000), rng=np.random.default_rng(0))
