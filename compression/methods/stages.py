"""The float steps recipes are made of: small frozen values, each of which turns one student into the next."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from edgedqn.agents.errors import InputError
from edgedqn.compression import tfmot
from edgedqn.compression.folding import InputScaling, fold_input_scaling, kernels_of, pads_input
from edgedqn.compression.methods.distillation import STEPS_PER_CALL, Distillation, Distiller, Targets, fit_output_layer
from edgedqn.compression.methods.fine_tuning import clusters_of, final_loss, fine_tune, meaning_after, sparsity_of
from edgedqn.compression.methods.pruning import (
    Allocation,
    ConstantSchedule,
    PolynomialSchedule,
    Schedule,
    Structure,
    allocate,
    unprunable,
)
from edgedqn.compression.methods.reinforcement import TdLearning
from edgedqn.compression.networks import fresh
from edgedqn.compression.student import Lesson, Report, Student, q_values_of


@dataclass(frozen=True)
class ScaleInput:
    """Gives the input a scale for int8, each feature or channel its own, and folds that into the first layer."""

    name: ClassVar[str] = "scale_input"
    rounds_to_int8: ClassVar[bool] = False

    def apply(self, student: Student, lesson: Lesson) -> tuple[Student, Report]:
        observations = lesson.teacher.observations
        scaling = InputScaling.fitting(lesson.teacher.spec, observations, pads_input(student.network))
        scaled = student.with_weights(fold_input_scaling(student.network.get_weights(), scaling))
        report = {
            "scale": list(scaling.scale),
            "offset": list(scaling.offset),
            "lowest": _before(scaling, 0),
            "highest": _before(scaling, 1),
            "clipped_fraction": scaling.clipped_fraction(observations),
        }
        return replace(scaled, scaling=scaling), report


@dataclass(frozen=True)
class Restart:
    """Draws all weights anew, for training that is to prune or to round from its first step on."""

    name: ClassVar[str] = "restart"
    rounds_to_int8: ClassVar[bool] = False

    def apply(self, student: Student, lesson: Lesson) -> tuple[Student, Report]:
        return replace(student, network=fresh(student.network, lesson.rng)), {}


@dataclass(frozen=True)
class Threshold:
    """Sets all weights of a small magnitude to zero, once, and teaches nothing: where the subject starts.

    Attributes:
      value: weights of a magnitude below it become zero, >= 0.
    """

    value: float = 0.05
    name: ClassVar[str] = "threshold"
    rounds_to_int8: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 <= self.value < np.inf:
            raise InputError(f"A threshold is a magnitude. Expected a finite number of 0 or more. Got {self.value}.")

    def apply(self, student: Student, lesson: Lesson) -> tuple[Student, Report]:
        weights = [
            np.where(np.abs(array) < self.value, 0, array).astype(np.float32) if array.ndim > 1 else array
            for array in student.network.get_weights()
        ]
        thinned = replace(student.with_weights(weights), pruned=True)
        return thinned, {"sparsity_reached": sparsity_of(kernels_of(thinned.network))}


@dataclass(frozen=True)
class Distil:
    """Teaches the float student the teacher's preferences, on the teacher's states and then on its own.

    Attributes:
      learning: per round.
      greedy_states: from the teacher at epsilon 0.05, besides those that it was measured on, which it met without chance.
      explored_states: from the teacher at epsilon 0.3.
      rounds: how often at most the student then plays itself, and is taught on what it met (DAgger).
      student_states: gathered per round, at epsilon 0.05.
      enough_agreement: no further round once the student acts as its teacher in this share of the states it has just met.
      targets: what it is to say.
    """

    learning: Distillation = Distillation(steps=3_000, final_learning_rate=1e-4)
    greedy_states: int = 20_000
    explored_states: int = 10_000
    rounds: int = 2
    student_states: int = 8_000
    enough_agreement: float = 0.999
    targets: Targets = Targets()
    name: ClassVar[str] = "distil"
    rounds_to_int8: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if min(self.greedy_states, self.student_states) < 1 or min(self.explored_states, self.rounds) < 0:
            raise InputError(
                "Expected 1 or more greedy_states and student_states, and 0 or more explored_states and rounds. "
                f"Got {self.greedy_states}, {self.student_states}, {self.explored_states} and {self.rounds}."
            )
        if not 0 < self.enough_agreement <= 1:
            raise InputError(f"An agreement is a share of states. Expected it in (0, 1]. Got {self.enough_agreement}.")

    def apply(self, student: Student, lesson: Lesson) -> tuple[Student, Report]:
        return self.teach(self.gather(student, lesson), lesson)

    def gather(self, student: Student, lesson: Lesson) -> Student:
        """The student with the teacher's states and what it says of them in front of it, not yet taught."""
        teacher = lesson.teacher.policy
        greedy, explored = lesson.visit(teacher, self.greedy_states, 0.05), lesson.visit(teacher, self.explored_states, 0.3)
        states = np.concatenate([lesson.teacher.observations, greedy, explored, lesson.all_states()])  # [N, ...]
        del greedy, explored  # images fill the memory
        preferences = lesson.preferences(states, self.targets)
        return replace(student, states=states, preferences=preferences, targets=self.targets, meaning="preferences")

    def teach(self, student: Student, lesson: Lesson, label: str = "distil") -> tuple[Student, Report]:
        """Teaches a student that has states; its network is left as it is."""
        student = student.with_weights(fit_output_layer(student.network, student.inputs(), student.preferences))
        teaching = Distiller(student.network, student.scaling, self.learning)
        losses = teaching.learn(student.states, student.preferences, lesson.rng, label)
        agreements: list[float] = []
        for i in range(self.rounds):
            policy = student.as_policy(lesson.teacher.spec)
            met = lesson.visit(policy, self.student_states, 0.05)
            wanted = q_values_of(lesson.teacher, met).argmax(axis=1)  # [N]
            agreements.append(float((policy.actions(met) == wanted).mean()))
            if agreements[-1] >= self.enough_agreement:
                break
            student = student.taught(met, lesson)
            shown = f"{label}, round {i + 1} of {self.rounds}"
            losses = teaching.learn(student.states, student.preferences, lesson.rng, shown)
        report = {
            "states": len(student.states),
            "final_loss": final_loss(losses),
            "agreement_per_round": agreements,
        }
        return student, report


