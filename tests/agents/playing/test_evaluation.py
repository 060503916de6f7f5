"""Episodes on reset seeds, and the interval round their mean."""

import itertools
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from numpy.typing import NDArray

from edgedqn.agents.playing.environments import BadTransitionError, make_environment
from edgedqn.agents.playing.evaluation import EpsilonGreedy, RandomPolicy, evaluate, gather_observations
from edgedqn.agents.playing.statistics import Interval


class Counter(gymnasium.Env):
    """Pays its step number, ends after `length` steps, and gives a NaN as observation or reward where told."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, length: int = 4, nan_observation_at: Any = None, nan_reward_at: Any = None) -> None:
        self.length, self.nan_observation_at, self.nan_reward_at = length, nan_observation_at, nan_reward_at
        self.taken = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.step_number = 0
        return self.observe(), {}

    def observe(self) -> NDArray[Any]:
        return np.full(2, np.nan if self.taken == self.nan_observation_at else 0, np.float32)

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.step_number += 1
        self.taken += 1
        reward = np.nan if self.taken == self.nan_reward_at else float(self.step_number)
        return self.observe(), reward, self.step_number == self.length, False, {}


def lean(observation: NDArray[Any]) -> int:
    return int(observation[2] > 0)


def test_the_same_seeds_give_the_same_returns_in_their_order() -> None:
    env = make_environment("CartPole-v1")
    first = evaluate(lean, env, seeds=[3, 1, 2])
    again = evaluate(lean, env, seeds=[2, 3])
    env.close()
    assert first.seeds == (3, 1, 2)
    assert again.returns == (first.returns[2], first.returns[0])
    assert first.env_steps == sum(first.returns)  # CartPole pays 1 a step
    assert len(set(first.returns)) > 1


def test_returns_are_undiscounted_sums() -> None:
    found = evaluate(lambda _: 0, Counter(length=4), seeds=range(3))
    assert found.returns == (10.0, 10.0, 10.0)
    assert found.env_steps == 12
    assert found.interval == Interval(10.0, 10.0, 10.0)
    assert found.interval.to_json() == {"mean": 10.0, "ci95": [10.0, 10.0]}


def test_a_policy_with_memory_is_reset_before_each_episode() -> None:
    class Remembering:
        resets = 0

        def __call__(self, observation: NDArray[Any]) -> int:
            return 0

        def reset(self) -> None:
            self.resets += 1

    policy = Remembering()
    evaluate(policy, Counter(), seeds=range(5))
    assert policy.resets == 5


@pytest.mark.parametrize(("at", "seed", "step"), [(0, 0, 0), (1, 0, 1), (6, 1, 2)])  # episodes take four steps
def test_a_nan_observation_stops_with_its_step(at: int, seed: int, step: int) -> None:
    said = f"Counter, in the episode of reset seed {seed}, gave a bad observation at step {step}:"
    with pytest.raises(BadTransitionError, match=said):
        evaluate(lambda _: 0, Counter(nan_observation_at=at), seeds=range(3))


def test_a_nan_reward_stops_with_its_step() -> None:
    with pytest.raises(
        BadTransitionError, match=r"reset seed 1, gave a bad reward at step 2: expected a finite number\. Got nan"
    ):
        evaluate(lambda _: 0, Counter(nan_reward_at=6), seeds=range(3))


def test_no_seeds_are_no_evaluation() -> None:
    with pytest.raises(ValueError, match="at least one reset seed"):
        evaluate(lambda _: 0, Counter(), seeds=[])


def test_a_random_policy_takes_every_action_alike() -> None:
    policy = RandomPolicy(4, np.random.default_rng(0))
    counts = np.bincount([policy(np.zeros(2)) for _ in range(4_000)])
    assert counts.shape == (4,)
    assert counts.min() > 900


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
def test_epsilon_is_the_share_of_actions_drawn_from_all(epsilon: float) -> None:
    asked = []

    def ask(observation: Any) -> int:
        asked.append(observation)
        return 2

    policy = EpsilonGreedy(ask, epsilon, n_actions=3, rng=np.random.default_rng(0))
    observation = np.zeros(2)
    counts = np.bincount([policy(observation) for _ in range(6_000)], minlength=3)
    assert len(asked) == pytest.approx((1 - epsilon) * 6_000, abs=180)  # five standard deviations
    assert all(seen is observation for seen in asked)
    # A random action may be the greedy one.
    assert counts == pytest.approx(6_000 * np.array([epsilon / 3, epsilon / 3, 1 - 2 * epsilon / 3]), abs=180)
    assert (counts[0] == 0) == (epsilon == 0)


def test_the_rng_decides_where_epsilon_strikes() -> None:
    def actions(seed: int) -> list[Any]:
        policy = EpsilonGreedy(lambda _: 0, 0.5, n_actions=10, rng=np.random.default_rng(seed))
        return [policy(np.zeros(1)) for _ in range(50)]

    assert actions(1) == actions(1) != actions(2)


class Reusing(gymnasium.Env):
    """Counts in one array of float64 that it hands out again and again."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self) -> None:
        self.state = np.zeros(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.state[:] = seed, 0
        return self.state, {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.state[1] += 1
        return self.state, 0.0, self.state[1] == 3, False, {}


@pytest.mark.parametrize("count", [1, 5, 12, 40])
def test_they_are_what_the_policy_was_asked(corridor: gymnasium.Env[Any, Any], count: int) -> None:
    asked = []

    def policy(observation: NDArray[Any]) -> bool:
        asked.append(observation.copy())
        return len(asked) % 7 != 0

    found = gather_observations(policy, corridor, reset_seeds=itertools.count(), count=count)
    assert found.shape == (count, 5)
    assert found.dtype == np.float32
    # The last is met, and not acted on any more.
    np.testing.assert_array_equal(found[:-1], np.reshape(asked, (-1, 5)))


def test_episode_follows_episode_seed_follows_seed_and_each_row_is_a_copy() -> None:
    found = gather_observations(lambda _: 0, Reusing(), reset_seeds=iter([10, 20, 30]), count=8)
    # The state an episode ends in is not acted on, so it is none of them.
    assert found.tolist() == [[10, 0], [10, 1], [10, 2], [20, 0], [20, 1], [20, 2], [30, 0], [30, 1]]


class Shown(gymnasium.Env):
    """Shows one observation for ever."""

    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, observation: NDArray[Any]) -> None:
        self.observation = observation

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        return self.observation, {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self.observation, 0.0, False, False, {}


@pytest.mark.parametrize(
    ("dtype", "kept"),
    [("uint8", "uint8"), ("bool", "bool"), ("int64", "int64"), ("float32", "float32"), ("float64", "float32")],
)
def test_the_dtype_is_kept_and_float64_becomes_what_is_computed_in(dtype: str, kept: str) -> None:
    image = np.random.default_rng(0).integers(2, size=(4, 4, 2)).astype(dtype)
    found = gather_observations(lambda _: 0, Shown(image), reset_seeds=itertools.count(), count=3)
    assert (found.dtype, found.shape) == (np.dtype(kept), (3, 4, 4, 2))
    np.testing.assert_array_equal(found, np.stack([image] * 3))


def test_a_policy_with_a_memory_starts_anew_with_each_episode() -> None:
    class Policy:
        resets = 0

        def reset(self) -> None:
            self.resets += 1

        def __call__(self, observation: NDArray[Any]) -> int:
            return 0

    policy = Policy()
    gather_observations(policy, Reusing(), reset_seeds=iter([10, 20, 30]), count=8)
    assert policy.resets == 3


def test_a_nan_stops_with_its_step(make_corridor: Callable[..., gymnasium.Env[Any, Any]]) -> None:
    env = make_corridor(bad="observation", at=7)
    with pytest.raises(BadTransitionError, match=r"^Corridor gave a bad observation at step 7: .*Got nan in feature 0\.$"):
        gather_observations(lambda _: 0, env, reset_seeds=itertools.count(), count=20)
    assert gather_observations(
        lambda _: 0, make_corridor(bad="observation", at=7), reset_seeds=itertools.count(), count=7
    ).shape == (7, 5)
