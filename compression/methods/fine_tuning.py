"""How a student in TF-MOT's wrappers goes on learning, and what its kernels have come to."""

from collections.abc import Callable

import numpy as np
import tf_keras
from numpy.typing import NDArray

from edgedqn.compression.methods.distillation import STEPS_PER_CALL, Distillation, Distiller
from edgedqn.compression.methods.reinforcement import TdLearning, learn_by_td
from edgedqn.compression.policy import Meaning
from edgedqn.compression.student import Lesson, Student


def fine_tune(
    wrapped: tf_keras.Model,
    student: Student,
    lesson: Lesson,
    learning: Distillation | TdLearning,
    label: str,
    before_copy: Callable[[], None] = lambda: None,
) -> NDArray[np.float32]:
    """Teaches a wrapped copy of the student's network.

    Args:
      wrapped: in TF-MOT's wrappers; it changes.
      student: whose network was wrapped.
      lesson: the teacher, and the environment.
      learning: by distillation on the student's states, or by temporal differences in the environment.
      label: of the progress bar.
      before_copy: brings the wrapped variables in line with what they compute; see `learn_by_td`.
    Returns:
      The loss before each gradient step, [steps].
    Raises:
      DivergedError: the loss or a weight became NaN or infinite.
    """
    if isinstance(learning, TdLearning):
        return learn_by_td(wrapped, student, lesson, learning, label, before_copy)
    return Distiller(wrapped, student.scaling, learning).learn(student.states, student.preferences, lesson.rng, label)


def final_loss(losses: NDArray[np.float32]) -> float:
    """The mean of the last call of the learner, of losses [steps]."""
    return float(losses[-STEPS_PER_CALL:].mean())


def meaning_after(learning: Distillation | TdLearning) -> Meaning:
    """What the outputs mean to a student that learned so."""
    return "q_values" if isinstance(learning, TdLearning) else "preferences"


def sparsity_of(kernels: list[NDArray[np.float32]]) -> list[float]:
    """The share of zeros of each kernel, in [0, 1]."""
    return [float((kernel == 0).mean()) for kernel in kernels]


def clusters_of(kernels: list[NDArray[np.float32]], per_filter: bool = False) -> list[int]:
    """How many distinct values each kernel has; of a convolution, where that is asked for, the filter that has most."""
    return [
        max(len(np.unique(kernel[..., i])) for i in range(kernel.shape[-1]))
        if per_filter and kernel.ndim == 4
        else len(np.unique(kernel))
        for kernel in kernels
    ]
