"""What a student learns to output for a state: preferences over actions, made from the teacher's Q-values."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import require

TargetKind = Literal["clipped_gaps", "advantages", "q_values", "one_hot"]


@dataclass(frozen=True)
class Targets:
    """The targets of distillation.

    Attributes:
      kind: `clipped_gaps`, 1 for the best action, falling with the gap to it, -1 from `width` median gaps on: an int8 output's
        256 levels are spent where actions compete, and how bad a bad action is, is clipped away; `advantages`, the same without
        clipping; `q_values`, the teacher's own in the same unit; `one_hot`, 1 for the teacher's action and -1 for all others.
      width: what falls from 1 to -1, in units of the teacher's median action gap, > 0.
    """

    kind: TargetKind = "clipped_gaps"
    width: float = 2.0

    def __post_init__(self) -> None:
        kinds = get_args(TargetKind)
        require(self.kind in kinds, f"Expected targets of a kind in {', '.join(kinds)}. Got {self.kind!r}.")
        require(self.width > 0, f"Expected a clipping width above 0. Got {self.width}.")

    def __call__(self, q_values: NDArray[np.float32], gap: float) -> NDArray[np.float32]:
        """Q-values [N, A] and the unit, > 0 -> float32 [N, A]."""
        below = q_values - q_values.max(axis=1, keepdims=True)  # [N, A]
        match self.kind:
            case "clipped_gaps":
                targets = 1 + 2 * np.clip(below / (self.width * gap), -1, 0)
            case "advantages":
                targets = 1 + 2 * below / (self.width * gap)
            case "q_values":
                targets = 2 * q_values / (self.width * gap)
            case "one_hot":
                targets = 2 * np.eye(q_values.shape[1])[q_values.argmax(axis=1)] - 1
        return targets.astype(np.float32)  # [N, A]


def median_action_gap(q_values: NDArray[np.float32]) -> float:
    """The median positive gap between the best and the second-best of Q-values [N, A], A >= 2: the unit of preferences.

    Raises:
      InputError: all gaps are zero, so there is nothing to tell apart.
    """
    ordered = np.sort(q_values, axis=1)  # [N, A]
    gaps = ordered[:, -1] - ordered[:, -2]  # [N]
    positive = gaps[gaps > 0]
    require(len(positive) > 0, "The teacher has no preference: all actions are equal in every state it was shown.")
    return float(np.median(positive))
