import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.benchmarks.cores.core import CORES, Core, missing_tools
from edgedqn.benchmarks.cores.programs import TooLargeError, build, command_for, run_on

# The sum of four products of int8 needs more than 16 bits.
KNOWN = """
#include "port.h"
int main(void) {
  static const int8_t vector[4] = {-128, -128, -128, -128};
  const union { uint32_t whole; uint8_t bytes[4]; } order = {1};
  volatile int8_t factor = 127;
  int32_t sum = 0;
  for (int i = 0; i < 4; ++i) sum += factor * vector[i];
  put_text("known: ");
  put_number((int32_t)sizeof(int));
  put_number(sum);
  put_number(-2147483647 - 1);
  put_number(order.bytes[0]);
  put_number((int32_t)(get_float() * 8.0f));
  put_number(get_byte());
  return 0;
}
"""
DOUBLED = '#include "port.h"\nint main(void) { for (;;) { put_number((int32_t)(2.0f * get_float())); put_text("\\n"); } }'


def test_reads_and_prints_what_is_known(core: Core) -> None:
    told = run_on(core, KNOWN, [], [], input_bytes=struct.pack("<fB", -1.25, 200))
    little_endian = int(core.name != "s390x")
    assert told == f"known: {core.int_bytes} -65024 -2147483648 {little_endian} -10 200 "


def test_a_program_that_fails_or_hangs_is_an_error_in_one_line(core: Core) -> None:
    with pytest.raises(RuntimeError, match=rf"^{core.name} exited with 3: nothing$"):
        run_on(core, '#include "port.h"\nint main(void) { put_text("nothing\\n"); return 3; }', [], [])
    with pytest.raises(RuntimeError, match=rf"^{core.name}: expected an end within 0.5 s. Got none.$"):
        run_on(core, "int main(void) { for (;;) {} }", [], [], timeout_s=0.5)


@pytest.mark.parametrize("name", ["cortex-m0", "cortex-m33", "rv32imac"])
def test_a_fault_of_the_processor_ends_the_program(name: str) -> None:
    if missing_tools(CORES[name]):
        pytest.skip(f"not installed: {missing_tools(CORES[name])}")
    with pytest.raises(RuntimeError, match="exited with 99"):
        run_on(CORES[name], "int main(void) { __builtin_trap(); }", [], [])


def test_a_program_answers_while_it_runs(core: Core, tmp_path: Path) -> None:
    """As where an environment on this machine and a policy on the chip take turns."""
    command = command_for(core, build(core, DOUBLED, [], includes=[], folder=tmp_path))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        for number in (3.0, -1.5, 100.0):
            process.stdin.write(struct.pack("<f", number))
            process.stdin.flush()
            assert process.stdout.readline() == b"%d \n" % (2 * number)
        process.kill()


def test_a_warning_is_an_error(core: Core) -> None:
    with pytest.raises(RuntimeError, match="unused"):
        run_on(core, "int main(void) { int unused; return 0; }", [], [])


def test_cpp_is_built_and_linked_with_c(core: Core, tmp_path: Path) -> None:
    if shutil.which(core.cpp_compiler) is None:
        pytest.skip(f"not installed: {core.cpp_compiler}")
    source = tmp_path / "twice.cc"
    source.write_text('extern "C" int twice(int x);\nint twice(int x) { return 2 * x; }')
    main = '#include "port.h"\nextern "C" int twice(int x);\nint main() { put_number(twice(21)); return 0; }'
    assert run_on(core, main, [source], []) == "42 "


@pytest.mark.parametrize("name", [name for name, core in CORES.items() if core.ram_bytes])
@pytest.mark.parametrize(("kind", "share"), [("static const", 8), ("static", 1)])
def test_what_is_larger_than_a_chip_is_not_linked(name: str, kind: str, share: int) -> None:
    core = CORES[name]
    if missing_tools(core):
        pytest.skip(f"not installed: {missing_tools(core)}")
    assert core.flash_bytes and core.ram_bytes
    main = f"{kind} volatile char much[{core.ram_bytes + 8}] = {{{share}}};\nint main(void) {{ return much[0] & much[9]; }}"
    with pytest.raises(TooLargeError, match=r"gcc: expected a program that fits the flash and the RAM of the chip\."):
        run_on(core, main, [], [])


def test_names_the_tools_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda tool: None)
    with pytest.raises(InputError, match="qemu-system-arm"):
        run_on(CORES["cortex-m3"], "int main(void) { return 0; }", [], [])
