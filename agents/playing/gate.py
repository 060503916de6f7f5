"""The gate: has the small policy lost more than a tolerance, or has it not?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from edgedqn.agents.errors import InputError, make_plain
from edgedqn.agents.playing.statistics import Interval, bootstrap_interval

Verdict = Literal["pass", "fail", "undecided"]

# Environments whose returns vary so much between episodes that 2 % of them cannot be told from chance.
NOISY = ("MinAtar/", "ALE/", "FrozenLake", "Taxi")


@dataclass(frozen=True)
class Gate:
    """A sequential non-inferiority test on paired episode returns.

    Source: few looks at 99 % and the percentile bootstrap, because looking every 100 episodes at 95 % lets 11-20 % of the
      policies through that lose exactly the margin, against 2-5 % here (simulated).
    """

    tolerance: float = 0.02  # the share of (float return - random return) that may be lost, in (0, 1)
    looks: tuple[int, ...] = (300, 600, 1_200)  # after how many paired episodes a verdict is tried, ascending
    confidence: float = 0.99  # of the two-sided interval at each look

    def __post_init__(self) -> None:
        make_plain(self)
        if not 0 < self.tolerance < 1:
            raise InputError(f"A tolerance is a share of the return. Expected it in (0, 1). Got {self.tolerance}.")
        if not self.looks or list(self.looks) != sorted(set(self.looks)) or self.looks[0] < 2:
            raise ValueError(f"Looks are numbers of episodes. Expected them ascending from 2 or more. Got {self.looks}.")
        if not 0.5 < self.confidence < 1:
            raise ValueError(f"Expected a confidence in (0.5, 1). Got {self.confidence}.")

    def margin(self, float_return: float, random_return: float) -> float:
        """The loss that is just too much, in reward units.

        Raises:
          ValueError: the float policy is no better than a random one, so there is nothing a loss could be a share of.
        """
        margin = self.tolerance * (float_return - random_return)
        if not margin > 0:
            raise ValueError(
                f"The gate needs a float policy better than a random one. Got {float_return:.4g} against {random_return:.4g}."
            )
        return margin


def gate_for(env_id: str, tolerance: float | None = None) -> Gate:
    """The test that files for an environment are put to: wider and with more episodes where returns are noisy.

    Raises:
      InputError: a tolerance that is none.
    """
    noisy = env_id.rpartition(":")[2].startswith(NOISY)
    gate = Gate(tolerance=0.05, looks=(1_200, 4_800, 19_200)) if noisy else Gate()
    return gate if tolerance is None else replace(gate, tolerance=tolerance)


@dataclass(frozen=True)
class GateResult:
    """A verdict and the look it was reached at. `interval` is at the gate's confidence, in reward units."""

    verdict: Verdict
    margin: float
    interval: Interval
    episodes: int


def run_gate(gate: Gate, margin: float, *, paired_differences: Callable[[int], Sequence[float]]) -> GateResult:
    """Looks until the verdict is clear, or the looks are used up.

    Args:
      gate: the test.
      margin: in reward units, > 0; see `Gate.margin`.
      paired_differences: n -> [n], candidate - baseline return on the first n reset seeds. Asked for more only while the
        verdict is open, so episodes are played only where they are needed.
    Returns:
      `pass` when the interval's lower end is > -margin, `fail` when its upper end is < -margin, else `undecided`.
    Raises:
      ValueError: the margin is not positive, or a difference is not finite.
    """
    if not margin > 0:
        raise ValueError(f"Expected a positive margin. Got {margin}.")
    for episodes in gate.looks:
        differences = np.asarray(paired_differences(episodes), np.float64)  # [episodes]
        if differences.shape != (episodes,):
            raise ValueError(f"Expected {episodes} paired differences. Got shape {differences.shape}.")
        interval = bootstrap_interval(differences, gate.confidence)
        if interval.low > -margin:
            return GateResult("pass", margin, interval, episodes)
        if interval.high < -margin:
            return GateResult("fail", margin, interval, episodes)
    return GateResult("undecided", margin, interval, episodes)
