"""A model to import, and what a reader makes of damaged files: bad input or a reading, and nothing else."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tf_keras

from edgedqn.agents.errors import InputError


@pytest.fixture
def saved(tmp_path: Path) -> Any:
    """A model for CartPole that pushes to the side where the pole falls."""
    model = tf_keras.Sequential([tf_keras.Input((4,)), tf_keras.layers.Dense(4, "relu"), tf_keras.layers.Dense(2)])
    lean = np.array([0, 0, 1, 0.5], np.float32)
    kernel = np.stack([lean, -lean, 0 * lean, 0 * lean], axis=1)
    model.set_weights([kernel, np.zeros(4), np.array([[-1, 1], [1, -1], [0, 0], [0, 0]]), np.zeros(2)])
    model.save(tmp_path / "mine.keras")
    return tmp_path / "mine.keras"


@pytest.fixture(scope="session")
def outcomes() -> Callable[..., dict[str, int]]:
    return _outcomes


def _outcomes(read: Callable[[bytes], Any], content: bytes, count: int) -> dict[str, int]:
    """How many mutants were read and refused. Raises whatever is no InputError, or one of several lines."""
    found = {"read": 0, "refused": 0}
    for mutant in _mutants(content, count):
        try:
            read(mutant)
            found["read"] += 1
        except InputError as error:
            assert "\n" not in str(error) and len(str(error)) < 1500, str(error)
            found["refused"] += 1
    return found


def _mutants(content: bytes, count: int) -> Iterator[bytes]:
    """The content with one to seven bytes changed, or a piece cut out or doubled."""
    rng = np.random.default_rng(0)
    for i in range(count):
        damaged = bytearray(content)
        at, length = int(rng.integers(len(content))), int(rng.integers(1, 64))
        if i % 8 == 6:
            del damaged[at : at + length]
        elif i % 8 == 7:
            damaged[at:at] = damaged[at : at + length]
        else:
            for place in rng.integers(len(content), size=rng.integers(1, 8)):
                damaged[place] = rng.integers(256) if i % 2 else damaged[place] ^ (1 << rng.integers(8))
        yield bytes(damaged)
