"""What a policy's C files cost on a core: what its steps take, and what they add to a program's flash, RAM and stack."""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from edgedqn.benchmarks.cores.core import Core
from edgedqn.benchmarks.cores.programs import SOURCES, TooLargeError, answer, build, run
from edgedqn.benchmarks.cores.stated import StatedMemory

NETWORK, INPUT, OBSERVED = "policy.c", "policy_io.c", "policy_observe.c"
HEADINGS = ("infer", "quantize", "quantize_q", "flash", "RAM", "stack")
READ_IN_PLACE = (".text", ".rodata")


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """What a policy costs, built with -O2: what a program has more of than one with empty functions in its place.

    Attributes:
      infer: instructions or cycles, as the core counts, of one `policy_infer`; None where it counts nothing.
      quantize: of one `policy_quantize`, likewise; of `policy_observe`, which takes bytes, where the chip has no room for all
        features as floats.
      quantize_q: of one `policy_quantize_q`, likewise; None there.
      flash_bytes: of the linked program, what only the policy calls of the compiler's library included.
      constants_bytes: of these, tables that are read where they are; the rest is code, and what is copied to RAM.
      ram_bytes: static memory.
      stack_bytes: below the caller's frame, of the deeper of the two functions, measured on painted memory.
    """

    infer: int | None
    quantize: int | None
    quantize_q: int | None = None
    flash_bytes: int
    constants_bytes: int
    ram_bytes: int
    stack_bytes: int

    @property
    def code_bytes(self) -> int:
        """What of the flash is no table."""
        return self.flash_bytes - self.constants_bytes

    def cells(self) -> list[str]:
        """What stands under `HEADINGS` in a table."""
        numbers = (self.infer, self.quantize, self.quantize_q, self.flash_bytes, self.ram_bytes, self.stack_bytes)
        return ["-" if number is None else f"{number:,}" for number in numbers]


def measure(core: Core, folder: Path, *, files: Sequence[str] = (NETWORK, INPUT)) -> Footprint:
    """Weighs and counts C files of a device bundle.

    Args:
      core: one of `CORES`.
      folder: with `policy.h`, `policy_settings.h`, and whatever the files include.
      files: of the folder; without `policy_io.c`, it is the network alone.
    Raises:
      InputError, RuntimeError: as `run_on`.
      TooLargeError: the chip has too little flash, or too little RAM, for the stack, too.
    """
    has_room = StatedMemory.read(folder).has_room_for_reals(core.ram_bytes)
    step, more = "REALS" if has_room else "OBSERVATION", [] if has_room or INPUT not in files else [OBSERVED]
    without, found = _of_program(core, folder, (), step), _of_program(core, folder, (*files, *more), step)
    # An empty function has a stack, too: on an AVR, the address where it returns to.
    without["stack_bytes"] = 0
    added = {name: value - without[name] for name, value in found.items()}
    by_integers = _of_program(core, folder, files, "COUNTS")["quantize"] - without["quantize"] if has_room else None

    def units(ticks: int | None) -> int | None:
        return None if ticks is None or core.unit is None else round(ticks / core.ticks_per_unit)

    infer, quantize = added.pop("infer"), added.pop("quantize")
    return Footprint(infer=units(infer), quantize=units(quantize), quantize_q=units(by_integers), **added)


def too_small(core: Core, folder: Path) -> str | None:
    """Why a chip cannot have a policy, by what its `policy_settings.h` states alone; None where only a linked program tells."""
    memory = StatedMemory.read(folder)
    lacking = memory.lacking(flash_bytes=core.flash_bytes, ram_bytes=core.ram_bytes, is_avr=core.is_avr)
    return lacking and f"{core.name} has too little: {lacking}"


def _of_program(core: Core, folder: Path, files: Sequence[str], step: str) -> dict[str, int]:
    """The same of a program with these files of the policy; of its steps, in ticks of the core's counter.

    `step` is what `quantize` starts from, as `measure.c` knows it: REALS, COUNTS, or an OBSERVATION.
    """
    with tempfile.TemporaryDirectory() as name:
        main = f"#define {step}\n" + (SOURCES / "measure.c").read_text(encoding="utf-8")
        sources = [SOURCES / "stubs.c", *(folder / file for file in files)]
        program = build(core, main, sources, includes=[folder], folder=Path(name))
        stack, room, infer, quantize = map(int, run(core, program).split())
        if stack == room:
            raise TooLargeError(f"{core.name}: expected the stack of a step to fit above static memory, in {room:,} bytes.")
        memory = memory_of(core, program)
        symbols = [line for line in _cells(core, "nm --print-size --format=sysv", program) if line[3:4] == ["OBJECT"]]
    return {
        "infer": infer,
        "quantize": quantize,
        **asdict(memory),
        "constants_bytes": sum(int(line[4], 16) for line in symbols if line[-1] in READ_IN_PLACE and len(line) == 6),
        "stack_bytes": stack,
    }


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What a linked program takes: of flash, what is copied to RAM included; of RAM, without a stack."""

    flash_bytes: int
    ram_bytes: int


def memory_of(core: Core, program: Path) -> Memory:
    """Weighs the sections of an ELF file."""
    sections = {line[0]: int(line[1]) for line in _cells(core, "size -A", program) if line[0].startswith(".")}
    return Memory(
        flash_bytes=sum(sections.get(name, 0) for name in (*READ_IN_PLACE, ".data")),
        ram_bytes=sum(sections.get(name, 0) for name in (".data", ".bss")),
    )


def _cells(core: Core, tool: str, program: Path) -> list[list[str]]:
    """The cells, none of them empty, of each line that one of the compiler's tools writes."""
    lines = answer([*f"{core.compiler.removesuffix('gcc')}{tool}".split(), str(program)]).splitlines()
    return [cells for cells in (line.replace("|", " ").split() for line in lines) if cells]
