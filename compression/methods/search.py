"""Students of given widths, and the search for the smallest one that plays as well."""

import time
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import tf_keras

from edgedqn.agents.errors import InputError
from edgedqn.compression.methods.candidates import described, judged
from edgedqn.compression.methods.distillation import Distillation
from edgedqn.compression.methods.quantization import QuantizeAware
from edgedqn.compression.methods.stages import Distil
from edgedqn.compression.networks import fresh, resized, widths
from edgedqn.compression.student import Lesson, Report, Student

LAYER_BYTES = 330  # of tensors, quantization and an operator: the difference between files with a layer more and less
Widths = tuple[tuple[int, ...], tuple[int, ...]]  # filters, hidden

ONE_LAYER: tuple[tuple[int, ...], ...] = ((), (2,), (3,), (4,), (6,), (8,), (12,), (16,), (24,), (32,))
HIDDEN = (*ONE_LAYER, *((width, width) for width in (8, 12, 16, 24, 32, 48, 64)))
STUDENT = Distil(Distillation(steps=4_000, batch_size=128, learning_rate=5e-3, final_learning_rate=1e-4), rounds=2)
ROUNDING = Distillation(steps=4_000, batch_size=128, learning_rate=1e-3)


@dataclass(frozen=True)
class NewStudent:
    """A network of given widths with fresh weights in place of the teacher's; what comes next teaches it.

    Attributes:
      hidden: widths of its hidden dense layers; none makes a linear policy.
      filters: of each convolution, where the teacher has any; a quarter of the teacher's by default.
    """

    hidden: tuple[int, ...] = (32, 32)
    filters: tuple[int, ...] | None = None
    name: ClassVar[str] = "new_student"
    rounds_to_int8: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if min([1, *self.hidden, *(self.filters or ())]) < 1:
            raise InputError(f"Expected widths of 1 or more. Got hidden={self.hidden} and filters={self.filters}.")

    def apply(self, student: Student, lesson: Lesson) -> tuple[Student, Report]:
        filters = self.filters
        if filters is None:
            filters = tuple(max(1, count // 4) for count in widths(student.network)[0])
        network = fresh(resized(student.network, filters, self.hidden), lesson.rng)
        return replace(student, network=network), {"filters": list(filters), "hidden": list(self.hidden)}


@dataclass(frozen=True)
class Search:
    """Looks for the smallest student that passes the gate as int8, by halves, and then tries once more below what it found.

    Attributes:
      attempts: students tried at most.
      minutes: none is begun after them, > 0; 0 sets no limit. With a limit, two machines may find different students.
      env_steps: none is begun after the judge has played this many; 0 sets no limit.
      teaching: of each student; the teacher's states are gathered once.
      quantizing: of each student, before it is judged. The best one is handed on as it was judged.
    """

    attempts: int = 12
    minutes: float = 8.0
    env_steps: int = 0
    teaching: Distil = STUDENT
    quantizing: Distillation = ROUNDING
    name: ClassVar[str] = "search"
    rounds_to_int8: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.minutes < 0 or self.env_steps < 0:
            raise InputError(
                "Expected attempts of 1 or more, minutes and env_steps of 0 or more. "
                f"Got {self.attempts}, {self.minutes} and {self.env_steps}."
            )

    def apply(self, student: Student, lesson: Lesson) -> tuple[Student, Report]:
        started, played = time.monotonic(), 0
        student = self.teaching.gather(student, lesson)
        tried: list[dict[str, Any]] = []
        best: Student | None = None
        closest: tuple[float, Student] | None = None
        sizes = _sizes(student)
        failing, passing = -1, len(sizes)  # the largest that failed, the smallest that passed
        draws_left = 1  # of the largest that failed: another start may do better
        stopped = ""
        while not stopped:
            if failing + 1 < passing:
                index = (failing + passing) // 2
            elif failing >= 0 and draws_left:
                index, draws_left = failing, draws_left - 1
            else:
                stopped = "all sizes are settled"
                break
            network = fresh(resized(student.network, *sizes[index]), lesson.rng)
            candidate, _ = self.teaching.teach(replace(student, network=network), lesson, f"try {_shown(sizes[index])}")
            rounded, judgement = judged(candidate, lesson, QuantizeAware(self.quantizing))
            tried.append({**described(network), **judgement.to_json()})
            played += judgement.env_steps
            rounded = replace(rounded, states=student.states[:0], preferences=student.preferences[:0])  # they fill the memory
            if closest is None or judgement.loss < closest[0]:
                closest = judgement.loss, rounded
            if judgement.verdict != "pass":
                failing = max(failing, index)
            else:
                best, passing, draws_left = rounded, index, 1
                failing = min(failing, index - 1)
            stopped = (
                judgement.reason if judgement.nothing_to_lose else self._spent(len(tried), time.monotonic() - started, played)
            )
        assert closest is not None
        found = best or closest[1]
        report = {
            "passed": best is not None,
            **described(found.network),
            "stopped": stopped,
            "env_steps": played,
            "attempts": tried,
        }
        return found, report

    def _spent(self, attempts: int, seconds: float, env_steps: int) -> str:
        """Which part of the budget is spent, if one is."""
        if attempts >= self.attempts:
            return f"after {attempts} attempts"
        if self.minutes and seconds > 60 * self.minutes:
            return f"after {self.minutes:g} minutes"
        if self.env_steps and env_steps >= self.env_steps:
            return f"after {env_steps:,} environment steps"
        return ""


def _sizes(student: Student) -> list[Widths]:
    """From small to large by their bytes, none larger than the teacher."""
    filters, _ = widths(student.network)
    scaled = {tuple(max(1, round(share * count)) for count in filters) for share in (1 / 8, 1 / 4, 1 / 2, 1)}

    def size_bytes(size: Widths) -> int:
        return _int8_bytes(resized(student.network, *size))

    largest = _int8_bytes(student.network)
    sizes = sorted(((each, hidden) for each in scaled for hidden in HIDDEN), key=size_bytes)
    return [size for size in sizes if size_bytes(size) <= largest] or sizes[:1]


def _int8_bytes(network: tf_keras.Model) -> int:
    """About what it takes as a stripped file: a byte per weight, four per bias, and what describes a layer."""
    weights = network.get_weights()
    return sum(array.size * (1 if array.ndim > 1 else 4) + LAYER_BYTES * (array.ndim == 1) for array in weights)


def _shown(size: Widths) -> str:
    return " x ".join(map(str, sum(size, ())))
