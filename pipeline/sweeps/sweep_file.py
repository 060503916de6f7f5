"""The sweep file: what is searched, by what, and for how long."""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal, get_args

from edgedqn.agents.errors import InputError, require
from edgedqn.agents.files import Json
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.training.config import Config, TrainingConfig, with_settings
from edgedqn.benchmarks.cores.budget import Budget, find_budget
from edgedqn.compression.recipe import Recipe
from edgedqn.compression.recipes import DEFAULT_RECIPES, recipe
from edgedqn.export.config import ExportConfig
from edgedqn.pipeline.config import Changes, RunSettings
from edgedqn.pipeline.devices.fitting import require_tools
from edgedqn.pipeline.sweeps.space import Space, changed, grid, space_from_json
from edgedqn.pipeline.training import find_training

Sampler = Literal["grid", "random", "tpe", "nsga2"]
Direction = Literal["minimize", "maximize"]
Objective = Literal["return", "bytes", "macs", "arena"]
DIRECTIONS: dict[str, Direction] = {"return": "maximize", "bytes": "minimize", "macs": "minimize", "arena": "minimize"}
Proving = Literal["front", "all"]
NUMBER = (int, float)
KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("trials", "batch", "seed", "trials of the teacher"), (int,)),
    **dict.fromkeys(("latency", "give_up of the teacher"), (bool,)),
    "minutes": NUMBER,
    **dict.fromkeys(("tolerance", "rate"), (*NUMBER, type(None))),
    "gate_episodes": (int, type(None)),
    "fit": (str, type(None)),
    "export": (dict,),
}


@dataclass(frozen=True, kw_only=True)
class TeacherSearch:
    """How the float agents are trained, and how that is searched.

    Attributes:
      settings: of the training, those of the preset otherwise; see `TrainingConfig`.
      trials: settings that are tried in each environment; 1 where nothing varies.
      sampler: how they are chosen.
      give_up: whether a training ends once its best is less than the median of those of *earlier batches* had by then.
    """

    settings: Space = field(default_factory=dict)
    trials: int = 1
    sampler: Sampler = "tpe"
    give_up: bool = True

    def grid(self) -> list[Json]:
        """All settings of a grid, as Optuna's parameters. InputError: something has a range."""
        return list(grid(self.settings))


