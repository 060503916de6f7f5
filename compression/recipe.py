"""What a recipe is, and its form as JSON or TOML: plain values that can build nothing but the stages listed here."""

import math
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, MISSING, dataclass, fields, is_dataclass, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from edgedqn.agents.errors import InputError, make_plain, nearest, require
from edgedqn.agents.files import Json
from edgedqn.compression.methods.clustering import Cluster
from edgedqn.compression.methods.distillation import Distil, Distillation, Visit
from edgedqn.compression.methods.initialization import NewStudent, Restart, ScaleInput
from edgedqn.compression.methods.ladder import Quantize
from edgedqn.compression.methods.pruning import Prune, Threshold
from edgedqn.compression.methods.quantization import QuantizeAware, RoundWeights
from edgedqn.compression.methods.reinforcement import TdLearning
from edgedqn.compression.methods.search import Search
from edgedqn.compression.methods.shrinking import Shrink
from edgedqn.compression.methods.streaming import Stream
from edgedqn.compression.policy import FLOAT_OUTPUT, QUANTIZATION_AWARE, Conversion
from edgedqn.compression.preferences import Targets
from edgedqn.compression.stage import Stage

STAGES: dict[str, type[Stage]] = {
    stage.name: stage
    for stage in (
        *(ScaleInput, Restart, NewStudent, Threshold, Distil, Stream, Visit, Shrink, Prune, Cluster),
        *(QuantizeAware, Quantize, RoundWeights, Search),
    )
}
DRAWING = ("restart", "new_student")  # of weights
SHRINKING = ("shrink", "search")  # of the network
PRUNING = ("prune", "threshold")
TEACHING = ("distil", "stream")
GATHERING = (*TEACHING, "search")  # of the teacher's states
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")  # it becomes a file's


