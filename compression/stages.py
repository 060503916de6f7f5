"""The steps recipes are made of: small frozen values, each of which turns one student into the next."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import gymnasium
import numpy as np
import tf_keras
from numpy.typing import NDArray

from edgedqn.agents.chain import ChainReader
from edgedqn.agents.environments import EnvironmentSpec
from edgedqn.agents.errors import InputError
from edgedqn.agents.evaluation import EpsilonGreedy, Policy
from edgedqn.agents.numpy_network import NumpyNetwork
from edgedqn.agents.observations import gather_observations
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.compression import tfmot
from edgedqn.compression.distillation import Distillation, clipped_action_gaps, distil, fit_output_layer
from edgedqn.compression.folding import BATCH, InputScaling, Weights, fold_input_scaling, pads_input
from edgedqn.compression.pruning import Allocation, PolynomialSchedule, allocate


@dataclass(frozen=True)
class Lesson:
    """What is taught, and what it takes to teach it. States are as the teacher's network sees them.

    Attributes:
      teacher: the float agent.
      env: to gather states in, as the teacher's network sees it.
      reset_seeds: of the `calibrate` stream, endless.
      rng: for exploration and minibatches.
      gap: the teacher's median action gap on-policy: the unit of the preferences.
    """

    teacher: TrainedAgent
    env: gymnasium.Env[Any, Any]
    reset_seeds: Iterator[int]
    rng: np.random.Generator
    gap: float

    def preferences(self, states: NDArray[Any]) -> NDArray[np.float32]:
        """The targets for states [N, ...]: clipped action gaps, float32 [N, A]."""
        return clipped_action_gaps(q_values_of(self.teacher, states), self.gap)

    def visit(self, policy: Policy, count: int, epsilon: float) -> NDArray[Any]:
        """[count, ...] in the environment's dtype: states that `policy`, with random actions mixed in, comes across."""
        explorer = EpsilonGreedy(policy, epsilon, self.teacher.spec.n_actions, self.rng)
        return gather_observations(explorer, self.env, self.reset_seeds, count)

    def all_states(self) -> NDArray[Any]:
        """[S, S] one-hot where states have numbers, [0, ...] elsewhere.

        Nothing follows from one state of a table for another, so each must be taught, even where the teacher hardly comes.
        """
        spec = self.teacher.spec
        dtype = self.teacher.observations.dtype
        return (
            np.eye(*spec.input_shape, dtype=dtype)
            if "one_hot" in spec.preprocessing
            else np.empty((0, *spec.input_shape), dtype)
        )


@dataclass(frozen=True)
class Student:
    """A network on its way.

    Attributes:
      network: [B, ...] -> [B, A].
      scaling: from what the teacher's network sees to this network's input.
      states: [N, ...] in the environment's dtype: what it has been taught on.
      preferences: [N, A], the targets for them.
      pruned: its zeros are meant, and must stay.
    """

    network: tf_keras.Model
    scaling: InputScaling
    states: NDArray[Any]
    preferences: NDArray[np.float32]
    pruned: bool = False

    def inputs(self) -> Iterator[NDArray[np.float32]]:
        """The states as the network takes them, in batches [B, ...]."""
        return self.scaling.batches(self.states)

    def learn(self, learning: Distillation, rng: np.random.Generator, label: str) -> NDArray[np.float32]:
        """Teaches the network, which changes with it. Returns the loss before each gradient step."""
        return distil(self.network, self.scaling, self.states, self.preferences, learning, rng, label)

    def with_weights(self, weights: Weights) -> "Student":
        """Another network of these weights."""
        network = tf_keras.models.clone_model(self.network)
        network.set_weights(weights)
        return replace(self, network=network)

    def as_policy(self, spec: EnvironmentSpec) -> Policy:
        """How the network, still a plain one, would play."""
        network = NumpyNetwork(ChainReader(self.network)(self.network.get_weights()), spec.input_shape)
        return lambda observation: network(self.scaling(observation))


class Stage(Protocol):
    """One step of a recipe."""

    @property
    def name(self) -> str:
        """As it stands in the report."""

    def apply(self, student: Student, lesson: Lesson) -> tuple[Student, dict[str, Any]]:
        """Returns the next student, and what there is to report."""


@dataclass(frozen=True)
class ScaleInput:
    """Gives the input a scale for int8, each feature or channel its own, and folds that into the first layer."""

    name: str = "scale_input"

    def apply(self, student: Student, lesson: Lesson) -> tuple[Student, dict[str, Any]]:
        observations = lesson.teacher.observations
        scaling = InputScaling.fitting(lesson.teacher.spec, observations, pads_input(student.network))
        scaled = student.with_weights(fold_input_scaling(student.network.get_weights(), scaling))
        report = {
            "scale": list(scaling.scale),
            "offset": list(scaling.offset),
            "clipped_fraction": scaling.clipped_fraction(observations),
        }
        return replace(scaled, scaling=scaling), report


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
        greedy, explored = lesson.visit(teacher, self.greedy_states, 0.05), lesson.visit(teacher, self.explored_states, 0.3)
        states = np.concatenate([greedy, explored, lesson.all_states()])  # [N, ...]
        del greedy, explored  # images fill the memory
        student = replace(student, states=states, preferences=lesson.preferences(states))
        student = student.with_weights(fit_output_layer(student.network, student.inputs(), student.preferences))
        losses = student.learn(self.learning, lesson.rng, "distil")
        for i in range(self.rounds):
            met = lesson.visit(student.as_policy(lesson.teacher.spec), self.student_states, 0.05)
            student = replace(
                student,
                states=np.concatenate([student.states, met]),
                preferences=np.concatenate([student.preferences, lesson.preferences(met)]),
            )
            losses = student.learn(self.learning, lesson.rng, f"distil, round {i + 1} of {self.rounds}")
        return student, {"states": len(student.states), "final_loss": float(losses[-50:].mean())}


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
        losses = replace(student, network=wrapped).learn(self.learning, lesson.rng, "prune")
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
        quantized = replace(student, network=tfmot.quantization_aware(student.network, student.pruned, student.scaling.limits))
        tfmot.start_ranges(quantized.network, student.network, student.inputs())
        losses = quantized.learn(self.learning, lesson.rng, "quantize")
        return quantized, {"preserve_zeros": student.pruned, "final_loss": float(losses[-50:].mean())}


def q_values_of(agent: TrainedAgent, states: NDArray[Any]) -> NDArray[np.float32]:
    """The agent's Q-values [N, A] of states [N, ...] as its network sees them, piece by piece."""
    policy = agent.policy
    return np.concatenate([policy.q_values(states[start : start + BATCH]) for start in range(0, len(states), BATCH)])


def _kernels(network: tf_keras.Model) -> list[NDArray[np.float32]]:
    return [array for array in network.get_weights() if array.ndim > 1]
