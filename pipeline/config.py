"""The settings of a run: what is asked of it, what it is settled to be, and both as JSON."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from edgedqn.agents.errors import InputError, require
from edgedqn.agents.files import Json
from edgedqn.agents.playing.gate import Gate, gate_for, looks_within
from edgedqn.agents.playing.spec import EnvironmentSpec, observation_kind
from edgedqn.agents.training.config import ALGORITHMS, Config, config_from_json
from edgedqn.agents.training.presets import find_preset
from edgedqn.benchmarks.cores.budget import Budget
from edgedqn.benchmarks.latency.interleaved import LatencyConfig
from edgedqn.compression.recipe import Recipe
from edgedqn.compression.recipes import DEFAULT_RECIPES, RECIPES, checked, recipe
from edgedqn.export.config import ExportConfig
from edgedqn.pipeline.collection.config import CollectionConfig

CONTROL = "ptq-int8"


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What a script decides of a run, besides its recipes. What is None stays as the run in the folder has it.

    Attributes:
      training: of the float agent. None: the preset of the environment. A run that was trained otherwise is refused.
      export: how files are written. None in a new run: `ExportConfig()`.
      gate: the test each file is put to. None in a new run: 2 % may be lost, 5 % where returns are noisy.
      latency: how much is timed. None in a new run: `LatencyConfig()`.
      fit: a board that `auto-int8` searches within, and that what ships must fit, as `find_budget` gives it. None in a new run:
        any.
    """

    training: Config | None = None
    export: ExportConfig | None = None
    gate: Gate | None = None
    latency: LatencyConfig | None = None
    fit: Budget | None = None


@dataclass(frozen=True)
class ImportedAgent:
    """In place of a training: which file the float agent came from, what kind of file it is, and the options beside it."""

    source: str
    source_sha256: str
    kind: str
    options: tuple[str, ...] = ()