@dataclass(frozen=True)
class RecipeSpace:
    """A recipe, and what may vary in it.

    Attributes:
      recipe: that is changed; its name, with what was tried, becomes that of the files.
      settings: {"stage.setting": what may vary}; see `space.changed`.
    """

    recipe: Recipe
    settings: Space = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """An experiment. The same file and the same versions give the same trials and the same files, whoever does the work.

    Attributes:
      environments: how each is made; each is a search of its own.
      seeds: of training; a trial is done with each, and its objectives are the means.
      teacher: the float agents; those of the best settings are the teachers of all trials.
      recipes: of which a trial takes one.
      objectives: what is searched for: the share of the float agent's return over acting at random that is kept (more is
        better), and of the file its bytes, multiply-accumulates of a step, or the arena in bytes (fewer are).
      sampler: how trials are chosen: by Optuna's NSGA-II, TPE or at random, or each point of a grid of choices.
      trials: of each environment; of a grid, all by default.
      prove: which of the files that passed the judge are put to the gate: those on the front, or all files that there are.
      batch: trials that are chosen at once, before anything is known of them; whoever works on them. Trials of a batch run side
        by side, so it should be no smaller than the number of workers.
      export: how files are written; see `ExportConfig`.
      tolerance: of the gate, a share; the environment's where it is None.
      gate_episodes: that the gate may see, 100 or more; the environment's where it is None.
      fit: a board, or three numbers, as `find_budget` takes them: what does not fit it has not passed; any by default.
      rate: steps per second there.
      latency: whether the files on the front are timed, when all else is done, where the sweep lies on this machine.
      minutes: after which no batch is begun; 0 sets no limit. With one, what is tried depends on the machine.
      seed: of what is chosen, >= 0.
    """

    environments: tuple[EnvironmentSource, ...]
    seeds: tuple[int, ...] = (0,)
    teacher: TeacherSearch = field(default_factory=TeacherSearch)
    recipes: tuple[RecipeSpace, ...] = ()
    objectives: tuple[Objective, ...] = ("return", "bytes")
    sampler: Sampler = "nsga2"
    trials: int = 0
    prove: Proving = "front"
    batch: int = 8
    export: Mapping[str, object] = field(default_factory=dict)
    tolerance: float | None = None
    gate_episodes: int | None = None
    fit: str | None = None
    rate: float | None = None
    latency: bool = True
    minutes: float = 0.0
    seed: int = 0

    @property
    def changes(self) -> Json:
        """To the settings of each run, as `TeacherWork` takes them."""
        asked = {"export": dict(self.export), "tolerance": self.tolerance, "gate_episodes": self.gate_episodes}
        fit = {} if self.fit is None else {"fit": find_budget(self.fit, self.rate).to_json()}
        return {name: value for name, value in asked.items() if value not in ({}, None)} | fit

    @property
    def all_trials(self) -> int:
        """Of each environment, of a grid all by default."""
        return self.trials or len(self.grid())

    @classmethod
    def from_json(cls, value: Json) -> "Sweep":
        """Reads what a file says. InputError: it asks for what cannot be done, with what was expected."""
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InputError(f"A sweep is made of numbers, texts, lists and tables, all finite. Got: {error}.") from error
        given = _known(value, cls, what="A sweep")
        environments = given.pop("environments", None)
        require(isinstance(environments, list) and bool(environments), f"Expected environments = [...]. Got {environments!r}.")
        teacher = _known(given.pop("teacher", {}), TeacherSearch, what="teacher")
        teacher["settings"] = space_from_json(teacher.get("settings", {}), what="the teacher")
        tables = given.pop("recipes", [{"recipe": name} for name in DEFAULT_RECIPES])
        require(isinstance(tables, list), f"Expected recipes as [[recipes]]. Got {tables!r}.")
        plain: Json = {name: tuple(item) if isinstance(item, list) else item for name, item in given.items()}
        sweep = cls(
            environments=tuple(map(_source, environments)),
            teacher=TeacherSearch(**teacher),
            recipes=tuple(map(_recipe_space, tables)),
            **plain,
        )
        sweep._check()
        return sweep

    def _check(self) -> None:
        """InputError: something of it cannot be done. Nothing is trained for it."""
        of_teacher = {f"{name} of the teacher": value for name, value in vars(self.teacher).items()}
        for name, value in {**vars(self), **of_teacher}.items():
            kinds = KINDS.get(name, (type(value),))
            require(type(value) in kinds, f"Expected {name} as {_named(kinds)}. Got {value!r}.")
        _each_once([each.id for each in self.environments], str, "environments, by their ids")
        _each_once(self.seeds, int, "seeds of 0 or more")
        largest = max(*self.seeds, self.seed)
        require(min(self.seeds) >= 0, f"Expected seeds of 0 or more. Got {min(self.seeds)}.")
        require(largest < 2**31, f"Expected seeds below {2**31:,}. Got {largest}.")
        _each_once(self.objectives, str, f"objectives of {', '.join(DIRECTIONS)}", known=DIRECTIONS)
        _each_once([each.recipe.name for each in self.recipes], str, "recipes")
        named: tuple[tuple[str, object, object], ...] = (
            ("sampler", self.sampler, Sampler),
            ("sampler of the teacher", self.teacher.sampler, Sampler),
            ("prove", self.prove, Proving),
        )
        for name, word, words in named:
            require(word in get_args(words), f"Expected {name} to be {', '.join(get_args(words))}. Got {word!r}.")
        for what, number, least in (("trials", self.trials, 0), ("batch", self.batch, 1), ("seed", self.seed, 0)):
            require(number >= least, f"Expected a whole {what} of {least} or more. Got {number!r}.")
        trials = self.teacher.trials
        if self.teacher.sampler == "grid":
            points = len(self.teacher.grid())
            require(trials <= points, f"Expected trials of at most {points} of the teacher, as its grid has. Got {trials}.")
        require(trials >= 1, f"Expected trials of 1 or more of the teacher. Got {trials}.")
        require(self.minutes >= 0, f"Expected minutes of 0 or more. Got {self.minutes}.")
        require(self.trials > 0 or self.sampler == "grid", "Expected trials = N, of each environment. Got none.")
        if self.sampler == "grid":
            points = len(self.grid())
            require(self.trials <= points, f"Expected trials of at most {points}, as the grid has. Got {self.trials}.")
        export = _known(self.export, ExportConfig, what="export")
        switches = [name for name in ("strip", "float_io", "sparse") if type(export.get(name, False)) is not bool]
        require(not switches, f"Expected {', '.join(switches)} of export to be true or false. Got {export}.")
        ExportConfig(**export)
        changes_of(self.changes).apply(RunSettings(training=TrainingConfig()))
        require(self.rate is None or self.fit is not None, "A rate is that of a board. Expected fit beside it. Got none.")
        if self.fit is not None:
            require_tools(find_budget(self.fit, self.rate))
        for space in self.recipes:
            for name, varied in space.settings.items():
                for end in varied.ends:
                    changed(space.recipe, {name: end})
        for source in self.environments:
            first = {name: varied.ends[0] for name, varied in self.teacher.settings.items()}
            self.training(source, first)
            for name, varied in self.teacher.settings.items():
                for end in varied.ends:
                    self.training(source, first | {name: end})

    def grid(self) -> list[Json]:
        """All trials of a grid, as Optuna's parameters. InputError: something has a range."""
        several = len(self.recipes) > 1
        return [
            {**({"recipe": each.recipe.name} if several else {}), **point}
            for each in self.recipes
            for point in grid(each.settings, prefix=f"{each.recipe.name}/")
        ]

    def training(self, source: EnvironmentSource, settings: Mapping[str, object]) -> Config:
        """Of an environment, with these settings in place of the preset's. InputError: they cannot be used there."""
        plain = {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}
        return with_settings(find_training(source, None), plain, env_id=source.id)


