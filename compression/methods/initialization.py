"""What a student begins with: a scaled input, or fresh weights in place of the teacher's, in its own network or another."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from edgedqn.agents.errors import require
from edgedqn.compression.folding import HEADROOM, InputScaling, fold_input_scaling, pads_input
from edgedqn.compression.networks import fresh, resized, widths
from edgedqn.compression.report import Findings, NetworkSize
from edgedqn.compression.stage import CompressionContext, Stage, Student


@dataclass(frozen=True)
class ScaleInput(Stage):
    """Gives the input a scale for int8, each feature or channel its own, and folds that into the first layer.

    Attributes:
      headroom: of what is measured: how much wider the range is than that of the agent's play, as a share of it at each end,
        >= 0. A network that goes on learning by playing sees more than the agent did.
    """

    headroom: float = field(default=HEADROOM, metadata={"later": True})
    name: ClassVar[str] = "scale_input"

    def __post_init__(self) -> None:
        require(0 <= self.headroom < np.inf, f"Expected a finite headroom of 0 or more. Got {self.headroom}.")

    def apply(self, student: Student, context: CompressionContext) -> tuple[Student, Findings]:
        observations = context.teacher.observations
        pads = pads_input(student.network)
        scaling = InputScaling.fitting(context.teacher.spec, observations, pads=pads, headroom=self.headroom)
        scaled = student.with_weights(fold_input_scaling(student.network.get_weights(), scaling))
        assert scaling.limits is not None
        features = list(zip(scaling.scale, scaling.offset, strict=True))
        lowest, highest = (tuple((limit - offset) / scale for scale, offset in features) for limit in scaling.limits)
        return replace(scaled, scaling=scaling), Findings(
            scale=scaling.scale,
            offset=scaling.offset,
            lowest=lowest,
            highest=highest,
            clipped_fraction=scaling.clipped_fraction(observations),
        )


@dataclass(frozen=True)
class Restart(Stage):
    """Draws all weights anew, for training that prunes or rounds from its first step on."""

    name: ClassVar[str] = "restart"

    def apply(self, student: Student, context: CompressionContext) -> tuple[Student, Findings]:
        return replace(student, network=fresh(student.network, context.rng)), Findings()


@dataclass(frozen=True)
class NewStudent(Stage):
    """A network of given widths with fresh weights in place of the teacher's; a later stage trains it.

    Attributes:
      hidden: widths of its hidden dense layers; none makes a linear policy.
      filters: of each convolution, where the teacher has any; a quarter of the teacher's by default.
    """

    hidden: tuple[int, ...] = (32, 32)
    filters: tuple[int, ...] | None = None
    name: ClassVar[str] = "new_student"

    def __post_init__(self) -> None:
        given = f"hidden={self.hidden} and filters={self.filters}"
        require(min([1, *self.hidden, *(self.filters or ())]) == 1, f"Expected widths of 1 or more. Got {given}.")

    def apply(self, student: Student, context: CompressionContext) -> tuple[Student, Findings]:
        quarter = tuple(max(1, count // 4) for count in widths(student.network)[0])
        filters = quarter if self.filters is None else self.filters
        network = fresh(resized(student.network, filters=filters, hidden=self.hidden), context.rng)
        return replace(student, network=network), Findings(size=NetworkSize(filters, self.hidden))
