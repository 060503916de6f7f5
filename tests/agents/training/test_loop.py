"""The stream of steps, the choice of the checkpoint, and the run that joins them."""

import itertools
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from edgedqn.agents.dqn import build_dqn
from edgedqn.agents.errors import DivergedError
from edgedqn.agents.playing.environments import BadTransitionError, make_environment, make_vector
from edgedqn.agents.playing.spec import spec_of
from edgedqn.agents.training.checkpoints import Checkpoints
from edgedqn.agents.training.config import TrainingConfig
from edgedqn.agents.training.loop import interact, interact_with_all, train
from edgedqn.agents.training.selection import CheckpointSelection

CONFIG = TrainingConfig(
    steps=1_000,
    hidden=(16,),
    learning_rate=5e-3,
    batch_size=32,
    buffer_size=500,
    learning_starts=100,
    target_update_interval=50,
    train_freq=10,
    gradient_steps=10,
    exploration_fraction=0.5,
    exploration_final=0.3,
    averaging_steps=100,
    evaluation_interval=300,
    checkpoint_interval=150,
)


class Player:
    """An agent that acts by a function, on one observation or on each of several, and learns nothing."""

    env_steps = 0

    def __init__(self, act):
        self.act = act

    def act_in_all(self, observations):
        return np.array([self.act(observation) for observation in observations])


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
    player = Player(lambda _: int(rng.random() < 0.6))
    steps = list(itertools.islice(interact(env, "Corridor", player, itertools.count(5)), 300))
    assert [seed for seed, _ in env.resets] == list(range(5, 5 + len(env.resets)))
    starts = iter(env.resets)
    state, total, length = next(starts)[1], 0.0, 0
    endings = set()
    for step, (action, s_t, reward, terminated, truncated) in zip(steps, env.log, strict=True):
        np.testing.assert_array_equal(step.s_tm1, state)
        np.testing.assert_array_equal(step.s_t, s_t)
        assert (step.a_tm1, step.r_t, step.terminated, step.truncated) == (action, reward, terminated, truncated)
        state, total, length = step.s_t, total + reward, length + 1
        assert (step.lane, step.episode_length) == (0, length)
        if terminated or truncated:
            endings.add((terminated, truncated))
            assert step.episode_return == total
            state, total, length = next(starts, (None, None))[1], 0.0, 0
        else:
            assert step.episode_return is None
    assert endings >= {(True, False), (False, True)}


def one_by_one(make, count, actions, seeds):
    """What a vector of environments must show: each stepped on its own, and reset in their order when it is over."""
    envs = [make() for _ in range(count)]
    states, totals, lengths = [env.reset(seed=next(seeds))[0] for env in envs], [0.0] * count, [0] * count
    while True:
        row = [next(actions) for _ in envs]
        found = [env.step(action) for env, action in zip(envs, row, strict=True)]
        for lane, (s_t, reward, terminated, truncated, _) in enumerate(found):
            totals[lane] += reward
            lengths[lane] += 1
            over = terminated or truncated
            total = totals[lane] if over else None
            yield states[lane], row[lane], reward, terminated, truncated, s_t, lane, total, lengths[lane]
            states[lane] = s_t
        for lane, (_, _, terminated, truncated, _) in enumerate(found):
            if terminated or truncated:
                states[lane], totals[lane], lengths[lane] = envs[lane].reset(seed=next(seeds))[0], 0.0, 0


