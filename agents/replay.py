"""Uniform experience replay."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError


class Transitions(NamedTuple):
    """Transitions with any leading batch dimensions: s_tm1, a_tm1 -> r_t, discount_t, s_t.

    `discount_t` is what the value of s_t is multiplied by: 0 where s_t is terminal. An episode that was merely cut off
    (truncated) keeps its discount, so it bootstraps.
    """

    s_tm1: NDArray[np.float32]  # [..., F]
    a_tm1: NDArray[np.int32]  # [...]
    r_t: NDArray[np.float32]  # [...]
    discount_t: NDArray[np.float32]  # [...]
    s_t: NDArray[np.float32]  # [..., F]


class UniformReplay:
    """A ring of the last `capacity` transitions, sampled uniformly with replacement.

    Source: Lin (1992); Mnih et al. (2015), "Human-level control through deep reinforcement learning".
    """

    def __init__(self, capacity: int, observation_shape: tuple[int, ...], rng: np.random.Generator):
        """Allocates for `capacity` transitions at once, so that a buffer that does not fit fails before training.

        Raises:
          InputError: the capacity is below 1, or more than memory can hold.
        """
        if capacity < 1:
            raise InputError(f"Expected a replay capacity of 1 or more. Got {capacity}.")
        try:
            self._ring = Transitions(
                s_tm1=np.zeros((capacity, *observation_shape), np.float32),
                a_tm1=np.zeros(capacity, np.int32),
                r_t=np.zeros(capacity, np.float32),
                discount_t=np.zeros(capacity, np.float32),
                s_t=np.zeros((capacity, *observation_shape), np.float32),
            )
        except (MemoryError, ValueError) as error:  # the latter where not even the number of bytes fits
            raise InputError(f"A replay of {capacity:,} transitions does not fit in memory.") from error
        self._rng = rng
        self._capacity = capacity
        self._added = 0

    def __len__(self) -> int:
        return min(self._added, self._capacity)

    def add(self, s_tm1: NDArray[np.generic], a_tm1: int, r_t: float, discount_t: float, s_t: NDArray[np.generic]) -> None:
        """Stores one transition; the oldest makes room."""
        i = self._added % self._capacity
        ring = self._ring
        ring.s_tm1[i] = s_tm1
        ring.a_tm1[i] = a_tm1
        ring.r_t[i] = r_t
        ring.discount_t[i] = discount_t
        ring.s_t[i] = s_t
        self._added += 1

    def sample(self, batches: int, batch_size: int) -> Transitions:
        """K = `batches` minibatches of B = `batch_size` transitions, all drawn at once: arrays [K, B, ...]."""
        assert self._added, "sampled before anything was added"
        indices = self._rng.integers(len(self), size=(batches, batch_size))  # [K, B]
        return Transitions._make(field.take(indices, axis=0) for field in self._ring)
