"""The run loop: a stream of steps, consumed by the learner, the log and the choice of the best checkpoint."""

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edgedqn.agents.dqn import DQN
from edgedqn.agents.environments import check_transition
from edgedqn.agents.evaluation import EpsilonGreedy, Policy, evaluate
from edgedqn.agents.numpy_network import NumpyMlp


class Step(NamedTuple):
    """One step of the environment; `episode_return` is None until the step that ends the episode."""

    s_tm1: NDArray[np.generic]  # [F]
    a_tm1: int
    r_t: float
    terminated: bool
    truncated: bool
    s_t: NDArray[np.generic]  # [F]
    episode_return: float | None


class Checkpoint(NamedTuple):
    """Weights as `network.get_weights()` gives them, and the mean greedy return they were seen to score."""

    env_steps: int
    mean_return: float
    weights: list[NDArray[np.float32]]


class EpisodeRecord(NamedTuple):
    """A finished training episode: a line of `training.csv`. `loss` is the mean of the last time of learning."""

    env_steps: int
    episode_return: float
    epsilon: float
    loss: float


@dataclass(frozen=True)
class TrainingReport:
    """What happened: each finished episode, each evaluation, the checkpoint taken, and the time it all took."""

    episodes: tuple[EpisodeRecord, ...]
    evaluations: tuple[tuple[int, float], ...]  # (env_steps, mean greedy return)
    best: Checkpoint
    gradient_steps: int
    seconds: float


def interact(
    env: gymnasium.Env[Any, Any], env_id: str, act: Callable[[NDArray[Any]], int], reset_seeds: Iterator[int]
) -> Iterator[Step]:
    """Plays for ever, episode after episode, each reset with the next seed.

    Raises:
      BadTransitionError: the environment gave a NaN or an infinity; the message has the step.
    """
    env_steps = 0
    for seed in reset_seeds:
        observation, _ = env.reset(seed=seed)
        s_tm1 = np.array(observation)  # a copy, here and below: some environments go on writing to the array they gave
        check_transition(env_id, env_steps, s_tm1, 0.0)
        episode_return, over = 0.0, False
        while not over:
            a_tm1 = act(s_tm1)
            observation, reward, terminated, truncated, _ = env.step(a_tm1)
            env_steps += 1
            s_t, r_t = np.array(observation), float(reward)
            check_transition(env_id, env_steps, s_t, r_t)
            episode_return += r_t
            over = terminated or truncated
            yield Step(s_tm1, a_tm1, r_t, terminated, truncated, s_t, episode_return if over else None)
            s_tm1 = s_t


@dataclass
class CheckpointSelection:
    """Scores the greedy policy from time to time and keeps the best weights.

    A DQN's last weights are rarely its best. One short evaluation is noisy, and the best of many noisy scores flatters; so
    the finalists are played again, ten times as long. Of those that then score alike, within 0.2 %, the one is taken that
    loses least when a tenth of its actions are random: a policy that lives on the brink scores as well as any, until the
    first rounding error.

    Attributes:
      env: its own, so that the training environment is left in peace.
      seeds: n -> the first n reset seeds of `select`.
      episodes: per evaluation.
      finalists: how many checkpoints are kept.
      seed: of the random actions, the same for each finalist.
      on_best: called with each checkpoint that is the best so far, before training goes on.
    """

    env: gymnasium.Env[Any, Any]
    seeds: Callable[[int], list[int]]
    episodes: int
    finalists: int
    seed: int
    on_best: Callable[[Checkpoint], None] = lambda checkpoint: None
    scores: list[tuple[int, float]] = field(default_factory=list)
    kept: list[Checkpoint] = field(default_factory=list)

    def consider(self, agent: DQN) -> None:
        """Plays the greedy policy and keeps its weights if they are among the best."""
        weights = agent.averaged_weights()
        mean = self._score(NumpyMlp(weights), self.episodes)
        self.scores.append((agent.env_steps, mean))
        checkpoint = Checkpoint(agent.env_steps, mean, weights)
        if all(mean > other.mean_return for other in self.kept):
            self.on_best(checkpoint)
        # Among equals the later one is kept: it has seen more.
        self.kept = sorted([*self.kept, checkpoint], key=lambda c: (c.mean_return, c.env_steps))[-self.finalists :]

    def best(self) -> Checkpoint:
        """Plays the finalists again, ten times as long, and returns the best of them."""
        episodes = 10 * self.episodes
        finalists = tqdm(self.kept, desc="choose a checkpoint", disable=None, leave=False)
        final = [c._replace(mean_return=self._score(NumpyMlp(c.weights), episodes)) for c in finalists]
        top = max(c.mean_return for c in final)
        alike = [c for c in final if c.mean_return >= top - 0.002 * abs(top)]
        if len(alike) == 1:
            return alike[0]
        robust = [self._score(self._distracted(c), episodes) for c in tqdm(alike, desc="try them", disable=None, leave=False)]
        return max(zip(robust, alike, strict=True), key=lambda pair: (pair[0], pair[1].env_steps))[1]

    def _distracted(self, checkpoint: Checkpoint) -> Policy:
        n_actions = len(checkpoint.weights[-1])
        return EpsilonGreedy(NumpyMlp(checkpoint.weights), 0.1, n_actions, np.random.default_rng(self.seed))

    def _score(self, policy: Policy, episodes: int) -> float:
        return evaluate(policy, self.env, self.seeds(episodes)).interval.mean


def train(
    agent: DQN,
    env: gymnasium.Env[Any, Any],
    env_id: str,
    steps: int,
    reset_seeds: Iterator[int],
    selection: CheckpointSelection,
    evaluation_interval: int,
) -> TrainingReport:
    """Trains `agent` for `steps` environment steps and leaves its network with the best checkpoint's weights.

    A progress bar on stderr shows episode return, epsilon, steps/s and the time left; it is silent where stderr is no
    terminal.

    Args:
      agent: not trained before.
      env: played with exploration.
      env_id: for messages.
      steps: environment steps, >= 1.
      reset_seeds: of the training episodes, endless.
      selection: scores checkpoints every `evaluation_interval` steps and at the end.
      evaluation_interval: in environment steps.
    Raises:
      BadTransitionError: the environment gave a NaN or an infinity.
      NonFiniteLossError: the loss became NaN or infinite. What `selection` kept before stays with its `on_best`.
    """
    started = time.monotonic()
    episodes: list[EpisodeRecord] = []
    stream = itertools.islice(interact(env, env_id, agent.act, reset_seeds), steps)
    with tqdm(total=steps, desc=f"train {env_id}", unit=" steps", disable=None, mininterval=0.5) as bar:
        for step in stream:
            agent.observe(*step[:-1])
            if step.episode_return is not None:
                episodes.append(EpisodeRecord(agent.env_steps, step.episode_return, agent.epsilon, agent.last_loss))
                bar.set_postfix(
                    {"return": f"{np.mean([e.episode_return for e in episodes[-20:]]):.1f}", "epsilon": f"{agent.epsilon:.2f}"},
                    refresh=False,
                )
            bar.update()
            if agent.env_steps % evaluation_interval == 0 and agent.gradient_steps > 0:
                selection.consider(agent)
        if not selection.scores or selection.scores[-1][0] != agent.env_steps:
            selection.consider(agent)
    best = selection.best()
    agent.network.set_weights(best.weights)
    return TrainingReport(tuple(episodes), tuple(selection.scores), best, agent.gradient_steps, time.monotonic() - started)
