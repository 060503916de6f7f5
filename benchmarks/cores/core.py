"""The cores: with what each is built for and emulated, what its emulator counts, and how much memory its chip has."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

SIMAVR_HOST = "simavr_host"
# What is built of simavr's library, which has no command of its own, needs these.
SIMAVR = ("/usr/include/simavr/sim_avr.h", "/usr/include/libelf.h")
# No network, no display; the program reads and writes files of this machine by semihosting, of which two are a pipe's ends.
QEMU = (
    *("-display", "none", "-monitor", "none", "-serial", "none", "-chardev", "file,id=out,path=/dev/stdout"),
    *("-semihosting-config", "enable=on,target=native,chardev=out"),
)


@dataclass(frozen=True, kw_only=True)
class Core:
    """A processor, as it is emulated here.

    Attributes:
      name: for `CORES` and the command line.
      compiler: GCC's command.
      options: what code is made of, for the compiler and the linker.
      port: the file of `sources/` with its start-up, input and output.
      link: options of the linker alone.
      emulator: the command that takes a program's path as its next argument; `simavr_host` stands for the one of
        `sources/`, which is built when it is needed.
      needs: commands, and absolute paths of files.
      unit: what is counted; None where nothing is.
      ticks_per_unit: of the program's `count()`.
      int_bytes: of C's `int`.
      flash_bytes: of the chip, into which a program must fit; None where the emulated board has more than chips do.
      ram_bytes: of the chip, likewise.
    """

    name: str
    compiler: str
    options: tuple[str, ...]
    port: str
    link: tuple[str, ...]
    emulator: tuple[str, ...]
    needs: tuple[str, ...]
    unit: Literal["instructions", "cycles"] | None = None
    ticks_per_unit: float = 1
    int_bytes: int = 4
    flash_bytes: int | None = None
    ram_bytes: int | None = None

    @property
    def is_avr(self) -> bool:
        """Whether constants are read by instructions of their own, and `int` has 16 bits."""
        return self.int_bytes == 2

    @property
    def cpp_compiler(self) -> str:
        """The command of the C++ compiler."""
        return self.compiler.removesuffix("gcc") + "g++"


@dataclass(frozen=True)
class _Memory:
    """Where a program lies, and how long it may be, in bytes."""

    flash_at: int
    flash_bytes: int
    ram_at: int
    ram_bytes: int

    def link(self) -> tuple[str, ...]:
        defined = ",".join(f"--defsym={name.upper()}={value}" for name, value in vars(self).items())
        return ("-nostdlib", "-nostartfiles", "-T", "memory.ld", f"-Wl,{defined},--no-warn-rwx-segments")


def with_all_memory(core: Core) -> Core:
    """A microcontroller's core as if its chip had more memory than any: a program of any size is linked, and can be weighed."""
    # Of the options of an AVR's linker the first is the chip's limits.
    return replace(core, link=core.link[1:] if core.is_avr else _ALL_MEMORY.link())


def missing_tools(core: Core) -> list[str]:
    """Which commands and files that the core needs are not installed; `.ci/run` says which Debian packages have them."""
    return [tool for tool in core.needs if not (shutil.which(tool) or (tool.startswith("/") and Path(tool).exists()))]


def _arm(name: str, options: str, machine: str, memory: _Memory, *, clock_mhz: int, chip: bool = False) -> Core:
    # One instruction takes 2**8 ns of emulated time, and SysTick counts the board's clock.
    shift = 8
    return Core(
        name=name,
        compiler="arm-none-eabi-gcc",
        options=(*options.split(), "-mthumb", "-ffreestanding"),
        port="semihosting.c",
        link=memory.link(),
        emulator=("qemu-system-arm", "-M", machine, *QEMU, "-icount", f"shift={shift}", "-kernel"),
        needs=("arm-none-eabi-gcc", "qemu-system-arm"),
        unit="instructions",
        ticks_per_unit=2**shift * clock_mhz / 1_000,
        flash_bytes=memory.flash_bytes if chip else None,
        ram_bytes=memory.ram_bytes if chip else None,
    )


def _riscv(name: str, abi: str) -> Core:
    return Core(
        name=name,
        compiler="riscv64-unknown-elf-gcc",
        options=(f"-march={name}", f"-mabi={abi}", "-ffreestanding"),
        port="semihosting.c",
        link=_Memory(0x8000_0000, 4 << 20, 0x8040_0000, 4 << 20).link(),
        emulator=("qemu-system-riscv32", "-M", "virt", "-bios", "none", *QEMU, "-icount", "shift=0", "-kernel"),
        needs=("riscv64-unknown-elf-gcc", "qemu-system-riscv32"),
        unit="instructions",
    )


def _avr(name: str, flash_bytes: int, ram_bytes: int) -> Core:
    # The linker's own limits are those of the largest chip with such a core.
    limits = f"-Wl,--defsym=__TEXT_REGION_LENGTH__={flash_bytes},--defsym=__DATA_REGION_LENGTH__={ram_bytes}"
    return Core(
        name=name,
        compiler="avr-gcc",
        options=(f"-mmcu={name}", "-DF_CPU=16000000UL"),
        port="avr.c",
        link=(limits, "-lm"),
        emulator=(SIMAVR_HOST, name),
        needs=("avr-gcc", "/usr/lib/avr/include/avr/io.h", "cc", *SIMAVR),
        unit="cycles",
        int_bytes=2,
        flash_bytes=flash_bytes,
        ram_bytes=ram_bytes,
    )


_ALL_MEMORY = _Memory(0x1000_0000, 1 << 28, 0x3000_0000, 1 << 28)
_MPS2 = _Memory(0, 4 << 20, 0x2000_0000, 4 << 20)
CORES = {
    core.name: core
    for core in (
        # The micro:bit's chip, an nRF51822.
        _arm("cortex-m0", "-mcpu=cortex-m0", "microbit", _Memory(0, 256 << 10, 0x2000_0000, 16 << 10), clock_mhz=16, chip=True),
        _arm("cortex-m3", "-mcpu=cortex-m3", "mps2-an385", _MPS2, clock_mhz=25),
        _arm("cortex-m4f", "-mcpu=cortex-m4 -mfloat-abi=hard -mfpu=fpv4-sp-d16", "mps2-an386", _MPS2, clock_mhz=25),
        # It starts in the secure state, to which memory belongs at the addresses with bit 28.
        _arm(
            "cortex-m33",
            "-mcpu=cortex-m33 -mfloat-abi=hard -mfpu=fpv5-sp-d16",
            "mps2-an505",
            _Memory(0x1000_0000, 4 << 20, 0x3800_0000, 4 << 20),
            clock_mhz=20,
        ),
        _arm(
            "cortex-m55",
            "-mcpu=cortex-m55 -mfloat-abi=hard",
            "mps3-an547",
            _Memory(0, 512 << 10, 0x2000_0000, 512 << 10),
            clock_mhz=32,
        ),
        _avr("atmega328p", 32 << 10, 2 << 10),
        _avr("atmega2560", 256 << 10, 8 << 10),
        _riscv("rv32imac", "ilp32"),
        _riscv("rv32imafc", "ilp32f"),
        # No microcontroller, but big-endian; under the emulator of single programs, which counts nothing.
        Core(
            name="s390x",
            compiler="s390x-linux-gnu-gcc",
            options=(),
            port="hosted.c",
            link=("-static",),
            emulator=("qemu-s390x-static",),
            needs=("s390x-linux-gnu-gcc", "/usr/s390x-linux-gnu/include/stdio.h", "qemu-s390x-static"),
        ),
    )
}
