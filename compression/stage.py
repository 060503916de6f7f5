"""What a method of compression implements: one step of a recipe."""

from abc import ABC, abstractmethod
from typing import ClassVar

from edgedqn.compression.context import CompressionContext
from edgedqn.compression.policy import Meaning
from edgedqn.compression.report import Findings
from edgedqn.compression.student import Student


class Stage(ABC):
    """A frozen dataclass of settings, which turns one student into the next.

    Attributes:
      name: in a recipe's file and in reports.
      rounds_to_int8: it returns a network with fake quantization, which no later stage may change.
      asks_gate: it exports candidates and plays them, so what it returns depends on the gate.
      fixes_weights: it sets weights to zero or to shared values, which later stages keep.
    """

    name: ClassVar[str]
    rounds_to_int8: ClassVar[bool] = False
    asks_gate: ClassVar[bool] = False
    fixes_weights: ClassVar[bool] = False

    @property
    def trains(self) -> Meaning | None:
        """What it trains the network to output, as its settings of a training say; None where it has none."""
        return next((setting.meaning for setting in vars(self).values() if hasattr(setting, "meaning")), None)

    @abstractmethod
    def apply(self, student: Student, context: CompressionContext) -> tuple[Student, Findings]:
        """Returns the next student and what it did; the student it was given is left as it is."""
