import itertools
from typing import Any

import gymnasium
import numpy as np
import pytest

from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.compression.context import CompressionContext, q_values_of
from edgedqn.compression.folding import BATCH


def test_visits_what_the_policy_sees_from_the_reset_seeds(context: CompressionContext, teacher: TrainedAgent) -> None:
    visited = context.gather_states(teacher.policy, 700, epsilon=0.0)
    env = gymnasium.make("CartPole-v1")
    expected: list[Any] = []
    for seed in itertools.count(50):
        observation, _ = env.reset(seed=seed)
        over = False
        while not over:
            expected.append(observation)
            observation, _, terminated, truncated, _ = env.step(teacher.policy(observation))
            over = terminated or truncated
        if len(expected) >= 700:
            break
    env.close()
    assert visited.dtype == np.float32
    np.testing.assert_array_equal(visited, expected[:700])


def test_epsilon_mixes_random_actions_in(context: CompressionContext, teacher: TrainedAgent) -> None:
    spread = [np.abs(context.gather_states(teacher.policy, 2_000, epsilon=epsilon)[:, 2]).mean() for epsilon in (0.0, 0.3, 1.0)]
    assert spread[0] < spread[1] < spread[2]  # the pole leans further the less the policy has to say


def test_preferences_are_1_for_the_teachers_action(context: CompressionContext, teacher: TrainedAgent) -> None:
    preferences = context.preferences(teacher.observations)
    q_values = teacher.network(teacher.observations).numpy()
    best = q_values.argmax(axis=1)
    gaps = np.abs(q_values[:, 0] - q_values[:, 1])
    np.testing.assert_array_equal(preferences[np.arange(len(best)), best], 1)
    # Half of the states have a gap below the median, where the other action's preference is above 0.
    assert (preferences[np.arange(len(best)), 1 - best] > 0).mean() == pytest.approx(0.5, abs=0.01)
    np.testing.assert_allclose(preferences.min(axis=1), 1 - np.minimum(gaps / context.gap, 2), atol=1e-3)


def test_q_values_of_many_states_are_those_of_each(frames: Any) -> None:
    states = frames.agent.observations[: BATCH + 3]
    expected = np.stack([frames.agent.policy.q_values(state) for state in states])
    np.testing.assert_allclose(q_values_of(frames.agent, states), expected, rtol=0, atol=1e-5 * np.abs(expected).max())
