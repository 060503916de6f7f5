"""The agent against Q-learning written by hand, and on a corridor whose values are known."""

import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import tf_keras
from numpy.typing import NDArray

from edgedqn.agents.dqn import DQN, LearningSchedule
from edgedqn.agents.errors import DivergedError
from edgedqn.agents.losses import TemporalDifference
from edgedqn.agents.networks import q_network
from edgedqn.agents.numpy_network import NumpyNetwork
from edgedqn.agents.playing.environments import agent_view, make_vector
from edgedqn.agents.playing.spec import spec_of
from edgedqn.agents.prioritized import Prioritized
from edgedqn.agents.reader import Networks, PlainReader
from edgedqn.agents.replay import Replay, Sampler
from edgedqn.agents.training.build import LinearDecay, build_dqn
from edgedqn.agents.training.checkpoints import Checkpoints
from edgedqn.agents.training.config import TrainingConfig
from edgedqn.agents.training.exploration import EpsilonGreedyExploration
from edgedqn.agents.training.interaction import Step, interact, interact_with_all

FEATURES, ACTIONS, CAPACITY, RATE, DISCOUNT = 3, 4, 50, 0.05, 0.9
NEVER = LearningSchedule(learning_starts=10**9, train_freq=1, gradient_steps=1, batch_size=1, target_update_interval=10**9)
SCHEDULE = LearningSchedule(learning_starts=10, train_freq=4, gradient_steps=3, batch_size=8, target_update_interval=14)


@dataclass(frozen=True)
class Options:
    """Which of the family's are taken."""

    double: bool = False
    square: bool = False
    n_step: int = 1
    dueling: bool = False
    quantiles: int = 0
    prioritized: bool = False
    target_update_rate: float = 1.0


FAMILY = {
    "plain": Options(),
    "double": Options(double=True),
    "squared": Options(square=True),
    "3 steps": Options(n_step=3),
    "dueling": Options(dueling=True),
    "quantiles": Options(quantiles=3),
    "double quantiles": Options(quantiles=3, double=True),
    "prioritized": Options(prioritized=True),
    "soft": Options(target_update_rate=0.2),
    "all": Options(True, False, 3, True, 3, True, 0.2),
}


def small_agent(
    options: Options = Options(),
    schedule: Any = NEVER,
    epsilon: float = 0.0,
    averaging: float = 0.0,
    seed: int = 0,
    overlap: bool = False,
) -> DQN:
    """Learned by gradient descent; linear, but for the dueling streams: what the oracle below can follow."""
    rng = np.random.default_rng(seed)
    hidden = (3,) if options.dueling else ()
    network, target_network = (
        q_network(
            (FEATURES,), ACTIONS, hidden=hidden, rng=rng, torso=None, dueling=options.dueling, quantiles=options.quantiles
        )
        for _ in range(2)
    )
    draws = np.random.default_rng(1)
    return DQN(
        Networks(network, target_network, PlainReader(network)),
        optimizer=tf_keras.optimizers.SGD(RATE),
        replay=Replay(
            CAPACITY,
            (FEATURES,),
            dtype="float32",
            sampler=Prioritized(CAPACITY, draws, alpha=0.6, beta=0.4, anneal_minibatches=100)
            if options.prioritized
            else Sampler(draws),
        ),
        exploration=EpsilonGreedyExploration(LinearDecay(epsilon, epsilon, 1), n_actions=ACTIONS, rng=np.random.default_rng(2)),
        schedule=replace(schedule, target_update_rate=options.target_update_rate, averaging=averaging),
        loss=TemporalDifference(n_step=options.n_step, discount=DISCOUNT, double=options.double, square=options.square),
        overlap=overlap,
    )


def experience(
    count: int, scale: float = 1.0, seed: int = 3
) -> Iterator[tuple[NDArray[Any], int, float, bool, bool, NDArray[Any]]]:
    """Arguments of `observe`: short episodes of noise, some of them cut off."""
    rng = np.random.default_rng(seed)
    s_t: Any = None
    over = True
    for _ in range(count):
        s_tm1 = rng.normal(size=FEATURES).astype(np.float32) if over else s_t
        s_t = rng.normal(size=FEATURES).astype(np.float32)
        terminated, truncated = (bool(draw) for draw in rng.random(2) < (0.15, 0.1))
        yield s_tm1, int(rng.integers(ACTIONS)), float(scale * rng.normal()), terminated, truncated, s_t
        over = terminated or truncated


def huber(error: Any) -> NDArray[Any]:
    return np.where(abs(error) <= 1, error**2 / 2, abs(error) - 0.5)


