"""Builds C and C++ for a core without a single warning, and runs it."""

import atexit
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from edgedqn.agents.errors import require
from edgedqn.agents.playing.processes import command_that_ends_with_this
from edgedqn.benchmarks.cores.core import SIMAVR_HOST, Core, missing_tools

SOURCES = Path(__file__).parent / "sources"
WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wsign-compare", "-pedantic", "-Werror")
C_OPTIONS = ("-std=c99", "-Wshadow")
CPP_OPTIONS = ("-std=c++11", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics")
# Contraction off: the contract of a policy's input is a rounding after the product and another one after the sum. Sections of
# their own, so that the linker leaves out what nothing calls.
OPTIONS = ("-ffp-contract=off", "-ffunction-sections", "-fdata-sections", "-fno-asynchronous-unwind-tables")
# How linkers say it, GCC of an array that an AVR cannot have at all, and policy.c.
TOO_LARGE = re.compile("overflowed by|will not fit in region|is not within region|size of array .* is too large|do not fit")
MESSAGE_LENGTH = 400
TIMEOUT_S = 60


class TooLargeError(RuntimeError):
    """A program does not fit into the flash or the RAM of a chip: in words of ours, as the linker's name its own files."""


def run_on(
    core: Core,
    main: str,
    sources: Sequence[Path],
    includes: Sequence[Path],
    *,
    optimization: str = "-O2",
    input_bytes: bytes = b"",
    timeout_s: float = TIMEOUT_S,
) -> str:
    """Builds a program, runs it, and returns what it wrote.

    Args:
      core: one of `CORES`.
      main: C99 with `int main(void)`, or C++11 where a `.cc` is among `sources`; `port.h` declares what it can call to write
        and to read.
      sources: `.c` and `.cc` files.
      includes: folders for the compiler to look in.
      optimization: -O0 to -O3, or -Os.
      input_bytes: what the program reads with `get_byte` and `get_float`.
      timeout_s: of the program alone, real seconds.
    Raises:
      InputError: a tool is missing.
      TooLargeError: it does not fit the chip.
      RuntimeError: the compiler or the linker complained, or the program failed, which on an emulated machine a fault of the
        processor is, too (99), or took too long.
    """
    with tempfile.TemporaryDirectory() as name:
        program = build(core, main, sources, includes=includes, folder=Path(name), optimization=optimization)
        return run(core, program, input_bytes=input_bytes, timeout_s=timeout_s)


def build(
    core: Core, main: str, sources: Sequence[Path], *, includes: Sequence[Path], folder: Path, optimization: str = "-O2"
) -> Path:
    """Builds a program as `run_on` does, in a folder that is there, and returns its path, of an ELF file."""
    missing = missing_tools(core)
    require(not missing, f"No {core.name} here: expected its compiler and its emulator. Missing: {', '.join(missing)}.")
    suffix = ".cc" if any(source.suffix == ".cc" for source in sources) else ".c"
    (folder / f"main{suffix}").write_text(main)
    looks = [f"-I{path}" for path in (SOURCES, *includes)]
    objects = []
    for index, source in enumerate((folder / f"main{suffix}", SOURCES / "port.c", SOURCES / core.port, *sources)):
        cpp = source.suffix == ".cc"
        compiler, language = (core.cpp_compiler, CPP_OPTIONS) if cpp else (core.compiler, C_OPTIONS)
        require(shutil.which(compiler) is not None, f"{source.name} is C++: expected {compiler} to be installed.")
        options = [*core.options, optimization, *OPTIONS, *WARNINGS, *language, *looks]
        objects.append(str(folder / f"{index}.o"))
        answer([compiler, *options, "-c", str(source), "-o", objects[-1]])
    program = folder / "program.elf"
    link = ["-Wl,--gc-sections", "-L", str(SOURCES), *objects, *core.link, "-lgcc"]
    answer([core.compiler, *core.options, *link, "-o", str(program)])
    return program


def run(core: Core, program: Path, *, input_bytes: bytes = b"", timeout_s: float = TIMEOUT_S) -> str:
    """Runs a program that was built for the core, and returns what it wrote. Raises as `run_on`."""
    return answer(command_for(core, program), name=core.name, input_bytes=input_bytes, timeout_s=timeout_s)


def command_for(core: Core, program: Path) -> list[str]:
    """The command that runs a program, with its stdin and stdout, and ends with this process.

    On an AVR those are the ends of UART 0, at any speed; the command ends where the program sleeps with interrupts off, and one
    that never does so runs until it is killed. Elsewhere it ends where `main` returns.
    """
    emulator, *arguments = core.emulator
    if emulator == SIMAVR_HOST:
        emulator = str(Path(_simavr_host().name) / SIMAVR_HOST)
    return command_that_ends_with_this([emulator, *arguments, str(program)])


@cache
def _simavr_host() -> tempfile.TemporaryDirectory[str]:
    """A folder with the program that runs an AVR, which is removed when this process ends."""
    folder = tempfile.TemporaryDirectory(prefix="edgedqn-")
    atexit.register(folder.cleanup)
    program = Path(folder.name) / SIMAVR_HOST
    answer(["cc", "-O2", str(SOURCES / f"{SIMAVR_HOST}.c"), "-o", str(program), "-lsimavr", "-lelf"])
    return folder


def answer(command: Sequence[str], *, name: str = "", input_bytes: bytes = b"", timeout_s: float = TIMEOUT_S) -> str:
    """What a command, `name` in errors, writes. Another status than 0, or a word on stderr, is a RuntimeError in one line."""
    name = name or command[0]
    try:
        # In English: what compilers say is looked at.
        english = os.environ | {"LC_ALL": "C"}
        done = subprocess.run(command, input=input_bytes, capture_output=True, timeout=timeout_s, check=False, env=english)
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"{name}: expected an end within {timeout_s:g} s. Got none.") from error
    output, complaints = (text.decode(errors="replace") for text in (done.stdout, done.stderr))
    if done.returncode or complaints:
        told = " ".join(re.sub(r"\S*/", "", f"{complaints} {output}").split())[:MESSAGE_LENGTH]  # without folders
        if TOO_LARGE.search(complaints):
            raise TooLargeError(f"{name}: expected a program that fits the flash and the RAM of the chip. Got a larger one.")
        raise RuntimeError(f"{name} exited with {done.returncode}: {told}")
    return output
