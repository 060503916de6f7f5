"""How a candidate plays as the file it would become. Stages that search ask; `pipeline`, which can export and play, answers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgedqn.agents.files import JsonValue
from edgedqn.agents.playing.gate import Verdict

if TYPE_CHECKING:
    from edgedqn.compression.policy import CompressedPolicy

UNPLAYABLE = 1e9  # finite, because reports are JSON


@dataclass(frozen=True, kw_only=True)
class Judgement(JsonValue):
    """How a candidate played, on reset seeds that are for choosing and prove nothing.

    Attributes:
      mean_return: in reward units, over the episodes that were played; of acting at random, where no runtime takes the file.
      loss: the mean return lost to the float agent, paired by reset seed, in units of the gate's margin: up to about 1 is
        allowed. `UNPLAYABLE`, more than any other, where no runtime takes the file; its agreements are 0 and its tie rate 1.
      env_steps: in the episodes that were played, the float agent's not counted.
      action_agreement: the share of on-policy states in which it acts as the float agent.
      gap_weighted_agreement: the same, each state weighted by the float agent's action gap.
      tie_rate: the share of them in which its largest output is not unique.
      reason: why the gate could not be asked; empty where it was.
    """

    verdict: Verdict
    mean_return: float
    loss: float
    episodes: int
    env_steps: int
    size_bytes: int
    action_agreement: float
    gap_weighted_agreement: float
    tie_rate: float
    reason: str = ""

    @property
    def agent_is_no_better_than_random(self) -> bool:
        """Whether judging more candidates is pointless, because the agent is no better than chance."""
        return self.verdict == "undecided" and bool(self.reason)


# Handed to a recipe like an optimizer or a generator; compression itself cannot export, nor play integers.
Judge = Callable[["CompressedPolicy"], Judgement]
