"""The states a policy visits, in the order it meets them."""

import itertools

import gymnasium
import numpy as np
import pytest

from edgedqn.agents.playing.environments import BadTransitionError
from edgedqn.agents.playing.observations import gather_observations


class Reusing(gymnasium.Env):
    """Counts in one array of float64 that it hands out again and again."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self):
        self.state = np.zeros(2)

    def reset(self, *, seed=None, options=None):
        self.state[:] = seed, 0
        return self.state, {}

    def step(self, action):
        self.state[1] += 1
        return self.state, 0.0, self.state[1] == 3, False, {}


@pytest.mark.parametrize("count", [1, 5, 12, 40])
def test_they_are_what_the_policy_was_asked(corridor, count):
    asked = []

    def policy(observation):
        asked.append(observation.copy())
        return len(asked) % 7 != 0

    found = gather_observations(policy, corridor, itertools.count(), count)
    assert found.shape == (count, 5)
    assert found.dtype == np.float32
    # The last is met, and not acted on any more.
    np.testing.assert_array_equal(found[:-1], np.reshape(asked, (-1, 5)))


def test_episode_follows_episode_seed_follows_seed_and_each_row_is_a_copy():
    found = gather_observations(lambda _: 0, Reusing(), iter([10, 20, 30]), 8)
    # The state an episode ends in is not acted on, so it is none of them.
    assert found.tolist() == [[10, 0], [10, 1], [10, 2], [20, 0], [20, 1], [20, 2], [30, 0], [30, 1]]


class Shown(gymnasium.Env):
    """Shows one observation for ever."""

    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, observation):
        self.observation = observation

    def reset(self, *, seed=None, options=None):
        return self.observation, {}

    def step(self, action):
        return self.observation, 0.0, False, False, {}


@pytest.mark.parametrize(
    ("dtype", "kept"),
    [("uint8", "uint8"), ("bool", "bool"), ("int64", "int64"), ("float32", "float32"), ("float64", "float32")],
)
def test_the_dtype_is_kept_and_float64_becomes_what_is_computed_in(dtype, kept):
    image = np.random.default_rng(0).integers(2, size=(4, 4, 2)).astype(dtype)
    found = gather_observations(lambda _: 0, Shown(image), itertools.count(), 3)
    assert (found.dtype, found.shape) == (kept, (3, 4, 4, 2))
    np.testing.assert_array_equal(found, np.stack([image] * 3))


def test_a_policy_with_a_memory_starts_anew_with_each_episode():
    class Policy:
        resets = 0

        def reset(self):
            self.resets += 1

        def __call__(self, observation):
            return 0

    policy = Policy()
    gather_observations(policy, Reusing(), iter([10, 20, 30]), 8)
    assert policy.resets == 3


def test_a_nan_stops_with_its_step(make_corridor):
    env = make_corridor(bad="observation", at=7)
    with pytest.raises(BadTransitionError, match=r"^Corridor gave a bad observation at step 7: .*Got nan in feature 0\.$"):
        gather_observations(lambda _: 0, env, itertools.count(), 20)
    assert gather_observations(lambda _: 0, make_corridor(bad="observation", at=7), itertools.count(), 7).shape == (7, 5)
