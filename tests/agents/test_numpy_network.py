"""The NumPy forward pass against Keras's."""

from typing import Any

import numpy as np
import pytest
import tf_keras
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedqn.agents.chain import ChainReader
from edgedqn.agents.networks import minatar_torso, nature_torso, q_network
from edgedqn.agents.numpy_network import Dense, NumpyNetwork

layers = tf_keras.layers


def randomized(network: Any, seed: int = 0) -> Any:
    """With biases that matter, which a fresh network does not have."""
    rng = np.random.default_rng(seed)
    network.set_weights([rng.normal(0, 1 / np.sqrt(np.prod(w.shape[:-1]) or 1), w.shape) for w in network.get_weights()])
    return network


def in_numpy(network: Any) -> NumpyNetwork:
    return NumpyNetwork(ChainReader(network)(network.get_weights()), network.input_shape[1:])


def assert_equal_to_keras(network: Any, scale: float = 1.0) -> None:
    shape = network.input_shape[1:]
    observations = (scale * np.random.default_rng(1).normal(size=(6, *shape))).astype(np.float32)
    expected = network(observations).numpy()
    expected = expected.mean(axis=2) if expected.ndim == 3 else expected
    ours = in_numpy(network)
    limit = 1e-5 * np.abs(expected).max()
    batch = ours.q_values(observations)
    assert batch.dtype == np.float32
    np.testing.assert_allclose(batch, expected, rtol=0, atol=limit)
    single = np.stack([ours.q_values(observation) for observation in observations])
    np.testing.assert_allclose(single, expected, rtol=0, atol=limit)
    blocks = ours.q_values(observations.reshape(2, 3, *shape))
    np.testing.assert_allclose(blocks, expected.reshape(2, 3, -1), rtol=0, atol=limit)
    np.testing.assert_array_equal(ours.actions(observations), batch.argmax(axis=1))


@settings(max_examples=15, deadline=None)
@given(
    features=st.integers(1, 9),
    n_actions=st.integers(1, 6),
    hidden=st.lists(st.integers(1, 40), max_size=3),
    seed=st.integers(0, 2**16),
)
def test_q_values_are_kerass_for_batches_and_single_observations(features: int, n_actions: int, hidden: Any, seed: int) -> None:
    assert_equal_to_keras(randomized(q_network((features,), n_actions, hidden=hidden, rng=np.random.default_rng(0)), seed))


@pytest.mark.parametrize("head", [{}, {"dueling": True}, {"quantiles": 4}, {"dueling": True, "quantiles": 4}], ids=str)
@pytest.mark.parametrize(
    ("torso", "shape", "scale"),
    [(None, (7,), 1.0), (None, (7,), 1 / 255), (minatar_torso, (10, 10, 4), 1.0), (nature_torso, (84, 84, 4), 1 / 255)],
    ids=["mlp", "bytes", "minatar", "nature"],
)
def test_so_they_are_for_every_network_and_head(torso: Any, shape: tuple[int, ...], scale: float, head: dict[str, Any]) -> None:
    assert_equal_to_keras(
        randomized(q_network(shape, 3, hidden=(16,), rng=np.random.default_rng(0), torso=torso, **head, input_scale=scale)),
        1 / scale,
    )


@settings(max_examples=20, deadline=None)
@given(
    size=st.tuples(st.integers(4, 9), st.integers(4, 9)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    paddings=st.tuples(*[st.sampled_from(["valid", "same"])] * 2),
)
def test_so_they_are_for_two_convolutions_of_any_kind(size: Any, kernel: Any, strides: Any, paddings: Any) -> None:
    observation = tf_keras.Input((*size, 2))
    x = layers.Conv2D(3, kernel, strides, paddings[0], activation="relu")(observation)
    x = layers.Conv2D(2, 1, (2, 1), paddings[1])(x)
    x = layers.Dense(2)(layers.Flatten()(x))
    assert_equal_to_keras(randomized(tf_keras.Model(observation, x)))


def test_so_they_are_where_an_offset_was_folded() -> None:
    observation = tf_keras.Input((8, 8, 1))
    x = layers.Conv2D(3, 3, 2, activation="relu")(layers.Rescaling(1 / 127.5, -1)(observation))
    assert_equal_to_keras(randomized(tf_keras.Model(observation, layers.Dense(2)(layers.Flatten()(x)))), 100)


@pytest.mark.parametrize("dtype", [np.float64, np.int64, np.uint8, np.float16, bool])
@pytest.mark.parametrize("torso", [None, minatar_torso])
def test_other_dtypes_are_computed_in_float32_and_left_unchanged(torso: Any, dtype: Any) -> None:
    shape = (4,) if torso is None else (5, 5, 2)
    ours = in_numpy(randomized(q_network(shape, 3, hidden=[16], rng=np.random.default_rng(0), torso=torso)))
    observation = (10 * np.random.default_rng(0).random(shape)).astype(dtype)
    before = observation.copy()
    q = ours.q_values(observation)
    assert q.dtype == np.float32
    np.testing.assert_array_equal(q, ours.q_values(observation.astype(np.float32)))
    np.testing.assert_array_equal(observation, before)


def test_a_linear_network_leaves_its_observation_unchanged() -> None:
    observation = np.array([-1, 2], np.float32)
    ours = NumpyNetwork([Dense(np.eye(2, dtype=np.float32), np.array([0, 9], np.float32), False)], (2,))
    assert ours.q_values(observation).tolist() == [-1, 11]
    assert observation.tolist() == [-1, 2]


def test_a_call_is_the_best_action_and_the_lowest_among_equals() -> None:
    ours = NumpyNetwork([Dense(np.zeros((2, 4), np.float32), np.array([1, 3, 3, 2], np.float32), False)], (2,))
    action = ours(np.zeros(2))
    assert action == 1
    assert type(action) is int
    assert ours.actions(np.zeros((3, 2))).tolist() == [1, 1, 1]


@pytest.mark.parametrize("torso", [None, minatar_torso])
def test_it_stays_as_it_was_made_while_the_network_learns(torso: Any) -> None:
    shape = (4,) if torso is None else (5, 5, 2)
    network = randomized(q_network(shape, 3, hidden=[16], rng=np.random.default_rng(0), torso=torso))
    read = ChainReader(network)
    ours = in_numpy(network)
    observation = np.ones(shape, np.float32)
    before = ours.q_values(observation)
    network.set_weights([w + 1 for w in network.get_weights()])
    np.testing.assert_array_equal(ours.q_values(observation), before)
    anew = NumpyNetwork(read(network.get_weights()), shape)
    np.testing.assert_allclose(anew.q_values(observation), network(observation[None])[0], rtol=1e-5)


def test_a_masked_network_takes_the_best_legal_action() -> None:
    kernel = np.zeros((5, 3), np.float32)
    network = NumpyNetwork([Dense(kernel, np.array([1, 2, 3], np.float32), relu=False)], (5,), masked=True)
    observations = np.array([[7, 7, 1, 1, 1], [7, 7, 1, 1, 0], [7, 7, 1, 0, 0]], np.float32)
    assert network.actions(observations).tolist() == [network(row) for row in observations] == [2, 1, 0]
    assert network.q_values(observations).tolist() == [[1, 2, 3]] * 3
