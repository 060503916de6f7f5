"""What a policy's `policy_settings.h` states of its memory, and what a chip has no room for by that alone."""

import re
from dataclasses import dataclass
from pathlib import Path

# policy.c refuses more: an AVR reads tables from the first 64 KB of its flash, where its start-up code lies, too.
AVR_TABLE_BYTES = 60_000
SETTINGS = "policy_settings.h"


@dataclass(frozen=True, kw_only=True)
class StatedMemory:
    """Of a policy, in bytes.

    Attributes:
      inputs: numbers that the network takes.
      buffer_bytes: `POLICY_RAM_BYTES`, around and between the layers.
      observe_bytes: `POLICY_OBSERVE_RAM_BYTES`, an observation and the ring of frames.
      constant_bytes: `POLICY_CONSTANT_BYTES`, in flash.
    """

    inputs: int
    buffer_bytes: int
    observe_bytes: int
    constant_bytes: int

    @classmethod
    def read(cls, folder: Path) -> "StatedMemory":
        """Of the folder of a policy that has a `policy.c`."""
        text = (folder / SETTINGS).read_text(encoding="utf-8")
        stated = {name: int(value) for name, value in re.findall(r"#define POLICY_(\w+) (\d+)$", text, re.MULTILINE)}
        return cls(
            inputs=stated["INPUTS"],
            buffer_bytes=stated["RAM_BYTES"],
            observe_bytes=stated["OBSERVE_RAM_BYTES"],
            constant_bytes=stated["CONSTANT_BYTES"],
        )

    @property
    def ram_bytes(self) -> int:
        """What is in RAM from an observation to an action, but for the stack."""
        return self.buffer_bytes + self.observe_bytes

    def has_room_for_reals(self, ram_bytes: int | None) -> bool:
        """Whether a chip has room for all features as numbers of 32 bits, as `policy_quantize` takes them, too."""
        return ram_bytes is None or self.buffer_bytes + 4 * self.inputs <= ram_bytes

    def lacking(self, *, flash_bytes: int | None, ram_bytes: int | None, is_avr: bool) -> str | None:
        """What there is not enough of, None of a memory being any; None where only a linked program can tell."""
        found = []
        if flash_bytes is not None and self.constant_bytes > flash_bytes:
            found.append(f"flash: {self.constant_bytes:,} bytes of constants of {flash_bytes:,}")
        elif is_avr and self.constant_bytes > AVR_TABLE_BYTES:
            found.append(
                f"flash: {self.constant_bytes:,} bytes of constants of the {AVR_TABLE_BYTES:,} in the first 64 KB, all that an "
                "AVR reads tables from"
            )
        if ram_bytes is not None and self.ram_bytes > ram_bytes:
            found.append(f"RAM: {self.ram_bytes:,} bytes without the stack of {ram_bytes:,}")
        return "; ".join(found) or None
