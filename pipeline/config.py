"""What a run is told: the one place where settings become values."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.gate import Gate
from edgedqn.agents.training.config import Config, config_from_json
from edgedqn.benchmarks.latency.interleaved import LatencyConfig
from edgedqn.compression.recipe import Recipe
from edgedqn.compression.recipes import DEFAULT_RECIPES, RECIPES, checked, recipe
from edgedqn.export.config import ExportConfig

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
      recipes: in the order of the rows; `ptq-int8` is added where it is missing, so that everybody sees what the naive
        conversion costs.
      gate: the test each file is put to.
      latency: how much is timed.
      export: how files are written.
    """

    training: Config | ImportedAgent
    recipes: tuple[Recipe, ...] = tuple(RECIPES[name] for name in DEFAULT_RECIPES)
    gate: Gate = field(default_factory=Gate)
    latency: LatencyConfig = field(default_factory=LatencyConfig)
    export: ExportConfig = field(default_factory=ExportConfig)

    def __post_init__(self) -> None:
        names = [each.name for each in self.recipes]
        if len(set(names)) < len(names):
            raise InputError(f"Expected each recipe once. Got {', '.join(names)}.")

    @property
    def all_recipes(self) -> tuple[Recipe, ...]:
        """With the control, first."""
        return (RECIPES[CONTROL], *(each for each in self.recipes if each.name != CONTROL))

    def to_json(self) -> dict[str, Any]:
        """The JSON object `from_json` reads."""
        return {
            "training": asdict(self.training),
            "recipes": [recipe_to_json(each) for each in self.recipes],
            "gate": asdict(self.gate),
            "latency": asdict(self.latency),
            "export": asdict(self.export),
        }

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
                tuple(recipe(each) if isinstance(each, str) else Recipe.from_json(each) for each in value["recipes"]),
                Gate(**{**gate, "looks": tuple(gate["looks"])}),
                LatencyConfig(**value["latency"]),
                ExportConfig(**value.get("export", {})),
            )
        except (KeyError, TypeError) as error:
            raise InputError(f"Another version of EdgeDQN made this run; its settings are not understood: {error}.") from error


def recipe_to_json(value: Recipe) -> str | dict[str, Any]:
    """The name of a recipe that comes with EdgeDQN, all of one that does not."""
    return value.name if value.name in RECIPES else value.to_json()


def resolved(recipes: Sequence[str | Recipe]) -> tuple[Recipe, ...]:
    """Recipes by name, by TOML file, or as they are.

    Raises:
      InputError: one of them is none.
    """
    return tuple(recipe(each) if isinstance(each, str) else checked(each) for each in recipes)