@dataclass(frozen=True)
class Visit:
    """Lets the student play as it has become, and adds what it meets to what it is taught on: a round of DAgger for students
    that earlier stages have changed.

    Attributes:
      student_states: gathered, at epsilon 0.05.
    """

    student_states: int = 8_000
    name: ClassVar[str] = "visit"
    rounds_to_int8: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.student_states < 1:
            raise InputError(f"Expected student_states of 1 or more. Got {self.student_states}.")

    def apply(self, student: Student, lesson: Lesson) -> tuple[Student, Report]:
        met = lesson.visit(student.as_policy(lesson.teacher.spec), self.student_states, 0.05)
        student = student.taught(met, lesson)
        return student, {"states": len(student.states)}


@dataclass(frozen=True)
class Prune:
    """Sets the smallest weights to zero, more and more of them, while the student goes on learning.

    Attributes:
      sparsity: the share of zeros over all kernels at the end, in (0, 1); of each pruned kernel with `2:4`, where it is 0.5.
        Where a share is given for each kernel, those decide.
      allocation: how it is spread over the layers: `erk`, `uniform`, or a share in [0, 1) for each kernel, in order.
      structure: `unstructured`; `2:4`, two of four neighbours; or a block (outputs, inputs), such as (1, 16).
      schedule: `polynomial` rises from zero; `constant` asks for all at once.
      begin, end: where pruning starts and where the final sparsity is reached, as shares of the learning; the rest heals. With
        `constant` all of it is asked for from the beginning on, and the masks may change until the end.
      learning: by distillation, or by going on with temporal-difference learning of Q-values.
    """

    sparsity: float
    allocation: Allocation | tuple[float, ...] = "erk"
    learning: Distillation | TdLearning = Distillation(steps=4_000)
    structure: Structure = "unstructured"
    schedule: Literal["polynomial", "constant"] = "polynomial"
    begin: float = 0.0
    end: float = 0.6
    name: ClassVar[str] = "prune"
    rounds_to_int8: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 < self.sparsity < 1:
            raise InputError(f"A sparsity is the share of zeros. Expected it in (0, 1). Got {self.sparsity}.")
        if self.structure == "2:4":
            given = (self.sparsity, self.allocation, self.schedule, self.begin)
            if given != (0.5, "uniform", "constant", 0.0):
                raise InputError(
                    "2:4 keeps two of any four weights, and TF-MOT chooses them once. Expected sparsity=0.5, "
                    f"allocation='uniform', schedule='constant' and begin=0. Got {given}."
                )
        if isinstance(self.structure, tuple):
            if len(self.structure) != 2 or min(self.structure) < 1:
                raise InputError(f"A block is (outputs, inputs), each 1 or more. Got {self.structure}.")
        elif self.structure not in ("unstructured", "2:4"):
            raise InputError(
                f"Expected a structure of 'unstructured', '2:4', or a block (outputs, inputs). Got {self.structure!r}."
            )
        if isinstance(self.allocation, tuple):
            if not all(0 <= share < 1 for share in self.allocation):
                raise InputError(f"Expected an allocation of shares in [0, 1). Got {self.allocation}.")
        elif self.allocation not in ("erk", "uniform"):
            raise InputError(f"Expected an allocation of 'erk', 'uniform' or shares. Got {self.allocation!r}.")
        if self.schedule not in ("polynomial", "constant"):
            raise InputError(f"Expected a schedule of 'polynomial' or 'constant'. Got {self.schedule!r}.")
        if not 0 <= self.begin < self.end <= 1:
            raise InputError(
                f"Pruning must begin before it ends. Expected 0 <= begin < end <= 1. Got begin={self.begin} and end={self.end}."
            )

    def apply(self, student: Student, lesson: Lesson) -> tuple[Student, Report]:
        asked, skipped = self._allocated([kernel.shape for kernel in kernels_of(student.network)])
        wrapped = tfmot.wrap_for_pruning(student.network, asked, self._when(), self.structure)
        finish = tfmot.start_pruning(wrapped)
        losses = fine_tune(wrapped, student, lesson, self.learning, "prune", finish)
        finish()
        network = tfmot.strip_pruning(wrapped, student.network)
        pruned = replace(student, network=network, meaning=meaning_after(self.learning), pruned=True)
        report = {
            "allocation": self.allocation,
            "structure": self.structure,
            "sparsity_asked": list(asked),
            "sparsity_reached": sparsity_of(kernels_of(pruned.network)),
            "skipped": skipped,
            "final_loss": final_loss(losses),
        }
        return pruned, report

    def _when(self) -> Schedule:
        steps, frequency = self.learning.rounded_steps, STEPS_PER_CALL
        begin = min(frequency * round(self.begin * steps / frequency), steps - frequency)
        if self.schedule == "constant":
            return ConstantSchedule(begin, frequency)
        end = min(max(frequency * round(self.end * steps / frequency), begin + frequency), steps)
        return PolynomialSchedule(begin, end, frequency)

    def _allocated(self, shapes: list[tuple[int, ...]]) -> tuple[tuple[float, ...], list[str]]:
        """The sparsity of each kernel, and which are left alone and why."""
        if isinstance(self.allocation, tuple):
            if len(self.allocation) != len(shapes):
                raise InputError(f"Expected an allocation of {len(shapes)} shares, one per kernel. Got {len(self.allocation)}.")
            asked = self.allocation
        else:
            asked = allocate(shapes, self.sparsity, self.allocation)
        skipped = []
        for i, shape in enumerate(shapes):
            reason = unprunable(shape, self.structure)
            if reason:
                skipped.append(f"kernel {i}, {' x '.join(map(str, shape))}: {reason}")
                asked = (*asked[:i], 0.0, *asked[i + 1 :])
        return asked, skipped


