"""The choice of the checkpoint."""

import json
from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedqn.agents.numpy_network import Dense, NumpyNetwork
from edgedqn.agents.playing.evaluation import evaluate
from edgedqn.agents.training.selection import CheckpointSelection


class Pay(gymnasium.Env):
    """One step, and each action has its price."""

    observation_space = gymnasium.spaces.Box(0, 1, (1,), np.float32)
    prices = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)
    action_space = gymnasium.spaces.Discrete(len(prices))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        return np.ones(1, np.float32), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return np.ones(1, np.float32), self.prices[action], True, False, {}


class Brink(gymnasium.Env):
    """Ten steps along a brink, where action 1 is the last, or along a road, where nothing matters. The first action chooses."""

    observation_space = gymnasium.spaces.Box(0, 1, (3,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, pay_on_the_road: float = 1.0, pay: float = 1.0, fall: float = 0.0) -> None:
        self.pay, self.pay_on_the_road, self.fall = pay, pay_on_the_road, fall

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.place, self.left = 0, 10
        return np.eye(3, dtype=np.float32)[0], {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        fell = self.place == 1 and action == 1
        self.place = self.place or 1 + action
        self.left -= 1
        reward = (self.pay if self.place == 1 else self.pay_on_the_road) + fell * self.fall
        return np.eye(3, dtype=np.float32)[self.place], reward, fell or self.left == 0, False, {}


BRINK, ROAD = ([np.array([[0, first], [0, -1], [0, 0]], np.float32), np.zeros(2, np.float32)] for first in (-1, 1))


def one_hot(action: int) -> list[Any]:
    """Weights of a policy that always takes one action."""
    return [np.zeros((1, 6), np.float32), np.eye(6, dtype=np.float32)[action]]


def selection_of(env: gymnasium.Env[Any, Any], finalists: int = 3, episodes: int = 5, **settings: Any) -> CheckpointSelection:
    assert isinstance(env.action_space, gymnasium.spaces.Discrete)
    n_actions = int(env.action_space.n)
    seeds = lambda n: list(range(n))  # noqa: E731
    return CheckpointSelection(
        env=env, seeds=seeds, episodes=episodes, finalists=finalists, n_actions=n_actions, seed=0, **settings
    )


class Linear:
    """An agent with given weights [kernel, bias], and the policies of any such weights."""

    def __init__(self, env_steps: int = 0, weights: Any = None) -> None:
        self.env_steps, self.weights = env_steps, weights

    def averaged_weights(self) -> list[Any]:
        return [w.copy() for w in self.weights]

    def policy(self, weights: Any) -> NumpyNetwork:
        return NumpyNetwork([Dense(weights[0], weights[1], False)], weights[0].shape[:1])


def consider(selection: Any, env_steps: int, weights: Any) -> None:
    selection.consider(Linear(env_steps, weights))


def test_the_two_policies_of_the_tests_below() -> None:
    assert evaluate(lambda o: int((o @ BRINK[0]).argmax()), Brink(), seeds=range(3)).returns == (10.0,) * 3
    assert evaluate(lambda o: int((o @ ROAD[0]).argmax()), Brink(0.5), seeds=range(3)).returns == (5.0,) * 3


@settings(max_examples=40, deadline=None)
@given(actions=st.lists(st.integers(0, 5), min_size=1, max_size=12), finalists=st.integers(1, 5))
def test_the_best_are_kept_and_the_later_of_equals(actions: Any, finalists: int) -> None:
    announced: list[Any] = []
    selection = selection_of(Pay(), finalists, on_best=announced.append)
    for i, action in enumerate(actions):
        consider(selection, 10 * i, one_hot(action))
    assert selection.scores == [(10 * i, float(action)) for i, action in enumerate(actions)]
    ranking = sorted((action, 10 * i) for i, action in enumerate(actions))
    assert [(c.mean_return, c.env_steps) for c in selection.kept] == ranking[-finalists:]
    records = [(a, 10 * i) for i, a in enumerate(actions) if all(a > b for b in actions[:i])]
    assert [(c.mean_return, c.env_steps) for c in announced] == records
    best = selection.best(Linear())
    assert (best.mean_return, best.env_steps) == ranking[-1]
    assert best.weights[1].argmax() == ranking[-1][0]


def test_what_comes_too_early_is_scored_and_no_candidate() -> None:
    announced: list[Any] = []
    selection = selection_of(Pay(), keep_from=20, on_best=announced.append)
    for i, action in enumerate((5, 4, 2, 3)):
        consider(selection, 10 * i, one_hot(action))
    assert selection.scores == [(0, 5.0), (10, 4.0), (20, 2.0), (30, 3.0)]
    assert [c.env_steps for c in announced] == [20, 30]
    assert selection.best(Linear()).env_steps == 30


@pytest.mark.parametrize("order", [(BRINK, ROAD), (ROAD, BRINK)], ids=["brink first", "road first"])
def test_of_two_that_score_alike_the_robust_one_is_taken(order: tuple[Any, Any]) -> None:
    # Within 0.2 %: 10 and 9.99.
    selection = selection_of(Brink(0.999))
    for i, weights in enumerate(order):
        consider(selection, i, weights)
    best = selection.best(Linear())
    np.testing.assert_array_equal(best.weights[0], ROAD[0])
    assert best.mean_return == pytest.approx(9.99)  # what it scores undisturbed


def test_robustness_does_not_buy_a_worse_score() -> None:
    selection = selection_of(Brink(0.995))
    consider(selection, 0, ROAD)
    consider(selection, 1, BRINK)
    np.testing.assert_array_equal(selection.best(Linear()).weights[0], BRINK[0])


@pytest.mark.parametrize(("road", "expected"), [(-1.001, ROAD), (-1.005, BRINK)], ids=["alike", "worse"])
def test_so_it_is_where_returns_are_negative(road: float, expected: Any) -> None:
    selection = selection_of(Brink(road, pay=-1.0, fall=-100.0))
    consider(selection, 0, ROAD)
    consider(selection, 1, BRINK)
    np.testing.assert_array_equal(selection.best(Linear()).weights[0], expected[0])


def test_finalists_play_ten_times_as_long() -> None:
    asked = []
    selection = selection_of(Pay(), finalists=2, episodes=4)

    def ask(n: int) -> list[int]:
        asked.append(n)
        return list(range(n))

    selection.seeds = ask
    for i in range(3):
        consider(selection, i, one_hot(i))
    assert asked == [4, 4, 4]
    assert selection.best(Linear()).env_steps == 2
    assert asked == [4, 4, 4, 40]


def test_a_choice_goes_on_where_its_state_was_taken() -> None:
    selection, again = selection_of(Pay(), finalists=3), selection_of(Pay(), finalists=3)
    for i, action in enumerate((2, 0, 4, 3)):
        consider(selection, i, one_hot(action))
    arrays, values = selection.state()
    again.restore({name: array.copy() for name, array in arrays.items()}, json.loads(json.dumps(values)))
    announced: list[Any] = []
    again.on_best = announced.append
    for one in (selection, again):
        consider(one, 8, one_hot(4))
        consider(one, 9, one_hot(5))
    assert [candidate.env_steps for candidate in announced] == [9]  # 4 was seen before
    assert again.scores == selection.scores
    assert [(c.env_steps, c.mean_return, int(c.weights[1].argmax())) for c in again.kept] == [
        (2, 4.0, 4),
        (8, 4.0, 4),
        (9, 5.0, 5),
    ]
    assert again.best(Linear()).env_steps == selection.best(Linear()).env_steps == 9