TRAININGS: dict[str, type[Config | ImportedAgent]] = {**ALGORITHMS, "imported": ImportedAgent}


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """All that decides a run besides its environment and its seed, as in `RunConfig`; `config` in `run.json`."""

    training: Config | ImportedAgent
    recipes: tuple[Recipe, ...] = tuple(RECIPES[name] for name in DEFAULT_RECIPES)
    gate: Gate = field(default_factory=Gate)
    latency: LatencyConfig = field(default_factory=LatencyConfig)
    export: ExportConfig = field(default_factory=ExportConfig)
    fit: Budget | None = None
    collection: CollectionConfig | None = None  # of the training's steps by actors; None: by this process

    def __post_init__(self) -> None:
        names = [each.name for each in self.recipes]
        require(len(set(names)) == len(names), f"Expected each recipe once. Got {', '.join(names)}.")

    @property
    def all_recipes(self) -> tuple[Recipe, ...]:
        """In the order of the rows: the control `ptq-int8` first, asked for or not, to show what the naive conversion costs."""
        return (RECIPES[CONTROL], *(each for each in self.recipes if each.name != CONTROL))

    def to_json(self) -> Json:
        """The JSON object `from_json` reads: recipes that come with EdgeDQN by name, others in full."""
        return {
            "training": {"algorithm": _algorithm(self.training), **asdict(self.training)},
            "recipes": [each.name if each.name in RECIPES else each.to_json() for each in self.recipes],
            "gate": asdict(self.gate),
            "latency": self.latency.to_json(),
            "export": asdict(self.export),
            "fit": self.fit and self.fit.to_json(),
            **({"collection": self.collection.written.to_json()} if self.collection else {}),
        }

    @classmethod
    def updated(cls, value: Mapping[str, object]) -> Json:
        """What an earlier version wrote, with the defaults of what has been added since."""
        return cls.from_json(value).to_json()

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "RunSettings":
        """Reads what `to_json` wrote. InputError: another version wrote it."""
        try:
            gate = value["gate"]
            return cls(
                training=_training_from_json(value["training"]),
                recipes=tuple(recipe(each) if isinstance(each, str) else Recipe.from_json(each) for each in value["recipes"]),
                gate=Gate(**{**gate, "looks": tuple(gate["looks"])}),
                latency=LatencyConfig(**value["latency"]),
                export=ExportConfig(**value.get("export", {})),
                fit=value.get("fit") and Budget.from_json(value["fit"]),
                collection=value.get("collection") and CollectionConfig.from_json(value["collection"]),
            )
        except (KeyError, TypeError) as error:
            raise InputError(f"Another version of EdgeDQN made this run; its settings are not understood: {error}.") from error

    def command(self, spec: EnvironmentSpec, *, seed: int) -> str | None:
        """The command lines that make this run of an environment and a seed again; None where it has what no option gives."""
        env_id, kind = spec.id, observation_kind(spec.observation_shape, spec.preprocessing)
        if self.latency != LatencyConfig() or any(recipe.name not in RECIPES for recipe in self.recipes):
            return None
        usual, options, episodes = gate_for(env_id), self.export.options(), self.gate.looks[-1]
        if self.gate.tolerance != usual.tolerance:
            options.append(f"--tolerance {self.gate.tolerance:g}")
        if self.gate.looks != usual.looks:
            options.append(f"--gate-episodes {episodes}")
        told = replace(usual, tolerance=self.gate.tolerance)
        if self.gate not in (told, replace(told, looks=(episodes // 4, episodes // 2, episodes))):
            return None
        options += [self.fit.options()] if self.fit else []
        last = [*options, "--recipes", *(recipe.name for recipe in self.recipes)]
        of_both = " ".join([env_id, *map(shlex.quote, spec.source.options()), f"--seed {seed}"])
        if isinstance(self.training, ImportedAgent):
            if self.training.kind == "function" and ":" not in self.training.source:
                return None
            model = " ".join(map(shlex.quote, (self.training.source, *self.training.options)))
            return f"edgedqn import {model} {of_both}\nedgedqn run {of_both} {' '.join(last)}"
        of_both = " ".join([of_both, *_training_options(self.training, env_id, kind)])
        run = " ".join(["edgedqn run", of_both, *last])
        if self.collection is None:
            return run
        return f"# Actors collected: this gives other weights.\nedgedqn train {of_both} {self.collection.options()}\n{run}"


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What a run is to take in place of its own settings. What is None, empty or not named stays."""

    recipes: tuple[Recipe, ...] = ()  # all of them
    export: Json = field(default_factory=dict)  # values of `ExportConfig` by name; those that are None stay, too
    gate: Gate | None = None  # the whole test
    tolerance: float | None = None  # of the gate alone
    gate_episodes: int | None = None  # at most; it looks after a quarter and a half of them, too
    latency: LatencyConfig | None = None
    fit: Budget | None = None
    collection: CollectionConfig | None = None  # of a new run, or as it is there already

    def apply(self, settings: RunSettings) -> RunSettings:
        """`settings` with these changes. InputError: a value cannot be used."""
        gate = self.gate or settings.gate
        gate = gate if self.tolerance is None else replace(gate, tolerance=self.tolerance)
        gate = gate if self.gate_episodes is None else replace(gate, looks=looks_within(self.gate_episodes))
        export = replace(settings.export, **{name: value for name, value in self.export.items() if value is not None})
        fit = self.fit or settings.fit
        if fit is not None and (self.fit or any(self.export.values())):
            # Not where an earlier version took both: what it made can be looked at.
            other = "float_io" if export.float_io else "output=action" if export.output == "action" else None
            wanted = "What fits a board is a firmware of plain C: expected int8 ends, and preferences or Q-values"
            require(other is None, f"{wanted}. Got {other} beside a limit, {fit.options()}.")
        return replace(
            settings,
            recipes=self.recipes or settings.recipes,
            export=export,
            gate=gate,
            latency=self.latency or settings.latency,
            fit=fit,
            collection=self.collection or settings.collection,
        )


def resolved(recipes: Sequence[str | Recipe] | None) -> tuple[Recipe, ...]:
    """Recipes by name, by TOML file, or as they are; none where None is given. InputError: one of them is none."""
    return tuple(recipe(each) if isinstance(each, str) else checked(each) for each in recipes or ())


def _algorithm(training: Config | ImportedAgent) -> str:
    return next(name for name, cls in TRAININGS.items() if type(training) is cls)


def _training_from_json(value: Json) -> Config | ImportedAgent:
    if value.get("algorithm", "imported" if "source_sha256" in value else "") == "imported":  # 0.1 wrote no algorithm
        named = {name: text for name, text in value.items() if name != "algorithm"}
        return ImportedAgent(**{**named, "options": tuple(named.get("options", ()))})
    return config_from_json(value)


def _training_options(training: Config, env_id: str, kind: str) -> list[str]:
    """What asks for this training on the command line: what differs from the preset."""
    algorithm = _algorithm(training)
    usual = find_preset(env_id, kind=kind, algorithm=algorithm)
    words = [f"--algorithm {algorithm}"] if find_preset(env_id, kind=kind) != usual else []
    for name, value in asdict(training).items():
        if value == getattr(usual, name):
            continue
        option = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words.append(f"--{option} {' '.join(map(str, value)) if isinstance(value, tuple) else value}")
    return words
