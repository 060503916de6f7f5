"""The agent against Q-learning written by hand, and on a corridor whose values are known."""

import itertools
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import tf_keras

from edgedqn.agents.dqn import DQN, LearningSchedule, LinearDecay, build_dqn
from edgedqn.agents.environments import spec_of
from edgedqn.agents.learner import NonFiniteLossError
from edgedqn.agents.n_step import NStepTransitions
from edgedqn.agents.networks import hidden_widths, mlp
from edgedqn.agents.presets import TrainingConfig
from edgedqn.agents.replay import UniformReplay
from edgedqn.agents.training import interact

FEATURES, ACTIONS = 3, 4
NEVER = LearningSchedule(10**9, 1, 1, 1, 10**9)
SCHEDULE = LearningSchedule(learning_starts=10, train_freq=4, gradient_steps=3, batch_size=8, target_update_interval=14)
QUICK = TrainingConfig(
    steps=3_000,
    hidden=(32,),
    learning_rate=5e-3,
    batch_size=32,
    buffer_size=3_000,
    learning_starts=100,
    discount=0.9,
    n_step=1,  # of several, the exploring actions between belong to another policy, and so do the values
    target_update_interval=50,
    train_freq=10,
    gradient_steps=10,
    exploration_fraction=0.5,
    exploration_final=0.3,
    averaging_steps=300,
)


def linear_agent(schedule=NEVER, epsilon=0.0, rate=0.05, discount=0.9, n_step=1, **settings):
    """Linear Q-functions, learned by gradient descent: what the oracle below can follow."""
    rng = np.random.default_rng(0)
    return DQN(
        mlp((FEATURES,), ACTIONS, [], rng),
        mlp((FEATURES,), ACTIONS, [], rng),
        tf_keras.optimizers.SGD(rate),
        UniformReplay(50, (FEATURES,), np.random.default_rng(1)),
        LinearDecay(epsilon, epsilon, 1),
        schedule,
        np.random.default_rng(2),
        NStepTransitions(n_step, discount),
        **settings,
    )


def experience(count, scale=1.0):
    """Arguments of `observe`: disjoint steps of short episodes, some of them cut off."""
    rng = np.random.default_rng(3)
    for _ in range(count):
        s_tm1, s_t = rng.normal(size=(2, FEATURES)).astype(np.float32)
        yield (
            s_tm1,
            int(rng.integers(ACTIONS)),
            float(scale * rng.normal()),
            bool(rng.random() < 0.15),
            bool(rng.random() < 0.1),
            s_t,
        )


class HandWritten:
    """Linear Q-learning in NumPy, float64, after the papers. Its replay draws what the agent's draws."""

    def __init__(self, weights, schedule, discount, n_step, double, rate=0.05):
        self.kernel, self.bias = (w.astype(np.float64) for w in weights)
        self.target = self.kernel, self.bias
        self.replay = UniformReplay(50, (FEATURES,), np.random.default_rng(1))
        self.schedule, self.discount, self.n_step, self.double, self.rate = schedule, discount, n_step, double, rate
        self.episode = []
        self.steps, self.copied_at, self.due, self.disagreements = 0, [], False, 0
        self.loss = np.nan

    def observe(self, s_tm1, a_tm1, r_t, terminated, truncated, s_t):
        self.remember(s_tm1, a_tm1, r_t, terminated, truncated, s_t)
        self.steps += 1
        self.due |= self.steps % self.schedule.target_update_interval == 0
        if self.steps <= self.schedule.learning_starts or self.steps % self.schedule.train_freq:
            return False
        if self.due:
            self.target, self.due = (self.kernel, self.bias), False
            self.copied_at.append(self.steps)
        sample = self.replay.sample(self.schedule.gradient_steps, self.schedule.batch_size)
        losses = [self.step(*minibatch) for minibatch in zip(*sample, strict=True)]
        self.loss = np.mean(losses)
        return True

    def remember(self, s_tm1, a_tm1, r_t, terminated, truncated, s_t):
        self.episode.append((s_tm1, a_tm1, r_t))
        length = len(self.episode)
        for start in range(max(0, length - self.n_step), length):
            if terminated or truncated or start == length - self.n_step:
                reward = sum(self.discount**k * r for k, (_, _, r) in enumerate(self.episode[start:]))
                self.replay.add(*self.episode[start][:2], reward, (1 - terminated) * self.discount ** (length - start), s_t)
        if terminated or truncated:
            self.episode = []

    def step(self, s_tm1, a_tm1, r_t, discount_t, s_t):
        batch = np.arange(len(a_tm1))
        of_target, of_online = s_t @ self.target[0] + self.target[1], s_t @ self.kernel + self.bias  # [B, A]
        self.disagreements += (of_target.argmax(1) != of_online.argmax(1)).sum()
        chosen = (of_online if self.double else of_target).argmax(1)  # [B]
        error = (s_tm1 @ self.kernel + self.bias)[batch, a_tm1] - (r_t + discount_t * of_target[batch, chosen])  # [B]
        gradient = np.zeros((len(batch), ACTIONS))
        gradient[batch, a_tm1] = np.clip(error, -1, 1) / len(batch)
        self.kernel, self.bias = self.kernel - self.rate * s_tm1.T @ gradient, self.bias - self.rate * gradient.sum(0)
        return np.where(abs(error) <= 1, error**2 / 2, abs(error) - 0.5).mean()


