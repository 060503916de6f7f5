"""Values that change while an agent learns."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LinearDecay:
    """Falls from `start` to `end` over the first `steps` steps, then stays."""

    start: float
    end: float
    steps: int

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"A decay takes at least one step. Got steps={self.steps}.")

    def __call__(self, step: int) -> float:
        """The value at `step`, counted from 0."""
        return self.start + (self.end - self.start) * min(step / self.steps, 1.0)
