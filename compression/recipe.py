"""What a recipe is, and its form as JSON or TOML: plain values that can build nothing but the stages listed here."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, cast, get_args

from edgedqn.agents.errors import InputError
from edgedqn.compression.distillation import Distillation, Targets
from edgedqn.compression.policy import QUANTIZATION_AWARE, Conversion
from edgedqn.compression.searching import NewStudent, Search
from edgedqn.compression.shrinking import Shrink
from edgedqn.compression.stages import Cluster, Distil, Prune, QuantizeAware, Restart, ScaleInput, Threshold
from edgedqn.compression.student import Stage
from edgedqn.compression.td_learning import TdLearning

STAGES: dict[str, type[Any]] = {
    stage.name: stage
    for stage in (ScaleInput, Restart, NewStudent, Threshold, Distil, Shrink, Prune, Cluster, QuantizeAware, Search)
}
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")  # it becomes a file's


@dataclass(frozen=True)
class Recipe:
    """How a float agent becomes a policy file.

    Attributes:
      name: of the recipe, and of the file: `<name>.tflite`.
      summary: one line.
      stages: in order; none leaves the Q-network as it is.
      conversion: what the exporter does at the end.
      control: shown beside the others so that everybody sees what it costs; it may fail its gate.
    """

    name: str
    summary: str
    stages: tuple[Stage, ...]
    conversion: Conversion
    control: bool = False

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise InputError(
                "A recipe's name becomes a file's. Expected up to 64 lower-case letters, digits, dots, dashes and underscores. "
                f"Got {self.name!r}."
            )
        if self.conversion not in get_args(Conversion):
            raise InputError(f"Expected a conversion of {', '.join(get_args(Conversion))}. Got {self.conversion!r}.")
        names = [stage.name for stage in self.stages]
        rounding = [stage.rounds_to_int8 for stage in self.stages]
        if any(rounding) != (self.conversion in QUANTIZATION_AWARE):
            raise InputError(
                "Quantization-aware training and the qat-int8 conversion need each other: the converter reads the ranges that "
                f"training learned. Got stages={names} and conversion={self.conversion!r}."
            )
        if any(rounding[:-1]):
            raise InputError(
                f"Quantization-aware training must come last: what follows it would move the rounded weights. Got {names}."
            )
        self._check_order(names)

    def _check_order(self, names: list[str]) -> None:
        """Refuses what would undo, or could not follow, what came before."""
        taught = False
        for i, stage in enumerate(self.stages):
            before = names[:i]
            if isinstance(getattr(stage, "learning", None), TdLearning) and taught:
                raise InputError(
                    "Temporal-difference learning goes on from Q-values, which distillation replaces by preferences. Expected "
                    f"one of the two. Got stages={names}."
                )
            thinned = {"prune", "cluster", "threshold"}.intersection(before)
            if thinned and stage.name in ("restart", "new_student", "shrink", "search"):
                raise InputError(f"{stage.name} makes a new network: expected no {min(thinned)} before. Got stages={names}.")
            if stage.name in ("prune", "threshold") and "cluster" in before:
                raise InputError(f"Pruning moves weights out of their clusters. Expected it before. Got stages={names}.")
            if thinned and stage.name == "distil":
                raise InputError(f"Distillation moves all weights, zeros too. Expected it before pruning. Got stages={names}.")
            if stage.name == "scale_input" and before:
                raise InputError(f"scale_input changes what the first layer sees. Expected it first. Got stages={names}.")
            if stage.name == "shrink" and "distil" not in before:
                raise InputError(f"shrink teaches its candidates preferences. Expected distil before it. Got stages={names}.")
            if stage.name == "new_student" and "distil" not in names[i:]:
                raise InputError(f"A new student knows nothing. Expected distil after new_student. Got stages={names}.")
            taught = taught or any(isinstance(value, Distil | Distillation) for value in [stage, *vars(stage).values()])

    def to_json(self) -> dict[str, Any]:
        """The JSON object `from_json` reads."""
        stages = [{"stage": stage.name, **{key: _plain(value) for key, value in vars(stage).items()}} for stage in self.stages]
        return {
            "name": self.name,
            "summary": self.summary,
            "conversion": self.conversion,
            "control": self.control,
            "stages": stages,
        }

    @classmethod
    def from_json(cls, value: Any) -> "Recipe":
        """Reads what `to_json` wrote, or a user did; settings that are not there keep their defaults.

        Raises:
          InputError: it makes no recipe, with what was expected.
        """
        given = _checked(value, ("name", "conversion"), ("summary", "stages", "control"), "A recipe")
        stages = given.get("stages", [])
        if not isinstance(stages, list):
            raise InputError(f"Expected the stages of a recipe in a list. Got {stages!r}.")
        return cls(
            str(given["name"]),
            str(given.get("summary", "")),
            tuple(_stage(stage) for stage in stages),
            given["conversion"],
            bool(given.get("control", False)),
        )

    @classmethod
    def read(cls, path: Path) -> "Recipe":
        """Reads a TOML file; its name, where it gives none, is the file's.

        Raises:
          InputError: it is missing, no TOML, or makes no recipe.
        """
        try:
            value = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InputError(f"{path} is no recipe: {error}.") from error
        return cls.from_json({"name": path.stem, **value})


def _stage(value: Any) -> Stage:
    """From its table, or from its name alone."""
    table = value if isinstance(value, Mapping) else {"stage": value}
    kind = table.get("stage")
    if not isinstance(kind, str) or kind not in STAGES:
        raise InputError(f"Expected a stage of {', '.join(STAGES)}. Got {kind!r}.")
    return cast(Stage, _built(STAGES[kind], {key: item for key, item in table.items() if key != "stage"}))


def _built(kind: type[Any], value: Mapping[str, Any]) -> Any:
    """A frozen dataclass from JSON, settings that are one themselves included."""
    known = {field.name: field for field in fields(kind)}
    needed = tuple(name for name, field in known.items() if field.default is MISSING)
    title = getattr(kind, "name", kind.__name__)
    given = _checked(value, needed, tuple(known), title)
    settings = {}
    for name, item in given.items():
        default = known[name].default
        if isinstance(item, Mapping):
            nested: type[Any] = {"targets": Targets, "teaching": Distil}.get(name, Distillation)
            if item.get("fine_tune") == "td":
                if name != "learning":
                    raise InputError(f"Only the learning of a stage can be by temporal differences. Got {name} of {title}.")
                nested = TdLearning
            changed = {key: setting for key, setting in item.items() if key != "fine_tune"}
            settings[name] = _built(nested, {**(_plain(default) if isinstance(default, nested) else {}), **changed})
        else:
            settings[name] = _value(item, default, f"{name} of {title}")
    try:
        return kind(**settings)
    except TypeError as error:
        raise InputError(f"The settings of {title} have the wrong types: {error}. Got {settings}.") from error


def _value(item: Any, default: Any, what: str) -> Any:
    if isinstance(item, list):
        return tuple(_value(each, MISSING, what) for each in item)
    number = isinstance(item, int | float) and not isinstance(item, bool)
    if isinstance(default, int) and not isinstance(default, bool) and not (number and item == int(item)):
        raise InputError(f"Expected a whole number for {what}. Got {item!r}.")
    if isinstance(default, float) and not number:
        raise InputError(f"Expected a number for {what}. Got {item!r}.")
    return item


def _checked(value: Any, needed: tuple[str, ...], known: tuple[str, ...], what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(f"{what} is a table of settings. Got {value!r}.")
    missing = [key for key in needed if key not in value]
    unknown = [key for key in value if key not in (*needed, *known)]
    if missing or unknown:
        said = f"no {missing[0]!r}" if missing else f"{unknown[0]!r}"
        choices = ", ".join(dict.fromkeys((*needed, *known))) or "nothing"
        raise InputError(f"{what} has settings that make no sense: expected {choices}. Got {said}.")
    return value


def _plain(value: Any) -> Any:
    """JSON of a setting."""
    if isinstance(value, TdLearning):
        return {"fine_tune": "td", **asdict(value)}
    if isinstance(value, Distil | Distillation | Targets):
        return {key: _plain(item) for key, item in vars(value).items()}
    return list(value) if isinstance(value, tuple) else value
