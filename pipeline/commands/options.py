"""Options that several commands share, and how numbers are read."""

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

from edgedqn.agents.training.config import ALGORITHMS, QLearningConfig, TrainingConfig
from edgedqn.agents.training.presets import DEFAULTS, PRESETS

SETTING = "setting_"  # begins the names of training options among the parsed arguments


def add_environment(command: argparse.ArgumentParser) -> None:
    """Where the agent learns, the seed, and the run folder."""
    command.add_argument("env_id", metavar="ENV_ID", help="a gymnasium id such as CartPole-v1, or module:Id for your own")
    command.add_argument("--seed", type=natural, default=0, metavar="N", help="of all randomness (default: 0)")
    command.add_argument("--out", type=Path, metavar="DIR", help="the run folder (default: runs/ENV_ID-seedN)")


def add_named_environment(command: argparse.ArgumentParser) -> None:
    """Where a file plays."""
    command.add_argument(
        "--env",
        metavar="ENV_ID",
        help="where a .tflite plays (default: what its manifest names, if that is installed; a module:Id whose module lies in "
        "the current folder must be named here)",
    )


def add_recipes(command: argparse.ArgumentParser) -> None:
    """Which recipes."""
    command.add_argument(
        "--recipes",
        nargs="+",
        metavar="NAME",
        help="recipes that `edgedqn compress --list` shows, or files NAME.toml with your own (default: qat-int8 "
        "prune-qat-int8; ptq-int8 is always shown beside them)",
    )


def add_exporting(command: argparse.ArgumentParser) -> None:
    """How files are written."""
    command.add_argument(
        "--strip",
        action=argparse.BooleanOptionalAction,
        help="leave names, descriptions and all else that no runtime reads out of the files (default: no)",
    )
    command.add_argument(
        "--manifest",
        choices=("embedded", "beside"),
        help="beside: the manifest is in NAME.json alone, without which the file is refused (default: embedded)",
    )
    command.add_argument(
        "--float-io",
        action=argparse.BooleanOptionalAction,
        help="int8 files take float observations and give float outputs; the scaling is inside them (default: no)",
    )
    command.add_argument(
        "--output",
        choices=("preferences", "q_values", "action"),
        help="what a file gives: preferences, or Q-values where the recipe keeps them, or the action (default: preferences)",
    )
    command.add_argument(
        "--sparse",
        action=argparse.BooleanOptionalAction,
        help="store kernels without their blocks of zeros; refused so far, because no runtime computes such safely",
    )


def add_tolerance(command: argparse.ArgumentParser) -> None:
    """What the gate allows."""
    command.add_argument(
        "--tolerance",
        type=number,
        metavar="X",
        help="what the gate allows to be lost, as a share of (float return - random return) (default: 0.02; 0.05 for MinAtar, "
        "Atari, FrozenLake and Taxi)",
    )


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
            parse: Any = whole if kind is int and whole else {int: _integer, float: number, str: str}[kind]
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


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return f"{value:,}" if type(value) is int else str(value)


def add_force(command: argparse.ArgumentParser) -> None:
    """Doing it again."""
    command.add_argument("--force", action="store_true", help="do it again, even what is done")


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}") from error


def number(text: str) -> float:
    """A number."""
    try:
        return float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected a number, got {text!r}") from error


def natural(text: str) -> int:
    """A whole number of 0 or more."""
    return _whole(text, 0)


def positive(text: str) -> int:
    """A whole number of 1 or more."""
    return _whole(text, 1)


def _whole(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(f"expected a whole number of {least} or more, got {text!r}")
    return value
