"""An option for every setting of a training, how numbers are read, and the kinds of arguments that there are."""

import argparse
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TypeAlias

from edgedqn.agents.training.config import ALGORITHMS, QLearningConfig, TrainingConfig
from edgedqn.agents.training.presets import DEFAULTS, PRESETS

MOST_SEEDS = 1_000
SETTING = "setting_"  # begins the names of training options among the parsed arguments


def add_training(command: argparse.ArgumentParser) -> None:
    """An option for every setting of a training; the defaults are the preset's, or those shown."""
    command.add_argument(
        "--resume",
        action="store_true",
        help="go on from the newest checkpoint of an interrupted training (this is done anyway, unless --force is given)",
    )
    group = command.add_argument_group(
        "training",
        f"Each value is the preset's for {', '.join(PRESETS)}; else the default shown, which may depend on the observations.",
    )
    group.add_argument(
        "--algorithm", choices=list(ALGORITHMS), help="q-learning is for discrete observations (default: by those)"
    )
    deep = {setting.name: setting for setting in fields(TrainingConfig)}
    table = {setting.name: setting for setting in fields(QLearningConfig)}
    for name, setting in (table | deep).items():
        owner = "" if name in deep and name in table else "DQN: " if name in deep else "q-learning: "
        option = f"--{name.replace('_', '-')}"
        default, dest = setting.default, f"{SETTING}{name}"
        text = f"{owner}{setting.metadata['help']} (default: {_defaults(name)})".replace("%", "%%")
        if isinstance(default, bool):
            group.add_argument(option, dest=dest, action=argparse.BooleanOptionalAction, help=text)
        else:
            kind = type(default[0] if isinstance(default, tuple) else default)
            nargs = "*" if isinstance(default, tuple) else None
            whole = {0: natural, 1: positive}.get(setting.metadata["least"])
            parse: Callable[[str], object] = whole if kind is int and whole else READ[kind]
            group.add_argument(
                option, dest=dest, type=parse, metavar={int: "N", float: "X", str: "NAME"}[kind], help=text, nargs=nargs
            )


def _defaults(name: str) -> str:
    """The value of a setting where there is no preset, and for which observations it is another."""
    values = {kind: getattr(config, name) for kind, config in DEFAULTS.items() if hasattr(config, name)}
    first, *_ = values.values()
    kinds: dict[str, list[str]] = {}
    for kind, value in values.items():
        if value != first:
            kinds.setdefault(_shown(value), []).append(kind)
    return "; ".join([_shown(first), *(f"{value} for {', '.join(which)}" for value, which in kinds.items())])


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return f"{value:,}" if type(value) is int else str(value)


def _read(kind: type[int] | type[float], expected: str, least: float, text: str) -> float:
    with suppress(ValueError):
        value = kind(text)
        if not value < least:  # NaN is refused by what takes it
            return value
    raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}")


def several_seeds(text: str) -> tuple[int, ...]:
    """Of `0-9`, or of `0,3,7`: each once, 0 or more. ArgumentTypeError: it is none of these."""
    first, dash, last = text.partition("-")
    if dash and first.isdecimal() and last.isdecimal() and int(first) <= int(last) < int(first) + MOST_SEEDS:
        return tuple(range(int(first), int(last) + 1))
    seeds = text.split(",")
    if all(seed.isdecimal() for seed in seeds) and len(set(seeds)) == len(seeds):
        return tuple(map(int, seeds))
    raise argparse.ArgumentTypeError(f"expected seeds such as 0-9 or 0,3,7, each once. Got {text!r}")


def factors(text: str) -> tuple[float, ...]:
    """`A,B,...` or `float`, the factor 1: numbers, or fractions such as 1/255."""
    if text == "float":
        return (1.0,)
    with suppress(ValueError, ZeroDivisionError, OverflowError):
        found = tuple(float(over) / float(under or 1) for over, _, under in (each.partition("/") for each in text.split(",")))
        if all(map(math.isfinite, found)):
            return found
    raise argparse.ArgumentTypeError(f"expected numbers such as 0.2,1,5,1/255, or the word float, got {text!r}")


number = partial(_read, float, "a number", -math.inf)
natural = partial(_read, int, "a whole number of 0 or more", 0)
positive = partial(_read, int, "a whole number of 1 or more", 1)
READ: dict[type, Callable[[str], object]] = {int: partial(_read, int, "a whole number", -math.inf), float: number, str: str}

How: TypeAlias = dict[str, object]  # what `add_argument` takes besides a name
Arguments: TypeAlias = dict[str, How]

SWITCH: How = {"action": "store_true"}
SEVERAL: How = {"action": "append", "default": []}
EITHER: How = {"action": argparse.BooleanOptionalAction}
FILE: How = {"type": Path, "metavar": "FILE"}
DIR: How = {"type": Path, "metavar": "DIR"}
PATH: How = {"type": Path, "metavar": "PATH"}
COUNT: How = {"type": positive, "metavar": "N"}
NATURAL: How = {"type": natural, "metavar": "N"}

COLLECTING: Arguments = {
    "--engine": {
        "choices": ("local", "ray"),
        "default": "local",
        "help": "who collects the steps: this process, or actors of a Ray cluster, an experiment (extra `cluster`; "
        "docs/scaling.md). With ray it is not reproducible bit for bit: which actor is done first decides what is learned from "
        "first (default: local)",
    },
    "--actors": COUNT | {"help": "ray: processes that play, with one core of the cluster each (default: 2)"},
    "--actor-policy": {
        "choices": ("int8", "float"),
        "help": "ray: they play with the weights, or with the int8 file that ptq-int8 makes of them (default: int8)",
    },
    "--publish-every": COUNT | {"help": "ray: gradient steps after which they get new weights (default: 250)"},
    "--address": {"metavar": "ADDRESS", "help": "ray: of a cluster that runs (default: the one of this machine)"},
}
WORKERS: Arguments = {
    "--workers": COUNT
    | {"help": "processes of a sweep, or of --seeds, with one core each (default: as many as there are cores)"},
    "--retry-failed": SWITCH | {"help": "of a sweep, or of --seeds, try again what could not be done in an earlier call"},
}
SEEDS: Arguments = {
    "--seeds": {
        "type": several_seeds,
        "metavar": "A-B",
        "help": "do it with each of these training seeds, such as 0-9 or 0,3,7, and say what comes of all together; --out is "
        "then the folder of all (default: runs/ENV_ID-seeds)",
    },
    **WORKERS,
}
