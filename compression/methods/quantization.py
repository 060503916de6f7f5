"""Rounding to int8: by quantization-aware training, or of the weights as they are."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import tf_keras
from numpy.typing import NDArray

from edgedqn.agents.errors import require
from edgedqn.compression.comparing import round_compared
from edgedqn.compression.folding import InputScaling, in_batches, kernels_of
from edgedqn.compression.methods.clustering import clusters_of
from edgedqn.compression.methods.distillation import Distillation
from edgedqn.compression.methods.pruning import sparsity_of
from edgedqn.compression.methods.reinforcement import TdLearning
from edgedqn.compression.methods.rounded_learning import learn_rounded
from edgedqn.compression.policy import FLOAT_OUTPUT
from edgedqn.compression.report import Findings
from edgedqn.compression.rewriting import Batches, with_balanced_ranges, without_common_value
from edgedqn.compression.rounding import Rounded, round_network
from edgedqn.compression.saturation import lost_choices, output_ranges
from edgedqn.compression.stage import CompressionContext, Stage, Student
from edgedqn.compression.tfmot import fake_quantization

# Longer than in float: a rounded weight moves by whole steps, after its gradients have added up to one.
QUANTIZING = Distillation(steps=8_000, learning_rate=5e-4)
SHARES = (0.0, 0.4)  # see `with_balanced_ranges`: the first suits most MLPs, the second convolutions
TRIED_STATES = 5_000  # that a share is tried on, and as many that it is judged on
ROUNDING_STATES = 20_000  # that weights are rounded on, before reinforcement learning


@dataclass(frozen=True)
class QuantizeAware(Stage):
    """Rounds weights and activations to int8 in the forward pass and trains around it; zeros and clusters are kept.

    TF-MOT keeps the clusters of a convolution filter by filter, as int8 scales them: each filter moves its values by itself.

    Reinforcement learning starts from what `round_student` makes, and the best of what it goes through is taken, that start
    included.
    """

    learning: Distillation | TdLearning = QUANTIZING
    name: ClassVar[str] = "quantize_aware"
    rounds_to_int8: ClassVar[bool] = True

    def apply(self, student: Student, context: CompressionContext) -> tuple[Student, Findings]:
        if isinstance(self.learning, TdLearning):
            assert not student.clustered, "a recipe refuses this"
            states = context.teacher_states(ROUNDING_STATES)
            student = at_balanced_ranges(student, states, context=context)
            rounded, details = round_student(student, states, context=context)
            return reinforce(self.learning, student, rounded, details=details, context=context)
        quantized = student.quantization_aware(context.conversion)
        fake_quantization.start_ranges(quantized, student.network, inputs=student.inputs())
        tuned = self.learning.fine_tune(quantized, student, context=context, label="quantize")
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
            final_loss=tuned.final_loss,
        )


@dataclass(frozen=True)
class RoundWeights(Stage):
    """Rounds the kernels alone, to int8 with one scale per output, so that their errors cancel: for a conversion whose
    activations are fine enough. Nothing is trained.

    Attributes:
      states: gathered from the teacher at epsilon 0.05, besides its own observations.
    """

    states: int = 40_000
    name: ClassVar[str] = "round_weights"

    def __post_init__(self) -> None:
        require(self.states >= 1, f"Expected states of 1 or more. Got {self.states}.")

    def apply(self, student: Student, context: CompressionContext) -> tuple[Student, Findings]:
        inputs = _inputs(student.scaling, context.teacher_states(self.states))
        student = student.with_weights(without_common_value(student.network, inputs, keep_zeros=student.pruned))
        rounded = round_network(student.network, inputs, limits=None, keep_zeros=student.pruned)
        return replace(student.with_weights(rounded.weights), meaning="preferences"), Findings()


def round_student(
    student: Student, states: NDArray[Any], *, context: CompressionContext, per_output: bool = True
) -> tuple[Student, Rounded]:
    """Rounds a student and trains nothing, on states [N, ...]: the student that it becomes, whose plain network
    is the same in float but for what all outputs had in common, and the integers. Its input is scaled, and its hidden neurons
    are balanced already.
    """

    limits, inputs = student.scaling.limits, _inputs(student.scaling, states)
    assert limits is not None, "a recipe scales the input first"
    student = student.with_weights(without_common_value(student.network, inputs, keep_zeros=student.pruned))
    float_output = context.conversion == FLOAT_OUTPUT
    rounded = round_network(
        student.network,
        inputs,
        limits=limits,
        per_output=per_output,
        keep_zeros=student.pruned,
        float_output=float_output,
        ranges_of=partial(output_ranges, legal=context.teacher.spec.legal_in(states)),
    )
    student = replace(student, meaning="preferences", per_output=per_output)
    return replace(student, quantized=_rounded_network(student, rounded, float_output=float_output)), rounded


def widen(rounded: Student, details: Rounded) -> tuple[Student, Rounded] | None:
    """What `round_student` made, with an output as wide as its choices need, whatever ties that makes; None where it is so."""
    wide = details.widened()
    return (replace(rounded, quantized=_rounded_network(rounded, wide)), wide) if wide else None


def compare(student: Student, states: NDArray[Any], *, context: CompressionContext, per_output: bool = True) -> Student:
    """Rounds a student, as `round_student` does, with two layers in the place of the last one that compare its outputs."""
    limits = student.scaling.limits
    assert limits is not None, "a recipe scales the input first"
    network, rounded = round_compared(
        student.network,
        _inputs(student.scaling, states),
        limits=limits,
        per_output=per_output,
        legal=context.teacher.spec.legal_in(states),
    )
    student = replace(student, network=network, meaning="preferences", per_output=per_output)
    return replace(student, quantized=_rounded_network(student, rounded))


def reinforce(
    learning: TdLearning, student: Student, rounded: Student, *, details: Rounded, context: CompressionContext
) -> tuple[Student, Findings]:
    """Goes on learning by playing with what `round_student` made of a student of Q-values: the best of what it goes through,
    that start included."""
    learned, weights = learn_rounded(learning, student, rounded, details=details, context=context)
    settled = _rounded_network(rounded, replace(details, weights=weights))
    return replace(rounded, quantized=settled), Findings(
        keep_zeros=student.pruned,
        keep_clusters=False,
        sparsity_reached=sparsity_of(kernels_of(settled)),
        final_loss=learned.final_loss,
        checkpoint=learned.checkpoint,
    )


def at_balanced_ranges(student: Student, states: NDArray[Any], *, context: CompressionContext) -> Student:
    """The same student, its hidden neurons scaled so that rounding does least harm.

    It is scaled by each share of `SHARES`, rounded on some of the states [N, ...], and compared with itself on others.
    """
    inputs, every = _inputs(student.scaling, states), -(-len(states) // TRIED_STATES)
    tried, held_out = states[::every], states[every // 2 :: every]
    wanted = _outputs(student.network, student.scaling, held_out)

    def lost(candidate: Student) -> tuple[float, float]:
        rounded, _ = round_student(candidate, tried, context=context)
        return lost_choices(_outputs(rounded.quantized, student.scaling, held_out), wanted)

    return min((student.with_weights(with_balanced_ranges(student.network, inputs, share=share)) for share in SHARES), key=lost)


def _outputs(network: tf_keras.Model, scaling: InputScaling, states: NDArray[Any]) -> NDArray[np.float32]:
    """[N, A]."""
    return np.concatenate([network(batch, training=False).numpy() for batch in _inputs(scaling, states)()])


def _inputs(scaling: InputScaling, states: NDArray[Any]) -> Batches:
    return lambda: map(scaling, in_batches(states))


def _rounded_network(student: Student, rounded: Rounded, *, float_output: bool = False) -> tf_keras.Model:
    """The student's network with fake quantization, of these integers."""
    quantized = fake_quantization.quantization_aware(
        student.network, student.scaling.limits, per_output=student.per_output, float_output=float_output
    )
    fake_quantization.set_rounding(
        quantized, student.network, weights=rounded.weights, scales=rounded.scales, ranges=rounded.ranges
    )
    return quantized
