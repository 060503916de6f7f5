"""The entry point `edgedqn`: parses, imports the module of the command, and ends with an exit code.

What needs NumPy or TensorFlow is imported when a command runs, so that `--help` answers at once, and so that commands on a
.tflite work where there is no TensorFlow. `scripting` and `edgedqn` itself defer TensorFlow in the same way.
"""

import errno
import sys
import warnings
from argparse import Namespace
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from edgedqn.agents.errors import InputError, one_line
from edgedqn.pipeline.commands import BAD_INPUT, INTERRUPTED, modules, streams
from edgedqn.pipeline.commands.parser import build_parser
from edgedqn.pipeline.native import load_tensorflow

OF_FILES = ("bench", "bundle", "evaluate", "play")  # where their arguments are .tflite files; else of runs and agents
ALONE = {
    "import": ("import_agent", "import_agent"),
    "inspect": ("inspect", "inspect"),
    "doctor": ("doctor", "doctor"),
    "sweep": ("sweep", "sweep"),
    "recipes": ("lists", "recipes"),
    "environments": ("lists", "environments"),
}  # command -> its module and the function in it
WITHOUT_TENSORFLOW = ("inspect", "doctor", "lists")  # modules of which no function needs it
GOES_ON = ("run", "train", "compress", "export", "bench", "report", "sweep")  # where it was interrupted
SHOWING = (*GOES_ON, *OF_FILES, "import")  # how far they are
# What is the machine's or the user's: a disk that is full or broken, a limit, a place that may not be written, or is none.
NOT_OURS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EMFILE, errno.ENFILE),
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.ELOOP),
)


def console() -> NoReturn:
    """The entry point `edgedqn`. The module of a user's own environment may lie in the current folder, where one is named."""
    warnings.formatwarning = lambda message, *_: f"edgedqn: {message}\n"
    modules.leave_current_folder()
    stdout = streams.take_over()
    try:
        arguments = build_parser().parse_args()
        if arguments.json:
            streams.keep_stdout_for_results()
        if modules.names_own(arguments):
            modules.look_in_current_folder()
        if arguments.command in SHOWING:
            import_module("edgedqn.pipeline.viewing.progress").choose_bars(quiet=arguments.quiet)
        code = _run(arguments)
    except SystemExit as stop:  # argparse's, after --help or an error
        code = int(stop.code or 0)
    sys.exit(streams.finish(stdout, code))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code, in a process that may be another's: its streams and paths stay.

    0 done · 1 a fault of ours · 2 bad input, one line on stderr · 3 done, but no int8 file passed its gate · 130
    interrupted; what was finished stays, and the same command goes on from there.

    `argv`: the arguments; those of the process by default.
    """
    return _run(build_parser().parse_args(argv))


def _run(arguments: Namespace) -> int:
    # `print_json` writes to the real one; what an environment prints is none of the result.
    arguments.results = sys.stdout
    try:
        with redirect_stdout(sys.stderr) if arguments.json else nullcontext():
            return _work(arguments)
    except KeyboardInterrupt:
        goes_on = arguments.command in GOES_ON and not _is_of_files(arguments)  # files keep nothing
        kept = " What was finished is kept, and a training's last checkpoint; the same command without --force goes on."
        print(f"Interrupted.{kept if goes_on else ''}", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        said = _said_of(error)
        if said is None:
            raise
        print(f"edgedqn: {said}", file=sys.stderr)
        return BAD_INPUT


def _said_of(error: Exception) -> str | None:
    """One line about what is wrong with the input or the machine; None for a fault of ours."""
    from edgedqn.export.edge_policy import PolicyFileError  # with NumPy, which `--help` does without

    if isinstance(error, InputError | PolicyFileError):
        return one_line(error)
    if isinstance(error, FileNotFoundError) and _is_current_folder_gone():
        return "The current folder was deleted: expected one that exists. Got none; change to another."
    if isinstance(error, OSError) and error.errno in NOT_OURS:
        named = " and ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
        return f"Cannot read or write {named or 'a file'}. Got: {error.strerror}."
    return None


def _is_current_folder_gone() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def _work(arguments: Namespace) -> int:
    """Imports the command's module, TensorFlow first where it needs that, and runs it."""
    if arguments.command in ("evaluate", "play") and not getattr(arguments, "browser", False):
        arguments.path = _in_bundle(arguments.path)
    is_library = getattr(arguments, "ecosystem", None) is not None  # of what a run ships, which is a file, too
    of_files = arguments.command in OF_FILES and (is_library or _is_of_files(arguments))
    module, name = ALONE.get(arguments.command, ("files" if of_files else "runs", arguments.command))
    if getattr(arguments, "seeds", None):
        module, name = "sweep", "run_seeds"
    if getattr(arguments, "list", False) and not arguments.json:  # the JSON has the stages of recipes, and these TensorFlow
        module, name = "lists", "recipes"
    if not of_files and module not in WITHOUT_TENSORFLOW:
        _require_folder(arguments)
        load_tensorflow(sweep=module == "sweep")
    code: int = getattr(import_module(f"edgedqn.pipeline.commands.{module}"), name)(arguments)
    return code


def _in_bundle(path: Path) -> Path:
    """The policy in a bundle's folder; any other path as it is."""
    policy = path / "policy.tflite"
    return policy if policy.exists() else path


def _is_of_files(arguments: Namespace) -> bool:
    """Whether the command is given .tflite files alone, or a page, which plays one."""
    paths = getattr(arguments, "paths", None) or [path for path in [getattr(arguments, "path", None)] if path is not None]
    return (bool(paths) and all(path.suffix == ".tflite" for path in paths)) or getattr(arguments, "browser", False)


def _require_folder(arguments: Namespace) -> None:
    """Refuses what is neither files nor a folder before TensorFlow is loaded, which takes seconds and which a board has not."""
    if arguments.command in OF_FILES:
        from edgedqn.benchmarks.foreign import refuse_other_kind  # with NumPy, which `--help` does without

        for path in getattr(arguments, "paths", None) or [arguments.path]:
            refuse_other_kind(path)
    if arguments.command == "bench" and len(arguments.paths) > 1:
        raise InputError(f"Expected one run folder, or .tflite files. Got {', '.join(map(str, arguments.paths))}.")
    if arguments.command in ("evaluate", "play") and not arguments.path.exists():
        expected = "expected a .tflite, a bundle, an agent folder, or a run folder with a trained agent"
        raise InputError(f"No policy in {arguments.path}: {expected}.")