@pytest.mark.parametrize(("n_step", "double", "averaging"), [(1, False, 0.0), (3, True, 0.9)])
def test_it_is_q_learning_written_by_hand(n_step, double, averaging):
    agent = linear_agent(SCHEDULE, n_step=n_step, double=double, averaging=averaging)
    by_hand = HandWritten(agent.network.get_weights(), SCHEDULE, 0.9, n_step, double)
    target = agent._target_network
    average = np.concatenate([w.ravel() for w in agent.network.get_weights()])
    learned, targets = 0, []
    for transition in experience(200, scale=2):
        agent.observe(*transition)
        if by_hand.observe(*transition):
            learned += 1
            np.testing.assert_allclose(agent.network.get_weights()[0], by_hand.kernel, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(agent.network.get_weights()[1], by_hand.bias, rtol=1e-4, atol=1e-5)
            assert agent.last_loss == pytest.approx(by_hand.loss, rel=1e-4)
            keep = min(averaging, learned / (learned + 5))
            average = keep * average + (1 - keep) * np.concatenate([w.ravel() for w in agent.network.get_weights()])
            # Acting follows the network.
            q_values = agent.network(transition[0][None])[0]
            assert agent.act(transition[0]) == np.argmax(q_values)
        np.testing.assert_allclose(np.concatenate([w.ravel() for w in agent.averaged_weights()]), average, rtol=1e-4, atol=1e-5)
        # The spy: a network nobody copied to keeps the values it had.
        np.testing.assert_allclose(target.get_weights()[0], by_hand.target[0], rtol=1e-4, atol=1e-5)
        targets.append(target.get_weights()[0].tobytes())
    changed_at = [i + 1 for i in range(1, 200) if targets[i] != targets[i - 1]]
    # Due at 14, 28, 42, ...; done at the next time of learning, 16, 28, 44, ...
    assert by_hand.copied_at == [16, 28, 44, 56, 72, 84, 100, 112, 128, 140, 156, 168, 184, 196]
    assert changed_at == by_hand.copied_at
    assert agent.gradient_steps == 3 * learned == 3 * 48  # multiples of 4 after step 10
    assert by_hand.disagreements > 30  # or the two targets would be the same


def test_without_averaging_the_average_is_the_weights_and_always_a_copy():
    agent = linear_agent(SCHEDULE)
    for transition in experience(40):
        agent.observe(*transition)
    for average, weights in zip(agent.averaged_weights(), agent.network.get_weights(), strict=True):
        np.testing.assert_array_equal(average, weights)
        average += 1
    np.testing.assert_array_equal(agent.averaged_weights()[0], agent.network.get_weights()[0])


def test_the_target_starts_as_a_copy():
    agent = linear_agent()
    for ours, theirs in zip(agent.network.get_weights(), agent._target_network.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_terminal_state_has_no_future_a_truncated_one_keeps_its_discount():
    agent = linear_agent(discount=0.9)
    nowhere = np.zeros(FEATURES)
    for ending in range(3):
        for _ in range(10):
            agent.observe(nowhere, ending, 0.0, ending == 1, ending == 2, nowhere)
    sample = agent._replay.sample(1, 500)
    np.testing.assert_array_equal(sample.discount_t, np.where(sample.a_tm1 == 1, np.float32(0), np.float32(0.9)))
    assert agent.env_steps == 30


def test_nothing_is_learned_too_early():
    agent = linear_agent(LearningSchedule(20, 5, 2, 4, 1))
    for i, transition in enumerate(experience(30), 1):
        agent.observe(*transition)
        assert agent.gradient_steps == (0 if i < 25 else 2 if i < 30 else 4)
        assert np.isnan(agent.last_loss) == (i < 25)


def test_learning_waits_for_the_first_whole_transition():
    agent = linear_agent(LearningSchedule(0, 1, 1, 4, 1), n_step=3)
    steps = list(experience(3))
    for s_tm1, a_tm1, r_t, _, _, s_t in steps:
        agent.observe(s_tm1, a_tm1, r_t, False, False, s_t)
    assert agent.gradient_steps == 1


def test_so_does_an_episode_that_gymnasium_cuts(make_corridor):
    spec = spec_of(make_corridor(), "Corridor")
    config = TrainingConfig(steps=90, learning_starts=10**6, discount=0.9, n_step=1, buffer_size=90)
    agent = build_dqn(spec, config, np.random.default_rng(0))
    # Right from every cell ends after 5 steps; an episode cut after 3 ends nowhere.
    for limit in (3, 50):
        for step in itertools.islice(interact(make_corridor(limit), "Corridor", lambda _: 1, itertools.count()), 45):
            agent.observe(*step[:-1])
    sample = agent._replay.sample(1, 2_000)
    ended = sample.r_t == 1
    assert 0.05 < ended.mean() < 0.15  # 9 of 90
    np.testing.assert_array_equal(sample.discount_t, np.where(ended, np.float32(0), np.float32(0.9)))


def test_a_diverged_loss_stops():
    agent = linear_agent(SCHEDULE)
    with pytest.raises(NonFiniteLossError, match=r"The loss became (inf|nan) at gradient step 1 of 3"):
        for s_tm1, a_tm1, _, *rest in experience(40):
            agent.observe(s_tm1, a_tm1, 3e38, *rest)


@pytest.mark.parametrize("double", [False, True])
def test_it_finds_the_values_of_a_corridor(corridor, double):
    config = TrainingConfig(**{**vars(QUICK), "double": double})
    agent = build_dqn(spec_of(corridor, "Corridor"), config, np.random.default_rng(0))
    for step in itertools.islice(interact(corridor, "Corridor", agent.act, itertools.count()), config.steps):
        agent.observe(*step[:-1])
    right = [0.9 ** (4 - i) for i in range(5)]
    left = [0.9 * right[max(i - 1, 0)] for i in range(5)]
    cells = np.eye(5, dtype=np.float32)
    # Six seeds each were within 5e-7 (the average: 9e-6).
    np.testing.assert_allclose(agent.network(cells), np.stack([left, right], axis=1), rtol=0, atol=1e-3)
    agent.network.set_weights(agent.averaged_weights())
    np.testing.assert_allclose(agent.network(cells), np.stack([left, right], axis=1), rtol=0, atol=1e-3)


def test_exploration_falls_and_then_stays():
    decay = LinearDecay(1.0, 0.1, 10)
    assert [decay(step) for step in (0, 5, 10, 11, 10_000)] == pytest.approx([1.0, 0.55, 0.1, 0.1, 0.1])
    with pytest.raises(ValueError, match=r"at least one step\. Got steps=0"):
        LinearDecay(1.0, 0.1, 0)


def test_epsilon_counts_environment_steps_and_is_the_share_of_random_actions():
    agent = linear_agent(epsilon=0.4)
    observation = np.ones(FEATURES, np.float32)
    greedy = int(np.argmax(agent.network(observation[None])[0]))
    counts = np.bincount([agent.act(observation) for _ in range(4_000)], minlength=ACTIONS)
    # A random action may be the greedy one. 100 is four standard deviations.
    assert counts[greedy] == pytest.approx(4_000 * (0.6 + 0.1), abs=120)
    assert np.delete(counts, greedy) == pytest.approx([400] * 3, abs=80)
    assert agent.epsilon == 0.4
    agent._exploration = LinearDecay(1.0, 0.0, 10)
    for transition in experience(4):
        agent.observe(*transition)
    assert agent.epsilon == pytest.approx(0.6)


@pytest.mark.parametrize("name", ["train_freq", "gradient_steps", "batch_size", "target_update_interval"])
def test_a_schedule_counts_from_one(name):
    counts = {"train_freq": 1, "gradient_steps": 1, "batch_size": 1, "target_update_interval": 1, name: 0}
    with pytest.raises(ValueError, match=rf"^Expected {name} of 1 or more\. Got {name}=0\.$"):
        LearningSchedule(learning_starts=0, **counts)


def test_build_dqn_follows_the_configuration(corridor, monkeypatch):
    built = SimpleNamespace()
    monkeypatch.setattr("edgedqn.agents.dqn.DQN", lambda *arguments: built.__setattr__("arguments", arguments))
    build_dqn(spec_of(corridor, "Corridor"), QUICK, np.random.default_rng(0))
    network, target, optimizer, _, exploration, schedule, _, n_step, double, averaging = built.arguments
    assert hidden_widths(network) == hidden_widths(target) == (32,)
    assert network is not target
    assert float(optimizer.learning_rate) == pytest.approx(5e-3)
    assert optimizer.global_clipnorm == 10.0
    assert exploration == LinearDecay(1.0, 0.3, 1_500)
    assert schedule == LearningSchedule(100, 10, 10, 32, 50)
    assert double
    zero = np.zeros(5)
    assert [transition.discount_t for transition in n_step.step(zero, 0, 0.0, False, False, zero)] == [0.9]
    assert averaging == pytest.approx(1 - 10 / 300)
    build_dqn(spec_of(corridor, "Corridor"), TrainingConfig(averaging_steps=0), np.random.default_rng(0))
    assert built.arguments[-1] == 0


TRAIN_TWICE = """
import hashlib, sys
import numpy as np
import tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
from edgedqn.agents.dqn import build_dqn
from edgedqn.agents.environments import make_environment, spec_of
from edgedqn.agents.presets import TrainingConfig
from edgedqn.agents.training import interact

def weights(seed):
    env = make_environment("CartPole-v1")
    config = TrainingConfig(steps=400, hidden=(32, 32), learning_starts=100)
    agent = build_dqn(spec_of(env, "CartPole-v1"), config, np.random.default_rng(seed))
    for step, _ in zip(interact(env, "CartPole-v1", agent.act, iter(range(1000))), range(400)):
        agent.observe(*step[:-1])
    assert agent.gradient_steps > 200
    return hashlib.sha256(b"".join(w.tobytes() for w in [*agent.network.get_weights(), *agent.averaged_weights()])).hexdigest()

print(*map(weights, map(int, sys.argv[1:])))
"""


def test_the_same_seed_gives_the_same_weights_in_any_process():
    first, second = (
        subprocess.Popen(
            [sys.executable, "-c", TRAIN_TWICE, *seeds], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        for seeds in ("11", "21")
    )
    one, again = first.communicate(timeout=300)[0].split()
    two, one_elsewhere = second.communicate(timeout=300)[0].split()
    assert one == again == one_elsewhere  # also after another training in the same process
    assert two != one
