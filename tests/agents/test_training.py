"""The stream of steps, the choice of the checkpoint, and the run that joins them."""

import itertools
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedqn.agents.dqn import build_dqn
from edgedqn.agents.environments import BadTransitionError, spec_of
from edgedqn.agents.evaluation import evaluate
from edgedqn.agents.presets import TrainingConfig
from edgedqn.agents.training import CheckpointSelection, interact, train

CONFIG = TrainingConfig(
    steps=1_000,
    hidden=(16,),
    learning_rate=5e-3,
    batch_size=32,
    learning_starts=100,
    target_update_interval=50,
    train_freq=10,
    gradient_steps=10,
    exploration_fraction=0.5,
    exploration_final=0.3,
    averaging_steps=100,
    evaluation_interval=300,
)


class Recording(gymnasium.Wrapper):
    """Writes down what the environment was asked and what it said."""

    def __init__(self, env):
        super().__init__(env)
        self.resets, self.log = [], []

    def reset(self, *, seed=None, options=None):
        observation, info = self.env.reset(seed=seed)
        self.resets.append((seed, observation))
        return observation, info

    def step(self, action):
        found = self.env.step(action)
        self.log.append((action, *found[:4]))
        return found


def test_the_stream_is_what_happened(make_corridor):
    env = Recording(make_corridor(limit=12))
    rng = np.random.default_rng(0)
    steps = list(itertools.islice(interact(env, "Corridor", lambda _: int(rng.random() < 0.6), itertools.count(5)), 300))
    assert [seed for seed, _ in env.resets] == list(range(5, 5 + len(env.resets)))
    starts = iter(env.resets)
    state, total = next(starts)[1], 0.0
    endings = set()
    for step, (action, s_t, reward, terminated, truncated) in zip(steps, env.log, strict=True):
        np.testing.assert_array_equal(step.s_tm1, state)
        np.testing.assert_array_equal(step.s_t, s_t)
        assert (step.a_tm1, step.r_t, step.terminated, step.truncated) == (action, reward, terminated, truncated)
        state, total = step.s_t, total + reward
        if terminated or truncated:
            endings.add((terminated, truncated))
            assert step.episode_return == total
            state, total = next(starts, (None, None))[1], 0.0
        else:
            assert step.episode_return is None
    assert endings >= {(True, False), (False, True)}


def test_an_environment_that_goes_on_writing_to_its_observation_changes_no_step_of_the_past():
    class Reusing(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float32)
        action_space = gymnasium.spaces.Discrete(2)
        state = np.zeros(1, np.float32)

        def reset(self, *, seed=None, options=None):
            self.state[:] = 0
            return self.state, {}

        def step(self, action):
            self.state += 1
            return self.state, 0.0, False, False, {}

    steps = list(itertools.islice(interact(Reusing(), "Reusing", lambda _: 0, itertools.count()), 5))
    assert [(step.s_tm1[0], step.s_t[0]) for step in steps] == [(i, i + 1) for i in range(5)]


@pytest.mark.parametrize("bad", ["observation", "reward"])
def test_the_stream_ends_at_the_first_nan(make_corridor, bad):
    stream = interact(make_corridor(bad=bad, at=7), "My-v0", lambda _: 0, itertools.count())
    found = []
    with pytest.raises(BadTransitionError, match=rf"^My-v0 gave a bad {bad} at step 7: "):
        found.extend(stream)
    assert len(found) == 6


class Pay(gymnasium.Env):
    """One step, and each action has its price."""

    observation_space = gymnasium.spaces.Box(0, 1, (1,), np.float32)
    prices = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)
    action_space = gymnasium.spaces.Discrete(len(prices))

    def reset(self, *, seed=None, options=None):
        return np.ones(1, np.float32), {}

    def step(self, action):
        return np.ones(1, np.float32), self.prices[action], True, False, {}


