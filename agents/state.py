"""What is saved of a training, and how the parts of a state are told apart by a prefix of their names."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]
State = tuple[Arrays, dict[str, Any]]  # arrays by name, and JSON
Weights = list[NDArray[np.float32]]  # of a network, in the order of its `get_weights()`


def prefixed(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    """`arrays`, each name after `prefix` and an underscore."""
    return {f"{prefix}_{name}": array for name, array in arrays.items()}


def under(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    """What `prefixed` put there, under its own names."""
    start = f"{prefix}_"
    return {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}
