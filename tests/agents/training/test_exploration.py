"""What is done at random while an agent learns: how often, how long, and nothing that is not legal."""

import numpy as np
import pytest
from numpy.typing import NDArray

from edgedqn.agents.training.exploration import EpsilonGreedyExploration

NOTHING = np.zeros(3, np.float32)
GREEDY = 7


def actions(explorer: EpsilonGreedyExploration, steps: int, observation: NDArray[np.float32] = NOTHING) -> NDArray[np.int64]:
    return np.array([explorer.act(observation, step, lambda: GREEDY) for step in range(steps)])


def explorer(epsilon: float, seed: int = 0, *, duration: int = 1, masked: bool = False) -> EpsilonGreedyExploration:
    rng = np.random.default_rng(seed)
    return EpsilonGreedyExploration(lambda step: epsilon, n_actions=3, rng=rng, duration=duration, masked=masked)


@pytest.mark.parametrize("duration", [1, 4])
def test_a_random_action_begins_with_the_given_probability(duration: int) -> None:
    chosen = actions(explorer(0.1, duration=duration), 20_000)
    begun_of_free = 0.1
    expected = begun_of_free * duration / (1 + begun_of_free * (duration - 1))  # the share of steps that are random
    assert (chosen != GREEDY).mean() == pytest.approx(expected, abs=0.02)
    assert set(chosen) == {0, 1, 2, GREEDY}


def test_it_lasts_for_so_many_steps_and_no_longer_than_its_episode() -> None:
    explores = explorer(1.0, duration=5)
    chosen = actions(explores, 1_000).reshape(-1, 5)
    assert (chosen == chosen[:, :1]).all() and len(set(chosen[:, 0])) == 3
    before = actions(explores, 2)[0]
    explores.forget(0)
    rest = np.array([actions(explores, 5) for _ in range(20)])
    assert (rest == rest[:, :1]).all() and (rest[:, 0] != before).any()


def test_environments_side_by_side_explore_by_themselves() -> None:
    explores = explorer(0.3, duration=3)
    observations = np.zeros((4, 3), np.float32)
    rows = np.array([explores.act_in_all(observations, step, lambda: np.full(4, GREEDY)) for step in range(3_000)])  # [T, L]
    assert all(len(set(map(tuple, rows[:, [i, j]]))) == 16 for i in range(4) for j in range(i))  # every pair of actions occurs
    assert ((rows != GREEDY).mean(axis=0) > 0.5).all()


@pytest.mark.parametrize("duration", [1, 3])
def test_what_is_not_legal_is_not_done(duration: int) -> None:
    explores = explorer(1.0, duration=duration, masked=True)
    for legal in ([1, 0, 1], [0, 1, 0], [0, 1, 1]):
        observation = np.array([9, 9, *legal], np.float32)
        assert set(actions(explores, 200, observation)) == set(np.flatnonzero(legal))
        explores.forget()
        several = explores.act_in_all(np.tile(observation, (50, 1)), 0, lambda: np.full(50, GREEDY))
        assert set(several) == set(np.flatnonzero(legal))
