"""Outputs that are compared with each other before int8 holds them."""

import numpy as np
import pytest
import tf_keras
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hypothesis_numpy
from numpy.typing import NDArray

from edgedqn.compression.comparing import REACHES, _Reach, round_compared
from edgedqn.compression.folding import in_batches
from edgedqn.compression.rounding import round_network
from edgedqn.compression.saturation import fake_quantized, lost_choices, median_gap

LIMITS = (-1.0, 1.0)
SIXTEENTHS = st.integers(-4096, 4096).map(lambda x: x / 16)  # which float32 adds without rounding


@given(
    hypothesis_numpy.arrays(np.float32, st.tuples(st.just(1), st.integers(2, 6)), elements=SIXTEENTHS),
    st.integers(1, 64).map(lambda x: x / 16),
)
def test_the_largest_sum_is_the_largest_output_whatever_the_reach(outputs: NDArray[np.float32], reach: float) -> None:
    choice = _Reach(outputs.shape[1], None)
    within = np.clip(outputs @ choice.differ + reach, 0, 2 * reach)
    sums = within @ choice.add
    np.testing.assert_array_equal(sums == sums.max(), outputs == outputs.max())


@pytest.fixture
def network() -> tf_keras.Model:
    """Two actions of four are much better, or much worse, than the other two, which no linear function takes from all."""
    tf_keras.utils.set_random_seed(3)
    observation = tf_keras.Input((4,), name="observation")
    hidden = tf_keras.layers.Dense(32, "relu", name="hidden")(observation)
    network = tf_keras.Model(observation, tf_keras.layers.Dense(4, name="q_values")(hidden))
    *rest, kernel, bias = network.get_weights()
    kernel = kernel / 30 + np.array([1, 1, -1, -1], np.float32) * kernel[:, :1]
    network.set_weights([*rest, kernel, bias])
    return network


def states_of(seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(-1, 1, (4_000, 4)).astype(np.float32)


@pytest.mark.parametrize("per_output", [True, False])
def test_small_differences_of_large_outputs_survive(network: tf_keras.Model, per_output: bool) -> None:
    states, fresh = states_of(0), states_of(1)
    plain = round_network(network, lambda: in_batches(states), limits=LIMITS, per_output=per_output)
    compared, rounded = round_compared(network, lambda: in_batches(states), limits=LIMITS, per_output=per_output)
    wanted = network(fresh).numpy()
    np.testing.assert_array_equal(compared(fresh).numpy().argmax(axis=1), wanted.argmax(axis=1))
    found = {}
    for name, like, made in (("plain", network, plain), ("compared", compared, rounded)):
        x = fake_quantized(fresh, LIMITS)
        layers = like.layers[1:]
        for i, (layer, limits) in enumerate(zip(layers, made.ranges, strict=True)):
            x = fake_quantized(layer.activation(x @ made.weights[2 * i] + made.weights[2 * i + 1]), limits)
        found[name] = lost_choices(x.numpy(), wanted)
    assert found["compared"][0] < found["plain"][0] and found["compared"][1] < 0.5 * found["plain"][1]
    assert [limits[0] for limits in rounded.ranges] == [0.0, 0.0, pytest.approx(rounded.ranges[-1][0])]
    assert rounded.widened() is None


def test_the_unit_of_the_reach_is_the_median_gap_of_legal_actions(network: tf_keras.Model) -> None:
    """What the others are worth was never learned."""
    outputs = network(states_of(0)).numpy() * np.array([1, 1, 1, 1000], np.float32)
    choice = _Reach(4, np.tile(np.array([True, True, True, False]), (len(outputs), 1)))
    choice(outputs @ choice.differ, outputs @ choice.differ)
    assert np.isclose(choice.reach, np.array(REACHES) * median_gap(outputs[:, :3]), rtol=1e-3).any()
