"""Values that change while an agent learns, and when it learns."""

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


@dataclass(frozen=True, kw_only=True)
class LearningSchedule:
    """When the agent learns, counted in environment steps."""

    learning_starts: int  # no learning before this many steps
    train_freq: int  # an update follows after each so many steps ...
    gradient_steps: int  # ... and takes this many gradient steps, in one compiled call
    batch_size: int  # transitions in a minibatch
    # The online network is copied to the target network after this many steps; it takes effect at the next update, so every
    # interval up to `train_freq` means the same.
    target_update_interval: int
    target_update_rate: float = 1.0  # below 1, the target network instead moves this share of the way at each gradient step
    averaging: float = 0.0  # the share of the running average of the weights that each update keeps, in [0, 1)

    def __post_init__(self) -> None:
        for name in ("train_freq", "gradient_steps", "batch_size", "target_update_interval"):
            if getattr(self, name) < 1:
                raise ValueError(f"Expected {name} of 1 or more. Got {name}={getattr(self, name)}.")
