import pytest

from edgedqn.agents.errors import InputError
from edgedqn.benchmarks.cores.budget import BOARDS, SMALLEST, TARGETS, Budget, find_budget


def test_a_rate_turns_the_clock_into_cycles_of_a_step() -> None:
    uno = find_budget("uno", 100.0)
    assert (uno.core, uno.flash_bytes, uno.ram_bytes, uno.cycles) == ("atmega328p", 32_256, 2_048, 160_000)
    assert find_budget("uno").cycles is None and uno.is_measured and not find_budget("nano33").is_measured
    assert (uno.options(), find_budget("uno").options()) == ("--fit uno --rate 100", "--fit uno")
    assert Budget.from_json(uno.to_json()) == uno


def test_three_numbers_are_a_budget_on_the_smallest_core_or_one_that_is_named() -> None:
    found = find_budget("32768,4096,20000")
    assert (found.core, found.flash_bytes, found.ram_bytes, found.cycles) == (SMALLEST, 32_768, 4_096, 20_000)
    assert find_budget("cortex-m33:1,2,3").core == "cortex-m33"


def test_each_board_has_a_core_that_counts() -> None:
    assert all(TARGETS[board.core].unit for board in BOARDS.values())


@pytest.mark.parametrize(
    ("text", "rate", "reason"),
    [
        ("due", None, "expected uno, mega, nano33, pico, esp32c3, or FLASH,RAM,CYCLES"),
        ("mgea", None, r"Got 'mgea'\. Nearest: mega\.$"),
        ("s390x:1,2,3", None, "atmega328p.* Got 's390x:1,2,3'"),
        ("atmega328p:32769,1,1", None, "expected at most 32768 bytes of flash"),
        ("uno", 0.0, "Expected a rate of 0.001 to 1,000,000 steps per second"),
        ("uno", 1e-300, "Expected a rate of 0.001 to 1,000,000"),
        ("uno", 1e9, "Expected a rate of 0.001 to 1,000,000"),
        ("uno", float("nan"), "Expected a rate of 0.001 to 1,000,000"),
        ("1,2,3", 10.0, "expected no rate beside them"),
    ],
)
def test_refuses_other_boards_in_one_line(text: str, rate: float | None, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        find_budget(text, rate)
