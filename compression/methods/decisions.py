"""Fine-tuning of a rounded network towards its teacher's choices, which measures its own learning rate and length."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from edgedqn.agents.errors import require
from edgedqn.agents.learner import FusedLearner, adam
from edgedqn.agents.training.bars import tqdm
from edgedqn.compression.folding import InputScaling, in_batches
from edgedqn.compression.methods.distillation import STEPS_PER_CALL
from edgedqn.compression.preferences import median_action_gap
from edgedqn.compression.stage import CompressionContext, Student, q_values_of
from edgedqn.compression.tfmot import fake_quantization

HELD_OUT = 0.2  # of the states, the last ones: other episodes


@dataclass(frozen=True, kw_only=True)
class DecisionTuning:
    """How the choices of a rounded network are brought nearer to its teacher's.

    The loss is the Kullback-Leibler divergence between the softmax of the teacher's Q-values and that of the network's outputs.
    It does not see what all actions have in common.

    Attributes:
      rates: learning rates that are tried from the same start, for `steps` gradient steps each.
      steps: between two looks at the states that are held out; rounded up to a multiple of 50.
      patience: looks without a gain, after which it ends.
      most_steps: after these it ends, too.
      batch_size: states per gradient step.
      temperature: of the softmax, in median action gaps.
    """

    rates: tuple[float, ...] = (3e-6, 1e-5, 3e-5, 1e-4)
    steps: int = 250
    patience: int = 3
    most_steps: int = 10_000
    batch_size: int = 128
    temperature: float = 0.25

    def __post_init__(self) -> None:
        numbers = (self.steps, self.patience, self.most_steps, self.batch_size)
        require(min(numbers) >= 1, f"Expected steps, patience, most_steps and batch_size of 1 or more. Got {numbers}.")
        require(bool(self.rates) and min(self.rates) > 0, f"Expected learning rates above 0. Got {self.rates}.")
        require(self.temperature > 0, f"Expected a temperature above 0. Got {self.temperature}.")

    def tune(self, student: Student, states: NDArray[Any], *, context: CompressionContext) -> Student | None:
        """A tuned copy of a rounded student, on states [N, ...]; None where no learning rate improves on it.

        Raises:
          DivergedError: the loss or a weight became NaN or infinite.
        """
        assert student.quantized is not None
        network = student.quantization_aware(context.conversion)
        fake_quantization.copy_weights(student.quantized, network)
        split = int(len(states) * (1 - HELD_OUT))
        q_values = q_values_of(context.teacher, states) / (self.temperature * context.gap)  # [N, A]
        learned, held_out = (states[:split], q_values[:split]), (states[split:], q_values[split:])
        outputs = np.concatenate([student.network(student.scaling(batch)).numpy() for batch in in_batches(held_out[0])])
        unit = self.temperature * median_action_gap(outputs)  # preferences have another than Q-values

        def loss(x: tf.Tensor, target: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            error = _divergence(network(student.scaling.tensor(x), training=True) / unit, target)  # [B]
            return tf.reduce_mean(error), error

        variables = network.trainable_variables
        learner = FusedLearner(loss, variables, optimizer=adam(self.rates[0], variables))
        look = _held_out_loss(network, student.scaling, held_out, unit)
        rng = context.rng

        def learn(rate: float) -> float:
            learner.set_learning_rate(rate)
            for _ in range(-(-self.steps // STEPS_PER_CALL)):
                indices = rng.integers(split, size=(STEPS_PER_CALL, self.batch_size))  # [K, B]
                learner.learn(learned[0][indices], learned[1][indices])
                bar.update(STEPS_PER_CALL)
            return look()

        start, least = network.get_weights(), look()
        tried: list[tuple[float, float]] = []
        with tqdm(total=self.most_steps, desc="fine-tune", unit=" steps", disable=None, leave=False) as bar:
            for rate in self.rates:
                tried.append((learn(rate), rate))
                network.set_weights(start)
                learner.restart()
            if min(tried)[0] >= least:
                return None
            rate, best, since, steps = min(tried)[1], start, 0, 0
            while since < self.patience and steps < self.most_steps:
                reached = learn(rate)
                steps += self.steps
                since += 1
                if reached < least:
                    least, best, since = reached, network.get_weights(), 0
        if best is start:
            return None
        network.set_weights(best)
        settled = fake_quantization.settle(network, student.network, keep_zeros=student.pruned, per_output=student.per_output)
        return replace(student, quantized=settled)


def _divergence(output: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """KL(softmax(target) || softmax(output)): [B, A], [B, A] -> [B]."""
    log_target = tf.nn.log_softmax(target)  # [B, A]
    return tf.reduce_sum(tf.exp(log_target) * (log_target - tf.nn.log_softmax(output)), axis=-1)


def _held_out_loss(
    network: tf_keras.Model, scaling: InputScaling, held_out: tuple[NDArray[Any], NDArray[np.float32]], unit: float
) -> Callable[[], float]:
    """A function that says how the network does, as it is then, on states [N, ...] with Q-values [N, A]."""

    @tf.function  # type: ignore[untyped-decorator] # TensorFlow ships no types
    def total(x: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(_divergence(network(scaling.tensor(x), training=False) / unit, target))

    def look() -> float:
        sums = [float(total(x, target)) for x, target in zip(*map(in_batches, held_out), strict=True)]
        return sum(sums) / len(held_out[0])

    return look
