"""Policy distillation: a student learns which actions its teacher prefers, and by how much.

Source: Rusu et al. (2015), "Policy distillation"; Ross et al. (2011) for training on the states that the student visits.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from edgedqn.agents.errors import require
from edgedqn.agents.learner import FusedLearner, adam
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.agents.training.bars import tqdm
from edgedqn.compression.folding import InputScaling, Weights, solve_ridge
from edgedqn.compression.policy import Meaning
from edgedqn.compression.preferences import Targets
from edgedqn.compression.report import Findings
from edgedqn.compression.stage import CompressionContext, Stage, Student, choices_of
from edgedqn.compression.tfmot import wrappers

STEPS_PER_CALL = 50

Loss = Literal["kl_and_square", "kl", "square", "cross_entropy"]


class FineTuned(NamedTuple):
    """What a fine-tuning came to."""

    final_loss: float  # the mean of the last 50 gradient steps, or of the last call of a learner
    checkpoint: int | None = None  # the gradient step whose weights were taken; None: the last
    mean_return: float | None = None  # of those weights, where they were chosen by playing


@dataclass(frozen=True, kw_only=True)
class Training:
    """How long a network is trained, and how fast.

    Attributes:
      steps: gradient steps; rounded up to a multiple of 50, the number fused into one call.
      batch_size: states or transitions per gradient step.
      learning_rate: of Adam at the start ...
      final_learning_rate: ... and at the end; between them it falls along a half cosine.
    """

    steps: int
    batch_size: int = 64
    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-5

    def __post_init__(self) -> None:
        sizes = (self.steps, 1 if self.batch_size is None else self.batch_size)
        require(min(sizes) >= 1, f"Expected steps and batch_size of 1 or more. Got {self.steps} and {self.batch_size}.")
        require(
            0 < self.final_learning_rate <= self.learning_rate,
            "A training ends with a small learning rate, so that rounding settles. Expected 0 < final_learning_rate "
            f"<= learning_rate. Got {self.final_learning_rate} and {self.learning_rate}.",
        )

    @property
    def rounded_steps(self) -> int:
        """The gradient steps really taken."""
        return whole_calls(self.steps)

    def planned_steps(self, agent: TrainedAgent) -> int:
        """The gradient steps it takes for an agent."""
        return self.rounded_steps

    def learner(self, loss: Callable[..., tuple[tf.Tensor, tf.Tensor]], network: tf_keras.Model) -> FusedLearner:
        """What takes the gradient steps."""
        last = self.final_learning_rate / self.learning_rate
        decay = tf_keras.optimizers.schedules.CosineDecay(self.learning_rate, self.rounded_steps, alpha=last)
        variables, xla = network.trainable_variables, not wrappers.is_clustered(network)
        return FusedLearner(loss, variables, optimizer=adam(decay, variables, xla=xla), xla=xla)


@dataclass(frozen=True, kw_only=True)
class Distillation(Training):
    """By which loss a student is trained.

    Attributes:
      temperature: of the softmax in the divergence, in units of the preference. Low values look at the best action.
      loss: `kl`, the Kullback-Leibler divergence of the softmax policies, which cares about the order of the best actions;
        `square`, the squared error, which fixes the scale; the sum of both; `cross_entropy` with the best action alone.
    """

    temperature: float = 0.25
    loss: Loss = "kl_and_square"
    meaning: ClassVar[Meaning] = "preferences"  # of the output after it

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.loss in get_args(Loss), f"Expected a loss of {', '.join(get_args(Loss))}. Got {self.loss!r}.")
        require(self.temperature > 0, f"Expected a temperature above 0. Got {self.temperature}.")

    def fine_tune(
        self,
        wrapped: tf_keras.Model,
        student: Student,
        *,
        context: CompressionContext,
        label: str,
        ready_after: int = 0,
    ) -> FineTuned:
        """Trains a wrapped copy of the student's network on the student's states, with the arguments of `TdLearning.fine_tune`.

        The last weights are taken, so nothing is asked of `ready_after`.
        """
        distiller = Distiller(wrapped, student.scaling, config=self)
        losses = distiller.train(student.states, student.preferences, rng=context.rng, label=label)
        return FineTuned(final_loss(losses))


def whole_calls(steps: int) -> int:
    """Gradient steps, rounded up to what is fused into one call."""
    return -(-steps // STEPS_PER_CALL) * STEPS_PER_CALL


def final_loss(losses: NDArray[np.float32]) -> float:
    """The mean of the last call, of losses [steps]."""
    return float(losses[-STEPS_PER_CALL:].mean())


def fit_output_layer(
    network: tf_keras.Model, inputs: Iterable[NDArray[np.float32]], *, preferences: NDArray[np.float32], ridge: float = 1e-3
) -> Weights:
    """Replaces the last layer by the one that fits the preferences best, in closed form: a running start.

    Q-values and preferences differ in scale by orders of magnitude; gradient steps spend thousands of steps on that alone
    (CartPole-v1, 1,000 steps: loss 0.95 from rescaled outputs, 0.33 from fresh weights, 0.27 from here).

    Args:
      network: plain; the weights of all its layers are returned.
      inputs: batches [B, ...], together [N, ...].
      preferences: [N, A].
      ridge: regularization, as a share of the mean square of a hidden feature.
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
    return [*network.get_weights()[:-2], *solve_ridge(gram, moments, ridge)]


