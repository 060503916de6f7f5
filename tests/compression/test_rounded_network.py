"""The rounded network in NumPy against TF-MOT's fake quantization."""

from typing import Any

import numpy as np
import pytest

from edgedqn.agents.chain import ChainReader
from edgedqn.agents.networks import minatar_torso, q_network
from edgedqn.compression.folding import plain_network
from edgedqn.compression.rounded_network import RoundedNetwork
from edgedqn.compression.rounding import round_network
from edgedqn.compression.tfmot import fake_quantization


@pytest.mark.parametrize("torso", [None, minatar_torso])
def test_it_computes_what_fake_quantization_does(torso: Any) -> None:
    rng = np.random.default_rng(0)
    shape = (4,) if torso is None else (6, 6, 2)
    network = plain_network(q_network(shape, 3, hidden=(16, 8), rng=rng, torso=torso))
    network.set_weights([array + rng.normal(0, 0.1, array.shape) for array in network.get_weights()])
    inputs = rng.uniform(-1, 1, (300, *shape)).astype(np.float32)
    rounded = round_network(network, lambda: iter([inputs]), limits=(-1.0, 1.0))
    quantized = fake_quantization.quantization_aware(network, (-1.0, 1.0), per_output=True)
    fake_quantization.set_rounding(quantized, network, weights=rounded.weights, scales=rounded.scales, ranges=rounded.ranges)
    ours = RoundedNetwork(
        ChainReader(network)(rounded.weights), shape, limits=(-1.0, 1.0), scales=rounded.scales, ranges=rounded.ranges
    )
    expected = quantized(inputs, training=False).numpy()
    assert len(np.unique(expected)) > 5
    step = (rounded.ranges[-1][1] - rounded.ranges[-1][0]) / 255
    found = ours.q_values(inputs)
    # A sum that lies between two levels may fall to either side, and what follows moves a little.
    assert (np.abs(found - expected) < 1.5 * step).mean() > 0.99
    assert (ours.actions(inputs) == found.argmax(axis=1)).all()
    assert ours(inputs[0]) == found[0].argmax()
