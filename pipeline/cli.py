"""The entry point `edgedqn`: parses, imports the module of the command, and ends with an exit code.

What needs NumPy or TensorFlow is imported when a command runs, so that `--help` answers at once, and so that commands on a
.tflite work where there is no TensorFlow. `scripting` and `edgedqn` itself defer TensorFlow in the same way.
"""

import errno
import os
import sys
import warnings
from argparse import Namespace
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from edgedqn.agents.errors import InputError
from edgedqn.pipeline.commands import BAD_INPUT, INTERRUPTED
from edgedqn.pipeline.commands.parser import build_parser
from edgedqn.pipeline.native import load_tensorflow, quiet

OF_FILES = ("bench", "bundle", "evaluate", "play")  # where their arguments are .tflite files; else of runs and agents
ALONE = {"import": "import_agent", "inspect": "inspect", "doctor": "doctor"}  # command -> its module and the function in it
GOES_ON = ("run", "train", "compress", "export", "bench", "report")  # where it was interrupted
FULL_OR_FORBIDDEN = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)


def console() -> NoReturn:
    """The entry point `edgedqn`. The module of a user's own environment may lie in the current folder."""
    warnings.formatwarning = lambda message, *_: f"edgedqn: {message}\n"
    os.environ["PYTHONSAFEPATH"] = "1"  # the processes it starts do not look into the current folder first, either
    with quiet():
        code = main(imports_from_here=True)
    sys.exit(code)


def main(argv: Sequence[str] | None = None, *, imports_from_here: bool = False) -> int:
    """Runs one command and returns its exit code.

    0 done · 1 a fault of ours · 2 bad input, one line on stderr · 3 done, but no int8 file passed its gate · 130
    interrupted; what was finished stays, and the same command goes on from there.

    Args:
      argv: the arguments; those of the process by default.
      imports_from_here: the modules of environments may lie in the current folder, where the user or a run of the user's names
        them; a .tflite alone cannot.
    """
    arguments = build_parser().parse_args(argv)
    file_alone = arguments.command in ("inspect", "doctor") or (_is_of_files(arguments) and not getattr(arguments, "env", None))
    if imports_from_here and not file_alone:
        sys.path.append(str(Path.cwd()))  # last, so that nothing there replaces what is installed
    try:
        return _work(arguments)
    except KeyboardInterrupt:
        goes_on = arguments.command in GOES_ON and not _is_of_files(arguments)  # files keep nothing
        kept = " What was finished is kept, and a training's last checkpoint; the same command without --force goes on."
        print(f"Interrupted.{kept if goes_on else ''}", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        from edgedqn.export.edge_policy import PolicyFileError  # with NumPy, which `--help` does without

        full_or_forbidden = isinstance(error, OSError) and error.errno in FULL_OR_FORBIDDEN
        if not (isinstance(error, InputError | PolicyFileError) or full_or_forbidden):
            raise
        print(f"edgedqn: {' '.join(str(error).split())}", file=sys.stderr)
        return BAD_INPUT


def _work(arguments: Namespace) -> int:
    """Imports the command's module, TensorFlow first where it needs that, and runs it."""
    name = ALONE.get(arguments.command, arguments.command)
    of_files = arguments.command in OF_FILES and _is_of_files(arguments)
    if not of_files and name not in ("inspect", "doctor"):
        _require_folder(arguments)
        load_tensorflow()
    module = name if arguments.command in ALONE else "files" if of_files else "runs"
    code: int = getattr(import_module(f"edgedqn.pipeline.commands.{module}"), name)(arguments)
    return code


def _is_of_files(arguments: Namespace) -> bool:
    """Whether the command is given .tflite files alone, or a page, which plays one."""
    paths = getattr(arguments, "paths", None) or [path for path in [getattr(arguments, "path", None)] if path is not None]
    return (bool(paths) and all(path.suffix == ".tflite" for path in paths)) or getattr(arguments, "browser", False)


def _require_folder(arguments: Namespace) -> None:
    """Refuses what is neither files nor a folder before TensorFlow is loaded, which takes seconds and which a board has not."""
    if arguments.command == "bench" and len(arguments.paths) > 1:
        raise InputError(f"Expected one run folder, or .tflite files. Got {', '.join(map(str, arguments.paths))}.")
    if arguments.command in ("evaluate", "play") and not arguments.path.exists():
        raise InputError(
            f"No policy in {arguments.path}: expected a .tflite, an agent folder, or a run folder with a trained agent."
        )
