import shutil

import pytest

from edgedqn.benchmarks.cores.core import CORES, missing_tools, with_all_memory


def test_names_commands_and_files_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda tool: None if tool == "avr-gcc" else f"/bin/{tool}")
    assert missing_tools(CORES["atmega328p"])[:1] == ["avr-gcc"]
    monkeypatch.setattr(shutil, "which", lambda tool: None)
    assert missing_tools(CORES["cortex-m0"]) == ["arm-none-eabi-gcc", "qemu-system-arm"]


def test_there_are_the_cores_that_microcontrollers_have_and_one_with_the_other_byte_order() -> None:
    assert {core.unit for core in CORES.values()} == {"instructions", "cycles", None}
    assert {name for name, core in CORES.items() if core.int_bytes == 2} == {"atmega328p", "atmega2560"}
    assert all((core.flash_bytes is None) == (core.ram_bytes is None) for core in CORES.values())


def test_all_memory_is_more_than_any_chip_has() -> None:
    link = " ".join(with_all_memory(CORES["cortex-m55"]).link)
    assert f"FLASH_BYTES={1 << 28}" in link
    assert "REGION_LENGTH" not in " ".join(with_all_memory(CORES["atmega328p"]).link)
