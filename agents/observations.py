"""Gather the states a policy visits."""

import itertools
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.environments import check_transition
from edgedqn.agents.evaluation import Policy


def gather_observations(
    policy: Policy, env: gymnasium.Env[Any, Any], reset_seeds: Iterator[int], count: int
) -> NDArray[np.float32]:
    """The observations a policy acts on, in the order it meets them.

    Args:
      policy: asked once per step.
      env: reset with one seed after the other; left open.
      reset_seeds: of the episodes, endless.
      count: N >= 1, how many to gather. The last episode is cut where they are reached.
    Returns:
      float32 [N, F].
    Raises:
      BadTransitionError: the environment gave a NaN or an infinity.
    """
    name = env.spec.id if env.spec is not None else type(env.unwrapped).__name__
    return np.stack(list(itertools.islice(_visited(policy, env, name, reset_seeds), count)))


def _visited(
    policy: Policy, env: gymnasium.Env[Any, Any], name: str, reset_seeds: Iterator[int]
) -> Iterator[NDArray[np.float32]]:
    step = 0
    for seed in reset_seeds:
        observation, _ = env.reset(seed=seed)
        over = False
        while not over:
            check_transition(name, step, observation, 0.0)
            yield np.array(observation, np.float32)
            observation, _, terminated, truncated, _ = env.step(policy(observation))
            step += 1
            over = terminated or truncated
