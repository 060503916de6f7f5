"""The gate: has the small policy lost more than a tolerance, or has it not?"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError, make_plain, require
from edgedqn.agents.files import JsonValue
from edgedqn.agents.playing.simulators.atari import is_atari
from edgedqn.agents.playing.statistics import Interval, bootstrap_interval

Returns = Callable[[int], NDArray[np.float64]]  # n -> [n], a policy's returns on the first n reset seeds, in reward units
Verdict = Literal["pass", "fail", "undecided"]

# Environments whose returns vary so much between episodes that 2 % of them cannot be told from chance.
NOISY = ("MinAtar/", "FrozenLake", "Taxi")  # and games of the Arcade Learning Environment
MANY_LOOKS = (1_200, 4_800, 19_200)  # their looks
ATARI_LOOKS = (100, 300, 600)  # of those games, where an episode takes seconds


class NotBetterThanRandomError(ValueError):
    """An agent at chance level: there is nothing that a loss could be a share of."""


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

    def within(self, episodes: int) -> "Gate":
        """This gate, where no more than so many episodes are there to look at, >= 2."""
        return replace(self, looks=tuple(look for look in self.looks if look <= episodes) or (episodes,))

    def margin(self, *, float_returns: Returns, random_returns: Returns) -> float:
        """The loss that is just too much, in reward units, > 0: a share of what the float agent earns above acting at random.

        Measured on the first look. Where it is open there whether the agent is better than random at all, a later look tells.
        It must be shown: what an agent at chance level earns by luck is no measure, and every file would pass by it.

        Raises:
          NotBetterThanRandomError: at no look does the interval of the difference, paired by reset seed, lie above 0.
        """
        for episodes in self.looks:
            played, at_random = float_returns(episodes), random_returns(episodes)
            earned = bootstrap_interval(played - at_random, self.confidence)
            if earned.low > 0:
                return self.tolerance * earned.mean
            if earned.high <= 0:  # no better, or worse: more episodes would not make it better
                break
        raise NotBetterThanRandomError(
            f"the float agent is not better than random: {played.mean():.4g} against {at_random.mean():.4g} over {episodes} "
            "episodes"
        )


LEAST_EPISODES, DRAWS = 100, 500


def looks_within(episodes: int) -> tuple[int, ...]:
    """Looks after a quarter, a half and all of so many episodes. InputError: fewer than 100, which show next to nothing."""
    expected = f"expected {LEAST_EPISODES} or more"
    require(episodes >= LEAST_EPISODES, f"A gate sees little in few episodes: {expected}. Got {episodes}.")
    return episodes // 4, episodes // 2, episodes


@dataclass(frozen=True)
class GatePower(JsonValue):
    """How often a gate says the right thing, in [0, 1], simulated.

    Attributes:
      lossless_passes: the share of files without any loss that would pass.
      at_margin_passes: the share that would pass of files that lose just what is not allowed any more.
    """

    lossless_passes: float
    at_margin_passes: float


def simulated_power(gate: Gate, margin: float, differences: NDArray[np.float64]) -> GatePower:
    """Draws paired differences [N] anew, moved to a mean of 0 and of -margin, and looks as the gate does; its intervals are
    taken as those of a normal distribution."""
    rng, centred = np.random.default_rng(0), differences - differences.mean()
    drawn = rng.choice(centred, (DRAWS, gate.looks[-1]))  # [draws, episodes]
    reach = NormalDist().inv_cdf((1 + gate.confidence) / 2)

    def passing(loss: float) -> float:
        passed, decided = np.zeros(DRAWS, bool), np.zeros(DRAWS, bool)
        for count in gate.looks:
            seen = drawn[:, :count]
            mean, half = seen.mean(axis=1) - loss, reach * seen.std(axis=1) / math.sqrt(count)
            passed |= ~decided & (mean - half > -margin)
            decided |= (mean - half > -margin) | (mean + half < -margin)
        return float(passed.mean())

    return GatePower(passing(0.0), passing(margin))


def gate_for(env_id: str, tolerance: float | None = None) -> Gate:
    """The test that files for an environment are put to: wider and with more episodes where returns are noisy.

    Raises:
      InputError: a tolerance that is none.
    """
    name = env_id.rpartition(":")[2]
    looks = ATARI_LOOKS if is_atari(name) else MANY_LOOKS if name.startswith(NOISY) else None
    gate = Gate() if looks is None else Gate(tolerance=0.05, looks=looks)
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
