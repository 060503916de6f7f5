"""The simplest sparsity: small weights become zero, once, without training."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgedqn.agents.errors import require
from edgedqn.compression.context import CompressionContext
from edgedqn.compression.folding import kernels_of
from edgedqn.compression.methods.pruning import sparsity_of
from edgedqn.compression.report import Findings
from edgedqn.compression.stage import Stage
from edgedqn.compression.student import Student


@dataclass(frozen=True)
class Threshold(Stage):
    """Sets all weights of a small magnitude to zero, once, and trains nothing.

    Attributes:
      value: weights of a magnitude below it become zero, >= 0.
    """

    value: float = 0.05
    name: ClassVar[str] = "threshold"
    fixes_weights: ClassVar[bool] = True

    def __post_init__(self) -> None:
        expected = "A threshold is a magnitude. Expected a finite number of 0 or more."
        require(0 <= self.value < np.inf, f"{expected} Got {self.value}.")

    def apply(self, student: Student, context: CompressionContext) -> tuple[Student, Findings]:
        weights = [
            np.where(np.abs(array) < self.value, 0, array).astype(np.float32) if array.ndim > 1 else array
            for array in student.network.get_weights()
        ]
        thinned = replace(student.with_weights(weights), pruned=True)
        return thinned, Findings(sparsity_reached=sparsity_of(kernels_of(thinned.network)))
