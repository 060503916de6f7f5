"""Multi-step returns: what is learned in one step reaches back several."""

from collections import deque
from collections.abc import Iterator
from typing import Generic, NamedTuple, TypeVar

State = TypeVar("State")  # an observation, or what stands for one


class Transition(NamedTuple, Generic[State]):
    """From s_tm1 by a_tm1 to s_t, one or several steps later: `r_t` is the discounted sum of the rewards between, and
    `discount_t` what the value of s_t counts for: 0 where s_t is terminal."""

    s_tm1: State
    a_tm1: int
    r_t: float
    discount_t: float
    s_t: State


class NStepTransitions(Generic[State]):
    """Joins the single steps of one environment to transitions over n of them.

    At the end of an episode, where fewer than n steps are left, the shorter ones are given too, so no state goes unlearned.

    Source: Sutton (1988); Hessel et al. (2018), "Rainbow", without a correction for the actions in between.
    """

    def __init__(self, n: int, discount: float):
        """Takes n >= 1 and the discount per step, in [0, 1]."""
        if n < 1:
            raise ValueError(f"A transition takes a step. Expected n of 1 or more. Got {n}.")
        self._n = n
        self._discount = discount
        self._pending: deque[tuple[State, int, float]] = deque()

    def step(
        self, s_tm1: State, a_tm1: int, *, r_t: float, terminated: bool, truncated: bool, s_t: State
    ) -> Iterator[Transition[State]]:
        """Takes one step of the environment and gives the transitions it completes.

        A terminated episode has no future: discount 0. A truncated one was merely cut off, so its last states still count.
        """
        self._pending.append((s_tm1, a_tm1, r_t))
        over = terminated or truncated
        while self._pending and (over or len(self._pending) == self._n):
            yield self._oldest(s_t, terminated)

    def cut(self, s_t: State) -> Iterator[Transition[State]]:
        """Ends the episode at s_t as if it had been truncated after the last step."""
        while self._pending:
            yield self._oldest(s_t, terminated=False)

    def _oldest(self, s_t: State, terminated: bool) -> Transition[State]:
        reward, weight = 0.0, 1.0
        for _, _, r in self._pending:
            reward += weight * r
            weight *= self._discount
        s, a, _ = self._pending.popleft()
        return Transition(s_tm1=s, a_tm1=a, r_t=reward, discount_t=0.0 if terminated else weight, s_t=s_t)
