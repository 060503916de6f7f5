"""What searches do with each candidate: round it, have it judged, and say what it is. And the least of them: once more."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import tf_keras

from edgedqn.agents.errors import InputError
from edgedqn.compression.distillation import Distillation
from edgedqn.compression.judge import Judgement
from edgedqn.compression.networks import widths
from edgedqn.compression.stages import QUANTIZING, QuantizeAware
from edgedqn.compression.student import Lesson, Report, Student


@dataclass(frozen=True)
class QuantizeJudged:
    """`QuantizeAware`, and again from the same student with other minibatches until the gate passes.

    Two networks that agree with their teacher equally well may differ in return by as much as the gate allows: LunarLander-v3,
    one teacher, the same lessons, 93 % by gap: 249 and 258.

    Attributes:
      attempts: how many are judged at most; the one that loses least is handed on as it was judged. Where there is no judge,
        the first is.
      learning: of each.
    """

    attempts: int = 3
    learning: Distillation = QUANTIZING
    name: ClassVar[str] = "quantize_judged"
    rounds_to_int8: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise InputError(f"Expected attempts of 1 or more. Got {self.attempts}.")

    def apply(self, student: Student, lesson: Lesson) -> tuple[Student, Report]:
        quantize = QuantizeAware(self.learning)
        if lesson.judge is None:
            return quantize.apply(student, lesson)
        tried: list[tuple[Judgement, Student, Report]] = []
        while len(tried) < self.attempts and not (tried and tried[-1][0].verdict == "pass"):
            rounded, report = quantize.apply(student, lesson)
            tried.append((judgement_of(rounded, lesson), rounded, report))
        _, best, report = tried[-1] if tried[-1][0].verdict == "pass" else min(tried, key=lambda each: each[0].loss)
        return best, {**report, "attempts": [judgement.to_json() for judgement, _, _ in tried]}


def judged(candidate: Student, lesson: Lesson, quantize: QuantizeAware) -> tuple[Student, Judgement]:
    """Rounds a candidate and asks the judge how it plays. Returns it rounded, and what was said of it.

    Raises:
      InputError: there is no judge.
    """
    rounded, _ = quantize.apply(candidate, lesson)
    return rounded, judgement_of(rounded, lesson)


def judgement_of(rounded: Student, lesson: Lesson) -> Judgement:
    """What the judge says of a rounded student.

    Raises:
      InputError: there is no judge.
    """
    if lesson.judge is None:
        raise InputError("A search plays its candidates as files. Expected a judge. Got none.")
    teacher = lesson.teacher
    return lesson.judge(rounded.as_compressed(teacher.spec, teacher.observations, lesson.conversion, "candidate"))


def described(network: tf_keras.Model) -> dict[str, Any]:
    """The widths of a plain network and the number of its weights, biases included, as they stand in a report."""
    filters, hidden = widths(network)
    return {"filters": list(filters), "hidden": list(hidden), "weights": sum(map(np.size, network.get_weights()))}
