"""Fresh weights in place of the teacher's: in its own network, or in one of other widths."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from edgedqn.agents.errors import InputError
from edgedqn.compression.context import CompressionContext
from edgedqn.compression.networks import fresh, resized, widths
from edgedqn.compression.report import Findings, NetworkSize
from edgedqn.compression.stage import Stage, any_named, why_no_new_network
from edgedqn.compression.student import Student


@dataclass(frozen=True)
class Restart(Stage):
    """Draws all weights anew, for training that prunes or rounds from its first step on."""

    name: ClassVar[str] = "restart"

    def misplaced(self, before: Sequence[Stage], after: Sequence[Stage]) -> str:
        untrained = "Fresh weights know nothing. Expected a stage that learns after restart."
        return _too_late(self, before) or ("" if any(stage.trains for stage in after) else untrained)

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
        if min([1, *self.hidden, *(self.filters or ())]) < 1:
            raise InputError(f"Expected widths of 1 or more. Got hidden={self.hidden} and filters={self.filters}.")

    def misplaced(self, before: Sequence[Stage], after: Sequence[Stage]) -> str:
        untrained = "A new student knows nothing. Expected distil after new_student."
        return _too_late(self, before) or ("" if any_named(after, "distil") else untrained)

    def apply(self, student: Student, context: CompressionContext) -> tuple[Student, Findings]:
        filters = self.filters
        if filters is None:
            filters = tuple(max(1, count // 4) for count in widths(student.network)[0])
        network = fresh(resized(student.network, filters=filters, hidden=self.hidden), context.rng)
        return replace(student, network=network), Findings(size=NetworkSize(filters, self.hidden))


def _too_late(stage: Stage, before: Sequence[Stage]) -> str:
    lost = f"{stage.name} forgets what was learned before it. Expected it first."
    return why_no_new_network(stage, before) or (lost if any_named(before, "distil", "shrink", "search") else "")