@pytest.mark.parametrize("env_id", ["CartPole-v1", "MinAtar/Breakout-v1", None], ids=["CartPole", "MinAtar", "corridor"])
@pytest.mark.parametrize("count", [1, 4])
def test_each_lane_of_a_vector_is_the_environment_on_its_own(corridor_id, env_id, count):
    env_id = env_id or corridor_id
    with closing(make_environment(env_id)) as env:
        spec = spec_of(env, env_id)
    draws, again = (iter(np.random.default_rng(1).integers(spec.n_actions, size=10**5).tolist()) for _ in range(2))
    with closing(make_vector(env_id, spec, num_envs=count)) as envs:
        stream = interact_with_all(envs, env_id, Player(lambda _: next(draws)), itertools.count(7))
        expected = one_by_one(partial(make_environment, env_id), count, again, itertools.count(7))
        steps = list(itertools.islice(zip(stream, expected, strict=False), 1_200))
    for step, (s_tm1, a_tm1, r_t, terminated, truncated, s_t, *rest) in steps:
        np.testing.assert_array_equal(step.s_tm1, s_tm1)
        np.testing.assert_array_equal(step.s_t, s_t)  # the true last one at the end of an episode
        assert step.s_t.dtype == s_t.dtype
        assert (step.a_tm1, step.r_t, step.terminated, step.truncated) == (a_tm1, r_t, terminated, truncated)
        assert list(step[6:]) == rest
    assert sum(step.episode_return is not None for step, _ in steps) > 10
    if env_id == corridor_id:
        assert {(step.terminated, step.truncated) for step, _ in steps} >= {(True, False), (False, True)}


def test_steps_of_a_vector_stay_as_they_were(corridor_id):
    with closing(make_environment(corridor_id)) as env:
        spec = spec_of(env, corridor_id)
    with closing(make_vector(corridor_id, spec, num_envs=2)) as envs:
        steps = [
            (s, s.s_tm1.copy(), s.s_t.copy())
            for s in itertools.islice(interact_with_all(envs, "", Player(lambda _: 1), itertools.count()), 60)
        ]
    for step, s_tm1, s_t in steps:
        np.testing.assert_array_equal((step.s_tm1, step.s_t), (s_tm1, s_t))


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

    steps = list(itertools.islice(interact(Reusing(), "Reusing", Player(lambda _: 0), itertools.count()), 5))
    assert [(step.s_tm1[0], step.s_t[0]) for step in steps] == [(i, i + 1) for i in range(5)]


@pytest.mark.parametrize("bad", ["observation", "reward"])
@pytest.mark.parametrize("count", [0, 3])
def test_the_stream_ends_at_the_first_nan(make_corridor, bad, count):
    player = Player(lambda _: 0)
    make = partial(make_corridor, bad=bad, at=7)
    if count:
        envs = gymnasium.vector.SyncVectorEnv([make] * count, autoreset_mode=gymnasium.vector.AutoresetMode.DISABLED)
        stream = interact_with_all(envs, "My-v0", player, itertools.count())
    else:
        stream = interact(make(), "My-v0", player, itertools.count())
    found = []
    # Of three side by side, the 7th step of the first is the 19th of all.
    with pytest.raises(BadTransitionError, match=rf"^My-v0 gave a bad {bad} at step {19 if count else 7}: "):
        for step in stream:
            found.append(step)
            player.env_steps += 1
    assert len(found) == (18 if count else 6)
    assert all(np.isfinite(step.s_t).all() and np.isfinite(step.r_t) for step in found)


class Log:
    """Remembers what it was told."""

    def __init__(self):
        self.told = []

    def resume(self, env_steps, records):
        self.told.append(("resume", env_steps, [record.env_steps for record in records]))

    def episode(self, record, gradient_steps):
        self.told.append(("episode", record.env_steps, gradient_steps))

    def evaluation(self, env_steps, mean_return):
        self.told.append(("evaluation", env_steps, mean_return))

    def flush(self):
        self.told.append(("flush",))


class Training:
    """A training in a corridor, with all that hangs on it."""

    def __init__(self, env, make_corridor, checkpoints=None, config=CONFIG):
        self.env, self.config, self.checkpoints = env, config, checkpoints
        self.agent = build_dqn(spec_of(env, "Corridor"), config, np.random.default_rng(0))
        self.best, self.log = [], Log()
        self.selection = CheckpointSelection(make_corridor(), lambda n: list(range(n)), 2, 3, 2, 0, self.best.append)

    def run(self, steps=None):
        return train(
            self.agent,
            partial(interact, self.env, "Corridor"),
            "train",
            steps or self.config.steps,
            itertools.count(10),
            self.selection,
            self.config.evaluation_interval,
            self.checkpoints,
            self.config.checkpoint_interval,
            self.log,
        )


