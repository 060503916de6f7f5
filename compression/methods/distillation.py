"""Policy distillation: a student learns which actions its teacher prefers, and by how much.

Source: Rusu et al. (2015), "Policy distillation"; Ross et al. (2011) for learning on the states the student visits.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray
from tqdm import tqdm

from edgedqn.agents.errors import InputError
from edgedqn.agents.learner import FusedLearner, adam
from edgedqn.compression import tfmot
from edgedqn.compression.folding import InputScaling, Weights

STEPS_PER_CALL = 50

TargetKind = Literal["clipped_gaps", "advantages", "q_values", "one_hot"]
Loss = Literal["kl_and_square", "kl", "square", "cross_entropy"]


@dataclass(frozen=True)
class Targets:
    """What a student is to say of a state.

    Attributes:
      kind: `clipped_gaps`, see `clipped_action_gaps`; `advantages`, the same without clipping; `q_values`, the teacher's own in
        the same unit; `one_hot`, 1 for the teacher's action and -1 for all others.
      width: what falls from 1 to -1, in units of the teacher's median action gap, > 0.
    """

    kind: TargetKind = "clipped_gaps"
    width: float = 2.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(TargetKind):
            raise InputError(f"Expected targets of a kind in {', '.join(get_args(TargetKind))}. Got {self.kind!r}.")
        if not self.width > 0:
            raise InputError(f"Expected a clipping width above 0. Got {self.width}.")

    def __call__(self, q_values: NDArray[np.float32], gap: float) -> NDArray[np.float32]:
        """Q-values [N, A] and the unit, > 0 -> float32 [N, A]."""
        best = q_values.max(axis=1, keepdims=True)  # [N, 1]
        match self.kind:
            case "clipped_gaps":
                return clipped_action_gaps(q_values, gap, self.width)
            case "advantages":
                targets = 1 + 2 * (q_values - best) / (self.width * gap)
            case "q_values":
                targets = 2 * q_values / (self.width * gap)
            case "one_hot":
                targets = 2 * np.eye(q_values.shape[1])[q_values.argmax(axis=1)] - 1
        return targets.astype(np.float32)  # [N, A]


@dataclass(frozen=True)
class Distillation:
    """How long and how hard a student learns.

    Attributes:
      steps: gradient steps; rounded up to a multiple of 50, the number fused into one call.
      batch_size: states per gradient step.
      learning_rate: of Adam at the start ...
      final_learning_rate: ... and at the end; between them it falls along a half cosine.
      temperature: of the softmax in the divergence, in units of the preference. Low values look at the best action.
      loss: `kl`, the Kullback-Leibler divergence of the softmax policies, which cares about the order of the best actions;
        `square`, the squared error, which fixes the scale; the sum of both; `cross_entropy` with the best action alone.
    """

    steps: int
    batch_size: int = 64
    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-5
    temperature: float = 0.25
    loss: Loss = "kl_and_square"

    def __post_init__(self) -> None:
        if self.loss not in get_args(Loss):
            raise InputError(f"Expected a loss of {', '.join(get_args(Loss))}. Got {self.loss!r}.")
        if self.steps < 1 or self.batch_size < 1:
            raise InputError(f"Expected steps and batch_size of 1 or more. Got {self.steps} and {self.batch_size}.")
        if not 0 < self.final_learning_rate <= self.learning_rate:
            raise InputError(
                "A distillation ends with a small learning rate, so that rounding settles. Expected 0 < final_learning_rate "
                f"<= learning_rate. Got {self.final_learning_rate} and {self.learning_rate}."
            )
        if not self.temperature > 0:
            raise InputError(f"Expected a temperature above 0. Got {self.temperature}.")

    @property
    def rounded_steps(self) -> int:
        """The gradient steps really taken."""
        return whole_calls(self.steps)


def whole_calls(steps: int) -> int:
    """Gradient steps, rounded up to what is fused into one call."""
    return -(-steps // STEPS_PER_CALL) * STEPS_PER_CALL


def half_cosine(first: float, last: float, steps: int) -> tf_keras.optimizers.schedules.LearningRateSchedule:
    """A learning rate that falls from the first to the last, slowly at both ends, so that rounding settles."""
    return tf_keras.optimizers.schedules.CosineDecay(first, steps, alpha=last / first)


def median_action_gap(q_values: NDArray[np.float32]) -> float:
    """The median positive gap between the best and the second-best action: the unit that decisions are made in.

    Args:
      q_values: [N, A], A >= 2, on-policy.
    Raises:
      InputError: all gaps are zero, so there is nothing to tell apart.
    """
    ordered = np.sort(q_values, axis=1)  # [N, A]
    gaps = ordered[:, -1] - ordered[:, -2]  # [N]
    if not (gaps > 0).any():
        raise InputError("The teacher has no preference: all actions are equal in every state it was shown.")
    return float(np.median(gaps[gaps > 0]))


def clipped_action_gaps(q_values: NDArray[np.float32], gap: float, width: float = 2.0) -> NDArray[np.float32]:
    """Preferences in [-1, 1]: 1 for the best action, falling with the gap to it, -1 from `width * gap` on.

    The 256 levels of an int8 output are spent where actions compete; how bad a bad action is, nobody needs to know.

    Args:
      q_values: [N, A].
      gap: the unit, > 0; see `median_action_gap`.
      width: the clipping width in units of the gap, > 0.
    Returns:
      float32 [N, A], 1 + 2 clip((q - max q) / (width * gap), -1, 0).
    """
    below = q_values - q_values.max(axis=1, keepdims=True)  # [N, A]
    return (1 + 2 * np.clip(below / (width * gap), -1, 0)).astype(np.float32)


def fit_output_layer(
    network: tf_keras.Model, inputs: Iterable[NDArray[np.float32]], preferences: NDArray[np.float32], ridge: float = 1e-3
) -> Weights:
    """Replaces the last layer by the one that fits the preferences best, in closed form: a running start.

    Q-values and preferences differ in scale by orders of magnitude; gradient steps spend thousands of steps on that alone
    (CartPole-v1, 1,000 steps: loss 0.95 from rescaled outputs, 0.33 from fresh weights, 0.27 from here).

    Args:
      network: plain, its last layer Dense.
      inputs: batches [B, ...] that are [N, ...] together, as the network expects them.
      preferences: [N, A].
      ridge: regularization, as a share of the mean square of a hidden feature.
    Returns:
      The weights of all layers.
    """
    trunk = tf_keras.Model(network.input, network.layers[-1].input)
    width = network.layers[-1].input_shape[-1] + 1  # H + 1
    gram = np.zeros((width, width))
    moments = np.zeros((width, preferences.shape[1]))  # [H + 1, A]
    start = 0
    for batch in inputs:
        features = np.column_stack([trunk(batch), np.ones(len(batch))]).astype(np.float64)  # [B, H + 1]
        gram += features.T @ features
        moments += features.T @ preferences[start : start + len(batch)]
        start += len(batch)
    assert start == len(preferences)
    gram += ridge * np.trace(gram) / width * np.eye(width)
    solution = np.linalg.solve(gram, moments).astype(np.float32)  # [H + 1, A]
    return [*network.get_weights()[:-2], solution[:-1], solution[-1]]


class Distiller:
    """Trains a student towards preferences, on minibatches drawn with replacement. It is compiled once, for all its rounds."""

    def __init__(self, student: tf_keras.Model, scaling: InputScaling, config: Distillation):
        """Takes whom to teach, and how.

        Args:
          student: [B, ...] -> [B, A]; called with training=True, so that TF-MOT's wrappers do their part.
          scaling: from the states to the student's input, done minibatch by minibatch.
          config: the lengths, the rates and the loss.
        """
        self._config = config
        decay = half_cosine(config.learning_rate, config.final_learning_rate, config.rounded_steps)

        def loss(x: tf.Tensor, target: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            output = student(scaling.tensor(x), training=True)  # [B, A]
            error = _error(output, target, config)  # [B]
            return tf.reduce_mean(error), error

        variables = student.trainable_variables
        xla = not tfmot.is_clustered(student)
        self._learner = FusedLearner(loss, variables, optimizer=adam(decay, variables, xla=xla), xla=xla)

    def learn(
        self, states: NDArray[Any], preferences: NDArray[np.float32], rng: np.random.Generator, label: str
    ) -> NDArray[np.float32]:
        """One round: all steps, from the first learning rate to the last.

        Args:
          states: [N, ...] of any dtype, in each round the same dtype and shape but for N.
          preferences: [N, A], the targets.
          rng: draws the minibatches.
          label: of the progress bar on stderr, which is silent where that is no terminal.
        Returns:
          The loss before each gradient step, [steps].
        Raises:
          DivergedError: the loss or a weight became NaN or infinite.
        """
        self._learner.restart()
        steps, losses = self._config.rounded_steps, []
        with tqdm(total=steps, desc=label, unit=" steps", disable=None, mininterval=0.5) as bar:
            for _ in range(steps // STEPS_PER_CALL):
                indices = rng.integers(len(states), size=(STEPS_PER_CALL, self._config.batch_size))  # [K, B]
                losses.append(self._learner.learn(states[indices], preferences[indices]).losses)
                bar.update(STEPS_PER_CALL)
        return np.concatenate(losses)


def _error(output: tf.Tensor, target: tf.Tensor, config: Distillation) -> tf.Tensor:
    """[B, A], [B, A] -> [B]."""
    log_policy = tf.nn.log_softmax(output / config.temperature)  # [B, A]
    if config.loss == "cross_entropy":
        return -tf.reduce_sum(tf.one_hot(tf.argmax(target, axis=-1), target.shape[-1]) * log_policy, axis=-1)
    square = tf.reduce_sum(tf.square(output - target), axis=-1)  # [B]
    if config.loss == "square":
        return square
    log_target = tf.nn.log_softmax(target / config.temperature)  # [B, A]
    divergence = tf.reduce_sum(tf.exp(log_target) * (log_target - log_policy), axis=-1)  # [B]
    return divergence if config.loss == "kl" else divergence + square
