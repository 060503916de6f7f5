from contextlib import closing
from typing import Any

import numpy as np
import pytest
import tf_keras
from numpy.typing import NDArray

from edgedqn.agents.chain import ChainReader
from edgedqn.agents.networks import q_network
from edgedqn.agents.numpy_network import NumpyNetwork
from edgedqn.agents.playing.environments import make_environment
from edgedqn.agents.playing.evaluation import RandomPolicy, gather_observations
from edgedqn.agents.playing.spec import EnvironmentSpec, spec_of
from edgedqn.export.edge_policy import RuntimeRefusedError
from edgedqn.pipeline.collection import publishing
from edgedqn.pipeline.collection.published import FilePolicy, published_bytes, read_published
from edgedqn.pipeline.collection.publishing import CALIBRATION_STATES, RecentObservations, publish_float, publish_int8

Learner = tuple[tf_keras.Model, EnvironmentSpec, NDArray[Any]]


@pytest.fixture(scope="module")
def learner() -> Learner:
    """A network that nobody trained, and states that random actions come to."""
    rng = np.random.default_rng(0)
    with closing(make_environment("CartPole-v1")) as env:
        spec = spec_of(env, "CartPole-v1")
        states = gather_observations(RandomPolicy(spec.n_actions, rng), env, reset_seeds=iter(range(500)), count=500)
    return q_network(spec.input_shape, spec.n_actions, hidden=(16, 16), rng=rng, dueling=True), spec, states


def test_actors_play_what_the_learner_has(learner: Learner) -> None:
    network, spec, states = learner
    ours = NumpyNetwork(ChainReader(network)(network.get_weights()), spec.input_shape).actions(states)
    as_float = publish_float(network)
    np.testing.assert_array_equal(read_published(as_float, spec).actions(states), ours)
    as_file = publish_int8(network, spec, states[:CALIBRATION_STATES])
    assert isinstance(as_file, bytes) and published_bytes(as_file) == len(as_file)
    policy = read_published(as_file, spec)
    assert isinstance(policy, FilePolicy)
    assert (policy.actions(states) == ours).mean() > 0.9
    assert [policy(state) for state in states[:20]] == policy.actions(states[:20]).tolist()


def test_what_no_runtime_takes_is_not_published(learner: Learner, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(content: bytes) -> None:
        raise RuntimeRefusedError("no kernel")

    network, spec, states = learner
    monkeypatch.setattr(publishing, "FilePolicy", refuse)
    assert publish_int8(network, spec, states[:50]) is None


def test_the_last_observations_are_kept() -> None:
    recent = RecentObservations()
    for i in range(20):
        recent.add(np.full((60, 2), i))
    assert recent().shape == (CALIBRATION_STATES, 2)
    assert np.unique(recent()).tolist() == [15, 16, 17, 18, 19]
    recent = RecentObservations()
    recent.add(np.zeros((3, 2)))
    assert recent().shape == (3, 2)
