"""How much of its return a policy loses by small mistakes: what to expect of rounding it, before anything is compressed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgedqn.agents.errors import InputError
from edgedqn.agents.files import JsonValue, read_json, write_json
from edgedqn.agents.playing.statistics import Interval

SCHEMA = 1


Mistakes = Literal["random actions", "noise"]
# Who loses more than this share of what it earns by so few random actions is fragile.
RELEVANT, FEW_ACTIONS = 0.02, 0.01
KEPT = "Expect rounding to keep it."


@dataclass(frozen=True, kw_only=True)
class Loss(JsonValue):
    """What one kind of mistake costs.

    Attributes:
      mistakes: actions that are drawn from all of them, or Gaussian noise on each Q-value, new in each step.
      size: the share of such actions, in [0, 1]; the noise's standard deviation, in median action gaps.
      disagreement: the share of on-policy states, each weighted by its action gap, in which the policy then acts otherwise.
      mean_return: with these mistakes, in reward units.
      share: the return lost, paired by reset seed, as a share of (return - random policy's return), with its 95 % interval;
        below 0 where it gains.
      episodes: that were played.
    """

    mistakes: Mistakes
    size: float
    disagreement: float
    mean_return: float
    share: Interval
    episodes: int

    @property
    def costs_nothing(self) -> bool:
        """Whether it is shown that no more is lost than matters to nobody."""
        return self.share.high < RELEVANT

    @property
    def costs_something(self) -> bool:
        """Whether more than that is lost, and something beyond chance."""
        return self.share.mean > RELEVANT and self.share.low > 0

    def __str__(self) -> str:
        """The mistakes, in words."""
        random = self.mistakes == "random actions"
        gaps = "gap" if self.size == 1 else "gaps"
        return f"{100 * self.size:.2g}% random actions" if random else f"noise of {self.size:.2g} action {gaps}"

    @property
    def said(self) -> str:
        """What they cost, in words: nothing where the interval does not exclude it."""
        share = self.share
        lost = f"{_percent(share.mean)} ({_percent(share.low)} to {_percent(share.high)})" if share.low > 0 else "nothing"
        return f"{lost} with {self}"


@dataclass(frozen=True, kw_only=True)
class Fragility(JsonValue):
    """What mistakes cost a float policy, on reset seeds that are for choosing and prove nothing.

    Attributes:
      mean_return: without mistakes, in reward units.
      random_return: of acting at random.
      median_gap: between the best and the second-best Q-value on-policy, the unit of the noise.
      env_steps: played in all.
      losses: of random actions, then of noise, each from few to many; none where the policy is no better than random.
    """

    mean_return: float
    random_return: float
    median_gap: float
    env_steps: int
    losses: tuple[Loss, ...]

    def tolerates(self, disagreement: float, *, tolerance: float) -> bool:
        """Whether a policy may act otherwise in so many states, and it is shown that this costs nothing that matters.

        Args:
          disagreement: the share of states, each weighted by its action gap, in which it acts otherwise: 1 - agreement by gap.
          tolerance: of the gate: the share of (return - random policy's return) that may be lost.
        Returns:
          True where as many random actions, or more, were played, and the 95 % interval of what they cost lies below
          `tolerance`. Noise does not count: it errs anew in each step, where a rounded policy errs alike in like states.
        """
        enough = [loss for loss in self._of_actions if loss.disagreement >= disagreement]
        return bool(enough) and enough[0].share.high < tolerance

    @property
    def is_fragile(self) -> bool | None:
        """Whether a few random actions cost something; None where too little was played to tell.

        What more of them cost is taken in proportion, unless it was shown that as few, or more, cost nothing.
        """
        if any(loss.costs_nothing for loss in self._of_actions if loss.size >= FEW_ACTIONS):
            return False
        return True if any(_in_proportion(loss) > RELEVANT for loss in self._of_actions if loss.costs_something) else None

    @property
    def summary(self) -> str:
        """A sentence or two for a person."""
        if not self.losses:
            return "This policy is no better than acting at random: there is nothing that mistakes could cost."
        harmless = [loss.said for loss in self._of_actions if loss.costs_nothing][-1:]
        lost = [loss.said for loss in self._of_actions if loss.costs_something][:1]
        noise = [loss.said for loss in self.losses if loss.mistakes == "noise" and loss.costs_something][:1]
        most = self._of_actions[-1]
        unclear = [] if harmless or lost else [f"nothing that shows, and at most {_percent(most.share.high)}, with {most}"]
        advice = {
            True: "It is fragile: expect it to need fine-tuning by reinforcement learning, or train it longer.",
            False: "Rounding alone may cost some of it; fine-tuning is to keep it." if noise else KEPT,
            None: "Its returns vary too much to tell what a few of them cost.",
        }
        *first, last = [*harmless, *lost, *unclear, *noise]
        return f"This policy loses {', '.join(first)}{', and ' if first else ''}{last}. {advice[self.is_fragile]}"

    @property
    def _of_actions(self) -> list[Loss]:
        return [loss for loss in self.losses if loss.mistakes == "random actions"]

    def save(self, path: Path) -> None:
        """Writes the JSON object, all of it or nothing."""
        write_json(path, {"schema": SCHEMA, **self.to_json()})

    @classmethod
    def load(cls, path: Path) -> "Fragility":
        """Reads what `save` wrote. Raises InputError where it is missing, damaged, or of another schema."""
        try:
            return cls.from_json(read_json(path, SCHEMA))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} does not say how fragile an agent is: {error!r}") from error


def _in_proportion(loss: Loss) -> float:
    """What a few random actions would cost by what more of them do."""
    return loss.share.mean * min(1, FEW_ACTIONS / loss.size)


def _percent(share: float) -> str:
    return f"{100 * share:.2g}%"
