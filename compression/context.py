"""What each stage of a recipe is given besides the student."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.playing.evaluation import EpsilonGreedy, Policy, gather_observations
from edgedqn.agents.playing.preprocessing import OneHot
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.compression.folding import BATCH
from edgedqn.compression.judge import Judge
from edgedqn.compression.policy import Conversion
from edgedqn.compression.preferences import Targets


@dataclass(frozen=True, kw_only=True)
class CompressionContext:
    """The teacher, its environment and where randomness comes from, as `compress` was given them. States are as the teacher's
    network sees them.

    Attributes:
      gap: the teacher's median action gap on-policy: the unit of the targets.
      conversion: what the exporter will do in the end.
    """

    teacher: TrainedAgent
    env: gymnasium.Env[Any, Any]
    reset_seeds: Iterator[int]
    rng: np.random.Generator
    gap: float
    judge: Judge | None = None
    conversion: Conversion = "qat-int8"

    def preferences(self, states: NDArray[Any], targets: Targets = Targets()) -> NDArray[np.float32]:
        """What the student is to output for states [N, ...]: float32 [N, A]."""
        return targets(q_values_of(self.teacher, states), self.gap)

    def gather_states(self, policy: Policy, count: int, *, epsilon: float) -> NDArray[Any]:
        """[count, ...] in the environment's dtype: the states that an epsilon-greedy `policy` visits."""
        if count == 0:
            return np.empty((0, *self.teacher.spec.input_shape), self.teacher.observations.dtype)
        explorer = EpsilonGreedy(policy, epsilon, n_actions=self.teacher.spec.n_actions, rng=self.rng)
        return gather_observations(explorer, self.env, reset_seeds=self.reset_seeds, count=count)

    def table_states(self) -> NDArray[Any]:
        """All states [S, S], one-hot, where states have numbers, none, [0, ...], elsewhere.

        In a table nothing follows from one state for another, so the student learns each, also those the teacher rarely visits.
        """
        shape, dtype = self.teacher.spec.input_shape, self.teacher.observations.dtype
        is_table = OneHot() in self.teacher.spec.preprocessing
        return np.eye(*shape, dtype=dtype) if is_table else np.empty((0, *shape), dtype)


def q_values_of(agent: TrainedAgent, states: NDArray[Any]) -> NDArray[np.float32]:
    """The agent's Q-values [N, A] of states [N, ...] as its network sees them, in batches."""
    policy = agent.policy
    return np.concatenate([policy.q_values(states[start : start + BATCH]) for start in range(0, len(states), BATCH)])
