"""The steps recipes are made of: small frozen values, each of which turns one student into the next."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import gymnasium
import numpy as np
import tf_keras
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError
from edgedqn.agents.evaluation import EpsilonGreedy, Policy
from edgedqn.agents.numpy_network import NumpyMlp
from edgedqn.agents.observations import gather_observations
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.compression import tfmot
from edgedqn.compression.distillation import Distillation, clipped_action_gaps, distil, fit_output_layer
from edgedqn.compression.folding import InputScaling, fold_input_scaling
from edgedqn.compression.pruning import Allocation, PolynomialSchedule, allocate


@dataclass(frozen=True)
class Lesson:
    """What is taught, and what it takes to teach it.

    Attributes:
      teacher: the float agent.
      env: to gather states in.
      reset_seeds: of the `calibrate` stream, endless.
      rng: for exploration and minibatches.
      gap: the teacher's median action gap on-policy: the unit of the preferences.
    """

    teacher: TrainedAgent
    env: gymnasium.Env[Any, Any]
    reset_seeds: Iterator[int]
    rng: np.random.Generator
    gap: float

    def preferences(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """The targets for observations [N, F]: clipped action gaps, float32 [N, A]."""
        return clipped_action_gaps(self.teacher.policy.q_values(observations), self.gap)

    def visit(self, policy: Policy, count: int, epsilon: float) -> NDArray[np.float32]:
        """float32 [count, F]: states that `policy`, with random actions mixed in, comes across."""
        explorer = EpsilonGreedy(policy, epsilon, self.teacher.spec.n_actions, self.rng)
        return gather_observations(explorer, self.env, self.reset_seeds, count)


@dataclass(frozen=True)
class Student:
    """A network on its way.

    Attributes:
      network: [B, F] -> [B, A].
      scaling: from the environment's observations to the network's input.
      states: float32 [N, F], as the environment gives them: what it has been taught on.
      pruned: its zeros are meant, and must stay.
    """

    network: tf_keras.Model
    scaling: InputScaling
    states: NDArray[np.float32]
    pruned: bool = False


class Stage(Protocol):
    """One step of a recipe."""

    @property
    def name(self) -> str:
        """As it stands in the report."""

    def apply(self, student: Student, lesson: Lesson) -> tuple[Student, dict[str, Any]]:
        """Returns the next student, and what there is to report."""


@dataclass(frozen=True)
class ScaleInput:
    """Gives each observation feature its own scale, and folds that into the first layer."""

    name: str = "scale_input"

    def apply(self, student: Student, lesson: Lesson) -> tuple[Student, dict[str, Any]]:
        scaling = InputScaling.measured(lesson.teacher.observations)
        weights = fold_input_scaling(student.network.get_weights(), scaling)
        scaled = scaling(lesson.teacher.observations)
        report = {
            "scale": list(scaling.scale),
            "offset": list(scaling.offset),
            "clipped_fraction": float((np.abs(scaled) >= 1).mean()),
        }
        return replace(student, network=_plain_copy(student.network, weights), scaling=scaling), report


@dataclass(frozen=True)
class Distil:
    """Teaches the float student the teacher's preferences, on the teacher's states and then on its own.

    Attributes:
      learning: per round.
      greedy_states: from the teacher at epsilon 0.05.
      explored_states: from the teacher at epsilon 0.3.
      rounds: how often the student then plays itself, and is taught on what it met (DAgger).
      student_states: gathered per round, at epsilon 0.05.
    """

    learning: Distillation = Distillation(steps=1_500, final_learning_rate=1e-4)  # noqa: RUF009
    greedy_states: int = 20_000
    explored_states: int = 10_000
    rounds: int = 2
    student_states: int = 8_000
    name: str = "distil"

    def apply(self, student: Student, lesson: Lesson) -> tuple[Student, dict[str, Any]]:
        teacher = lesson.teacher.policy
        states = np.concatenate(
            [lesson.visit(teacher, self.greedy_states, 0.05), lesson.visit(teacher, self.explored_states, 0.3)]
        )  # [N, F]
        weights = fit_output_layer(student.network.get_weights(), student.scaling(states), lesson.preferences(states))
        network = _plain_copy(student.network, weights)
        losses = _teach(network, student.scaling, states, lesson, self.learning, "distil")
        for i in range(self.rounds):
            policy = _scaled(NumpyMlp(network.get_weights()), student.scaling)
            states = np.concatenate([states, lesson.visit(policy, self.student_states, 0.05)])
            label = f"distil, round {i + 1} of {self.rounds}"
            losses = _teach(network, student.scaling, states, lesson, self.learning, label)
        report = {"states": len(states), "final_loss": float(losses[-50:].mean())}
        return replace(student, network=network, states=states), report


@dataclass(frozen=True)
class Prune:
    """Sets the smallest weights to zero, more and more of them, while the student goes on learning.

    Attributes:
      sparsity: the share of zeros over all kernels at the end, in (0, 1).
      allocation: how it is spread over the layers.
      learning: the fine-tuning. Pruning begins at once and ends after 60 % of it; the rest heals.
    """

    sparsity: float
    allocation: Allocation = "erk"
    learning: Distillation = Distillation(steps=4_000)  # noqa: RUF009
    name: str = "prune"

    def __post_init__(self) -> None:
        if not 0 < self.sparsity < 1:
            raise InputError(f"A sparsity is the share of zeros. Expected it in (0, 1). Got {self.sparsity}.")

    def apply(self, student: Student, lesson: Lesson) -> tuple[Student, dict[str, Any]]:
        asked = allocate([kernel.shape for kernel in _kernels(student.network)], self.sparsity, self.allocation)
        frequency = 50
        end_step = frequency * max(1, round(0.6 * self.learning.rounded_steps / frequency))
        schedule = PolynomialSchedule(0, end_step, frequency)
        wrapped = tfmot.wrap_for_pruning(student.network, asked, schedule)
        finish = tfmot.start_pruning(wrapped)
        losses = _teach(wrapped, student.scaling, student.states, lesson, self.learning, "prune")
        finish()
        network = tfmot.strip_pruning(wrapped)
        report = {
            "allocation": self.allocation,
            "sparsity_asked": list(asked),
            "sparsity_reached": [float((kernel == 0).mean()) for kernel in _kernels(network)],
            "final_loss": float(losses[-50:].mean()),
        }
        return replace(student, network=network, pruned=True), report


@dataclass(frozen=True)
class QuantizeAware:
    """Rounds weights and activations to int8 in the forward pass and lets the student learn around it; keeps zeros."""

    learning: Distillation = Distillation(steps=4_000, learning_rate=5e-4)  # noqa: RUF009
    name: str = "quantize_aware"

    def apply(self, student: Student, lesson: Lesson) -> tuple[Student, dict[str, Any]]:
        network = tfmot.quantization_aware(student.network, student.pruned, student.scaling.limit)
        tfmot.start_ranges(network, student.network, student.scaling(student.states))
        losses = _teach(network, student.scaling, student.states, lesson, self.learning, "quantize")
        return replace(student, network=network), {"preserve_zeros": student.pruned, "final_loss": float(losses[-50:].mean())}


def _teach(
    network: tf_keras.Model,
    scaling: InputScaling,
    states: NDArray[np.float32],
    lesson: Lesson,
    learning: Distillation,
    label: str,
) -> NDArray[np.float32]:
    return distil(network, scaling(states), lesson.preferences(states), learning, lesson.rng, label)


def _scaled(network: NumpyMlp, scaling: InputScaling) -> Policy:
    return lambda observation: network(scaling(observation))


def _plain_copy(network: tf_keras.Model, weights: list[NDArray[np.float32]]) -> tf_keras.Model:
    copy = tf_keras.models.clone_model(network)
    copy.set_weights(weights)
    return copy


def _kernels(network: tf_keras.Model) -> list[NDArray[np.float32]]:
    return [array for array in network.get_weights() if array.ndim == 2]
