"""Gather the states a policy visits."""

import itertools
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edgedqn.agents.playing.environments import check_transition
from edgedqn.agents.playing.evaluation import Policy


def gather_observations(policy: Policy, env: gymnasium.Env[Any, Any], reset_seeds: Iterator[int], count: int) -> NDArray[Any]:
    """The observations a policy acts on, in the order it meets them.

    Args:
      policy: asked once per step.
      env: reset with one seed after the other; left open.
      reset_seeds: of the episodes, endless.
      count: N >= 1, how many to gather. The last episode is cut where they are reached.
    Returns:
      [N, *observation_shape] in the environment's dtype; float64 as float32.
    Raises:
      BadTransitionError: the environment gave a NaN or an infinity.
    """
    name = env.spec.id if env.spec is not None else type(env.unwrapped).__name__
    visited = itertools.islice(_visited(policy, env, name, reset_seeds), count)
    return np.stack(list(tqdm(visited, "gather states", count, unit=" states", disable=None, leave=False)))


def _visited(policy: Policy, env: gymnasium.Env[Any, Any], name: str, reset_seeds: Iterator[int]) -> Iterator[NDArray[Any]]:
    step = 0
    reset_policy = getattr(policy, "reset", None)
    for seed in reset_seeds:
        observation, _ = env.reset(seed=seed)
        if reset_policy is not None:
            reset_policy()
        over = False
        while not over:
            observation = np.asarray(observation)
            check_transition(name, step, observation, 0.0)
            yield np.array(observation, np.float32 if observation.dtype.kind == "f" else None)
            observation, _, terminated, truncated, _ = env.step(policy(observation))
            step += 1
            over = terminated or truncated