class Distiller:
    """Trains a network towards preferences, on minibatches drawn with replacement. It is compiled once, for all rounds."""

    def __init__(self, student: tf_keras.Model, scaling: InputScaling, *, config: Distillation):
        """Compiles the gradient step of a student [B, ...] -> [B, A], whose states `scaling` scales minibatch by minibatch."""
        self._config = config

        def loss(x: tf.Tensor, target: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            output = student(scaling.tensor(x), training=True)  # [B, A]; TF-MOT's wrappers act
            error = distillation_error(output, target, config)  # [B]
            return tf.reduce_mean(error), error

        self._learner = config.learner(loss, student)

    def train(
        self, states: NDArray[Any], preferences: NDArray[np.float32], *, rng: np.random.Generator, label: str
    ) -> NDArray[np.float32]:
        """One round: all steps, from the first learning rate to the last.

        States are [N, ...] of any dtype, in each round the same dtype and shape but for N, and preferences [N, A]. A progress
        bar of this label is on stderr, where that is a terminal.

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


def distillation_error(output: tf.Tensor, target: tf.Tensor, config: Distillation) -> tf.Tensor:
    """By the loss and the temperature of a distillation: preferences [B, A] and what they are to be [B, A] -> [B]."""
    log_policy = tf.nn.log_softmax(output / config.temperature)  # [B, A]
    if config.loss == "cross_entropy":
        return -tf.reduce_sum(tf.one_hot(tf.argmax(target, axis=-1), target.shape[-1]) * log_policy, axis=-1)
    square = tf.reduce_sum(tf.square(output - target), axis=-1)  # [B]
    if config.loss == "square":
        return square
    log_target = tf.nn.log_softmax(target / config.temperature)  # [B, A]
    divergence = tf.reduce_sum(tf.exp(log_target) * (log_target - log_policy), axis=-1)  # [B]
    return divergence if config.loss == "kl" else divergence + square


@dataclass(frozen=True, kw_only=True)
class Distil(Stage):
    """Trains the float student on the teacher's preferences, in the teacher's states and then in its own.

    Attributes:
      learning: per round.
      greedy_states: from the teacher at epsilon 0.05, besides its own observations, which have no random actions.
      explored_states: from the teacher at epsilon 0.3.
      rounds: how often at most the student then plays and is trained again, with the states it visited added (DAgger).
      student_states: gathered per round, at epsilon 0.05.
      enough_agreement: no further round once the student acts as its teacher in this share of the states it has just visited.
      targets: what it learns to output.
    """

    learning: Distillation = Distillation(steps=3_000, final_learning_rate=1e-4)
    greedy_states: int = 20_000
    explored_states: int = 10_000
    rounds: int = 2
    student_states: int = 8_000
    enough_agreement: float = 0.999
    targets: Targets = Targets()
    name: ClassVar[str] = "distil"

    def __post_init__(self) -> None:
        require(
            min(self.greedy_states, self.student_states) >= 1 and min(self.explored_states, self.rounds) >= 0,
            "Expected 1 or more greedy_states and student_states, and 0 or more explored_states and rounds. "
            f"Got {self.greedy_states}, {self.student_states}, {self.explored_states} and {self.rounds}.",
        )
        expected = "An agreement is a share of states. Expected it in (0, 1]."
        require(0 < self.enough_agreement <= 1, f"{expected} Got {self.enough_agreement}.")

    def apply(self, student: Student, context: CompressionContext) -> tuple[Student, Findings]:
        return self.train(self.gather(student, context), context)

    def gather(self, student: Student, context: CompressionContext) -> Student:
        """Gives the student the teacher's states and their targets; its network stays."""
        teacher = context.teacher.policy
        greedy = context.gather_states(teacher, self.greedy_states, epsilon=0.05)
        explored = context.gather_states(teacher, self.explored_states, epsilon=0.3)
        states = np.concatenate([context.teacher.observations, greedy, explored, context.table_states()])  # [N, ...]
        del greedy, explored  # images fill the memory
        preferences = context.preferences(states, self.targets)
        return replace(student, states=states, preferences=preferences, targets=self.targets, meaning="preferences")

    def train(self, student: Student, context: CompressionContext, *, label: str = "distil") -> tuple[Student, Findings]:
        """Trains a copy of the network of a student that has states."""
        student = student.with_weights(fit_output_layer(student.network, student.inputs(), preferences=student.preferences))
        distiller = Distiller(student.network, student.scaling, config=self.learning)
        losses = distiller.train(student.states, student.preferences, rng=context.rng, label=label)
        agreements: list[float] = []
        for i in range(self.rounds):
            policy = student.as_policy(context.teacher.spec)
            visited = context.gather_states(policy, self.student_states, epsilon=0.05)
            wanted = choices_of(context.teacher, visited)  # [N]
            agreements.append(float((policy.actions(visited) == wanted).mean()))
            if agreements[-1] >= self.enough_agreement:
                break
            student = student.with_states(visited, context)
            shown = f"{label}, round {i + 1} of {self.rounds}"
            losses = distiller.train(student.states, student.preferences, rng=context.rng, label=shown)
        last_loss = final_loss(losses)
        return student, Findings(states=len(student.states), final_loss=last_loss, agreement_per_round=tuple(agreements))


@dataclass(frozen=True)
class Visit(Stage):
    """A round of DAgger: lets the student play, as earlier stages made it, and adds these states to its own."""

    student_states: int = 8_000
    name: ClassVar[str] = "visit"

    def __post_init__(self) -> None:
        require(self.student_states >= 1, f"Expected student_states of 1 or more. Got {self.student_states}.")

    def apply(self, student: Student, context: CompressionContext) -> tuple[Student, Findings]:
        policy = student.as_policy(context.teacher.spec)
        student = student.with_states(context.gather_states(policy, self.student_states, epsilon=0.05), context)
        return student, Findings(states=len(student.states))
