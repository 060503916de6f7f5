"""All randomness of a run, from its one seed."""

import itertools
import zlib
from collections.abc import Iterator

import numpy as np

from edgedqn.agents.errors import require

STREAMS = ("train", "select", "calibrate", "prove", "bench", "agreement")
BLOCK = 2**27  # reset seeds of a stream; six of them fit into the 31 bits that every environment takes


class SeedStreams:
    """Named streams that share nothing, so that what proves a policy was seen by nothing that made it.

    `train` explores and initializes, `select` chooses checkpoints, `calibrate` gathers states for compression, `prove` plays
    for the gate and every published figure, `bench` orders the timings, `agreement` visits the states on which candidates are
    compared with the float agent: nothing was taught on them.

    Reset seeds count up within a block of 2**27 per stream, from a place that depends on the run's seed: the blocks cannot
    overlap, and `edgedqn evaluate --seed S` plays the same episodes again.
    """

    def __init__(self, seed: int):
        """Takes the run's seed; InputError for one below 0."""
        require(seed >= 0, f"Expected a seed of 0 or more. Got {seed}.")
        self._seed = int(seed)

    def rng(self, stream: str, purpose: str = "") -> np.random.Generator:
        """A generator of its own for each purpose, so that one more recipe changes nothing for the others."""
        return np.random.default_rng(self._sequence(stream, purpose))

    def first_reset_seed(self, stream: str) -> int:
        """Where the stream's reset seeds begin."""
        (draw,) = self._sequence(stream, "reset").generate_state(1)
        return STREAMS.index(stream) * BLOCK + int(draw) % (BLOCK // 2)

    def reset_seeds(self, stream: str) -> Iterator[int]:
        """The stream's reset seeds, as many as are asked for."""
        return itertools.count(self.first_reset_seed(stream))

    def first_reset_seeds(self, stream: str, count: int) -> list[int]:
        """The first `count` of `reset_seeds`."""
        return list(itertools.islice(self.reset_seeds(stream), count))

    def _sequence(self, stream: str, purpose: str) -> np.random.SeedSequence:
        return np.random.SeedSequence(self._seed, spawn_key=(STREAMS.index(stream), zlib.crc32(purpose.encode())))