def _named(kinds: tuple[type, ...]) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", dict: "a table"}
    return " or ".join(names[kind] for kind in kinds if kind in names)


def changes_of(value: Json) -> Changes:
    """What `Sweep.changes` gives, for a run."""
    fit = value.get("fit")
    return Changes(**{**value, "fit": fit and Budget.from_json(fit)})


def with_own_recipes(value: Json) -> Json:
    """What a sweep says, with recipes themselves in the place of the files that hold them. InputError: one makes no recipe."""
    tables = value.get("recipes")
    return {**value, "recipes": list(map(_with_own_recipe, tables))} if isinstance(tables, list) else value


def _with_own_recipe(table: object) -> object:
    named = table.get("recipe") if isinstance(table, Mapping) else None
    if not isinstance(table, Mapping) or not isinstance(named, str) or not named.endswith(".toml"):
        return table
    return {**table, "recipe": json.loads(json.dumps(recipe(named).to_json()))}


def read_sweep(path: Path) -> Json:
    """What a TOML file says, for `Sweep.from_json`. InputError: it is missing, or no TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path} is no sweep: {error}.") from error


def fingerprint(value: object) -> str:
    """Of JSON: 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _source(value: object) -> EnvironmentSource:
    if isinstance(value, str):
        return EnvironmentSource.of(value)
    try:
        return EnvironmentSource.from_json(_known(value, EnvironmentSource, what="An environment"))
    except (KeyError, TypeError) as error:
        raise InputError(f"Expected an environment as its id, or as a table with an id. Got {value!r}.") from error


def _recipe_space(value: object) -> RecipeSpace:
    given = _known(value, RecipeSpace, what="recipes")
    named = given.get("recipe")
    require(isinstance(named, str | dict), f"Expected recipe = NAME in [[recipes]]. Got {named!r}.")
    found = recipe(named) if isinstance(named, str) else Recipe.from_json(named)
    require(bool(found.stages) or not given.get("settings"), f"{found.name} has no stages: expected no settings. Got some.")
    return RecipeSpace(found, space_from_json(given.get("settings", {}), what=found.name))


def _known(value: object, kind: type, *, what: str) -> Json:
    known = [each.name for each in fields(kind)]
    if not isinstance(value, Mapping):
        raise InputError(f"Expected {what} as a table of {', '.join(known)}. Got {value!r}.")
    unknown = [name for name in value if name not in known]
    require(not unknown, f"{what} has no such setting: expected {', '.join(known)}. Got {', '.join(unknown)}.")
    return dict(value)


def _each_once(values: object, kind: type, expected: str, known: object = None) -> None:
    is_list = isinstance(values, list | tuple) and all(type(value) is kind for value in values)
    right = is_list and len(set(values)) == len(values) > 0 and (known is None or set(values) <= set(known))  # type: ignore[arg-type,call-overload]
    require(right, f"Expected {expected}, each once. Got {list(values) if is_list else values!r}.")  # type: ignore[call-overload]
