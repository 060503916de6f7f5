"""Multi-step returns: what is learned in one step reaches back several."""

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Transition(NamedTuple):
    """From s_tm1 by a_tm1 to s_t, one or several steps later: `r_t` is the discounted sum of the rewards between, and
    `discount_t` what the value of s_t counts for: 0 where s_t is terminal."""

    s_tm1: NDArray[np.generic]  # [F]
    a_tm1: int
    r_t: float
    discount_t: float
    s_t: NDArray[np.generic]  # [F]


class NStepTransitions:
    """Joins single steps to transitions over n of them.

    At the end of an episode, where fewer than n steps are left, the shorter ones are given too, so no state goes unlearned.

    Source: Sutton (1988); Hessel et al. (2018), "Rainbow", without a correction for the actions in between.
    """

    def __init__(self, n: int, discount: float):
        """Takes n >= 1 and the discount per step, in [0, 1]."""
        if n < 1:
            raise ValueError(f"A transition takes a step. Expected n of 1 or more. Got {n}.")
        self._n = n
        self._discount = discount
        self._pending: deque[tuple[NDArray[np.generic], int, float]] = deque()

    def step(
        self, s_tm1: NDArray[np.generic], a_tm1: int, r_t: float, terminated: bool, truncated: bool, s_t: NDArray[np.generic]
    ) -> Iterator[Transition]:
        """Takes one step of the environment and gives the transitions it completes.

        A terminated episode has no future: discount 0. A truncated one was merely cut off, so its last states still count.
        """
        pending = self._pending
        pending.append((s_tm1, a_tm1, r_t))
        over = terminated or truncated
        while pending and (over or len(pending) == self._n):
            reward, weight = 0.0, 1.0
            for _, _, r in pending:
                reward += weight * r
                weight *= self._discount
            s, a, _ = pending.popleft()
            yield Transition(s, a, reward, 0.0 if terminated else weight, s_t)