@dataclass(frozen=True)
class Cluster:
    """Lets each kernel have few distinct values, which the student goes on learning. Zeros of a pruned student stay, and so
    does a kernel that has no more values already.

    Attributes:
      clusters: distinct values of a kernel, 2 or more.
      learning: the fine-tuning.
    """

    clusters: int = 16
    learning: Distillation | TdLearning = Distillation(steps=500, learning_rate=5e-4)
    name: ClassVar[str] = "cluster"
    rounds_to_int8: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.clusters < 2:
            raise InputError(f"One value for all weights is no network. Expected clusters of 2 or more. Got {self.clusters}.")

    def apply(self, student: Student, lesson: Lesson) -> tuple[Student, Report]:
        distinct = [len(np.unique(kernel)) for kernel in kernels_of(student.network)]
        chosen = [count > self.clusters for count in distinct]
        clustered, last_loss = replace(student, clustered=True), None
        if any(chosen):
            wrapped = tfmot.wrap_for_clustering(student.network, chosen, self.clusters, student.pruned)
            last_loss = final_loss(fine_tune(wrapped, student, lesson, self.learning, "cluster"))
            network = tfmot.strip_clustering(wrapped, student.network)
            clustered = replace(clustered, network=network, meaning=meaning_after(self.learning))
        report = {
            "clusters_asked": self.clusters,
            "clusters_reached": clusters_of(kernels_of(clustered.network)),
            "sparsity_reached": sparsity_of(kernels_of(clustered.network)),
            "skipped": [
                f"kernel {i} has {count} values already and stays as it is"
                for i, count in enumerate(distinct)
                if count <= self.clusters
            ],
            "final_loss": last_loss,
        }
        return clustered, report


def _before(scaling: InputScaling, end: int) -> list[float] | None:
    """What each feature is that becomes the lower or the upper limit."""
    if scaling.limits is None:
        return None
    return [(scaling.limits[end] - offset) / scale for scale, offset in zip(scaling.scale, scaling.offset, strict=True)]