def flat(weights):
    return np.concatenate([w.ravel() for w in weights])


def test_a_run_from_end_to_end(make_corridor, capsys):
    env = Recording(make_corridor())
    training = Training(env, make_corridor)
    agent, report = training.agent, training.run()
    assert capsys.readouterr() == ("", "")  # no terminal, no progress bar
    assert agent.env_steps == len(env.log) == CONFIG.steps
    # Evaluated as it went and at the end, and kept the best.
    assert [at for at, _ in report.evaluations] == [300, 600, 900, 1_000]
    assert report.best.mean_return == report.evaluations[-1][1] == 1.0
    assert training.best[-1].mean_return == 1.0
    policy = agent.policy(report.best.weights)
    assert policy.actions(np.eye(5, dtype=np.float32)).tolist() == [1] * 5
    assert report.gradient_steps == agent.gradient_steps == 900
    # Each episode is a record.
    ends = [i for i, (_, _, _, terminated, truncated) in enumerate(env.log, 1) if terminated or truncated]
    assert [episode.env_steps for episode in report.episodes] == ends
    assert [episode.episode_return for episode in report.episodes] == [env.log[i - 1][2] for i in ends]
    assert [episode.episode_length for episode in report.episodes] == np.diff([0, *ends]).tolist()
    assert all(np.isnan(e.loss) == (e.env_steps < 110) for e in report.episodes)
    assert report.episodes[0].epsilon > report.episodes[-1].epsilon == pytest.approx(0.3)
    assert report.episodes[-1].learning_rate == pytest.approx(5e-3)
    # The log heard of all of it, in its order.
    assert [at for kind, at, *_ in training.log.told[:-1] if kind == "episode"] == ends
    assert [tuple(rest) for kind, *rest in training.log.told[:-1] if kind == "evaluation"] == list(report.evaluations)
    assert [at for _, at, _ in training.log.told[:-1]] == sorted(at for _, at, _ in training.log.told[:-1])
    assert training.log.told[-1] == ("flush",)


class Stops(gymnasium.Wrapper):
    """Breaks down at a step of the training."""

    def __init__(self, env, at):
        super().__init__(env)
        self.left = at

    def step(self, action):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return self.env.step(action)


def test_a_run_that_was_interrupted_goes_on_from_its_newest_checkpoint_to_the_same_end(make_corridor, tmp_path):
    whole = Training(Recording(make_corridor()), make_corridor, Checkpoints(tmp_path / "whole", {}))
    expected = whole.run()
    broken = Training(Stops(make_corridor(), 710), make_corridor, Checkpoints(tmp_path / "broken", {}))
    with pytest.raises(KeyboardInterrupt):
        broken.run()
    assert sorted(path.name for path in (tmp_path / "broken").iterdir()) == ["step-000000000450.npz", "step-000000000600.npz"]
    resumed = Training(Recording(make_corridor()), make_corridor, Checkpoints(tmp_path / "broken", {}))
    report = resumed.run()
    assert len(resumed.env.log) == 400
    if Path("/proc/self/maps").exists():  # or the file it went on from would fill the disk until the end
        assert str(tmp_path / "broken") not in Path("/proc/self/maps").read_text()
    for ours, theirs in zip(resumed.agent.state(), whole.agent.state(), strict=True):
        np.testing.assert_equal(ours, theirs)
    np.testing.assert_array_equal(flat(report.best.weights), flat(expected.best.weights))
    assert report.evaluations == expected.evaluations
    np.testing.assert_equal([e[:-1] for e in report.episodes], [e[:-1] for e in expected.episodes])  # all but the seconds
    assert [e.seconds for e in report.episodes] == sorted(e.seconds for e in report.episodes)
    # Episodes begin anew at each checkpoint, in both; none of their seeds comes twice.
    seeds = [seed for seed, _ in whole.env.resets]
    assert seeds == list(range(10, 10 + len(seeds)))
    assert [seed for seed, _ in resumed.env.resets] == seeds[-len(resumed.env.resets) :]
    assert resumed.log.told[0] == ("resume", 600, [e.env_steps for e in expected.episodes if e.env_steps <= 600])
    assert [kind for kind, *_ in resumed.log.told].count("flush") == 3  # at 750, at 900 and at the end
    told = [entry for entry in whole.log.told if entry[0] != "flush"]
    after = [entry for entry in resumed.log.told[1:] if entry[0] != "flush"]
    assert after == told[-len(after) :]


