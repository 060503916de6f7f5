"""Play any policy on a list of reset seeds, and say what it scores."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium
import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.playing.environments import check_transition
from edgedqn.agents.playing.legal import legal_actions
from edgedqn.agents.playing.statistics import Interval, bootstrap_interval
from edgedqn.agents.training.bars import tqdm


class Policy(Protocol):
    """Chooses an action for one observation: the float network, a `.tflite` behind `EdgePolicy`, or any function."""

    def __call__(self, observation: NDArray[Any], /) -> int:
        """[F] -> an action, 0 .. n_actions - 1. Where the environment says which are legal, they are a second one, [A]."""


def choose(policy: Policy, observation: NDArray[Any], info: Mapping[str, object]) -> int:
    """The policy's action for an observation; it is told which are legal where the environment has that in `info`."""
    legal = legal_actions(info)
    return policy(observation) if legal is None else policy(observation, legal)  # type: ignore[call-arg]


@dataclass(frozen=True)
class Evaluation:
    """What a policy scored, episode by episode."""

    returns: tuple[float, ...]  # [N], undiscounted, in reward units
    seeds: tuple[int, ...]  # [N], the reset seed of each episode
    env_steps: int  # over all episodes

    @property
    def interval(self) -> Interval:
        """The mean return and its 95 % bootstrap interval, in reward units."""
        return bootstrap_interval(self.returns)


def evaluate(policy: Policy, env: gymnasium.Env[Any, Any], *, seeds: Iterable[int]) -> Evaluation:
    """Plays one episode per reset seed.

    Args:
      policy: asked once per step. Its `reset()`, where it has one, is called before each episode.
      env: reset with each seed in turn; left open.
      seeds: [N], N >= 1, each a gymnasium reset seed. May be a progress bar over them.
    Returns:
      The returns in the order of the seeds. The same seeds give the same returns.
    Raises:
      BadTransitionError: the environment gave a NaN or an infinity.
      ValueError: no seeds.
    """
    name = env.spec.id if env.spec is not None else type(env.unwrapped).__name__
    returns, played, env_steps = [], [], 0
    for seed in seeds:
        episode = f"{name}, in the episode of reset seed {seed},"
        observation, info = env.reset(seed=seed)
        check_transition(episode, 0, observation=observation, reward=0.0)
        getattr(policy, "reset", lambda: None)()
        total, length, over = 0.0, 0, False
        while not over:
            observation, reward, terminated, truncated, info = env.step(choose(policy, observation, info))
            length += 1
            check_transition(episode, length, observation=observation, reward=float(reward))
            total += float(reward)
            over = terminated or truncated
        returns.append(total)
        played.append(seed)
        env_steps += length
    if not returns:
        raise ValueError("Expected at least one reset seed. Got none.")
    return Evaluation(tuple(returns), tuple(played), env_steps)


def gather_observations(
    policy: Policy, env: gymnasium.Env[Any, Any], *, reset_seeds: Iterator[int], count: int
) -> NDArray[Any]:
    """The first N = `count` >= 1 observations a policy acts on, in the order it meets them; the last episode is cut there.

    Returns:
      [N, *observation_shape] in the environment's dtype; float64 as float32.
    Raises:
      BadTransitionError: the environment gave a NaN or an infinity.
    """
    visited = itertools.islice(visit(policy, env, reset_seeds=reset_seeds), count)
    return np.stack(list(tqdm(visited, "gather states", count, unit=" states", disable=None, leave=False)))


def gather_from_episodes(
    policy: Policy, env: gymnasium.Env[Any, Any], *, reset_seeds: Iterable[int], most: int, rng: np.random.Generator
) -> NDArray[Any]:
    """Observations that a policy acts on in whole episodes, one per reset seed: of each at most `most` >= 1, drawn at random.

    Returns:
      [N, *observation_shape] as `gather_observations`.
    Raises:
      BadTransitionError: the environment gave a NaN or an infinity.
    """
    gathered = []
    for seed in reset_seeds:
        episode = list(visit(policy, env, reset_seeds=[seed]))
        chosen = np.sort(rng.permutation(len(episode))[:most])
        gathered += [episode[i] for i in chosen]
    return np.stack(gathered)


def visit(policy: Policy, env: gymnasium.Env[Any, Any], *, reset_seeds: Iterable[int]) -> Iterator[NDArray[Any]]:
    """The observations that a policy acts on, one after another, in one episode per reset seed: [*observation_shape] in the
    environment's dtype; float64 as float32. Its `reset()`, where it has one, is called before each episode.

    Raises:
      BadTransitionError: the environment gave a NaN or an infinity.
    """
    name, step = env.spec.id if env.spec is not None else type(env.unwrapped).__name__, 0
    for seed in reset_seeds:
        observation, info = env.reset(seed=seed)
        getattr(policy, "reset", lambda: None)()
        over = False
        while not over:
            observation = np.asarray(observation)
            check_transition(name, step, observation=observation, reward=0.0)
            yield np.array(observation, np.float32 if observation.dtype.kind == "f" else None)
            observation, _, terminated, truncated, info = env.step(choose(policy, observation, info))
            step += 1
            over = terminated or truncated


class RandomPolicy:
    """Each action with the same probability: the floor a margin is measured from."""

    def __init__(self, n_actions: int, rng: np.random.Generator):
        self._n_actions = n_actions
        self._rng = rng

    def __call__(self, observation: NDArray[Any], legal: NDArray[np.bool_] | None = None, /) -> int:
        return int(self._rng.integers(self._n_actions) if legal is None else self._rng.choice(np.flatnonzero(legal)))


class EpsilonGreedy:
    """A policy that now and then does something at random: to explore, or to see how much an error costs."""

    def __init__(self, policy: Policy, epsilon: float, *, n_actions: int, rng: np.random.Generator):
        """Takes `epsilon`, the probability in [0, 1] that an action is drawn from all `n_actions` instead."""
        self._policy = policy
        self._epsilon = epsilon
        self._random = RandomPolicy(n_actions, rng)
        self._rng = rng

    def reset(self) -> None:
        """Begins an episode of the policy, where it asks for that."""
        getattr(self._policy, "reset", lambda: None)()

    def __call__(self, observation: NDArray[Any], *legal: NDArray[np.bool_]) -> int:
        policy = self._random if self._rng.random() < self._epsilon else self._policy
        return policy(observation, *legal)
