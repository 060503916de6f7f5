"""Which weights go: how much of each layer, and when."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgedqn.agents.errors import InputError

Allocation = Literal["erk", "uniform"]
# Which weights go together: each by itself; two of four neighbours along the inputs; or blocks of (outputs, inputs), as the
# `.tflite` stores a kernel, of which one by sixteen is what its sparse encoding knows.
Structure = Literal["unstructured", "2:4"] | tuple[int, int]


@dataclass(frozen=True)
class PolynomialSchedule:
    """Sparsity rises from 0 along a cubic: quickly while there is much to lose, slowly at the end.

    Attributes:
      begin_step: gradient step of the first pruning, >= 0.
      end_step: gradient step at which the final sparsity is reached, > begin_step.
      frequency: gradient steps between two updates of the masks; divides end_step - begin_step, because TF-MOT prunes only
        at begin_step + i * frequency and would otherwise miss the end.
      power: of the polynomial, > 0.
    Source: Zhu and Gupta (2017), "To prune, or not to prune".
    """

    begin_step: int
    end_step: int
    frequency: int = 50
    power: float = 3.0

    def __post_init__(self) -> None:
        if not 0 <= self.begin_step < self.end_step:
            raise InputError(
                "Pruning must begin before it ends. Expected 0 <= begin_step < end_step. "
                f"Got begin_step={self.begin_step} and end_step={self.end_step}."
            )
        if self.frequency < 1 or (self.end_step - self.begin_step) % self.frequency:
            raise InputError(
                "The last update of the masks must fall on end_step. Expected a frequency that divides "
                f"{self.end_step - self.begin_step}. Got frequency={self.frequency}."
            )
        if not self.power > 0:
            raise InputError(f"Expected a power above 0. Got {self.power}.")

    def sparsity_at(self, step: int, final_sparsity: float) -> float:
        """The sparsity asked for at a gradient step."""
        progress = min(max((step - self.begin_step) / (self.end_step - self.begin_step), 0.0), 1.0)
        return final_sparsity * (1 - (1 - progress) ** self.power)


@dataclass(frozen=True)
class ConstantSchedule:
    """The final sparsity at once, and again at each update: weights may come back and others go.

    Attributes:
      begin_step: gradient step of the first pruning, >= 0.
      frequency: gradient steps between two updates of the masks.
    """

    begin_step: int = 0
    frequency: int = 50

    def __post_init__(self) -> None:
        if self.begin_step < 0 or self.frequency < 1:
            raise InputError(
                f"Expected begin_step of 0 or more and a frequency of 1 or more. Got {self.begin_step} and {self.frequency}."
            )

    def sparsity_at(self, step: int, final_sparsity: float) -> float:
        """The sparsity asked for at a gradient step."""
        return final_sparsity if step >= self.begin_step else 0.0


Schedule = PolynomialSchedule | ConstantSchedule


def allocate(shapes: Sequence[tuple[int, ...]], sparsity: float, allocation: Allocation) -> tuple[float, ...]:
    """The sparsity of each kernel, so that all of them together have `sparsity`.

    Args:
      shapes: (inputs, outputs) of each dense kernel, (height, width, inputs, outputs) of each convolutional one.
      sparsity: the share of zeros over all kernels, in [0, 1).
      allocation: `uniform` asks the same of each. `erk` gives each kernel a density in proportion to
        (inputs + outputs) / (inputs * outputs), or (inputs + outputs + height + width) / (inputs * outputs * height * width),
        at most 1: small kernels, through which everything passes, are spared.
    Source: Evci et al. (2020), "Rigging the lottery", Erdős-Rényi kernels; Graesser et al. (2022) for agents.
    """
    if not 0 <= sparsity < 1:
        raise InputError(f"A sparsity is the share of zeros. Expected it in [0, 1). Got {sparsity}.")
    if allocation == "uniform":
        return (sparsity,) * len(shapes)
    sizes = np.array([math.prod(shape) for shape in shapes], np.float64)  # [L]
    raw = np.array([sum(shape) for shape in shapes]) / sizes  # [L]
    kept = (1 - sparsity) * sizes.sum()
    dense = np.zeros(len(shapes), bool)
    while True:
        # Kernels that would be more than dense are dense; the others share what is left to keep.
        factor = (kept - sizes[dense].sum()) / (raw * sizes)[~dense].sum() if not dense.all() else 0.0
        density = np.where(dense, 1.0, factor * raw)
        if (density <= 1).all():
            return tuple((1 - density).tolist())
        dense |= density > 1


def unprunable(shape: tuple[int, ...], structure: Structure) -> str | None:
    """Why a kernel of this shape, (inputs, outputs) or (height, width, inputs, outputs), cannot have this structure, if so."""
    if structure == "unstructured":
        return None
    if len(shape) != 2:
        return "only Dense kernels can have a structure"
    outputs, inputs = (1, 4) if structure == "2:4" else structure
    if shape[0] % inputs or shape[1] % outputs:
        return f"{shape[0]} inputs and {shape[1]} outputs are no multiples of {inputs} and {outputs}"
    return None
