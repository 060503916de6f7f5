"""Pruning by magnitude: how much of each kernel becomes zero, which weights go together, and when."""

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import require
from edgedqn.compression.folding import kernels_of
from edgedqn.compression.methods.distillation import STEPS_PER_CALL, Distillation
from edgedqn.compression.methods.reinforcement import TdLearning
from edgedqn.compression.report import Findings
from edgedqn.compression.stage import CompressionContext, Stage, Student
from edgedqn.compression.tfmot import wrappers

Allocation = Literal["erk", "uniform"]


def allocate(shapes: Sequence[tuple[int, ...]], sparsity: float, *, allocation: Allocation) -> tuple[float, ...]:
    """The sparsity of each kernel, so that all of them together have `sparsity`.

    Args:
      shapes: (inputs, outputs) of each dense kernel, (height, width, inputs, outputs) of each convolutional one.
      sparsity: the share of zeros over all kernels, in [0, 1).
      allocation: `uniform` asks the same of each. `erk` gives each kernel a density in proportion to
        (inputs + outputs) / (inputs * outputs), or (inputs + outputs + height + width) / (inputs * outputs * height * width),
        at most 1: small kernels, through which everything passes, are spared.
    Source: Evci et al. (2020), "Rigging the lottery", Erdős-Rényi kernels; Graesser et al. (2022) for agents.
    """
    require(0 <= sparsity < 1, f"A sparsity is the share of zeros. Expected it in [0, 1). Got {sparsity}.")
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


def unprunable(shape: tuple[int, ...], structure: wrappers.Structure) -> str | None:
    """Why a kernel of this shape, (inputs, outputs) or (height, width, inputs, outputs), cannot have this structure, if so."""
    if structure == "unstructured":
        return None
    if len(shape) != 2:
        return "only Dense kernels can have a structure"
    outputs, inputs = (1, 4) if structure == "2:4" else structure
    if shape[0] % inputs or shape[1] % outputs:
        return f"{shape[0]} inputs and {shape[1]} outputs are no multiples of {inputs} and {outputs}"
    return None


@dataclass(frozen=True)
class Prune(Stage):
    """Sets the smallest weights to zero, more and more of them, while training goes on.

    Attributes:
      sparsity: the share of zeros over all kernels at the end, in (0, 1); of each pruned kernel with `2:4`, where it is 0.5.
        Where a share is given for each kernel, those decide.
      allocation: how it is spread over the layers: `erk`, `uniform`, or a share in [0, 1) for each kernel, in order.
      structure: `unstructured`; `2:4`, two of four neighbours; or a block (outputs, inputs), such as (1, 16).
      schedule: `polynomial` rises from zero; `constant` asks for all at once.
      begin, end: where pruning starts and where the final sparsity is reached, as shares of the training; after `end` the
        weights that are left recover. With `constant` the whole sparsity is asked for from `begin` on, and the masks may
        change to the end.
      learning: by distillation, or by going on with temporal-difference learning of Q-values.
    """

    sparsity: float
    _: KW_ONLY
    allocation: Allocation | tuple[float, ...] = "erk"
    learning: Distillation | TdLearning = Distillation(steps=4_000)
    structure: wrappers.Structure = "unstructured"
    schedule: Literal["polynomial", "constant"] = "polynomial"
    begin: float = 0.0
    end: float = 0.6
    name: ClassVar[str] = "prune"
    fixes_weights: ClassVar[bool] = True

    def __post_init__(self) -> None:
        structure, allocation = self.structure, self.allocation
        require(0 < self.sparsity < 1, f"A sparsity is the share of zeros. Expected it in (0, 1). Got {self.sparsity}.")
        given = (self.sparsity, allocation, self.schedule, self.begin)
        require(
            structure != "2:4" or given == (0.5, "uniform", "constant", 0.0),
            "2:4 keeps two of any four weights, and TF-MOT chooses them once. Expected sparsity=0.5, "
            f"allocation='uniform', schedule='constant' and begin=0. Got {given}.",
        )
        block = structure if isinstance(structure, tuple) else (1, 1)
        require(len(block) == 2 and min(block) >= 1, f"A block is (outputs, inputs), each 1 or more. Got {structure}.")
        require(isinstance(allocation, str | tuple), f"Expected an allocation by name, or a tuple of shares. Got {allocation}.")
        shares = allocation if isinstance(allocation, tuple) else ()
        require(all(0 <= each < 1 for each in shares), f"Expected an allocation of shares in [0, 1). Got {allocation}.")
        expected = "Pruning must begin before it ends. Expected 0 <= begin < end <= 1."
        require(0 <= self.begin < self.end <= 1, f"{expected} Got begin={self.begin} and end={self.end}.")

    def apply(self, student: Student, context: CompressionContext) -> tuple[Student, Findings]:
        asked, skipped = self._allocated([kernel.shape for kernel in kernels_of(student.network)])
        schedule = self._schedule(self.learning.planned_steps(context.teacher))
        wrapped = wrappers.wrap_for_pruning(student.network, asked, schedule=schedule, structure=self.structure)
        wrappers.reset_pruning(wrapped)
        tuned = self.learning.fine_tune(wrapped, student, context=context, label="prune", ready_after=schedule.final_step)
        network = wrappers.strip(wrapped, student.network)
        return replace(student, network=network, meaning=self.learning.meaning, pruned=True), Findings(
            allocation=self.allocation,
            structure=self.structure,
            sparsity_asked=asked,
            sparsity_reached=sparsity_of(kernels_of(network)),
            skipped=tuple(skipped),
            final_loss=tuned.final_loss,
            checkpoint=tuned.checkpoint,
        )

    def _schedule(self, steps: int) -> wrappers.Schedule:
        """In gradient steps. Masks change every 50; begin and end are rounded to that."""
        frequency = STEPS_PER_CALL
        steps = max(frequency, steps // frequency * frequency)
        begin = min(frequency * round(self.begin * steps / frequency), steps - frequency)
        if self.schedule == "constant":
            return wrappers.Schedule(begin, None, frequency)
        end = min(max(frequency * round(self.end * steps / frequency), begin + frequency), steps)
        return wrappers.Schedule(begin, end, frequency)

    def _allocated(self, shapes: list[tuple[int, ...]]) -> tuple[tuple[float, ...], list[str]]:
        """The sparsity of each kernel, and which are left alone and why."""
        if isinstance(self.allocation, tuple):
            expected = f"Expected an allocation of {len(shapes)} shares, one per kernel."
            require(len(self.allocation) == len(shapes), f"{expected} Got {len(self.allocation)}.")
            asked = self.allocation
        else:
            asked = allocate(shapes, self.sparsity, allocation=self.allocation)
        skipped = []
        for i, shape in enumerate(shapes):
            reason = unprunable(shape, self.structure)
            if reason:
                skipped.append(f"kernel {i}, {' x '.join(map(str, shape))}: {reason}")
                asked = (*asked[:i], 0.0, *asked[i + 1 :])
        return asked, skipped


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


def sparsity_of(kernels: list[NDArray[np.float32]]) -> tuple[float, ...]:
    """The share of zeros of each kernel, in [0, 1]."""
    return tuple(float((kernel == 0).mean()) for kernel in kernels)
