"""What may vary in a search: choices and ranges, of the settings of a recipe or of a training."""

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import optuna

from edgedqn.agents.errors import InputError, require
from edgedqn.agents.files import Json
from edgedqn.compression.recipe import Recipe

Space = Mapping[str, "Choice | Range"]


@dataclass(frozen=True)
class Choice:
    """One of several values, which need have no order; of a single one there is nothing to search.

    Attributes:
      values: as JSON has them, lists too, each once.
    """

    values: tuple[object, ...]

    def __post_init__(self) -> None:
        named = [json.dumps(value) for value in self.values]
        require(bool(named) and len(set(named)) == len(named), f"Expected values to choose from, each once. Got {named}.")

    @property
    def ends(self) -> tuple[object, ...]:
        """All of them: each must make sense by itself."""
        return self.values

    def suggested(self, trial: optuna.trial.BaseTrial, name: str) -> object:
        """The value that a trial is to try."""
        return json.loads(trial.suggest_categorical(name, [json.dumps(value) for value in self.values]))


@dataclass(frozen=True)
class Range:
    """A number between two others, both included; a whole one where both are.

    Attributes:
      log: whether it is drawn by its logarithm.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        given = f"low={self.low} and high={self.high}"
        require(self.low < self.high, f"A range goes from a number to a larger one. Got {given}.")
        require(self.low > 0 or not self.log, f"A logarithm is of numbers above 0. Got {given}.")

    @property
    def ends(self) -> tuple[float, float]:
        """Each must make sense by itself."""
        return self.low, self.high

    def suggested(self, trial: optuna.trial.BaseTrial, name: str) -> float:
        """The value that a trial is to try."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(name, self.low, self.high, log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)


def space_from_json(value: object, *, what: str) -> dict[str, Choice | Range]:
    """Reads a table of settings: {name: a value, {"choice": [...]} or {"low", "high", "log"}}.

    Raises:
      InputError: it is none, with what was expected.
    """
    if not isinstance(value, Mapping):
        raise InputError(f"Expected the settings of {what} in a table. Got {value!r}.")
    return {str(name): _varied(each, what=f"{name} of {what}") for name, each in value.items()}


def _varied(value: object, *, what: str) -> Choice | Range:
    if not isinstance(value, Mapping):
        return Choice((value,))
    try:
        if set(value) == {"choice"} and isinstance(value["choice"], list):
            return Choice(tuple(value["choice"]))
        if {"low", "high"} <= set(value) <= {"low", "high", "log"} and all(
            type(each) in (int, float) for each in _ends(dict(value))
        ):
            low, high = _ends(dict(value))
            if type(value.get("log", False)) is bool:
                return Range(low, high, log=value.get("log", False))
    except InputError as error:
        raise InputError(f"{what}: {error}") from error
    expected = (
        "a value, { choice = [...] }, or { low = A, high = B } with `log = true` where it is to be drawn by its logarithm"
    )
    raise InputError(f"Expected {expected} for {what}. Got {dict(value)}.")


def _ends(value: Json) -> tuple[float, float]:
    return value["low"], value["high"]


def suggested(space: Space, trial: optuna.trial.BaseTrial, *, prefix: str = "") -> Json:
    """The settings that a trial is to try, by name; a fixed one is no parameter of it."""
    return {
        name: varied.ends[0] if _is_fixed(varied) else varied.suggested(trial, prefix + name) for name, varied in space.items()
    }


def grid(space: Space, *, prefix: str = "") -> Iterator[Json]:
    """All points of a space of choices, as Optuna's parameters, in order. InputError: it has a range."""
    varied = {name: each for name, each in space.items() if not _is_fixed(each)}
    for name, each in varied.items():
        require(isinstance(each, Choice), f"A grid is made of choices. Expected {name} as {{ choice = [...] }}. Got a range.")
    values = [[json.dumps(value) for value in each.ends] for each in varied.values()]
    for point in itertools.product(*values):
        yield {prefix + name: value for name, value in zip(varied, point, strict=True)}


def _is_fixed(varied: Choice | Range) -> bool:
    return isinstance(varied, Choice) and len(varied.values) == 1


def changed(recipe: Recipe, settings: Mapping[str, object], *, name: str | None = None) -> Recipe:
    """A recipe with other settings: {"stage.setting": value}, with more dots for settings within settings.

    Of a stage that comes several times the last one is meant.

    Raises:
      InputError: it has no such stage or setting, or they make no recipe.
    """
    value = recipe.to_json()
    for path, setting in settings.items():
        kind, *within = path.split(".")
        stages = [stage for stage in value["stages"] if stage["stage"] == kind]
        if not stages or not within:
            known = ", ".join(dict.fromkeys(stage["stage"] for stage in value["stages"])) or "none"
            raise InputError(f"Expected STAGE.SETTING with a stage of {recipe.name}: {known}. Got {path!r}.")
        table = stages[-1]
        for step in within[:-1]:
            table = table.setdefault(step, {})
            require(isinstance(table, dict), f"{path} of {recipe.name}: expected settings in {step}. Got {table!r}.")
        table[within[-1]] = setting
    return Recipe.from_json({**value, "name": name or recipe.name})
