"""The input's scale for int8, folded into the first layer."""

from dataclasses import dataclass, replace
from typing import ClassVar

from edgedqn.compression.context import CompressionContext
from edgedqn.compression.folding import InputScaling, fold_input_scaling, pads_input
from edgedqn.compression.report import Findings
from edgedqn.compression.stage import Stage
from edgedqn.compression.student import Student


@dataclass(frozen=True)
class ScaleInput(Stage):
    """Gives the input a scale for int8, each feature or channel its own, and folds that into the first layer."""

    name: ClassVar[str] = "scale_input"

    def apply(self, student: Student, context: CompressionContext) -> tuple[Student, Findings]:
        observations = context.teacher.observations
        scaling = InputScaling.fitting(context.teacher.spec, observations, pads=pads_input(student.network))
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
