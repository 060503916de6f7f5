"""Quantization-aware training: the stages that round a student to int8, once or until the gate passes."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgedqn.agents.errors import InputError, require
from edgedqn.compression import fake_quantization
from edgedqn.compression.folding import kernels_of
from edgedqn.compression.methods.clustering import clusters_of
from edgedqn.compression.methods.distillation import Distillation, final_loss
from edgedqn.compression.methods.pruning import sparsity_of
from edgedqn.compression.methods.reinforcement import TdLearning
from edgedqn.compression.report import Attempt, Findings, Judgement
from edgedqn.compression.stage import CompressionContext, Stage, Student

# Longer than in float: a rounded weight moves by whole steps, after its gradients have added up to one.
QUANTIZING = Distillation(steps=8_000, learning_rate=5e-4)


@dataclass(frozen=True)
class QuantizeAware(Stage):
    """Rounds weights and activations to int8 in the forward pass and trains around it; zeros and clusters are kept.

    TF-MOT keeps the clusters of a convolution filter by filter, as int8 scales them: each filter moves its values by itself.
    """

    learning: Distillation | TdLearning = QUANTIZING
    name: ClassVar[str] = "quantize_aware"
    rounds_to_int8: ClassVar[bool] = True

    def apply(self, student: Student, context: CompressionContext) -> tuple[Student, Findings]:
        quantized = fake_quantization.quantization_aware(
            student.network, student.scaling.limits, keep_zeros=student.pruned, keep_clusters=student.clustered
        )
        fake_quantization.start_ranges(quantized, student.network, inputs=student.inputs())
        losses = self.learning.fine_tune(quantized, student, context=context, label="quantize")
        settled = fake_quantization.settle(quantized, student.network, keep_zeros=student.pruned)
        batch = next(student.inputs())
        equal = np.allclose(settled(batch, training=False), quantized(batch, training=False), atol=1e-4)
        require(equal, "TF-MOT lost zeros of kernels with clusters. Expected fewer clusters, or more zeros in each.")
        kernels = kernels_of(settled)
        return replace(student, quantized=settled, meaning=self.learning.meaning), Findings(
            keep_zeros=student.pruned,
            keep_clusters=student.clustered,
            sparsity_reached=sparsity_of(kernels),
            clusters_reached=clusters_of(kernels, per_filter=True) if student.clustered else None,
            final_loss=final_loss(losses),
        )


@dataclass(frozen=True)
class QuantizeJudged(Stage):
    """`QuantizeAware`, and again from the same student with other minibatches until the gate passes.

    Two networks that agree with their teacher equally well may differ in return by as much as the gate allows: LunarLander-v3,
    one teacher, the same training, 93 % by gap: 249 and 258.

    Attributes:
      attempts: how many are judged at most; the one that loses least is returned as it was judged. Without a judge, the first
        one is, and the report says so.
      learning: of each.
    """

    attempts: int = 3
    learning: Distillation = QUANTIZING
    name: ClassVar[str] = "quantize_judged"
    rounds_to_int8: ClassVar[bool] = True
    asks_gate: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require(self.attempts >= 1, f"Expected attempts of 1 or more. Got {self.attempts}.")

    def apply(self, student: Student, context: CompressionContext) -> tuple[Student, Findings]:
        if context.judge is None:
            rounded, findings = QuantizeAware(self.learning).apply(student, context)
            return rounded, replace(findings, skipped=("the gate: there is no judge to play files, so the first was taken",))
        tried: list[tuple[Judgement, Student, Findings]] = []
        for _ in range(self.attempts):
            rounded, findings, judgement = round_and_judge(student, context, quantizing=self.learning)
            tried.append((judgement, rounded, findings))
            if judgement.verdict == "pass" or judgement.agent_is_no_better_than_random:
                break
        judgements = [judgement for judgement, _, _ in tried]
        passed = judgements[-1].verdict == "pass"
        chosen = len(tried) - 1 if passed else min(range(len(tried)), key=lambda i: judgements[i].loss)
        _, best, findings = tried[chosen]
        attempts = tuple(Attempt(judgement=judgement) for judgement in judgements)
        return best, replace(findings, passed=passed, chosen=chosen, attempts=attempts)


def round_and_judge(
    candidate: Student, context: CompressionContext, *, quantizing: Distillation
) -> tuple[Student, Findings, Judgement]:
    """Rounds a candidate by quantization-aware training and has its file played. Raises InputError without a judge."""
    rounded, findings = QuantizeAware(quantizing).apply(candidate, context)
    if context.judge is None:
        raise InputError("A search plays its candidates as files. Expected a judge. Got none.")
    policy = rounded.as_compressed(context.teacher, conversion=context.conversion, recipe="candidate")
    return rounded, findings, context.judge(policy)
