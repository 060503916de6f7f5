"""The verdict on a firmware whose cost is known."""

from pathlib import Path

import pytest

from edgedqn.benchmarks.cores.budget import CYCLES_PER_INSTRUCTION, TARGETS, find_budget
from edgedqn.benchmarks.cores.core import missing_tools
from edgedqn.benchmarks.cores.fit import Fit, FitTest, fit_of

OBSERVE_H = """
#include <stddef.h>
#include "policy.h"
#define POLICY_OBSERVATION 1
#define POLICY_MASKED 0
#define POLICY_ACTIONS 1
typedef float policy_element;
void policy_reset(void);
int policy_observe(const policy_element *observation, int8_t *input);
int policy_argmax(const int8_t *output);
"""
OBSERVE_C = """
#include "policy_observe.h"
void policy_reset(void) {}
int policy_observe(const policy_element *observation, int8_t *input) { return *input = *observation > 0.0f, 1; }
"""
IO_C = '#include "policy_observe.h"\nint policy_argmax(const int8_t *output) { return *output != 0; }'
OBSERVATIONS = [b"\0\0\0\0", b"\0\0\x80\x3f"]  # 0 and 1


@pytest.fixture
def firmware(policy: Path) -> Path:
    """The policy of a loop of 500 times two instructions, or four cycles, with what is around it."""
    files = {"policy_observe.h": OBSERVE_H, "policy_observe.c": OBSERVE_C, "policy_io.h": "", "policy_io.c": IO_C}
    for name, text in files.items():
        (policy / name).write_text(text)
    return policy


@pytest.mark.parametrize("core", ["atmega328p", "cortex-m0", "cortex-m4f", "rv32imac"])
def test_measures_a_whole_step_and_names_what_is_not_enough(core: str, firmware: Path) -> None:
    if missing := missing_tools(TARGETS[core]):
        pytest.skip(f"not installed: {', '.join(missing)}")
    budget = find_budget(f"{core}:8000,1000,10000")
    found = fit_of("known", firmware, budget, observations=OBSERVATIONS)
    assert found.reason is None and found.rate_hz is None
    assert found.flash_bytes and found.ram_bytes and found.cycles
    loop = 2_000 if budget.is_measured else 1_000 * CYCLES_PER_INSTRUCTION
    assert loop < found.cycles < 1.6 * loop
    assert 96 + 5 < found.ram_bytes < 300  # its stack, and its static memory
    assert 64 < found.flash_bytes < 4_000
    exact = f"{found.flash_bytes},{found.ram_bytes},{found.cycles}"
    assert fit_of("known", firmware, find_budget(f"{core}:{exact}"), observations=OBSERVATIONS).reason is None
    ram, cycles = found.ram_bytes, found.cycles
    less = find_budget(f"{core}:{found.flash_bytes},{ram - 1},{cycles - 1}")
    reason = f"RAM: {ram:,} of {ram - 1:,} bytes; cycles: {cycles:,} of {cycles - 1:,} per step"
    assert fit_of("known", firmware, less, observations=OBSERVATIONS).reason == reason


def test_what_is_too_large_is_not_run(firmware: Path) -> None:
    if missing := missing_tools(TARGETS["atmega328p"]):
        pytest.skip(f"not installed: {', '.join(missing)}")
    found = fit_of("known", firmware, find_budget("atmega328p:100,2048,1"), observations=OBSERVATIONS)
    assert found.cycles is None and found.reason == f"flash: {found.flash_bytes:,} of 100 bytes"
    enlarge(firmware, 33_000)
    found = fit_of("known", firmware, find_budget("uno"), observations=OBSERVATIONS)
    assert found == Fit(name="known", reason="flash: 33,000 bytes of constants of 32,256")
    found = fit_of("known", firmware, find_budget("mega"), observations=OBSERVATIONS)
    assert found == Fit(name="known", reason="flash: a table of constants is larger than avr-gcc can have")


def test_a_program_of_any_size_is_weighed(firmware: Path) -> None:
    """The linker has no say in the verdict: it gets more memory than any chip has."""
    if missing := missing_tools(TARGETS["cortex-m0"]):
        pytest.skip(f"not installed: {', '.join(missing)}")
    enlarge(firmware, 5_000_000)
    for bytes_there, reason in (
        (5_000_000, "flash: {0:,} of 5,000,000 bytes"),
        (5_010_000, "cycles: unknown, as no cortex-m0 "),
    ):
        found = fit_of("known", firmware, find_budget(f"{bytes_there},2048,1"), observations=OBSERVATIONS)
        assert found.reason is not None and found.reason.startswith(reason.format(found.flash_bytes))


def enlarge(firmware: Path, size: int) -> None:
    """Makes its table so large, and says so."""
    for name, before, after in (
        ("policy.c", "table[64]", f"table[{size}]"),
        ("policy_settings.h", "BYTES 64", f"BYTES {size}"),
    ):
        source = firmware / name
        source.write_text(source.read_text().replace(before, after))


def test_only_a_limit_keeps_files_from_shipping() -> None:
    files = (Fit(name="small"), Fit(name="large", reason="flash"))
    limit, asked = (FitTest(budget=find_budget("uno"), is_limit=is_limit, files=files) for is_limit in (True, False))
    assert [limit.allows(name) for name in ("small", "large", "unknown")] == [True, False, False]
    assert asked.allows("large")
