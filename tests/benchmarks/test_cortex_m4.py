import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.benchmarks import cortex_m4
from edgedqn.benchmarks.cortex_m4 import measure_plain_c, missing_tools, run_on_cortex_m4

EMULATED = pytest.mark.skipif(bool(missing_tools()), reason=f"not installed: {missing_tools()}")

HEADER = """
#include <stdint.h>
#define POLICY_INPUTS 1
#define POLICY_OUTPUTS 1
void policy_infer(const int8_t *input, int8_t *output);
"""
# A loop of two instructions, 500 times, on 96 bytes of stack, with a table of 64 bytes.
SOURCE = """
#include "policy.h"
static const int8_t table[64] = {1, 2, 3};
void policy_infer(const int8_t *input, int8_t *output) {
  volatile int8_t space[96];
  int count = 500;
  space[0] = table[input[0] & 63];
  __asm__ volatile("1: subs %0, #1\\n bne 1b" : "+r"(count) : : "cc");
  output[0] = space[0];
}
"""


@EMULATED
def test_counts_what_is_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "policy.h").write_text(HEADER)
    (tmp_path / "policy.c").write_text(SOURCE)
    found = measure_plain_c(tmp_path)
    cortex_m4.main([str(tmp_path)])
    assert json.loads(capsys.readouterr().out) == asdict(found)
    assert 1_005 <= found.instructions <= 1_025
    assert 96 <= found.stack_bytes <= 112
    assert found.constants_bytes == 64
    assert 20 <= found.code_bytes <= 64


@EMULATED
def test_counts_more_than_a_million_and_stops_where_the_counter_comes_around(tmp_path: Path) -> None:
    (tmp_path / "policy.h").write_text(HEADER)
    (tmp_path / "policy.c").write_text(SOURCE.replace("count = 500", "count = 700000"))
    assert 1_400_005 <= measure_plain_c(tmp_path).instructions <= 1_400_025
    (tmp_path / "policy.c").write_text(SOURCE.replace("count = 500", "count = 1400000"))
    with pytest.raises(RuntimeError, match=r"at most 2,600,000 instructions"):
        measure_plain_c(tmp_path)


@EMULATED
def test_says_that_a_folder_has_no_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cortex_m4.main([str(tmp_path)])
    assert ended.value.code == 2 and "No policy.c in" in capsys.readouterr().err


def test_a_warning_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="unused"):
        run_on_cortex_m4("int main(void) { int unused; return 0; }", [], [])


@EMULATED
def test_a_failing_program_is_told_from_one_that_ends_well() -> None:
    assert run_on_cortex_m4('#include "semihosting.h"\nint main(void) { put_number(-2147483647 - 1); return 0; }', [], []) == (
        "-2147483648 "
    )
    with pytest.raises(RuntimeError, match="exited with 3"):
        run_on_cortex_m4("int main(void) { return 3; }", [], [])
    with pytest.raises(RuntimeError, match="exited with 99"):
        run_on_cortex_m4('int main(void) { __asm__ volatile("udf #0"); return 0; }', [], [])


def test_names_the_tools_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda tool: None)
    with pytest.raises(InputError, match="qemu-system-arm"):
        run_on_cortex_m4("int main(void) { return 0; }", [], [])
