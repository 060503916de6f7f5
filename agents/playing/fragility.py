"""How much of its return a policy loses by small mistakes: what to expect of rounding it, before anything is compressed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgedqn.agents.errors import InputError
from edgedqn.agents.files import JsonValue, read_json, write_json
from edgedqn.agents.playing.statistics import Interval

SCHEMA = 1


Mistakes = Literal["random actions", "noise"]
# Rounding to int8 makes about as many: a policy that loses by them, or by fewer, is fragile. Units as of `Loss.size`.
FEW: dict[Mistakes, float] = {"random actions": 0.02, "noise": 0.3}


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

    def __str__(self) -> str:
        """The mistakes, in words."""
        random = self.mistakes == "random actions"
        return f"{100 * self.size:.2g}% random actions" if random else f"noise of {self.size:.2g} action gaps"


@dataclass(frozen=True, kw_only=True)
class Fragility(JsonValue):
    """What mistakes cost a float policy, on reset seeds that are for choosing and prove nothing.

    Attributes:
      mean_return: without mistakes, in reward units.
      random_return: of acting at random.
      median_gap: between the best and the second-best Q-value on-policy, the unit of the noise.
      tolerance: of the gate in this environment: the share of (return - random policy's return) that may be lost.
      env_steps: played in all.
      losses: of random actions, then of noise, each from few to many; none where the policy is no better than random.
    """

    mean_return: float
    random_return: float
    median_gap: float
    tolerance: float
    env_steps: int
    losses: tuple[Loss, ...]

    def tolerates(self, disagreement: float, *, tolerance: float) -> bool:
        """Whether a policy may act otherwise in so many states, and it is shown that this costs nothing that matters.

        Args:
          disagreement: the share of states, each weighted by its action gap, in which it acts otherwise: 1 - agreement by gap.
          tolerance: of the gate that is asked; it may be another than the environment's usual one.
        Returns:
          True where noise on the Q-values that changes as many decisions, or more, was played, and the 95 % interval of what it
          costs lies below `tolerance`.
        """
        enough = [loss for loss in self._of("noise") if loss.disagreement >= disagreement]
        return bool(enough) and enough[0].share.high < tolerance

    @property
    def is_fragile(self) -> bool | None:
        """Whether as few mistakes as rounding makes cost more than is tolerated; None where too little was played to tell.

        Mistakes that cost something beyond chance are taken to cost in proportion to their number, unless it was shown that few
        of them cost nothing.
        """
        verdicts = list(map(self._matters, FEW))
        return True if True in verdicts else None if None in verdicts else False

    @property
    def summary(self) -> str:
        """A sentence or two for a person."""
        if not self.losses:
            return "This policy is no better than acting at random: there is nothing that mistakes could cost."
        advice = {
            True: "It is fragile: expect it to need fine-tuning by reinforcement learning, or train it longer.",
            False: "Expect rounding to keep it.",
            None: "Its returns vary too much to tell what a few mistakes cost.",
        }
        return f"This policy loses {' and '.join(map(self._told, FEW))}. {advice[self.is_fragile]}"

    def _of(self, mistakes: Mistakes) -> list[Loss]:
        return [loss for loss in self.losses if loss.mistakes == mistakes]

    def _lost(self, mistakes: Mistakes) -> list[Loss]:
        """The losses beyond chance that are more than is tolerated, from few mistakes to many."""
        return [loss for loss in self._of(mistakes) if loss.share.mean > self.tolerance and loss.share.low > 0]

    def _matters(self, mistakes: Mistakes) -> bool | None:
        few = [loss for loss in self._of(mistakes) if loss.size <= FEW[mistakes]]
        if few and few[-1].share.high < self.tolerance:
            return False
        in_proportion = [loss.share.mean * min(1, FEW[mistakes] / loss.size) for loss in self._lost(mistakes)]
        return True if max(in_proportion, default=0) > self.tolerance else None

    def _told(self, mistakes: Mistakes) -> str:
        if lost := self._lost(mistakes):
            return f"{lost[0].share.mean:.0%} ({lost[0].share.low:.0%} to {lost[0].share.high:.0%}) with {lost[0]}"
        most = self._of(mistakes)[-1]
        if most.share.high < self.tolerance:
            return f"nothing with {most}"
        return f"nothing that shows, and at most {most.share.high:.0%}, with {most}"

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