@dataclass(frozen=True)
class Recipe:
    """How a float agent becomes a policy file.

    Attributes:
      name: of the recipe, and of the file: `<name>.tflite`.
      stages: in order; none leaves the Q-network as it is.
      conversion: what the exporter does at the end.
      control: shown beside the others so that everybody sees what it costs; it may fail its gate.
    """

    name: str
    summary: str
    stages: tuple[Stage, ...]
    conversion: Conversion
    _: KW_ONLY
    control: bool = False

    def __post_init__(self) -> None:
        make_plain(self)
        expected = "Expected up to 64 lower-case letters, digits, dots, dashes and underscores."
        require(bool(NAME.fullmatch(self.name)), f"A recipe's name becomes a file's. {expected} Got {self.name!r}.")
        for stage in self.stages:
            if STAGES.get(stage.name) is type(stage):
                _stage(_stage_to_json(stage))  # what no file can say, such as half a step, a script cannot either
        known = get_args(Conversion)
        require(self.conversion in known, f"Expected a conversion of {', '.join(known)}. Got {self.conversion!r}.")
        names = [stage.name for stage in self.stages]
        rounding = [stage.rounds_to_int8 for stage in self.stages]
        require(
            any(rounding) == (self.conversion in QUANTIZATION_AWARE),
            "Quantization-aware training and the qat-int8 conversion need each other: the converter reads the ranges that "
            f"training learned. Got stages={names} and conversion={self.conversion!r}.",
        )
        by_td = [stage for stage in self.stages if stage.rounds_to_int8 and stage.trains == "q_values"]
        expected = "Reinforcement learning rounds the output too. Expected the conversion qat-int8."
        require(not by_td or self.conversion == "qat-int8", f"{expected} Got {self.conversion!r}.")
        pruned, trained = (any(kind in names for kind in kinds) for kinds in (PRUNING, ("quantize_aware",)))
        expected = "Quantization-aware training fills in the zeros of a float output. Expected quantize."
        require(self.conversion != FLOAT_OUTPUT or not (pruned and trained), f"{expected} Got {names}.")
        last = "Quantization-aware training must come last: what follows it would move the rounded weights."
        require(not any(rounding[:-1]), f"{last} Got {names}.")
        for i, stage in enumerate(self.stages):
            reason = _why_not_here(stage, self.stages[:i], self.stages[i + 1 :])
            require(not reason, f"{reason} Got stages={names}.")

    @property
    def asks_gate(self) -> bool:
        """Whether what comes out depends on what the gate lets pass."""
        return any(stage.asks_gate for stage in self.stages)

    @property
    def searches(self) -> bool:
        """Whether what comes out depends on the board that it is to fit."""
        return any(stage.name == Search.name for stage in self.stages)

    def to_json(self) -> Json:
        """The JSON object `from_json` reads."""
        return {
            "name": self.name,
            "summary": self.summary,
            "conversion": self.conversion,
            "control": self.control,
            "stages": [_stage_to_json(stage) for stage in self.stages],
        }

    @classmethod
    def from_json(cls, value: object) -> "Recipe":
        """Reads what `to_json` wrote, or a user did; settings that are not there keep their defaults.

        Raises:
          InputError: it makes no recipe, with what was expected.
        """
        given = _checked(value, ("name", "conversion"), ("summary", "stages", "control"), what="A recipe")
        stages = given.get("stages", [])
        if not isinstance(stages, list):
            raise InputError(f"Expected the stages of a recipe in a list. Got {stages!r}.")
        return cls(
            name=_setting(given["name"], str, None, what="the name of a recipe"),
            summary=_setting(given.get("summary", ""), str, None, what="the summary of a recipe"),
            stages=tuple(_stage(stage, at=f"stage {i}") for i, stage in enumerate(stages, 1)),
            conversion=given["conversion"],
            control=_setting(given.get("control", False), bool, None, what="the control of a recipe"),
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
        try:
            return cls.from_json({"name": path.stem, **value})
        except InputError as error:
            raise InputError(f"{path}, {error}") from error


def _why_not_here(stage: Stage, before: Sequence[Stage], after: Sequence[Stage]) -> str:
    """Why a stage cannot stand between these; empty where it can."""
    name, clusters = stage.name, stage.clusters if isinstance(stage, Cluster) else math.inf
    earlier, later = {each.name for each in before}, {each.name for each in after}
    learned, learns = {each.trains for each in before}, {each.trains for each in after}
    fixing = next((each.name for each in before if each.fixes_weights), None)
    redraws, prunes, gathers = (name in group for group in (DRAWING, PRUNING, GATHERING))
    by_td = stage.rounds_to_int8 and stage.trains == "q_values"
    goes_on = "Temporal-difference learning goes on from Q-values, which distillation replaces by preferences."
    rules = (
        (stage.trains == "q_values" and "preferences" in learned, f"{goes_on} Expected one of the two."),
        (name == "scale_input" and before, "scale_input changes what the first layer sees. Expected it first."),
        (name in (*DRAWING, *SHRINKING) and fixing, f"{name} makes a new network: expected no {fixing} before."),
        (redraws and earlier & {*TEACHING}, f"{name} forgets what was learned before it. Expected it first."),
        (
            name == "restart" and not {*learns} - {None},
            "Fresh weights know nothing. Expected a stage that learns after restart.",
        ),
        (
            name == "new_student" and not later & {*TEACHING},
            "A new student knows nothing. Expected distil or stream after new_student.",
        ),
        (name in TEACHING and fixing, "Distillation moves all weights, zeros too. Expected it before pruning."),
        (gathers and "visit" in earlier, f"{name} gathers all states anew. Expected no visit before it."),
        (
            name == "visit" and "preferences" not in learns,
            "A visit adds states to learn from. Expected a distillation after it.",
        ),
        (
            name == "shrink" and not earlier & {*TEACHING},
            "shrink teaches its candidates preferences. Expected distil or stream before it.",
        ),
        (prunes and earlier & {*PRUNING}, "A second pruning lets weights of the first come back. Expected one."),
        (prunes and "cluster" in earlier, "Pruning moves weights out of their clusters. Expected it before."),
        (
            name in ("quantize", *SHRINKING) and "scale_input" not in earlier,
            f"{name} rounds a scaled input. Expected scale_input before.",
        ),
        (by_td and "scale_input" not in earlier, "Reinforcement learning rounds a scaled input. Expected scale_input before."),
        (by_td and "cluster" in earlier, "Reinforcement learning rounds each weight by itself. Expected no cluster before."),
        (name == "quantize" and "cluster" in earlier, "quantize moves each weight by itself. Expected quantize_aware."),
        (
            isinstance(stage, Quantize) and "distil" in stage.rungs and fixing and "preferences" not in learned,
            "The rung distil moves all weights, zeros too. Expected rungs without it.",
        ),
        (name == "round_weights" and after, "round_weights rounds what is done. Expected it last."),
        (name == "round_weights" and "cluster" in earlier, "round_weights moves weights out of clusters. Expected none."),
        (clusters < 3 and fixing, f"Where zeros stay, they are one cluster of three or more. Got clusters={clusters}."),
    )
    return next((reason for applies, reason in rules if applies), "")


def _stage_to_json(stage: Stage) -> Json:
    return {"stage": stage.name, **_settings(stage)}


def _stage(value: object, at: str = "") -> Stage:
    """From its table, or from its name alone; `at` says where it stands."""
    table = value if isinstance(value, Mapping) else {"stage": value}
    kind = table.get("stage")
    if not isinstance(kind, str) or kind not in STAGES:
        raise InputError(f"{at and f'{at}: '}expected a stage of {', '.join(_nearest_first(kind, STAGES))}. Got {kind!r}.")
    try:
        return cast(Stage, _built(STAGES[kind], None, {key: item for key, item in table.items() if key != "stage"}))
    except InputError as error:
        raise InputError(f"{at and f'{at} ({kind}): '}{error}") from error


def _built(kind: type[Any], default: Any, table: Json) -> Any:
    """A frozen dataclass: `default`, where there is one, or what its fields begin with, with the settings of the table."""
    known = {field.name: field for field in fields(kind)}
    title = getattr(kind, "name", kind.__name__)
    needed = tuple(name for name, field in known.items() if field.default is MISSING) if default is None else ()
    given, hints = _checked(table, needed, tuple(known), what=title), get_type_hints(kind)
    settings = {
        name: _setting(item, hints[name], getattr(default, name, known[name].default), what=f"{name} of {title}")
        for name, item in given.items()
    }
    return kind(**settings) if default is None else replace(default, **settings)


def _setting(item: object, hint: object, default: object, *, what: str) -> Any:
    options = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    kinds = [option for option in options if is_dataclass(option)]
    if kinds:
        if not isinstance(item, Mapping):
            raise InputError(f"Expected a table of settings for {what}. Got {item!r}.")
        by_td = "fine_tune" in item
        if by_td and (item["fine_tune"] != "td" or TdLearning not in kinds):
            by_itself = "only prune, cluster, quantize_aware and reinforcing can learn without a teacher"
            expected = "'td'" if TdLearning in kinds else f"none: {by_itself}"
            raise InputError(f"Expected a fine_tune of {expected} for {what}. Got {item['fine_tune']!r}.")
        kind: Any = TdLearning if by_td else kinds[0]
        changed = {key: value for key, value in item.items() if key != "fine_tune"}
        return _built(kind, default if isinstance(default, kind) else None, changed)
    for option in options:
        found = _plain_value(item, option)
        if found is not None or (item is None and option is NoneType):
            return found
    names = " or ".join(_named(option) for option in options if option is not NoneType)
    raise InputError(f"Expected {names} for {what}. Got {item!r}.")


def _plain_value(item: object, kind: object) -> Any:
    """The item as a value of this kind, or None where it is none."""
    number = item if isinstance(item, int | float) and not isinstance(item, bool) and math.isfinite(item) else None
    if kind is int:
        return int(number) if number is not None and number == int(number) else None
    if kind is float:
        return None if number is None else float(number)
    if get_origin(kind) is Literal:
        return item if isinstance(item, str) and item in get_args(kind) else None
    if get_origin(kind) is tuple and isinstance(item, list | tuple):
        each, *more = get_args(kind)
        values = tuple(_plain_value(entry, each) for entry in item)
        right = None not in values and (more == [...] or len(values) == 1 + len(more))
        return values if right else None
    return item if kind in (bool, str) and isinstance(item, kind) else None


def _named(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return ", ".join(map(repr, get_args(kind)))
    if get_origin(kind) is tuple:
        each, *more = get_args(kind)
        return f"a list of {'' if more == [...] else f'{1 + len(more)} '}{_named(each).removeprefix('a ')}s"
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}[kind]


def _checked(value: object, needed: tuple[str, ...], known: tuple[str, ...], *, what: str) -> Json:
    if not isinstance(value, Mapping):
        raise InputError(f"{what} is a table of settings. Got {value!r}.")
    missing = [key for key in needed if key not in value]
    unknown = [key for key in value if key not in (*needed, *known)]
    choices = dict.fromkeys((*needed, *known))
    if unknown:
        told = f"unknown setting {unknown[0]!r}. Expected {'one of ' if choices else ''}"
        told += f"{', '.join(_nearest_first(unknown[0], choices)) or 'none'}."
        raise InputError(told if what in STAGES else f"{what}: {told}")
    require(not missing, f"{what} lacks a setting: expected {', '.join(choices)}. Got no {', '.join(missing)}.")
    return dict(value)


def _nearest_first(word: object, known: Iterable[str]) -> Iterable[str]:
    return dict.fromkeys([*nearest(str(word), known), *known])


def _settings(value: Stage | Distillation | TdLearning | Targets) -> Json:
    """JSON of settings, and of those within them."""
    marked: Json = {"fine_tune": "td"} if isinstance(value, TdLearning) else {}
    usual = {each.name: each.default for each in fields(value) if "later" in each.metadata}  # type: ignore[arg-type]
    for key, item in vars(value).items():
        if usual.get(key, MISSING) == item:  # so that a recipe of an earlier version is still the same one
            continue
        marked[key] = _settings(item) if is_dataclass(item) else list(item) if isinstance(item, tuple) else item  # type: ignore[arg-type]
    return marked
