"""What a run is told: the one place where settings become values."""

from dataclasses import asdict, dataclass, field
from typing import Any

from edgedqn.agents.errors import InputError
from edgedqn.agents.noninferiority import Gate
from edgedqn.agents.presets import Config, config_from_json
from edgedqn.benchmarks.latency import LatencyConfig
from edgedqn.compression.recipes import DEFAULT_RECIPES, recipe

CONTROL = "ptq-int8"


@dataclass(frozen=True)
class ImportedAgent:
    """In place of a training: which file the float agent came from, and what kind of file it is."""

    source: str
    source_sha256: str
    kind: str


@dataclass(frozen=True)
class RunConfig:
    """All that decides a run besides its environment and its seed.

    Attributes:
      training: of the float agent, or where it came from.
      recipes: names, in the order of the rows; `ptq-int8` is added where it is missing, so that everybody sees what the naive
        conversion costs.
      gate: the test each file is put to.
      latency: how much is timed.
    """

    training: Config | ImportedAgent
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
    def updated(cls, value: dict[str, Any]) -> dict[str, Any]:
        """What an earlier version wrote, with the defaults of what has been added since."""
        return cls.from_json(value).to_json()

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "RunConfig":
        """Reads what `to_json` wrote.

        Raises:
          InputError: another version wrote it.
        """
        try:
            gate, training = value["gate"], value["training"]
            return cls(
                ImportedAgent(**training) if "source_sha256" in training else config_from_json(training),
                tuple(value["recipes"]),
                Gate(**{**gate, "looks": tuple(gate["looks"])}),
                LatencyConfig(**value["latency"]),
            )
        except (KeyError, TypeError) as error:
            raise InputError(f"Another version of EdgeDQN made this run; its settings are not understood: {error}.") from error