def test_at_a_checkpoint_nothing_is_pending(make_corridor, tmp_path):
    training = Training(make_corridor(), make_corridor, Checkpoints(tmp_path, {}, keep=9))
    training.run(steps=460)
    assert len(list(tmp_path.iterdir())) == 4  # at 150, 300, 450, and at the end
    arrays, values = Checkpoints(tmp_path, {}).newest()
    assert values["agent"]["env_steps"] == 460
    # 3-step transitions, and yet one per step: those of the episodes that were cut at 150, 300, 450 and 460 are among them.
    assert len(arrays["agent_replay_a_tm1"]) == 460


@pytest.mark.parametrize("bad", ["observation", "reward"])
def test_a_nan_stops_the_run_and_leaves_the_last_good_checkpoint(make_corridor, tmp_path, bad):
    training = Training(make_corridor(bad=bad, at=777), make_corridor, Checkpoints(tmp_path, {}))
    with pytest.raises(BadTransitionError, match=rf"^Corridor gave a bad {bad} at step 777: "):
        training.run()
    assert training.agent.env_steps == 776
    assert training.best[-1].env_steps in (300, 600)
    assert all(np.isfinite(w).all() for w in training.best[-1].weights)
    assert Checkpoints(tmp_path, {}).newest()[1]["agent"]["env_steps"] == 750


class Pays(gymnasium.Wrapper):
    """Pays so much for each step from one on."""

    def __init__(self, env, at, reward):
        super().__init__(env)
        self.left, self.reward = at, reward

    def step(self, action):
        observation, reward, *rest = self.env.step(action)
        self.left -= 1
        return observation, reward if self.left > 0 else self.reward, *rest


def test_a_loss_that_is_no_number_stops_the_run_and_leaves_the_last_good_checkpoint(make_corridor, tmp_path):
    env = Pays(make_corridor(), 703, 1e30)  # finite, and its square is not
    training = Training(env, make_corridor, Checkpoints(tmp_path, {}), replace(CONFIG, loss="mse", n_step=1))
    message = r"^Learning diverged at environment step 710\. The loss became (inf|nan) at gradient step \d+ of 10\.$"
    with pytest.raises(DivergedError, match=message):
        training.run()
    arrays, values = Checkpoints(tmp_path, {}).newest()
    assert values["agent"]["env_steps"] == 600
    assert all(np.isfinite(array).all() for array in arrays.values() if array.dtype.kind == "f")
    assert training.best[-1].env_steps in (300, 600)


def test_values_that_explode_stop_the_run_and_leave_what_was_good(make_corridor, tmp_path):
    config = replace(CONFIG, learning_rate=10.0, max_gradient_norm=1e9, learning_starts=400, hidden=(64, 64))
    training = Training(make_corridor(), make_corridor, Checkpoints(tmp_path, {}), config)
    with pytest.raises(DivergedError, match=r"^Values exploded at environment step 410: .*A smaller learning rate may help\.$"):
        training.run()
    assert Checkpoints(tmp_path, {}).newest()[1]["agent"]["env_steps"] == 300


def test_a_run_too_short_to_learn_still_has_a_candidate(make_corridor):
    training = Training(make_corridor(), make_corridor, config=replace(CONFIG, evaluation_interval=5))
    before = training.agent.network.get_weights()
    report = training.run(steps=20)
    assert [at for at, _ in report.evaluations] == [20]  # nothing was learned, so nothing was evaluated on the way
    assert report.best.env_steps == training.best[0].env_steps == 20
    np.testing.assert_array_equal(flat(report.best.weights), flat(before))
