"""The current folder as a place of modules: only where a user's own environment or network is named, and last."""

import json
import os
import sys
import sysconfig
import tomllib
from argparse import Namespace
from contextlib import suppress
from pathlib import Path

from edgedqn.pipeline.commands.options import SETTING

DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError)


def leave_current_folder() -> None:
    """Nothing is imported from the current folder any more, by this process and those that it starts.

    `python -c` and an empty entry of PYTHONPATH put it before the standard library, where a `numbers.py` that lies beside a
    downloaded file would be run. What was imported before this, to get here, may still have come from there.
    """
    os.environ["PYTHONSAFEPATH"] = "1"
    if "PYTHONPATH" in os.environ:
        entries = os.environ["PYTHONPATH"].split(os.pathsep)
        os.environ["PYTHONPATH"] = os.pathsep.join(each for each in entries if not _is_here(each))
    sys.path[:] = [each for each in sys.path if not _is_here(each)]


def look_in_current_folder() -> None:
    """Modules are looked for there, too: last, so that nothing there replaces what is installed."""
    with suppress(FileNotFoundError):  # it was deleted, and the command will say so
        sys.path.append(str(Path.cwd()))


def names_own(arguments: Namespace) -> bool:
    """Whether a module of the user's is named: `module:Id`, `module:Class` or `module:function` on the command line, or the
    environment of a run or an agent of the user's. What a .tflite alone names does not count: anybody may have made it."""
    given = [getattr(arguments, name, None) for name in ("env_id", "env", "model", f"{SETTING}network")]
    given += getattr(arguments, "wrapper", None) or []
    paths = [*(getattr(arguments, "paths", None) or []), getattr(arguments, "path", None)]
    read = [reader(path) for path in filter(None, paths) for reader in (_environment_from_json, _environments_of_sweep)]
    return any(":" in text for text in [*given, *read] if text)


def _environments_of_sweep(path: Path) -> str:
    """The environments of a sweep's file or folder, their wrappers, and its network; empty where it is none of these."""
    with suppress(*DAMAGED):
        text = (path / "sweep.json" if path.is_dir() else path).read_text()
        sweep = json.loads(text) if path.is_dir() else tomllib.loads(text)
        named = [each for each in sweep["environments"] if isinstance(each, str)]
        made = [each for each in sweep["environments"] if not isinstance(each, str)]
        network = json.dumps(sweep.get("teacher", {}).get("settings", {}).get("network", ""))
        return " ".join([*named, *(f"{each['id']} {_wrappers(each)}" for each in made), network.replace(": ", " ")])
    return ""


def _environment_from_json(path: Path) -> str:
    """The environment of a run folder or an agent's, and its wrappers; empty where it is neither, or damaged, which the command
    will say."""
    with suppress(*DAMAGED):
        run = json.loads((path / "run.json").read_text())
        return f"{run['env_id']} {_wrappers(run.get('environment'))}"
    with suppress(*DAMAGED):
        made = json.loads((path / "agent.json").read_text())["environment"]
        return f"{made['id']} {_wrappers(made)}"
    return ""


def _wrappers(environment: dict[str, list[dict[str, str]]] | None) -> str:
    return " ".join(each["name"] for each in (environment or {}).get("wrappers", []))


def _is_here(entry: str) -> bool:
    """Whether an entry of the path is the current folder, and not because somebody stands where packages are installed."""
    installed = (*sysconfig.get_paths().values(), str(Path(__file__).parents[3]))
    with suppress(OSError):  # many an entry does not exist
        return Path(entry).samefile(os.curdir) and entry not in installed
    return False
