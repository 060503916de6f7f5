"""An emulated Cortex-M4: builds C and C++ for it, runs them, and weighs a policy's plain C file.

The machine is QEMU's mps2-an386, without a network, a display or a library; the program writes by semihosting. What is counted
are instructions, which QEMU knows exactly, not cycles, which it does not.

    python -m edgedqn.benchmarks.cortex_m4 device/microcontroller
"""

import argparse
import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path

from edgedqn.agents.errors import require
from edgedqn.agents.playing.processes import command_that_ends_with_this

COMPILER, CPP_COMPILER, EMULATOR = "arm-none-eabi-gcc", "arm-none-eabi-g++", "qemu-system-arm"
TOOLS = (COMPILER, CPP_COMPILER, EMULATOR)
# Contraction off: the contract of a policy's input is a rounding after the product and another one after the sum.
TARGET = ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=soft", "-ffreestanding", "-ffp-contract=off")
WARNINGS = ("-Wall", "-Wextra", "-Werror")
C_OPTIONS = ("-std=c99", "-pedantic", "-Wconversion", "-Wshadow")
CPP_OPTIONS = ("-std=c++17", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics")
# One instruction takes 2**8 ns of emulated time, and SysTick counts the 25 MHz of the board's clock in 24 bits.
ICOUNT_SHIFT, TICKS_PER_INSTRUCTION = 8, 2**8 * 25e6 / 1e9
MOST_INSTRUCTIONS = 2_600_000


@dataclass(frozen=True)
class DeviceFootprint:
    """What a policy's `policy.c` costs on a Cortex-M4, built with -O2. Quantizing an observation is not in it.

    Attributes:
      instructions: of one `policy_infer`, the call included.
      code_bytes: of machine code.
      constants_bytes: of weights, biases, multipliers and tables.
      stack_bytes: below the caller's frame, measured on painted memory.
    """

    instructions: int
    code_bytes: int
    constants_bytes: int
    stack_bytes: int


def missing_tools() -> list[str]:
    """Which of the compiler and the emulator are not installed."""
    return [tool for tool in TOOLS if shutil.which(tool) is None]


def run_on_cortex_m4(main: str, sources: Sequence[Path], includes: Sequence[Path], optimization: str = "-O2") -> str:
    """Builds a program without a single warning, runs it, and returns what it wrote.

    Args:
      main: C99 with `int main(void)`, or C++17 where a `.cc` is among `sources`; `semihosting.h` declares `put_text` and
        `put_number`.
      sources: `.c` and `.cc` files.
      includes: folders for the compiler to look in.
      optimization: -O0 to -O3, or -Os.
    Raises:
      InputError: a tool is missing.
      RuntimeError: the compiler or the linker complained, or the program failed or took longer than a minute.
    """
    missing = missing_tools()
    require(not missing, f"No Cortex-M4 here: expected Debian's gcc-arm-none-eabi and qemu-system-arm. Missing: {missing}.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        suffix = ".cc" if any(source.suffix == ".cc" for source in sources) else ".c"
        (folder / f"main{suffix}").write_text(main)
        for file in ("semihosting.h", "startup.c", "memory.ld"):
            (folder / file).write_text(_source(file))
        looks = [f"-I{path}" for path in (folder, *includes)]
        parts = enumerate([folder / f"main{suffix}", folder / "startup.c", *sources])
        objects = [_compiled(source, folder / f"{index}.o", optimization, looks) for index, source in parts]
        firmware = folder / "firmware.elf"
        link = ["-nostdlib", "-nostartfiles", "-T", str(folder / "memory.ld"), "-Wl,--gc-sections,--no-warn-rwx-segments"]
        _call([COMPILER, *TARGET, *link, *map(str, objects), "-lgcc", "-o", str(firmware)])
        machine = ["-M", "mps2-an386", "-display", "none", "-monitor", "none", "-serial", "none"]
        output = ["-chardev", "file,id=out,path=/dev/stdout", "-semihosting-config", "enable=on,target=native,chardev=out"]
        return _call([EMULATOR, *machine, *output, "-icount", f"shift={ICOUNT_SHIFT}", "-kernel", str(firmware)])


def measure_plain_c(folder: Path) -> DeviceFootprint:
    """Weighs and counts the `policy.c` of a device bundle. Raises as `run_on_cortex_m4`, and where a step takes too long."""
    idle, busy, wrapped, stack = map(int, run_on_cortex_m4(_source("measure.c"), [folder / "policy.c"], [folder]).split())
    if wrapped:
        raise RuntimeError(f"A step takes too long to count: expected at most {MOST_INSTRUCTIONS:,} instructions.")
    with tempfile.TemporaryDirectory() as name:
        sizes = _section_sizes(_compiled(folder / "policy.c", Path(name) / "policy.o", "-O2", [f"-I{folder}"]))
    return DeviceFootprint(
        instructions=round((busy - idle) / TICKS_PER_INSTRUCTION),
        code_bytes=sum(size for section, size in sizes.items() if section.startswith(".text")),
        constants_bytes=sum(size for section, size in sizes.items() if section.startswith(".rodata")),
        stack_bytes=stack,
    )


def _source(name: str) -> str:
    return (resources.files("edgedqn.benchmarks.cortex_m4_sources") / name).read_text(encoding="utf-8")


def _compiled(source: Path, target: Path, optimization: str, looks: Sequence[str]) -> Path:
    compiler, language = (CPP_COMPILER, CPP_OPTIONS) if source.suffix == ".cc" else (COMPILER, C_OPTIONS)
    # Sections of their own, so that the linker leaves out what nothing calls.
    options = [*TARGET, optimization, *WARNINGS, *language, "-ffunction-sections", "-fdata-sections", *looks]
    _call([compiler, *options, "-c", str(source), "-o", str(target)])
    return target


def _section_sizes(compiled: Path) -> dict[str, int]:
    lines = [line.split() for line in _call(["arm-none-eabi-size", "-A", str(compiled)]).splitlines()]
    return {line[0]: int(line[1]) for line in lines if len(line) == 3 and line[0].startswith(".")}


def _call(command: Sequence[str]) -> str:
    lasting = command[0] == EMULATOR  # what compiles is done in a moment
    whole = command_that_ends_with_this(command) if lasting else command
    run = subprocess.run(whole, capture_output=True, text=True, timeout=60, check=False)
    if run.returncode or run.stderr:
        raise RuntimeError(f"{command[0]} exited with {run.returncode}: {(run.stderr + run.stdout)[-2000:]}")
    return run.stdout


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the footprint of a folder's `policy.c` as JSON."""
    parser = argparse.ArgumentParser(description="What a policy's policy.c costs on an emulated Cortex-M4.")
    parser.add_argument("folder", type=Path, help="with policy.c and policy.h")
    folder = parser.parse_args(arguments).folder
    if not (folder / "policy.c").exists():
        parser.error(f"No policy.c in {folder}: expected what write_microcontroller makes of an MLP.")
    print(json.dumps(asdict(measure_plain_c(folder)), indent=2))


if __name__ == "__main__":
    main()
