"""What a run is told: the one place where settings become values."""

from dataclasses import asdict, dataclass, field
from typing import Any

from edgedqn.agents.errors import InputError
from edgedqn.agents.noninferiority import Gate
from edgedqn.agents.presets import TrainingConfig
from edgedqn.benchmarks.latency import LatencyConfig
from edgedqn.compression.recipes import DEFAULT_RECIPES, recipe

CONTROL = "ptq-int8"


@dataclass(frozen=True)
class RunConfig:
    """All that decides a run besides its environment and its seed.

    Attributes:
      training: of the float agent.
      recipes: names, in the order of the rows; `ptq-int8` is added where it is missing, so that everybody sees what the naive
        conversion costs.
      gate: the test each file is put to.
      latency: how much is timed.
    """

    training: TrainingConfig
    recipes: tuple[str, ...] = DEFAULT_RECIPES
    gate: Gate = field(default_factory=Gate)
    latency: LatencyConfig = field(default_factory=LatencyConfig)

    def __post_init__(self) -> None:
        for name in self.recipes:
            recipe(name)
        if len(set(self.recipes)) < len(self.recipes):
            raise InputError(f"Expected each recipe once. Got {', '.join(self.recipes)}.")

    @property
    def all_recipes(self) -> tuple[str, ...]:
        """With the control, first."""
        return (CONTROL, *(name for name in self.recipes if name != CONTROL))

    def to_json(self) -> dict[str, Any]:
        """The JSON object `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "RunConfig":
        """Reads what `to_json` wrote."""
        training, gate = value["training"], value["gate"]
        return cls(
            TrainingConfig(**{**training, "hidden": tuple(training["hidden"])}),
            tuple(value["recipes"]),
            Gate(**{**gate, "looks": tuple(gate["looks"])}),
            LatencyConfig(**value["latency"]),
        )
