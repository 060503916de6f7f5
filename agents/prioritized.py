"""Prioritized experience replay: what surprised the network comes back more often."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError
from edgedqn.agents.files import Json
from edgedqn.agents.replay import Draw, Sampler, require_memory
from edgedqn.agents.training.checkpoints import State


class SumTree:
    """Numbers with their sums over pairs, pairs of pairs and so on: draws in proportion to them in O(log n).

    Source: Schaul et al. (2016), "Prioritized experience replay", appendix B.2.1.
    """

    def __init__(self, size: int):
        """Takes the number of leaves, >= 1; all start at 0."""
        self._leaves = 1 << max(0, size - 1).bit_length()
        self._levels = self._leaves.bit_length() - 1
        self._nodes = np.zeros(2 * self._leaves, np.float64)  # node 1 is the root, node i has the children 2i and 2i + 1
        self.nbytes = self._nodes.nbytes

    @property
    def total(self) -> float:
        """The sum of all leaves."""
        return float(self._nodes[1])

    @property
    def leaves(self) -> NDArray[np.float64]:
        """All leaves, in order: as many as asked for, and zeros up to a power of two."""
        return self._nodes[self._leaves :]

    def __getitem__(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        return self._nodes[self._leaves + index]

    def __setitem__(self, index: NDArray[np.int64], values: NDArray[np.float64] | float) -> None:
        """Sets leaves and the sums above them; of one that is named twice, the last value counts."""
        nodes = self._leaves + np.asarray(index)
        self._nodes[nodes] = values
        nodes = np.sort(nodes)
        for _ in range(self._levels):
            nodes = nodes >> 1
            nodes = nodes[np.concatenate([[True], nodes[1:] != nodes[:-1]])]  # each parent once; they are in order
            self._nodes[nodes] = self._nodes[2 * nodes] + self._nodes[2 * nodes + 1]

    def find(self, mass: NDArray[np.float64]) -> NDArray[np.int64]:
        """The leaf in which each mass in [0, total) falls, when leaves are laid end to end: any shape -> the same shape.

        A leaf of 0 is never found.
        """
        node = np.ones(mass.shape, np.int64)
        rest = mass.astype(np.float64)
        for _ in range(self._levels):
            left = 2 * node
            weight = self._nodes[left]
            # Rounding may leave a rest beyond the last leaf that has anything; it must not end in an empty one.
            right = (rest >= weight) & (self._nodes[left + 1] > 0)
            rest = np.where(right, rest - weight, np.minimum(rest, weight))
            node = left + right
        return node - self._leaves


class Prioritized(Sampler):
    """Draws transitions in proportion to (their last absolute error) ** alpha; new ones count as the worst so far.

    That favours some; each is weighted by (count x probability) ** -beta in the loss, divided by the largest weight of its
    minibatch, with beta rising to 1.

    Deviation from the paper: as many minibatches as one compiled call learns from are drawn at once, and their errors come
    back together after it.

    Source: Schaul et al. (2016), "Prioritized experience replay", algorithm 1, proportional variant.
    """

    def __init__(self, capacity: int, rng: np.random.Generator, *, alpha: float, beta: float, anneal_minibatches: int):
        """Takes the ring's capacity, both exponents, in [0, 1], and the number of minibatches after which beta is 1."""
        if not 0 <= alpha <= 1 or not 0 <= beta <= 1:
            raise InputError(f"Expected priority_exponent and importance_exponent in [0, 1]. Got {alpha} and {beta}.")
        require_memory(f"A sum tree over {capacity:,} priorities", 32 * capacity)
        super().__init__(rng)
        self._tree = SumTree(capacity)
        self.nbytes = self._tree.nbytes
        self._alpha = alpha
        self._beta = beta
        self._anneal = max(1, anneal_minibatches)
        self._drawn = 0
        self._largest = 1.0
        self._pending: dict[int, float] = {}  # set together, when the next draw needs them

    @property
    def beta(self) -> float:
        """The exponent of the importance weights of the next draw."""
        return self._beta + (1 - self._beta) * min(1.0, self._drawn / self._anneal)

    def added(self, slot: int) -> None:
        self._pending[slot] = self._largest

    def forgotten(self, slot: int) -> None:
        self._pending[slot] = 0.0

    def draw(self, oldest: int, count: int, *, capacity: int, shape: tuple[int, int]) -> Draw:
        self._settle()
        batches, size = shape
        strata = (np.arange(size) + self._rng.random(shape)) / size  # [K, B], one from each part of equal mass
        slots = self._tree.find(strata * self._tree.total)
        probability = self._tree[slots] / self._tree.total  # [K, B]
        weights = (count * probability) ** -self.beta
        self._drawn += batches
        return Draw(slots, (weights / weights.max(axis=1, keepdims=True)).astype(np.float32))

    def learned(self, slots: NDArray[np.int64], errors: NDArray[np.float32]) -> None:
        priorities = (np.abs(errors, dtype=np.float64) + 1e-6) ** self._alpha  # [K, B]
        self._largest = max(self._largest, float(priorities.max()))
        self._tree[slots.ravel()] = priorities.ravel()

    def state(self) -> State:
        self._settle()
        _, values = super().state()
        return {"priorities": self._tree.leaves}, {**values, "drawn": self._drawn, "largest": self._largest}

    def restore(self, arrays: Mapping[str, NDArray[Any]], values: Json) -> None:
        super().restore(arrays, values)
        self._pending = {}
        self._tree[np.arange(len(arrays["priorities"]))] = arrays["priorities"]
        self._drawn, self._largest = values["drawn"], values["largest"]

    def _settle(self) -> None:
        if self._pending:
            slots = np.fromiter(self._pending, np.int64, len(self._pending))
            self._tree[slots] = np.fromiter(self._pending.values(), np.float64, len(self._pending))
            self._pending = {}
