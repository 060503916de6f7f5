"""Few distinct weights per kernel: each is stored as an index into a short list of values."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import require
from edgedqn.compression.folding import kernels_of
from edgedqn.compression.methods.distillation import Distillation
from edgedqn.compression.methods.pruning import sparsity_of
from edgedqn.compression.methods.reinforcement import TdLearning
from edgedqn.compression.report import Findings
from edgedqn.compression.stage import CompressionContext, Stage, Student
from edgedqn.compression.tfmot import wrappers


@dataclass(frozen=True)
class Cluster(Stage):
    """Lets each kernel have few distinct values, which training goes on to move. Zeros of a pruned student stay, and a kernel
    that has no more values already stays as it is.

    Attributes:
      clusters: distinct values of a kernel, 2 or more.
    """

    clusters: int = 16
    learning: Distillation | TdLearning = Distillation(steps=500, learning_rate=5e-4)
    name: ClassVar[str] = "cluster"
    fixes_weights: ClassVar[bool] = True

    def __post_init__(self) -> None:
        expected = "One value for all weights is no network. Expected clusters of 2 or more."
        require(self.clusters >= 2, f"{expected} Got {self.clusters}.")

    def apply(self, student: Student, context: CompressionContext) -> tuple[Student, Findings]:
        distinct = [len(np.unique(kernel)) for kernel in kernels_of(student.network)]
        chosen = [count > self.clusters for count in distinct]
        clustered, tuned = replace(student, clustered=True), None
        if any(chosen):
            wrapped = wrappers.wrap_for_clustering(student.network, chosen, clusters=self.clusters, keep_zeros=student.pruned)
            tuned = self.learning.fine_tune(wrapped, student, context=context, label="cluster", ready_after=1)
            network = wrappers.strip(wrapped, student.network)
            clustered = replace(clustered, network=network, meaning=self.learning.meaning)
        kernels = kernels_of(clustered.network)
        few = [(i, count) for i, count in enumerate(distinct) if count <= self.clusters]
        return clustered, Findings(
            clusters_asked=self.clusters,
            clusters_reached=clusters_of(kernels),
            sparsity_reached=sparsity_of(kernels),
            skipped=tuple(f"kernel {i} has {count} values already and stays as it is" for i, count in few),
            final_loss=tuned and tuned.final_loss,
            checkpoint=tuned and tuned.checkpoint,
        )


def clusters_of(kernels: list[NDArray[np.float32]], *, per_filter: bool = False) -> tuple[int, ...]:
    """How many distinct values each kernel has; with `per_filter`, of a convolution the filter that has most."""
    return tuple(
        max(len(np.unique(kernel[..., i])) for i in range(kernel.shape[-1]))
        if per_filter and kernel.ndim == 4
        else len(np.unique(kernel))
        for kernel in kernels
    )
