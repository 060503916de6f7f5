"""The Keras network: its shape, and where its first weights come from."""

import itertools
from math import sqrt

import numpy as np
import pytest
import tf_keras
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedqn.agents.networks import hidden_widths, mlp


@settings(max_examples=15, deadline=None)
@given(features=st.integers(1, 9), n_actions=st.integers(1, 6), hidden=st.lists(st.integers(1, 20), max_size=3))
def test_the_network_has_the_shape_asked_for(features, n_actions, hidden):
    network = mlp((features,), n_actions, hidden, np.random.default_rng(0))
    widths = [features, *hidden, n_actions]
    expected = [shape for n_in, n_out in itertools.pairwise(widths) for shape in ((n_in, n_out), (n_out,))]
    assert [w.shape for w in network.get_weights()] == expected
    assert network(np.zeros((3, features), np.float32)).shape == (3, n_actions)
    assert hidden_widths(network) == tuple(hidden)


def test_the_rng_decides_the_weights_and_nothing_else_does():
    def weights(seed, global_seed):
        tf_keras.utils.set_random_seed(global_seed)
        return np.concatenate([w.ravel() for w in mlp((4,), 2, [8, 8], np.random.default_rng(seed)).get_weights()])

    np.testing.assert_array_equal(weights(1, 0), weights(1, 99))
    assert not np.array_equal(weights(1, 0), weights(2, 0))


def test_two_networks_of_one_rng_and_two_layers_of_one_network_differ():
    rng = np.random.default_rng(0)
    first, second = mlp((8,), 8, [8, 8], rng).get_weights(), mlp((8,), 8, [8, 8], rng).get_weights()
    assert not np.array_equal(first[0], second[0])
    assert not np.array_equal(first[0], first[2])


def test_first_weights_fill_their_papers_ranges_and_biases_are_zero():
    w1, b1, w2, b2, w3, b3 = mlp((50,), 40, [300, 200], np.random.default_rng(0)).get_weights()
    for kernel, limit in ((w1, sqrt(6 / 50)), (w2, sqrt(6 / 300)), (w3, sqrt(6 / (200 + 40)))):
        assert 0.99 * limit < np.abs(kernel).max() <= limit
        assert kernel.std() == pytest.approx(limit / sqrt(3), rel=0.03)  # uniform over the range
    assert not any(bias.any() for bias in (b1, b2, b3))


def test_an_image_and_an_empty_layer_are_refused():
    with pytest.raises(ValueError, match=r"takes vectors\. Expected an observation shape \(F,\)\. Got \(84, 84, 4\)\."):
        mlp((84, 84, 4), 2, [8], np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"Expected widths of 1 or more\. Got hidden=\(8, 0\)\."):
        mlp((4,), 2, [8, 0], np.random.default_rng(0))
