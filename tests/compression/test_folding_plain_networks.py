"""Any Q-network as plain layers that compute the same."""

from typing import Any

import numpy as np
import pytest
import tf_keras

from edgedqn.agents.architecture import describe
from edgedqn.agents.chain import NotAChainError
from edgedqn.agents.networks import q_network, table_network
from edgedqn.compression.folding import InputScaling, fold_input_scaling, pads_input, plain_network


def valid_torso(x: Any, rng: np.random.Generator) -> Any:
    return tf_keras.layers.Flatten()(tf_keras.layers.Conv2D(5, (3, 2), (2, 1), activation="relu")(x))


def padded_torso(x: Any, rng: np.random.Generator) -> Any:
    x = tf_keras.layers.Conv2D(4, 3, 2, "same", use_bias=False)(x)
    return tf_keras.layers.Flatten()(tf_keras.layers.ReLU()(x))


def flat_torso(x: Any, rng: np.random.Generator) -> Any:
    return tf_keras.layers.Reshape((8 * 7 * 2,))(x)


@pytest.mark.parametrize("torso", [None, flat_torso, valid_torso, padded_torso])
@pytest.mark.parametrize(("dueling", "quantiles"), [(False, 0), (True, 0), (False, 5), (True, 5)])
@pytest.mark.parametrize("hidden", [(), (12,), (16, 9)])
@pytest.mark.parametrize("image_scale", [1.0, 1 / 255])
def test_the_plain_network_is_equal_and_takes_a_scaled_input(
    torso: Any, dueling: bool, quantiles: int, hidden: tuple[int, ...], image_scale: float
) -> None:
    rng = np.random.default_rng(23)
    shape = (6,) if torso is None else (8, 7, 2)
    if dueling and not hidden:
        hidden = (7,)
    network = q_network(
        shape, 3, hidden=hidden, rng=rng, torso=torso, dueling=dueling, quantiles=quantiles, input_scale=image_scale
    )
    network.set_weights([rng.normal(0, 0.3, array.shape) for array in network.get_weights()])
    observations = rng.integers(0, 256, (200, *shape)).astype(np.float32)
    expected = network(observations).numpy()
    if quantiles:
        expected = expected.mean(axis=2)
    tolerance = 1e-5 * np.abs(expected).max()
    plain = plain_network(network)
    assert {type(layer).__name__ for layer in plain.layers} <= {"InputLayer", "Dense", "Conv2D", "Flatten"}
    np.testing.assert_allclose(plain(observations), expected, rtol=0, atol=tolerance)
    assert pads_input(plain) == (torso is padded_torso)
    channels = shape[-1]
    offset = np.zeros(channels) if pads_input(plain) else rng.normal(size=channels)
    scaling = InputScaling(tuple(rng.uniform(0.002, 0.01, channels).tolist()), tuple(offset.tolist()))
    plain.set_weights(fold_input_scaling(plain.get_weights(), scaling))
    np.testing.assert_allclose(plain(scaling(observations)), expected, rtol=0, atol=2 * tolerance)


def test_a_table_becomes_a_dense_layer_and_its_teacher_stays() -> None:
    table = table_network(6, 4)
    (values,) = table.get_weights()
    plain = plain_network(table)
    np.testing.assert_array_equal(plain(np.eye(6, dtype=np.float32)), values)
    plain.set_weights([2 * array for array in plain.get_weights()])
    np.testing.assert_array_equal(table.get_weights()[0], values)


def test_refuses_a_network_it_does_not_understand() -> None:
    x = tf_keras.Input((4,))
    with pytest.raises(NotAChainError, match="tanh_layer"):
        plain_network(tf_keras.Model(x, tf_keras.layers.Dense(2, "tanh", name="tanh_layer")(x)))


def test_the_names_are_always_the_same() -> None:
    networks = [
        plain_network(q_network((8, 7, 2), 3, hidden=(5,), rng=np.random.default_rng(0), torso=valid_torso)) for _ in range(2)
    ]
    assert describe(networks[0]) == describe(networks[1])
