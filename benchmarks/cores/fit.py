"""Whether a policy fits a board: flash and RAM of its whole firmware, as it is linked, and what a step of it takes."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgedqn.agents.files import JsonValue
from edgedqn.benchmarks.cores.budget import CYCLES_PER_INSTRUCTION, TARGETS, Budget
from edgedqn.benchmarks.cores.core import with_all_memory
from edgedqn.benchmarks.cores.footprint import INPUT, NETWORK, OBSERVED, memory_of
from edgedqn.benchmarks.cores.programs import SOURCES, TooLargeError, build, run
from edgedqn.benchmarks.cores.stated import StatedMemory

FIRMWARE, LOOP = (NETWORK, INPUT, OBSERVED), (SOURCES / "firmware.c").read_text(encoding="utf-8")
TIMEOUT_S = 600


@dataclass(frozen=True, kw_only=True)
class Fit(JsonValue):
    """What a file takes on a board; None where that was not measured, because it does not fit before.

    Attributes:
      name: of the file's row.
      flash_bytes: of the linked firmware.
      ram_bytes: of it, static memory and the deepest stack below `main`.
      cycles: of a step, the most that was met; estimated where `Budget.is_measured` is false.
      rate_hz: the highest, in steps per second; None where the board's clock is not known.
      reason: why it does not fit; None where it does.
    """

    name: str
    flash_bytes: int | None = None
    ram_bytes: int | None = None
    cycles: int | None = None
    rate_hz: float | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class FitTest(JsonValue):
    """What `bench --fit` found; `is_limit` where nothing else may ship."""

    budget: Budget
    is_limit: bool
    files: tuple[Fit, ...]

    def allows(self, name: str) -> bool:
        """Whether a file may ship."""
        return not self.is_limit or any(each.name == name and each.reason is None for each in self.files)


def fit_of(name: str, folder: Path, budget: Budget, *, observations: Sequence[bytes]) -> Fit:
    """Builds a firmware of a policy's C files with -O2, and runs it where it fits.

    The firmware is a loop of `policy_observe`, `policy_infer` and the choice of an action, with the start-up code and what it
    calls of the compiler's libraries. What a real one has besides (sensors, Arduino's core) comes on top.

    Args:
      name: of the row.
      folder: with `policy.c`, `policy_io.c`, `policy_observe.c`, and what they include.
      budget: of the board.
      observations: 1 to 255, each of the bytes of C's array, lowest first; all begin with the first.
    Raises:
      InputError: a tool of the core is missing.
      RuntimeError: the compiler complained, or the program failed.
    """
    stated, core = StatedMemory.read(folder), TARGETS[budget.core]
    lacking = stated.lacking(flash_bytes=budget.flash_bytes, ram_bytes=budget.ram_bytes, is_avr=core.is_avr)
    return Fit(name=name, reason=lacking) if lacking else _measured(name, folder, budget, observations)


def _measured(name: str, folder: Path, budget: Budget, observations: Sequence[bytes]) -> Fit:
    core, sources = TARGETS[budget.core], [folder / each for each in FIRMWARE]
    with tempfile.TemporaryDirectory() as place:
        try:
            linked = build(with_all_memory(core), LOOP, sources, includes=[folder], folder=Path(place))
        except TooLargeError:
            return Fit(name=name, reason=f"flash: a table of constants is larger than {core.compiler} can have")
        memory = memory_of(core, linked)
        weighed = Fit(name=name, flash_bytes=memory.flash_bytes, ram_bytes=memory.ram_bytes)
        if over := _over(budget, flash=memory.flash_bytes, ram=memory.ram_bytes):
            return replace(weighed, reason=over)
        try:
            program = build(core, f"#define MEASURED\n{LOOP}", sources, includes=[folder], folder=Path(place))
        except TooLargeError:
            return replace(weighed, reason=f"cycles: unknown, as no {core.name} with so much memory is emulated")
        given = bytes([len(observations)]) + b"".join(observations)
        stack, room, ticks = map(int, run(core, program, input_bytes=given, timeout_s=TIMEOUT_S).split())
    if stack == room:
        return replace(weighed, reason=f"RAM: {room:,} bytes above static memory are too few for the stack of a step")
    cycles = round(ticks / core.ticks_per_unit) * (1 if budget.is_measured else CYCLES_PER_INSTRUCTION)
    ram = memory.ram_bytes + stack
    return Fit(
        name=name,
        flash_bytes=memory.flash_bytes,
        ram_bytes=ram,
        cycles=cycles,
        rate_hz=None if budget.clock_hz is None else budget.clock_hz / cycles,
        reason=_over(budget, flash=memory.flash_bytes, ram=ram, cycles=cycles),
    )


def _over(budget: Budget, *, flash: int, ram: int, cycles: int = 0) -> str | None:
    """What of the budget is not enough; None where all is."""
    found = [
        f"{what}: {taken:,} of {there:,}{unit}"
        for what, taken, there, unit in (
            ("flash", flash, budget.flash_bytes, " bytes"),
            ("RAM", ram, budget.ram_bytes, " bytes"),
            ("cycles", cycles, budget.cycles, " per step"),
        )
        if there is not None and taken > there
    ]
    return "; ".join(found) or None
