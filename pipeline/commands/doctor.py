"""`doctor`: says what is installed, and tries whether it works."""

import os
import platform
from argparse import Namespace
from collections.abc import Callable
from importlib import import_module

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.environments import make_environment
from edgedqn.pipeline.commands import DONE, FAULT, SCHEMA, print_json
from edgedqn.pipeline.native import load_tensorflow
from edgedqn.pipeline.run_folder import versions


def doctor(arguments: Namespace) -> int:
    """Prints what it finds; returns 1 if something that is installed does not work."""
    checks = {name: _try(check) for name, check in (("play", _play), ("train and export", _export))}
    broken = [name for name, outcome in checks.items() if outcome.startswith("broken")]
    findings = {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        "versions": versions(),
        "checks": checks,
    }
    if arguments.json:
        print_json(arguments, {"schema": SCHEMA, **findings})
    else:
        print(f"Python {findings['python']} on {findings['machine']}")
        for name, version in versions().items():
            print(f"  {name} {version}")
        for name, outcome in checks.items():
            print(f"{name}: {outcome}")
    return FAULT if broken else DONE


def _try(check: Callable[[], None]) -> str:
    try:
        check()
    except InputError as error:
        return f"not available: {error}"
    except Exception as error:
        return f"broken: {type(error).__name__}: {error}"
    return "works"


def _play() -> None:
    env = make_environment("CartPole-v1")
    env.reset(seed=0)
    env.step(0)
    env.close()


def _export() -> None:
    load_tensorflow()
    import_module("edgedqn.pipeline.commands.trial").export_tiny_policy()  # whether it can be imported is tried, too
