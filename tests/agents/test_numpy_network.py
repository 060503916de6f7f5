"""The NumPy forward pass against Keras's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedqn.agents.networks import mlp
from edgedqn.agents.numpy_network import NumpyMlp


def random_mlp(features, n_actions, hidden, seed):
    """With biases that matter, which `mlp` alone does not give."""
    rng = np.random.default_rng(seed)
    network = mlp((features,), n_actions, hidden, rng)
    network.set_weights([rng.normal(size=w.shape).astype(np.float32) for w in network.get_weights()])
    return network


@settings(max_examples=15, deadline=None)
@given(
    features=st.integers(1, 9),
    n_actions=st.integers(1, 6),
    hidden=st.lists(st.integers(1, 40), max_size=3),
    seed=st.integers(0, 2**16),
)
def test_q_values_are_kerass_for_batches_and_single_observations(features, n_actions, hidden, seed):
    network = random_mlp(features, n_actions, hidden, seed)
    observations = np.random.default_rng(seed).normal(0, 3, (64, features)).astype(np.float32)
    expected = network(observations).numpy()
    ours = NumpyMlp(network.get_weights())
    limit = 1e-5 * np.abs(expected).max()
    batch = ours.q_values(observations)
    assert batch.dtype == np.float32
    np.testing.assert_allclose(batch, expected, rtol=0, atol=limit)
    single = np.stack([ours.q_values(observation) for observation in observations])
    np.testing.assert_allclose(single, expected, rtol=0, atol=limit)
    blocks = ours.q_values(observations.reshape(4, 16, features))
    np.testing.assert_allclose(blocks, expected.reshape(4, 16, n_actions), rtol=0, atol=limit)


@pytest.mark.parametrize("dtype", [np.float64, np.int64, np.uint8, np.float16])
def test_other_dtypes_are_computed_in_float32_and_left_unchanged(dtype):
    ours = NumpyMlp(random_mlp(4, 3, [16], 0).get_weights())
    observation = np.array([3, 0, 7, 1], dtype)
    q = ours.q_values(observation)
    assert q.dtype == np.float32
    np.testing.assert_array_equal(q, ours.q_values(observation.astype(np.float32)))
    np.testing.assert_array_equal(observation, np.array([3, 0, 7, 1], dtype))


def test_a_linear_network_leaves_its_observation_unchanged():
    observation = np.float32([-1, 2])
    assert NumpyMlp([np.eye(2, dtype=np.float32), np.float32([0, 9])]).q_values(observation).tolist() == [-1, 11]
    assert observation.tolist() == [-1, 2]


def test_a_call_is_the_best_action_and_the_lowest_among_equals():
    kernel = np.zeros((2, 4), np.float32)
    action = NumpyMlp([kernel, np.float32([1, 3, 3, 2])])(np.zeros(2))
    assert action == 1
    assert type(action) is int


def test_it_follows_the_network_only_when_told():
    network = random_mlp(4, 3, [16], 1)
    ours = NumpyMlp(network.get_weights())
    observation = np.ones(4, np.float32)
    before = ours.q_values(observation)
    network.set_weights([w + 1 for w in network.get_weights()])
    np.testing.assert_array_equal(ours.q_values(observation), before)
    ours.refresh(network.get_weights())
    np.testing.assert_allclose(ours.q_values(observation), network(observation[None])[0], rtol=1e-5)
