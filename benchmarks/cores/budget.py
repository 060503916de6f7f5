"""What a board gives a policy: flash, RAM and cycles per step; of boards that are known by name, or as three numbers."""

import re
from dataclasses import dataclass, replace

from edgedqn.agents.errors import InputError, hint, require
from edgedqn.agents.files import JsonValue
from edgedqn.benchmarks.cores.core import CORES, Core, with_all_memory

# Where cycles are not measured, they are estimated as so many per instruction: what a taken branch takes on a Cortex-M3 or M4,
# and a call on a Cortex-M0 (Arm's technical reference manuals, "instruction timing"), where most instructions take one or two.
# It is no bound: divisions, and pushes and pops of many registers, take more, and so does each fetch from a flash with wait
# states.
CYCLES_PER_INSTRUCTION = 4


@dataclass(frozen=True, kw_only=True)
class Budget(JsonValue):
    """What a policy may take.

    Attributes:
      board: as it was asked for.
      core: one of `TARGETS`.
      flash_bytes: for the program.
      ram_bytes: for static memory and the stack.
      clock_hz: None where the budget was given as three numbers.
      rate_hz: steps per second that were asked for; None: any.
      cycles: that a step may take; None: any.
    """

    board: str
    core: str
    flash_bytes: int
    ram_bytes: int
    clock_hz: int | None = None
    rate_hz: float | None = None
    cycles: int | None = None

    @property
    def is_measured(self) -> bool:
        """Whether cycles are measured; else they are estimated from instructions."""
        return TARGETS[self.core].unit == "cycles"

    def options(self) -> str:
        """What asks for it on the command line."""
        return f"--fit {self.board}" + ("" if self.rate_hz is None else f" --rate {self.rate_hz:g}")


def _targets() -> dict[str, Core]:
    """By name, those that count, with all the memory that their emulator has: what fits is decided by the budget."""
    counting = {core.name: core for core in CORES.values() if core.unit}
    # The same instructions run on the larger board of a Cortex-M3, too.
    small, large = counting["cortex-m0"], counting["cortex-m3"]
    counting["cortex-m0"] = replace(large, name=small.name, options=small.options)
    return {name: with_all_memory(core) if core.is_avr else core for name, core in counting.items()}


TARGETS = _targets()
SMALLEST = "cortex-m0"  # of those that are common; its code runs on all other Cortex-M
BOARDS = {
    budget.board: budget
    for budget in (
        # Flash of both is what the bootloader leaves.
        Budget(board="uno", core="atmega328p", flash_bytes=32_256, ram_bytes=2_048, clock_hz=16_000_000),
        Budget(board="mega", core="atmega2560", flash_bytes=253_952, ram_bytes=8_192, clock_hz=16_000_000),
        Budget(board="nano33", core="cortex-m4f", flash_bytes=1 << 20, ram_bytes=256 << 10, clock_hz=64_000_000),
        # A Cortex-M0+, whose instructions are the Cortex-M0's, and take no longer.
        Budget(board="pico", core="cortex-m0", flash_bytes=2 << 20, ram_bytes=264 << 10, clock_hz=133_000_000),
        # Its core is an rv32imc: built with atomic instructions, of which a policy has none.
        Budget(board="esp32c3", core="rv32imac", flash_bytes=4 << 20, ram_bytes=400 << 10, clock_hz=160_000_000),
    )
}
RATES_HZ = (0.001, 1_000_000.0)  # from one step in a quarter of an hour to a few cycles of the slowest clock
TRIPLE = re.compile(r"(?:([\w-]+):)?(\d+),(\d+),(\d+)", re.ASCII)


def find_budget(text: str, rate_hz: float | None = None) -> Budget:
    """The budget of a board, or of three numbers.

    Args:
      text: one of `BOARDS`; or FLASH,RAM,CYCLES, bytes, bytes and cycles per step, on the smallest common core; or
        CORE:FLASH,RAM,CYCLES on one of `TARGETS`.
      rate_hz: steps per second, within `RATES_HZ`, which turn the clock of a board into cycles per step.
    Raises:
      InputError: no such board or core, more memory than the core's chip has, or a rate of what has no clock.
    """
    least, most = RATES_HZ
    wanted = f"Expected a rate of {least:g} to {most:,.0f} steps per second"
    require(rate_hz is None or least <= rate_hz <= most, f"{wanted}. Got {rate_hz}.")
    if text in BOARDS:
        board = BOARDS[text]
        assert board.clock_hz is not None
        return board if rate_hz is None else replace(board, rate_hz=rate_hz, cycles=int(board.clock_hz / rate_hz))
    triple = TRIPLE.fullmatch(text)
    if triple is None or (triple[1] or SMALLEST) not in TARGETS:
        raise InputError(
            f"No such board: expected {', '.join(BOARDS)}, or FLASH,RAM,CYCLES in bytes, bytes and cycles per step, behind the "
            f"name of a core and a colon where it is no {SMALLEST}: {', '.join(TARGETS)}. Got {text!r}.{hint(text, BOARDS)}"
        )
    require(rate_hz is None, f"Three numbers say how many cycles a step may take: expected no rate beside them. Got {rate_hz}.")
    core, (flash, ram, cycles) = TARGETS[triple[1] or SMALLEST], map(int, triple.groups()[1:])
    for what, asked, there in (("flash", flash, core.flash_bytes), ("RAM", ram, core.ram_bytes)):
        require(there is None or asked <= there, f"{core.name}: expected at most {there} bytes of {what}. Got {asked}.")
    return Budget(board=text, core=core.name, flash_bytes=flash, ram_bytes=ram, cycles=cycles)