class HandWritten:
    """Deep Q-learning in NumPy, float64, after the papers, with gradients by finite differences.

    Its memory is a list, its priorities an array; only the generator of its draws is seeded like the agent's.
    """

    def __init__(self, network: Any, options: Any, schedule: Any) -> None:
        self.weights = {variable.name: variable.numpy().astype(np.float64) for variable in network.weights}
        self.target: Any = None
        self.options, self.schedule = options, schedule
        self.rng = np.random.default_rng(1)
        self.episode: list[Any] = []
        self.memory: list[Any] = []
        self.copied_at: list[int] = []
        self.priorities, self.largest = np.zeros(CAPACITY), 1.0
        self.steps, self.drawn, self.due, self.disagreements = 0, 0, True, 0

    def q(self, weights: Any, s: Any) -> Any:
        """[B, A, N]; N is 1 where no quantiles are learned."""

        def dense(x: Any, name: str) -> Any:
            return x @ weights[f"{name}/kernel:0"] + weights[f"{name}/bias:0"]

        if not self.options.dueling:
            return dense(s, "q_values").reshape(len(s), ACTIONS, -1)
        value = dense(np.maximum(dense(s, "value_hidden"), 0), "value")[:, None, :]
        advantages = dense(np.maximum(dense(s, "advantage_hidden"), 0), "advantages").reshape(len(s), ACTIONS, -1)
        return value + advantages - advantages.mean(axis=1, keepdims=True)

    def observe(
        self, s_tm1: NDArray[Any], a_tm1: int, r_t: float, terminated: bool, truncated: bool, s_t: NDArray[Any]
    ) -> bool:
        self.remember(s_tm1, a_tm1, r_t, terminated, truncated, s_t)
        self.steps += 1
        self.due |= self.steps % self.schedule.target_update_interval == 0
        if self.steps <= self.schedule.learning_starts or self.steps % self.schedule.train_freq:
            return False
        if self.target is None or (self.due and self.options.target_update_rate == 1):
            self.target = self.weights
            self.copied_at.append(self.steps)
        self.due = False
        self.learn()
        return True

    def remember(
        self, s_tm1: NDArray[Any], a_tm1: int, r_t: float, terminated: bool, truncated: bool, s_t: NDArray[Any]
    ) -> None:
        self.episode.append((s_tm1, a_tm1, r_t))
        length, n = len(self.episode), self.options.n_step
        for start in range(max(0, length - n), length):
            if terminated or truncated or start == length - n:
                reward = sum(DISCOUNT**k * r for k, (_, _, r) in enumerate(self.episode[start:]))
                discount = 0 if terminated else DISCOUNT ** (length - start)
                self.priorities[len(self.memory) % CAPACITY] = self.largest
                self.memory.append((*self.episode[start][:2], reward, discount, s_t))
        if terminated or truncated:
            self.episode = []

    def draw(self, shape: tuple[int, ...]) -> tuple[Any, NDArray[Any]] | tuple[Any, Any]:
        """Slots of the ring, and importance weights: [K, B]."""
        held = min(len(self.memory), CAPACITY)
        if not self.options.prioritized:
            return (len(self.memory) - held + self.rng.integers(held, size=shape)) % CAPACITY, np.ones(shape)
        laid_out = np.cumsum(self.priorities)
        mass = (np.arange(shape[1]) + self.rng.random(shape)) / shape[1] * laid_out[-1]
        slots = np.searchsorted(laid_out, mass, side="right")
        beta = 0.4 + 0.6 * min(1, self.drawn / 100)
        self.drawn += shape[0]
        weights = (held * self.priorities[slots] / self.priorities.sum()) ** -beta
        return slots, weights / weights.max(axis=1, keepdims=True)

    def learn(self) -> None:
        slots, importance = self.draw((self.schedule.gradient_steps, self.schedule.batch_size))
        held = self.memory[-CAPACITY:]
        ring = {(len(self.memory) - len(held) + i) % CAPACITY: transition for i, transition in enumerate(held)}
        self.losses, errors = [], []
        for of_batch, weights in zip(slots, importance, strict=True):
            s_tm1, a_tm1, r_t, discount_t, s_t = (np.array(f) for f in zip(*(ring[slot] for slot in of_batch), strict=True))
            targets = self.targets(r_t, discount_t, s_t)
            losses, error = self.errors(self.weights, s_tm1, a_tm1, targets)
            self.losses.append(np.mean(weights * losses))
            errors.append(error)
            self.descend(lambda w: np.mean(weights * self.errors(w, s_tm1, a_tm1, targets)[0]))  # noqa: B023
            rate = self.options.target_update_rate
            if rate < 1:
                self.target = {name: (1 - rate) * array + rate * self.weights[name] for name, array in self.target.items()}
        if self.options.prioritized:
            for slot, error in zip(slots.ravel(), np.ravel(errors), strict=True):
                self.priorities[slot] = (error + 1e-6) ** 0.6
                self.largest = max(self.largest, self.priorities[slot])

    def targets(self, r_t: NDArray[Any], discount_t: NDArray[Any], s_t: NDArray[Any]) -> Any:
        of_target, of_online = self.q(self.target, s_t), self.q(self.weights, s_t)  # [B, A, N]
        by_target, by_online = of_target.mean(axis=2).argmax(axis=1), of_online.mean(axis=2).argmax(axis=1)  # [B]
        self.disagreements += (by_target != by_online).sum()
        chosen = by_online if self.options.double else by_target
        return r_t[:, None] + discount_t[:, None] * of_target[np.arange(len(chosen)), chosen]  # [B, N]

    def errors(self, weights: Any, s_tm1: NDArray[Any], a_tm1: NDArray[Any], targets: Any) -> tuple[Any, Any]:
        predicted = self.q(weights, s_tm1)[np.arange(len(a_tm1)), a_tm1]  # [B, N]
        error = predicted.mean(axis=1) - targets.mean(axis=1)  # [B]
        n = self.options.quantiles
        if not n:
            return error**2 / 2 if self.options.square else huber(error), abs(error)
        each = targets[:, None, :] - predicted[:, :, None]  # [B, N, N']
        asymmetry = abs((np.arange(n)[:, None] + 0.5) / n - (each < 0))
        return (asymmetry * huber(each)).mean(axis=2).sum(axis=1), abs(error)

    def descend(self, loss: Any) -> None:
        step, weights = 1e-6, self.weights
        gradient = {}
        for name, array in weights.items():
            gradient[name] = np.zeros_like(array)
            for i in np.ndindex(array.shape):
                nudge = np.zeros_like(array)
                nudge[i] = step
                up, down = (loss({**weights, name: array + sign * nudge}) for sign in (1, -1))
                gradient[name][i] = (up - down) / (2 * step)
        self.weights = {name: array - RATE * gradient[name] for name, array in weights.items()}


