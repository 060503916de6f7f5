"""Agents and environments step by step: an endless stream of steps that the agent learns from."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import gymnasium
import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.files import Json
from edgedqn.agents.playing.environments import Vector, check_transition
from edgedqn.agents.playing.legal import legal_actions
from edgedqn.agents.training.checkpoints import State
from edgedqn.agents.training.selection import Scorable


class Step(NamedTuple):
    """One step of one environment: in s_tm1 the action a_tm1 was taken, which gave the reward r_t and the observation s_t."""

    s_tm1: NDArray[Any]  # [*observation_shape]
    a_tm1: int
    r_t: float
    terminated: bool  # s_t has no future
    truncated: bool  # the episode was cut off, and s_t would have had a future
    s_t: NDArray[Any]  # [*observation_shape]
    env_index: int = 0  # which of several environments side by side
    episode_return: float | None = None  # of the episode that ends with this step, undiscounted; None before
    episode_length: int = 0  # steps of the episode so far
    legal_t: NDArray[np.bool_] | None = None  # [A], of the actions in s_t, where the environment says so


class Acting(Protocol):
    """What is asked of who plays."""

    env_steps: int

    def act(self, observation: NDArray[Any], legal: NDArray[np.bool_] | None = None, /) -> int:
        """The next action of one environment, one of the `legal`, [A], where that is given."""

    def act_in_all(self, observations: NDArray[Any], /) -> NDArray[np.int64]:
        """The next actions of several environments."""


class Agent(Acting, Scorable, Protocol):
    """What the loop asks of an agent: `dqn.DQN` or `q_learning.QLearning`."""

    gradient_steps: int
    last_loss: float

    @property
    def epsilon(self) -> float:
        """The probability that the next action is random."""

    @property
    def learning_rate(self) -> float:
        """At this step."""

    @property
    def state_bytes(self) -> int:
        """About how large `state` becomes."""

    def observe(self, step: Step) -> None:
        """Remembers one step and learns when it is time."""

    def cut_episodes(self) -> None:
        """Ends the episodes in progress as if truncated."""

    def state(self) -> State:
        """All that decides the future."""

    def restore(self, arrays: Mapping[str, NDArray[Any]], values: Json) -> None:
        """Goes on where `state` was taken."""


Play = Callable[[Agent, Iterator[int]], Iterator[Step]]
"""An agent and the reset seeds of its episodes, endless -> an endless stream of steps."""


def interact(agent: Acting, reset_seeds: Iterator[int], *, env: gymnasium.Env[Any, Any], env_id: str) -> Iterator[Step]:
    """Plays for ever, episode after episode, each reset with the next seed.

    Raises:
      BadTransitionError: the environment gave a NaN or an infinity; the message has the step.
    """
    act = agent.act
    for seed in reset_seeds:
        observation, info = env.reset(seed=seed)
        legal = legal_actions(info)
        s_tm1 = np.array(observation)  # a copy, here and below: some environments go on writing to the array they gave
        check_transition(env_id, agent.env_steps, observation=s_tm1, reward=0.0)
        episode_return, length, over = 0.0, 0, False
        while not over:
            a_tm1 = act(s_tm1) if legal is None else act(s_tm1, legal)
            observation, reward, terminated, truncated, info = env.step(a_tm1)
            legal = legal_actions(info)
            s_t, r_t = np.array(observation), float(reward)
            check_transition(env_id, agent.env_steps + 1, observation=s_t, reward=r_t)
            episode_return += r_t
            length += 1
            over = terminated or truncated
            yield Step(
                s_tm1=s_tm1,
                a_tm1=a_tm1,
                r_t=r_t,
                terminated=terminated,
                truncated=truncated,
                s_t=s_t,
                episode_return=episode_return if over else None,
                episode_length=length,
                legal_t=legal,
            )
            s_tm1 = s_t


def interact_with_all(agent: Acting, reset_seeds: Iterator[int], *, envs: Vector, env_id: str) -> Iterator[Step]:
    """Plays L environments, as `environments.make_vector` makes them, side by side for ever; each episode is reset with the
    next seed.

    Raises:
      BadTransitionError: an environment gave a NaN or an infinity; the message has the step.
    """
    count = envs.num_envs
    s_tm1 = np.array(envs.reset(seed=list(itertools.islice(reset_seeds, count)))[0])  # [L, *observation_shape]
    check_transition(env_id, agent.env_steps, observation=s_tm1, reward=0.0)
    returns, lengths = np.zeros(count), np.zeros(count, np.int64)
    while True:
        actions = agent.act_in_all(s_tm1)  # [L]
        observations, rewards, terminated, truncated, _ = envs.step(actions)
        s_t = np.array(observations)  # [L, *observation_shape]
        returns += rewards
        lengths += 1
        over = terminated | truncated  # [L]
        for i in range(count):
            r_t = float(rewards[i])
            check_transition(env_id, agent.env_steps + 1, observation=s_t[i], reward=r_t)
            yield Step(
                s_tm1=s_tm1[i],
                a_tm1=int(actions[i]),
                r_t=r_t,
                terminated=bool(terminated[i]),
                truncated=bool(truncated[i]),
                s_t=s_t[i],
                env_index=i,
                episode_return=float(returns[i]) if over[i] else None,
                episode_length=int(lengths[i]),
            )
        if over.any():
            seeds = [next(reset_seeds) if is_over else None for is_over in over]
            s_t = np.array(envs.reset(seed=seeds, options={"reset_mask": over})[0])
            check_transition(env_id, agent.env_steps, observation=s_t, reward=0.0)
            returns[over], lengths[over] = 0.0, 0
        s_tm1 = s_t
