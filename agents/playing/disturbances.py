"""What can go wrong between an environment and a policy: in what it sees, in what it computes, in what it does.

Each is a value whose `start` makes a policy for one episode of another one. The same generator gives two policies the same
draws, step by step, so that their returns can be compared in pairs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgedqn.agents.playing.evaluation import Policy, RandomPolicy


class RankingPolicy(Protocol):
    """A policy that says how it ranks the actions: a `.tflite` behind `EdgePolicy`."""

    n_actions: int

    def __call__(self, observation: ArrayLike, /) -> int:
        """One observation, as the environment gives it -> an action. Where the environment says which are legal, these are a
        second argument, [A], here and below."""

    def preferences(self, observation: ArrayLike, /) -> NDArray[Any]:
        """The same -> outputs [A], of which the largest wins."""

    def reset(self) -> None:
        """To be called before each episode."""


class Disturbance(Protocol):
    """What goes wrong; a frozen value whose `str` names it in a line."""

    def start(self, policy: RankingPolicy, rng: np.random.Generator) -> Policy:
        """`policy` as it plays one episode."""


@dataclass(frozen=True)
class RandomActions:
    """Now and then an action is drawn from all of them: with probability `share`, in [0, 1]."""

    share: float

    def start(self, policy: RankingPolicy, rng: np.random.Generator) -> Policy:
        policy.reset()
        random = RandomPolicy(policy.n_actions, rng)

        def act(observation: NDArray[Any], *legal: NDArray[np.bool_]) -> int:
            chosen = policy(observation, *legal)  # asked in any case: it may remember frames
            other = random(observation, *legal)
            return other if rng.random() < self.share else chosen

        return act

    def __str__(self) -> str:
        return f"{self.share:.1%} random actions"


@dataclass(frozen=True)
class NoisyValues:
    """Gaussian noise on each output, of this standard deviation in the outputs' unit, new in each step."""

    deviation: float

    def start(self, policy: RankingPolicy, rng: np.random.Generator) -> Policy:
        policy.reset()

        def act(observation: NDArray[Any], *legal: NDArray[np.bool_]) -> int:
            values = policy.preferences(observation, *legal)  # [A]
            noisy = values + rng.normal(0, self.deviation, values.shape)
            return int((np.where(legal[0], noisy, -np.inf) if legal else noisy).argmax())

        return act

    def __str__(self) -> str:
        return f"noise of {self.deviation:.3g} on the Q-values"


@dataclass(frozen=True)
class SensorNoise:
    """Gaussian noise on what is measured, new in each step; integers are rounded and kept in the range of their type.

    Attributes:
      share: the standard deviation, as a share of `spread`.
      spread: of each feature, in C order, or one number for all; 0 where there is nothing to disturb.
    """

    share: float
    spread: tuple[float, ...]

    def start(self, policy: RankingPolicy, rng: np.random.Generator) -> Policy:
        spread = np.array(self.spread)

        def disturbed(observation: NDArray[Any]) -> NDArray[Any]:
            noise = self.share * spread * rng.standard_normal(observation.size)
            noisy = observation + noise.reshape(observation.shape)
            if observation.dtype.kind in "iu":
                limits = np.iinfo(observation.dtype)
                noisy = np.clip(np.rint(noisy), limits.min, limits.max)
            return noisy.astype(observation.dtype)

        return _seeing(disturbed, policy)

    def __str__(self) -> str:
        return f"noise {self.share:.0%}"


@dataclass(frozen=True)
class Flips:
    """Booleans that are read wrongly, each with probability `share` in each step."""

    share: float

    def start(self, policy: RankingPolicy, rng: np.random.Generator) -> Policy:
        return _seeing(lambda observation: observation ^ (rng.random(observation.shape) < self.share), policy)

    def __str__(self) -> str:
        return f"flips {self.share:.1%}"


@dataclass(frozen=True)
class Delay:
    """The policy sees the observation of the step before; in the first step, the first."""

    def start(self, policy: RankingPolicy, rng: np.random.Generator) -> Policy:
        last: NDArray[Any] | None = None

        def disturbed(observation: NDArray[Any]) -> NDArray[Any]:
            nonlocal last
            seen, last = observation if last is None else last, observation
            return seen

        return _seeing(disturbed, policy)

    def __str__(self) -> str:
        return "delay 1 step"


@dataclass(frozen=True)
class Hold:
    """A sensor gives its last value again, with probability `share` in each step.

    Attributes:
      share: in [0, 1].
      each: whether every feature is a sensor of its own; else an observation is lost as a whole, as a frame is.
    """

    share: float
    each: bool

    def start(self, policy: RankingPolicy, rng: np.random.Generator) -> Policy:
        last: NDArray[Any] | None = None

        def disturbed(observation: NDArray[Any]) -> NDArray[Any]:
            nonlocal last
            held = rng.random(observation.shape if self.each else ()) < self.share
            last = observation if last is None else np.where(held, last, observation)
            return last

        return _seeing(disturbed, policy)

    def __str__(self) -> str:
        return f"hold {self.share:.0%}"


def _seeing(disturbed: Callable[[NDArray[Any]], NDArray[Any]], policy: RankingPolicy) -> Policy:
    """The policy, which sees what `disturbed` makes of each observation in the order of an episode."""
    policy.reset()
    # A copy: it may be remembered, and some environments go on writing to the array they gave.
    return lambda observation, *legal: policy(disturbed(np.array(observation)), *legal)