def assert_same_weights(network: Any, by_hand: Any) -> None:
    for variable in network.weights:
        np.testing.assert_allclose(variable, by_hand[variable.name], rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("name", FAMILY)
def test_it_is_q_learning_written_by_hand(name: str) -> None:
    options = FAMILY[name]
    agent = small_agent(options, SCHEDULE)
    by_hand = HandWritten(agent.network, options, SCHEDULE)
    learned, targets = 0, []
    for transition in experience(140, scale=2):
        agent.observe(Step(*transition))
        if by_hand.observe(*transition):
            learned += 1
            assert_same_weights(agent.network, by_hand.weights)
            assert_same_weights(agent._target_network, by_hand.target)
            assert agent.last_loss == pytest.approx(np.mean(by_hand.losses), rel=1e-4)
            # Acting follows the network.
            assert agent.act(transition[0]) == by_hand.q(by_hand.weights, transition[0][None]).mean(axis=2).argmax()
            if options.prioritized:
                priorities = agent._replay.sampler.state()[0]["priorities"][:CAPACITY]
                np.testing.assert_allclose(priorities, by_hand.priorities, rtol=1e-3, atol=1e-4)
        targets.append(b"".join(w.tobytes() for w in agent._target_network.get_weights()))
    assert agent.gradient_steps == 3 * learned == 3 * 33  # multiples of 4 after step 10
    assert by_hand.disagreements > 20  # or the two targets would be the same
    changed_at = [i + 1 for i in range(1, 140) if targets[i] != targets[i - 1]]
    if options.target_update_rate == 1:
        # At first, then due at 14, 28, 42, ...; done at the next time of learning, 16, 28, 44, ...
        assert by_hand.copied_at == [12, 16, 28, 44, 56, 72, 84, 100, 112, 128, 140]
        assert changed_at == by_hand.copied_at
    else:
        assert changed_at == list(range(12, 141, 4))


def flat(weights: Any) -> NDArray[Any]:
    return np.concatenate([w.ravel() for w in weights])


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_the_average_is_a_running_one_with_a_short_memory_at_first_and_always_a_copy(averaging: float) -> None:
    agent = small_agent(schedule=SCHEDULE, averaging=averaging)
    average, learned, steps = flat(agent.network.get_weights()), 0, 0
    for transition in experience(400):
        agent.observe(Step(*transition))
        if agent.gradient_steps > steps:
            steps, learned = agent.gradient_steps, learned + 1
            keep = min(averaging, learned / (learned + 5))
            average = keep * average + (1 - keep) * flat(agent.network.get_weights())
        found = agent.averaged_weights()
        np.testing.assert_allclose(flat(found), average, rtol=1e-4, atol=1e-5)
        for weights in found:
            weights += 1
    assert learned > 50
    observations = np.random.default_rng(0).normal(size=(5, FEATURES)).astype(np.float32)
    policy = agent.policy(agent.averaged_weights())
    assert isinstance(policy, NumpyNetwork)
    agent.network.set_weights(agent.averaged_weights())
    np.testing.assert_allclose(policy.q_values(observations), agent.network(observations), rtol=1e-5, atol=1e-6)


def test_a_terminal_state_has_no_future_a_truncated_one_keeps_its_discount() -> None:
    agent = small_agent()
    nowhere = np.zeros(FEATURES)
    for ending in range(3):
        for _ in range(10):
            agent.observe(Step(nowhere, ending, 0.0, ending == 1, ending == 2, nowhere))
    sample, _ = agent._replay.sample(1, 500)
    np.testing.assert_array_equal(sample.discount_t, np.where(sample.a_tm1 == 1, np.float32(0), np.float32(0.9)))
    assert agent.env_steps == 30


def test_nothing_is_learned_too_early() -> None:
    agent = small_agent(
        schedule=LearningSchedule(learning_starts=20, train_freq=5, gradient_steps=2, batch_size=4, target_update_interval=1)
    )
    for i, transition in enumerate(experience(30), 1):
        agent.observe(Step(*transition))
        assert agent.gradient_steps == (0 if i < 25 else 2 if i < 30 else 4)
        assert np.isnan(agent.last_loss) == (i < 25)


def test_learning_waits_for_the_first_whole_transition() -> None:
    agent = small_agent(
        Options(n_step=3),
        LearningSchedule(learning_starts=0, train_freq=1, gradient_steps=1, batch_size=4, target_update_interval=1),
    )
    for s_tm1, a_tm1, r_t, _, _, s_t in experience(3):
        agent.observe(Step(s_tm1, a_tm1, r_t, False, False, s_t))
    assert agent.gradient_steps == 1


class Noise(gymnasium.Env):
    """Random observations, and episodes of random lengths."""

    action_space = gymnasium.spaces.Discrete(3)

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.observation_space = gymnasium.spaces.Box(0, 1 if dtype == "bool" else 200, shape, dtype, seed=4)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        over, cut = self.np_random.random(2) < 0.05
        return self.observation_space.sample(), 0.0, bool(over), bool(cut), {}


@pytest.mark.parametrize(
    ("shape", "dtype", "changed"),
    [
        ((3,), "float32", {}),
        ((3,), "float32", {"frame_stack": 3}),
        ((5, 4, 2), "uint8", {"frame_stack": 2, "network": "minatar"}),
        ((5, 4), "uint8", {"frame_stack": 3, "network": "minatar"}),
        ((5, 4), "bool", {"network": "minatar"}),
        ((5, 4), "uint8", {"frame_stack": 3, "network": "mlp"}),
        ((5, 4, 2), "int64", {"frame_stack": 2, "network": "mlp"}),
    ],
)
def test_what_is_remembered_is_what_the_network_saw(shape: tuple[int, ...], dtype: str, changed: dict[str, Any]) -> None:
    env = Noise(shape, dtype)
    config = TrainingConfig(hidden=(4,), n_step=1, **changed)
    spec = spec_of(env, "Noise", frame_stack=config.frame_stack, flatten=config.network == "mlp")
    agent = build_dqn(spec, config, rng=np.random.default_rng(0))
    seen = set()
    for step in itertools.islice(
        interact(env=agent_view(env, spec), env_id="Noise", agent=agent, reset_seeds=itertools.count()), 90
    ):
        agent.observe(step)
        seen.add((step.s_tm1.tobytes(), step.a_tm1, step.s_t.tobytes()))
        assert step.s_t.shape == spec.input_shape
    sample, _ = agent._replay.sample(1, 900)
    assert sample.s_t.dtype == dtype
    assert {
        (s.tobytes(), a, s_t.tobytes()) for s, a, s_t in zip(sample.s_tm1[0], sample.a_tm1[0], sample.s_t[0], strict=True)
    } == seen


QUICK = TrainingConfig(
    steps=3_000,
    hidden=(32,),
    learning_rate=5e-3,
    batch_size=32,
    buffer_size=1_000,
    learning_starts=100,
    discount=0.9,
    double=False,
    n_step=1,
    target_update_interval=50,
    train_freq=10,
    gradient_steps=10,
    exploration_fraction=0.1,
    exploration_final=0.3,
    averaging_steps=300,
)


def corridor_values(n_step: int, epsilon: float) -> Any:
    """The fixed point of n-step Q-learning in the corridor, discount 0.9, where the greedy action is right.

    Of several steps, the exploring actions in between belong to another policy than the greedy one, and so do the values; of
    one step they are the best there are.
    """
    values = np.zeros((5, 2))

    def after(cell: Any, action: int, steps: int) -> Any:
        if cell == 4 and action == 1:
            return 1.0
        cell = min(cell + 1, 4) if action else max(cell - 1, 0)
        if not steps:
            return 0.9 * values[cell].max()
        return 0.9 * (epsilon / 2 * after(cell, 0, steps - 1) + (1 - epsilon / 2) * after(cell, 1, steps - 1))

    for _ in range(200):
        values = np.array([[after(cell, action, n_step - 1) for action in (0, 1)] for cell in range(5)])
    return values


def test_the_values_the_tests_below_expect() -> None:
    right = [0.9 ** (4 - i) for i in range(5)]
    left = [0.9 * right[max(i - 1, 0)] for i in range(5)]
    np.testing.assert_allclose(corridor_values(1, 0.3), np.stack([left, right], axis=1))
    assert (corridor_values(3, 0.0)[:, 1] == pytest.approx(right)) and (corridor_values(3, 0.3) < corridor_values(1, 0.3))[
        :4
    ].all()


ALL = {
    "double": True,
    "dueling": True,
    "n_step": 3,
    "prioritized": True,
    "quantiles": 8,
    "target_update_rate": 0.05,
    "num_envs": 4,
}


def learned_values(env: gymnasium.Env[Any, Any], config: Any, envs: Any = None) -> list[Any]:
    """Trains; returns the values [S, A] of the one-hot states, by the last weights and by the average."""
    spec = spec_of(env, "My-v0")
    agent = build_dqn(spec, config, rng=np.random.default_rng(0))
    play = (
        interact(env=env, env_id="My-v0", agent=agent, reset_seeds=itertools.count())
        if envs is None
        else interact_with_all(envs=envs, env_id="My-v0", agent=agent, reset_seeds=itertools.count())
    )
    for step in itertools.islice(play, config.steps):
        agent.observe(step)
    states = np.eye(*spec.input_shape, dtype=np.float32)
    policies = [agent.policy(weights) for weights in (agent.network.get_weights(), agent.averaged_weights())]
    return [policy.q_values(states) for policy in policies if isinstance(policy, NumpyNetwork)]


@pytest.mark.parametrize(
    ("settings", "tolerance"),
    [
        ({}, 1e-3),
        ({"double": True}, 1e-3),
        ({"dueling": True}, 1e-3),
        ({"prioritized": True}, 1e-3),
        ({"quantiles": 8}, 1e-2),
        ({"target_update_rate": 0.05}, 1e-3),
        ({"loss": "mse"}, 1e-3),
        ({"num_envs": 4}, 1e-3),
        ({"n_step": 3, "averaging_steps": 1_000}, 0.04),
        (ALL | {"averaging_steps": 1_000}, 0.05),
    ],
    ids=str,
)
def test_it_finds_the_values_of_a_corridor(
    corridor: gymnasium.Env[Any, Any], corridor_id: str, settings: Any, tolerance: float
) -> None:
    config = replace(QUICK, **settings)
    with closing(make_vector(spec_of(corridor, corridor_id), num_envs=config.num_envs)) as envs:
        last, average = learned_values(corridor, config, envs if config.num_envs > 1 else None)
    expected = corridor_values(config.n_step, config.exploration_final)
    np.testing.assert_allclose(average, expected, rtol=0, atol=tolerance)
    np.testing.assert_allclose(last, expected, rtol=0, atol=3 * tolerance)  # they jump about
    assert average.argmax(axis=1).tolist() == [1] * 5


@pytest.mark.parametrize(
    ("limit", "n_step", "terminates", "expected"),
    [
        (1, 1, True, 1.0),
        (1, 1, False, 10.0),
        # Of the last two states, which look alike, one is worth 1 and the other 1.9.
        (2, 3, True, 1.45),
        (2, 3, False, 10.0),
    ],
)
def test_a_truncated_episode_bootstraps_and_a_terminated_one_does_not(
    make_treadmill: Callable[[bool, int], gymnasium.Env[Any, Any]], limit: int, n_step: int, terminates: bool, expected: float
) -> None:
    config = replace(QUICK, steps=1_500, hidden=(8,), loss="mse", n_step=n_step, target_update_rate=0.1)
    for values in learned_values(make_treadmill(terminates, limit), config):
        np.testing.assert_allclose(values, [[expected] * 2], rtol=0.1)


def test_a_diverged_loss_stops_with_the_step() -> None:
    agent = small_agent(Options(square=True), SCHEDULE)
    with pytest.raises(
        DivergedError, match=r"^Learning diverged at environment step 12\. The loss became (inf|nan) at gradient step 1 "
    ):
        for s_tm1, a_tm1, _, terminated, truncated, s_t in experience(40):
            agent.observe(Step(s_tm1, a_tm1, 3e38, terminated, truncated, s_t))


@pytest.mark.parametrize("settings", [{}, {"quantiles": 8, "dueling": True, "prioritized": True}], ids=str)
def test_exploding_values_are_caught_within_one_call(corridor: gymnasium.Env[Any, Any], settings: dict[str, Any]) -> None:
    config = replace(QUICK, hidden=(64, 64), learning_rate=10.0, max_gradient_norm=1e9, **settings)
    agent = build_dqn(spec_of(corridor, "Corridor"), config, rng=np.random.default_rng(0))
    message = (
        r"^Values exploded at environment step 110: rewards of at most 1 allow values of 10\. Got an error of .*learning rate"
    )
    with pytest.raises(DivergedError, match=message):
        for step in itertools.islice(
            interact(env=corridor, env_id="Corridor", agent=agent, reset_seeds=itertools.count()), 500
        ):
            agent.observe(step)
    assert agent.gradient_steps == 0  # none that was let pass


def test_large_observations_are_not_taken_for_it(corridor: gymnasium.Env[Any, Any]) -> None:
    """The initial values of a network are as large as its observations, and nothing may have been paid yet."""
    far: gymnasium.Env[Any, Any] = gymnasium.wrappers.TransformObservation(
        corridor, lambda o: 1_000 * o, gymnasium.spaces.Box(0, 1_000, (5,), np.float32)
    )
    far = gymnasium.wrappers.TransformReward(far, lambda r: 0.0)
    agent = build_dqn(spec_of(far, "Far"), replace(QUICK, learning_rate=1e-4), rng=np.random.default_rng(0))
    for step in itertools.islice(interact(env=far, env_id="Far", agent=agent, reset_seeds=itertools.count()), 500):
        agent.observe(step)
    assert agent.gradient_steps == 400


@pytest.mark.parametrize("name", ["plain", "all"])
def test_it_goes_on_where_its_state_was_taken(tmp_path: Path, name: str) -> None:
    options = FAMILY[name]
    agent, again = small_agent(options, SCHEDULE, 0.3, 0.9), small_agent(options, SCHEDULE, 0.3, 0.9, seed=9)
    for transition in experience(123, scale=2):
        agent.observe(Step(*transition))
    agent.cut_episodes()
    checkpoints = Checkpoints(tmp_path, {})
    checkpoints.save(agent.env_steps, agent.state())
    newest = checkpoints.newest()
    assert newest is not None
    again.restore(*newest)
    numbers = {name: value for name, value in vars(agent).items() if isinstance(value, int | float)}
    assert numbers == {name: getattr(again, name) for name in numbers}
    observations = np.random.default_rng(0).normal(size=(100, FEATURES)).astype(np.float32)
    np.testing.assert_array_equal(again.act_in_all(observations), agent.act_in_all(observations))
    for transition in experience(150, scale=2, seed=4):
        agent.observe(Step(*transition))
        again.observe(Step(*transition))
        assert again.act(transition[-1]) == agent.act(transition[-1])
        assert (again.env_steps, again.gradient_steps, again.epsilon) == (agent.env_steps, agent.gradient_steps, agent.epsilon)
        np.testing.assert_equal(again.last_loss, agent.last_loss)
    assert agent.env_steps == 273
    assert agent.gradient_steps == 3 * 66
    for one, other in ((again.network, agent.network), (again._target_network, agent._target_network)):
        np.testing.assert_array_equal(flat(one.get_weights()), flat(other.get_weights()))
    np.testing.assert_array_equal(flat(again.averaged_weights()), flat(agent.averaged_weights()))
    again.cut_episodes()
    agent.cut_episodes()
    for ours, theirs in zip(again.state(), agent.state(), strict=True):
        np.testing.assert_equal(ours, theirs)


def test_with_overlap_it_learns_the_same_and_acts_by_the_update_before() -> None:
    """What is learned does not depend on who played: here the experience is given."""
    options = replace(FAMILY["all"], prioritized=False)  # new ones count as the worst known by then
    agent, beside = small_agent(options, SCHEDULE, 0, 0.9), small_agent(options, SCHEDULE, 0, 0.9, overlap=True)
    observations = np.random.default_rng(0).normal(size=(300, FEATURES)).astype(np.float32)
    behind = agent.act_in_all(observations)
    differed = 0
    for transition in experience(120, scale=2):
        before = agent.act_in_all(observations)
        agent.observe(Step(*transition))
        beside.observe(Step(*transition))
        if agent.env_steps > SCHEDULE.learning_starts and agent.env_steps % SCHEDULE.train_freq == 0:
            behind = before
        np.testing.assert_array_equal(beside.act_in_all(observations), behind)
        differed += bool((agent.act_in_all(observations) != behind).any())
    assert differed > 50 and agent.gradient_steps == beside.gradient_steps + SCHEDULE.gradient_steps
    agent.cut_episodes()
    beside.cut_episodes()
    np.testing.assert_equal(beside.state()[0], agent.state()[0])


def test_with_overlap_a_diverged_loss_stops_it_at_the_next_update() -> None:
    agent = small_agent(Options(), SCHEDULE, overlap=True)
    with pytest.raises(DivergedError, match=r"^Learning diverged at environment step 16\. The loss became"):
        for transition in experience(40, scale=1e38):
            agent.observe(Step(*transition))


def test_the_optimizers_moments_and_its_falling_rate_go_on_too(corridor: gymnasium.Env[Any, Any], tmp_path: Path) -> None:
    config = replace(QUICK, steps=400, learning_rate_decay=0.9)
    spec = spec_of(corridor, "Corridor")
    agent, again = (build_dqn(spec, config, rng=np.random.default_rng(seed)) for seed in (0, 1))
    steps = list(itertools.islice(interact(env=corridor, env_id="Corridor", agent=agent, reset_seeds=itertools.count()), 400))
    assert agent.learning_rate == pytest.approx(5e-3)
    for step in steps[:200]:
        agent.observe(step)
    assert agent.learning_rate == pytest.approx(5e-3 * (1 - 0.9 * 99 / 300))
    agent.cut_episodes()
    checkpoints = Checkpoints(tmp_path, asdict(config))
    checkpoints.save(200, agent.state())
    newest = checkpoints.newest()
    assert newest is not None
    again.restore(*newest)
    assert again.learning_rate == agent.learning_rate
    for step in steps[200:]:
        agent.observe(step)
        again.observe(step)
    assert again.learning_rate == agent.learning_rate == pytest.approx(5e-3 * (1 - 0.9 * 299 / 300))
    np.testing.assert_array_equal(flat(again.network.get_weights()), flat(agent.network.get_weights()))


def test_a_state_is_json_beside_its_arrays_and_none_is_taken_within_an_episode() -> None:
    agent = small_agent(FAMILY["all"])
    for transition in experience(20):
        agent.observe(Step(*transition))
    agent.observe(Step(np.ones(FEATURES), 0, 0.0, False, False, np.ones(FEATURES)))
    with pytest.raises(AssertionError, match="episodes are cut"):
        agent.state()
    agent.cut_episodes()
    arrays, values = agent.state()
    np.testing.assert_equal(json.loads(json.dumps(values)), values)
    assert not any(array.dtype == object for array in arrays.values())


def test_a_cut_episode_is_remembered_as_truncated() -> None:
    agent = small_agent(Options(n_step=3))
    for lane in (0, 1):
        for i in range(2):
            agent.observe(Step(np.ones(FEATURES), i, 1.0, False, False, np.ones(FEATURES), lane))
    assert len(agent._replay) == 0
    agent.cut_episodes()
    sample, _ = agent._replay.sample(1, 100)
    found = set(zip(sample.a_tm1[0].tolist(), sample.r_t[0].tolist(), sample.discount_t[0].tolist(), strict=True))
    assert found == {(0, np.float32(1.9), np.float32(0.81)), (1, 1.0, np.float32(0.9))}
    assert len(agent._replay) == 4


def test_lanes_do_not_mix() -> None:
    agent = small_agent(Options(n_step=2))
    for i in range(12):
        for lane in (2, 0, 1):
            s_tm1, s_t = (np.full(FEATURES, 100 * lane + j) for j in (i, i + 1))
            agent.observe(Step(s_tm1, lane, float(lane), False, i == 7, s_t, lane))
    sample, _ = agent._replay.sample(1, 400)
    np.testing.assert_array_equal(sample.s_tm1[..., 0] // 100, sample.a_tm1)
    np.testing.assert_array_equal(sample.s_t[..., 0] // 100, sample.a_tm1)
    np.testing.assert_array_equal(
        sample.r_t, sample.a_tm1 * np.float32(1.9) - (sample.discount_t == np.float32(0.9)) * sample.a_tm1 * np.float32(0.9)
    )


def test_epsilon_counts_environment_steps_and_is_the_share_of_random_actions() -> None:
    agent = small_agent(epsilon=0.4)
    observation = np.ones(FEATURES, np.float32)
    greedy = int(np.argmax(agent.network(observation[None])[0]))
    one_by_one = [agent.act(observation) for _ in range(4_000)]
    side_by_side = np.concatenate([agent.act_in_all(np.stack([observation] * 40)) for _ in range(100)])
    for actions in (one_by_one, side_by_side):
        counts = np.bincount(actions, minlength=ACTIONS)
        # A random action may be the greedy one. 100 is four standard deviations.
        assert counts[greedy] == pytest.approx(4_000 * (0.6 + 0.1), abs=120)
        assert np.delete(counts, greedy) == pytest.approx([400] * 3, abs=80)
    assert agent.epsilon == 0.4
    agent._exploration.epsilon = LinearDecay(1.0, 0.0, 10)
    for transition in experience(4):
        agent.observe(Step(*transition))
    assert agent.epsilon == pytest.approx(0.6)


def test_several_are_acted_in_as_each_is() -> None:
    agent = small_agent()
    observations = np.random.default_rng(0).normal(size=(30, FEATURES)).astype(np.float32)
    assert agent.act_in_all(observations).tolist() == [agent.act(observation) for observation in observations]


TRAIN_TWICE = """
import hashlib, sys
import numpy as np
import tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
from edgedqn.agents.training.build import build_dqn
from edgedqn.agents.playing.environments import make_environment
from edgedqn.agents.playing.spec import spec_of
from edgedqn.agents.training.config import TrainingConfig
from edgedqn.agents.training.interaction import interact

def weights(seed):
    env = make_environment("CartPole-v1")
    config = TrainingConfig(steps=400, hidden=(32, 32), learning_starts=100, dueling=True, prioritized=True)
    agent = build_dqn(spec_of(env, "CartPole-v1"), config, rng=np.random.default_rng(seed))
    for step, _ in zip(interact(agent, iter(range(1000)), env=env, env_id="CartPole-v1"), range(400)):
        agent.observe(step)
    assert agent.gradient_steps > 200
    return hashlib.sha256(b"".join(w.tobytes() for w in [*agent.network.get_weights(), *agent.averaged_weights()])).hexdigest()

print(*map(weights, map(int, sys.argv[1:])))
"""


def test_the_same_seed_gives_the_same_weights_in_any_process() -> None:
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


@pytest.mark.parametrize("name", ["train_freq", "gradient_steps", "batch_size", "target_update_interval"])
def test_a_schedule_counts_from_one(name: str) -> None:
    counts = {"train_freq": 1, "gradient_steps": 1, "batch_size": 1, "target_update_interval": 1, name: 0}
    with pytest.raises(ValueError, match=rf"^Expected {name} of 1 or more\. Got {name}=0\.$"):
        LearningSchedule(learning_starts=0, **counts)


def test_the_episode_of_one_environment_is_cut() -> None:
    agent = small_agent(Options(n_step=3))
    for lane in (0, 1):
        for i in range(2):
            agent.observe(Step(np.ones(FEATURES), i, 1.0, False, False, np.ones(FEATURES), lane))
    agent.cut_episodes(1)
    assert len(agent._replay) == 2 and [*agent._episodes] == [0]
    agent.cut_episodes(1)  # there is none any more
    agent.observe(Step(np.zeros(FEATURES), 0, 1.0, False, False, np.ones(FEATURES), 1))  # begins another there
    agent.cut_episodes(1)
    sample, _ = agent._replay.sample(1, 100)
    assert len(agent._replay) == 3 and (sample.s_tm1[0] == 0).all(axis=-1).any()
