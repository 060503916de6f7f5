"""Reinforcement learning of a network that is rounded to int8 while it learns."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from edgedqn.agents.chain import ChainReader
from edgedqn.agents.playing.spec import EnvironmentSpec
from edgedqn.agents.reader import NetworkReader, Networks
from edgedqn.compression.folding import Weights
from edgedqn.compression.methods.distillation import FineTuned
from edgedqn.compression.methods.reinforcement import QNetwork, TdLearning
from edgedqn.compression.rounded_network import RoundedNetwork, rounded_kernel
from edgedqn.compression.rounding import Rounded
from edgedqn.compression.saturation import fake_quantized
from edgedqn.compression.stage import CompressionContext, Student, StudentPolicy, scaled_policy
from edgedqn.compression.tfmot import fake_quantization


def learn_rounded(
    learning: TdLearning, student: Student, rounded: Student, *, details: Rounded, context: CompressionContext
) -> tuple[FineTuned, Weights]:
    """Goes on learning with a rounded student: what it came to, and the rounded weights that played best.

    A rounded output cannot hold Q-values, only which action is how much better: 256 levels for the whole return leave none
    for the decision. So a Q-value is learned as a sum, of an output that is rounded and of the value of the state, which is the
    same for all actions, stays in float and is thrown away in the end. It begins as what the rounding took from all outputs.
    The output is learned as it is before its range cuts it off; a policy is played as its file will.

    Args:
      learning: how.
      student: as it was in float, of Q-values, its hidden neurons at equal ranges.
      rounded: the same as `round_student` made it.
      details: its integers. Scales and ranges stay while weights move from one multiple of their scale to another.
      context: the environment, and the generator.
    """
    limits = student.scaling.limits
    assert student.meaning == "q_values" and limits is not None, "a recipe refuses this: preferences are no values"
    quantized = rounded.quantization_aware(context.conversion)
    fake_quantization.set_rounding(
        quantized, rounded.network, weights=details.weights, scales=details.scales, ranges=details.ranges
    )
    outputs = fake_quantization.before_last_rounding(quantized)
    trunk = tf_keras.Model(rounded.network.input, rounded.network.layers[-1].input)  # in float, and does not learn
    head = [tf.Variable(array) for array in _common_value(student, rounded)]
    target = tf_keras.models.clone_model(rounded.network)
    target_head = [tf.Variable(array) for array in head]

    def q_values(x: tf.Tensor, training: bool) -> tf.Tensor:  # [B, ...] -> [B, A]
        return outputs(x) + trunk(x) @ head[0] + head[1]

    def target_outputs(x: tf.Tensor) -> tf.Tensor:  # the same on rounded numbers, but for the last
        ranges = iter(details.ranges[:-1])
        x = fake_quantized(x, limits)
        for layer in target.layers[1:]:
            x = layer(x)
            if layer.weights and layer is not target.layers[-1]:
                x = fake_quantized(x, next(ranges))
        return x

    def target_q_values(x: tf.Tensor, training: bool) -> tf.Tensor:  # [B, ...] -> [B, A]
        return target_outputs(x) + trunk(x) @ target_head[0] + target_head[1]

    networks = Networks(
        QNetwork(q_values, student.scaling, [*quantized.trainable_variables, *head]),
        QNetwork(target_q_values, student.scaling, [*target.trainable_variables, *target_head]),
        _RoundedReader(quantized, rounded, head=head, details=details, spec=context.teacher.spec),
    )
    learned, weights = learning.learn(networks, context, label="quantize")
    return learned, _on_scales(weights[:-2], details)


def _common_value(student: Student, rounded: Student) -> list[NDArray[np.float32]]:
    """What all outputs have lost: the kernel [H, 1] and bias [1] on the last hidden layer."""
    (*_, kernel, bias), (*_, kernel_after, bias_after) = student.network.get_weights(), rounded.network.get_weights()
    return [(kernel - kernel_after).mean(axis=1, keepdims=True), (bias - bias_after).mean(keepdims=True)]


class _RoundedReader(NetworkReader):
    """Of a network with fake quantization, and the head in float beside it."""

    acts_in_training = False

    def __init__(
        self,
        quantized: tf_keras.Model,
        rounded: Student,
        *,
        head: Sequence[tf.Variable],
        details: Rounded,
        spec: EnvironmentSpec,
    ):
        self._quantized, self._scaling, self._head = quantized, rounded.scaling, head
        self._details, self._shape, self.masked = details, spec.input_shape, spec.masked
        self._chain = ChainReader(rounded.network)
        self.n_actions = self._chain.n_actions

    def weights(self) -> list[tf.Tensor]:
        kernels = fake_quantization.rounded_kernels(self._quantized)
        biases = [wrapper.layer.bias for wrapper in self._quantized.layers if getattr(wrapper, "_weight_vars", ())]
        return [*(tensor for pair in zip(kernels, biases, strict=True) for tensor in pair), *self._head]

    def admissible(self, weights: Weights) -> Weights:
        return [*_on_scales(weights[:-2], self._details), *(array.copy() for array in weights[-2:])]

    def actor(self, weights: Weights) -> StudentPolicy:
        assert self._scaling.limits is not None
        network = RoundedNetwork(
            self._chain(weights[:-2]),
            self._shape,
            limits=self._scaling.limits,
            scales=self._details.scales,
            ranges=self._details.ranges,
        )
        return scaled_policy(network, self._scaling, masked=self.masked)


def _on_scales(weights: Weights, details: Rounded) -> Weights:
    """Kernels and biases in turn, the kernels rounded."""
    return [rounded_kernel(array, details.scales[i // 2]) if i % 2 == 0 else array.copy() for i, array in enumerate(weights)]
