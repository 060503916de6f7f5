"""Fresh weights in place of the teacher's: in its own network, or in one of other widths."""

from dataclasses import dataclass, replace
from typing import ClassVar

from edgedqn.agents.errors import require
from edgedqn.compression.context import CompressionContext
from edgedqn.compression.networks import fresh, resized, widths
from edgedqn.compression.report import Findings, NetworkSize
from edgedqn.compression.stage import Stage
from edgedqn.compression.student import Student


@dataclass(frozen=True)
class Restart(Stage):
    """Draws all weights anew, for training that prunes or rounds from its first step on."""

    name: ClassVar[str] = "restart"

    def apply(self, student: Student, context: CompressionContext) -> tuple[Student, Findings]:
        return replace(student, network=fresh(student.network, context.rng)), Findings()


@dataclass(frozen=True)
class NewStudent(Stage):
    """A network of given widths with fresh weights in place of the teacher's; a later stage trains it.

    Attributes:
      hidden: widths of its hidden dense layers; none makes a linear policy.
      filters: of each convolution, where the teacher has any; a quarter of the teacher's by default.
    """

    hidden: tuple[int, ...] = (32, 32)
    filters: tuple[int, ...] | None = None
    name: ClassVar[str] = "new_student"

    def __post_init__(self) -> None:
        given = f"hidden={self.hidden} and filters={self.filters}"
        require(min([1, *self.hidden, *(self.filters or ())]) == 1, f"Expected widths of 1 or more. Got {given}.")

    def apply(self, student: Student, context: CompressionContext) -> tuple[Student, Findings]:
        quarter = tuple(max(1, count // 4) for count in widths(student.network)[0])
        filters = quarter if self.filters is None else self.filters
        network = fresh(resized(student.network, filters=filters, hidden=self.hidden), context.rng)
        return replace(student, network=network), Findings(size=NetworkSize(filters, self.hidden))
