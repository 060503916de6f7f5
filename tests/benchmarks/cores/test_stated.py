from pathlib import Path

import pytest

from edgedqn.benchmarks.cores.stated import AVR_TABLE_BYTES, StatedMemory

IMAGE = StatedMemory(inputs=400, buffer_bytes=1_183, observe_bytes=400, constant_bytes=9_990)


def test_reads_what_the_settings_say(policy: Path) -> None:
    found = StatedMemory.read(policy)
    assert found == StatedMemory(inputs=1, buffer_bytes=2, observe_bytes=4, constant_bytes=64)
    assert found.ram_bytes == 6


def test_an_image_of_bytes_has_room_where_its_floats_have_none() -> None:
    assert IMAGE.lacking(flash_bytes=32_768, ram_bytes=2_048, is_avr=True) is None
    assert not IMAGE.has_room_for_reals(2_048)
    assert IMAGE.has_room_for_reals(2_783) and not IMAGE.has_room_for_reals(2_782) and IMAGE.has_room_for_reals(None)


@pytest.mark.parametrize(
    ("flash_bytes", "ram_bytes", "is_avr", "reason"),
    [
        (71_782, 1_583, False, None),
        (None, None, False, None),
        (71_781, None, False, "flash: 71,782 bytes of constants of 71,781"),
        (32_256, 1_582, True, "flash: 71,782 bytes of constants of 32,256; RAM: 1,583 bytes without the stack of 1,582"),
        (253_952, 8_192, True, f"flash: 71,782 bytes of constants of the {AVR_TABLE_BYTES:,} in the first 64 KB"),
    ],
)
def test_says_what_is_lacking(flash_bytes: int | None, ram_bytes: int | None, is_avr: bool, reason: str | None) -> None:
    memory = StatedMemory(inputs=400, buffer_bytes=1_183, observe_bytes=400, constant_bytes=71_782)
    found = memory.lacking(flash_bytes=flash_bytes, ram_bytes=ram_bytes, is_avr=is_avr)
    assert found == reason or (found and reason and found.startswith(reason))
