"""The stages that round a student to int8: once, or until the gate passes."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgedqn.agents.errors import InputError
from edgedqn.compression import tfmot
from edgedqn.compression.folding import kernels_of
from edgedqn.compression.judge import Judgement
from edgedqn.compression.methods.distillation import Distillation
from edgedqn.compression.methods.fine_tuning import clusters_of, final_loss, fine_tune, meaning_after, sparsity_of
from edgedqn.compression.methods.reinforcement import TdLearning
from edgedqn.compression.student import Lesson, Report, Student

# Longer than a float lesson: rounded weights move in steps, and wait for their gradients to add up to one.
QUANTIZING = Distillation(steps=8_000, learning_rate=5e-4)


@dataclass(frozen=True)
class QuantizeAware:
    """Rounds weights and activations to int8 in the forward pass, lets the student learn around it, keeps zeros and clusters.

    TF-MOT keeps the clusters of a convolution filter by filter, as int8 scales them: each filter moves its values by itself.
    """

    learning: Distillation | TdLearning = QUANTIZING
    name: ClassVar[str] = "quantize_aware"
    rounds_to_int8: ClassVar[bool] = True

    def apply(self, student: Student, lesson: Lesson) -> tuple[Student, Report]:
        quantized = tfmot.quantization_aware(student.network, student.scaling.limits, student.pruned, student.clustered)
        tfmot.start_ranges(quantized, student.network, student.inputs())
        losses = fine_tune(quantized, student, lesson, self.learning, "quantize")
        settled = tfmot.settle(quantized, student.network, student.pruned)
        batch = next(student.inputs())
        if not np.allclose(settled(batch, training=False), quantized(batch, training=False), atol=1e-4):
            raise InputError("TF-MOT lost zeros of kernels with clusters. Expected fewer clusters, or more zeros in each.")
        kernels = kernels_of(settled)
        report = {
            "keep_zeros": student.pruned,
            "keep_clusters": student.clustered,
            "sparsity_reached": sparsity_of(kernels),
            "clusters_reached": clusters_of(kernels, per_filter=True) if student.clustered else None,
            "final_loss": final_loss(losses),
        }
        return replace(student, quantized=settled, meaning=meaning_after(self.learning)), report


@dataclass(frozen=True)
class QuantizeJudged:
    """`QuantizeAware`, and again from the same student with other minibatches until the gate passes.

    Two networks that agree with their teacher equally well may differ in return by as much as the gate allows: LunarLander-v3,
    one teacher, the same lessons, 93 % by gap: 249 and 258.

    Attributes:
      attempts: how many are judged at most; the one that loses least is handed on as it was judged. Where there is no judge,
        the first is, and the report says so.
      learning: of each.
    """

    attempts: int = 3
    learning: Distillation = QUANTIZING
    name: ClassVar[str] = "quantize_judged"
    rounds_to_int8: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise InputError(f"Expected attempts of 1 or more. Got {self.attempts}.")

    def apply(self, student: Student, lesson: Lesson) -> tuple[Student, Report]:
        quantize = QuantizeAware(self.learning)
        if lesson.judge is None:
            rounded, report = quantize.apply(student, lesson)
            return rounded, {**report, "skipped": ["the gate: nobody is there to play files, so the first was taken"]}
        tried: list[tuple[Judgement, Student, Report]] = []
        for _ in range(self.attempts):
            rounded, report = quantize.apply(student, lesson)
            judgement = judgement_of(rounded, lesson)
            tried.append((judgement, rounded, report))
            if judgement.verdict == "pass" or judgement.nothing_to_lose:
                break
        judgements = [judgement for judgement, _, _ in tried]
        passed = judgements[-1].verdict == "pass"
        chosen = len(tried) - 1 if passed else min(range(len(tried)), key=lambda i: judgements[i].loss)
        _, best, report = tried[chosen]
        attempts = [judgement.to_json() for judgement in judgements]
        return best, {**report, "passed": passed, "chosen": chosen, "attempts": attempts}


def judgement_of(rounded: Student, lesson: Lesson) -> Judgement:
    """What the judge says of a rounded student.

    Raises:
      InputError: there is no judge.
    """
    if lesson.judge is None:
        raise InputError("A search plays its candidates as files. Expected a judge. Got none.")
    teacher = lesson.teacher
    return lesson.judge(rounded.as_compressed(teacher.spec, teacher.observations, lesson.conversion, "candidate"))