class Brink(gymnasium.Env):
    """Ten steps along a brink, where action 1 is the last, or along a road, where nothing matters. The first action chooses."""

    observation_space = gymnasium.spaces.Box(0, 1, (3,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, pay_on_the_road=1.0, pay=1.0, fall=0.0):
        self.pay, self.pay_on_the_road, self.fall = pay, pay_on_the_road, fall

    def reset(self, *, seed=None, options=None):
        self.place, self.left = 0, 10
        return np.eye(3, dtype=np.float32)[0], {}

    def step(self, action):
        fell = self.place == 1 and action == 1
        self.place = self.place or 1 + action
        self.left -= 1
        reward = (self.pay if self.place == 1 else self.pay_on_the_road) + fell * self.fall
        return np.eye(3, dtype=np.float32)[self.place], reward, fell or self.left == 0, False, {}


BRINK, ROAD = ([np.float32([[0, first], [0, -1], [0, 0]]), np.zeros(2, np.float32)] for first in (-1, 1))


def one_hot(action):
    """Weights of a policy that always takes one action."""
    return [np.zeros((1, 6), np.float32), np.eye(6, dtype=np.float32)[action]]


def selection_of(env, finalists=3, episodes=5, **settings):
    return CheckpointSelection(env, seeds=lambda n: list(range(n)), episodes=episodes, finalists=finalists, seed=0, **settings)


def consider(selection, env_steps, weights):
    selection.consider(SimpleNamespace(env_steps=env_steps, averaged_weights=lambda: [w.copy() for w in weights]))


def test_the_two_policies_of_the_tests_below():
    assert evaluate(lambda o: int((o @ BRINK[0]).argmax()), Brink(), range(3)).returns == (10.0,) * 3
    assert evaluate(lambda o: int((o @ ROAD[0]).argmax()), Brink(0.5), range(3)).returns == (5.0,) * 3


@settings(max_examples=40, deadline=None)
@given(actions=st.lists(st.integers(0, 5), min_size=1, max_size=12), finalists=st.integers(1, 5))
def test_the_best_are_kept_and_the_later_of_equals(actions, finalists):
    announced = []
    selection = selection_of(Pay(), finalists, on_best=announced.append)
    for i, action in enumerate(actions):
        consider(selection, 10 * i, one_hot(action))
    assert selection.scores == [(10 * i, float(action)) for i, action in enumerate(actions)]
    ranking = sorted((action, 10 * i) for i, action in enumerate(actions))
    assert [(c.mean_return, c.env_steps) for c in selection.kept] == ranking[-finalists:]
    records = [(a, 10 * i) for i, a in enumerate(actions) if all(a > b for b in actions[:i])]
    assert [(c.mean_return, c.env_steps) for c in announced] == records
    best = selection.best()
    assert (best.mean_return, best.env_steps) == ranking[-1]
    assert best.weights[1].argmax() == ranking[-1][0]


@pytest.mark.parametrize("order", [(BRINK, ROAD), (ROAD, BRINK)], ids=["brink first", "road first"])
def test_of_two_that_score_alike_the_robust_one_is_taken(order):
    # Within 0.2 %: 10 and 9.99.
    selection = selection_of(Brink(0.999))
    for i, weights in enumerate(order):
        consider(selection, i, weights)
    best = selection.best()
    np.testing.assert_array_equal(best.weights[0], ROAD[0])
    assert best.mean_return == pytest.approx(9.99)  # what it scores undisturbed


def test_robustness_does_not_buy_a_worse_score():
    selection = selection_of(Brink(0.995))
    consider(selection, 0, ROAD)
    consider(selection, 1, BRINK)
    np.testing.assert_array_equal(selection.best().weights[0], BRINK[0])


@pytest.mark.parametrize(("road", "expected"), [(-1.001, ROAD), (-1.005, BRINK)], ids=["alike", "worse"])
def test_so_it_is_where_returns_are_negative(road, expected):
    selection = selection_of(Brink(road, pay=-1.0, fall=-100.0))
    consider(selection, 0, ROAD)
    consider(selection, 1, BRINK)
    np.testing.assert_array_equal(selection.best().weights[0], expected[0])


def test_finalists_play_ten_times_as_long():
    asked = []
    selection = selection_of(Pay(), finalists=2, episodes=4)
    selection.seeds = lambda n: asked.append(n) or list(range(n))
    for i in range(3):
        consider(selection, i, one_hot(i))
    assert asked == [4, 4, 4]
    assert selection.best().env_steps == 2
    assert asked == [4, 4, 4, 40, 40]


def trained(make_corridor, config=CONFIG, **bad):
    env = make_corridor(**bad)
    agent = build_dqn(spec_of(env, "Corridor"), config, np.random.default_rng(0))
    best = []
    selection = selection_of(make_corridor(), episodes=2, on_best=best.append)
    run = lambda: train(agent, env, "Corridor", config.steps, itertools.count(), selection, config.evaluation_interval)  # noqa: E731
    return agent, selection, best, run


def test_a_run_from_end_to_end(make_corridor, capsys):
    agent, _, best, run = trained(make_corridor)
    report = run()
    assert capsys.readouterr() == ("", "")  # no terminal, no progress bar
    assert agent.env_steps == CONFIG.steps
    # Evaluated as it went and at the end, kept the best, and the network plays it.
    assert [at for at, _ in report.evaluations] == [300, 600, 900, 1_000]
    assert report.best.mean_return == report.evaluations[-1][1] == 1.0
    assert best[-1].mean_return == 1.0
    for ours, chosen in zip(agent.network.get_weights(), report.best.weights, strict=True):
        np.testing.assert_array_equal(ours, chosen)
    assert agent.network(np.eye(5, dtype=np.float32)).numpy().argmax(axis=1).tolist() == [1] * 5
    assert report.gradient_steps == agent.gradient_steps == 900
    # Each episode is a record.
    at = [episode.env_steps for episode in report.episodes]
    assert at == sorted(set(at))
    assert at[-1] <= CONFIG.steps
    assert {episode.episode_return for episode in report.episodes} <= {0.0, 1.0}
    assert all(np.isnan(e.loss) == (e.env_steps < 110) for e in report.episodes)
    assert report.episodes[0].epsilon > report.episodes[-1].epsilon == pytest.approx(0.3)


@pytest.mark.parametrize("bad", ["observation", "reward"])
def test_a_nan_stops_the_run_and_leaves_the_last_good_checkpoint(make_corridor, bad):
    agent, _, best, run = trained(make_corridor, bad=bad, at=777)
    with pytest.raises(BadTransitionError, match=rf"^Corridor gave a bad {bad} at step 777: "):
        run()
    assert agent.env_steps == 776
    assert best[-1].env_steps in (300, 600)
    assert all(np.isfinite(w).all() for w in best[-1].weights)


def test_a_run_too_short_to_learn_still_has_a_checkpoint(make_corridor):
    config = TrainingConfig(steps=20, hidden=(4,), learning_starts=100, evaluation_interval=5)
    agent, _, best, run = trained(make_corridor, config)
    before = agent.network.get_weights()
    report = run()
    assert [at for at, _ in report.evaluations] == [20]  # nothing was learned, so nothing was evaluated on the way
    assert report.best.env_steps == best[0].env_steps == 20
    for ours, first in zip(agent.network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, first)
