"""A core after the other, and a policy whose cost is known."""

from pathlib import Path

import pytest

from edgedqn.benchmarks.cores.core import CORES, Core, missing_tools

HEADER = """
#include <stdint.h>
#define POLICY_INPUTS 1
#define POLICY_OUTPUTS 1
void policy_infer(const int8_t *input, int8_t *output);
"""
# A loop of two instructions, 500 times, which take four cycles on an AVR; 96 bytes of stack, of which the lowest is written; 5
# bytes of RAM. The table of 64 bytes lies in flash, or in RAM, too, where constants do.
NETWORK = """
#include "policy.h"
const int8_t table[64] = {1, 2, 3};
static volatile int8_t calls[5];
void policy_infer(const int8_t *input, int8_t *output) {
  volatile int8_t space[96];
  int32_t count = 500;
  space[0] = table[input[0] & 63];
#if defined(__AVR__)
  __asm__ volatile("1: sbiw %0, 1\\n brne 1b" : "+w"(count));
#elif defined(__riscv)
  __asm__ volatile("1: addi %0, %0, -1\\n bnez %0, 1b" : "+r"(count));
#elif defined(__arm__)
  __asm__ volatile(".syntax unified\\n1: subs %0, #1\\n bne 1b" : "+l"(count) : : "cc");
#else
  (void)count;
#endif
  calls[input[0] & 3] = 1;
  output[0] = space[0];
}
"""
INPUT = """
#include "policy.h"
int policy_quantize(const float *observation, int8_t *input);
int policy_quantize(const float *observation, int8_t *input) {
  *input = *observation > 0.0f;
  return 1;
}
"""


@pytest.fixture(params=CORES)
def core(request: pytest.FixtureRequest) -> Core:
    """Each core in turn."""
    found = CORES[request.param]
    if missing := missing_tools(found):
        pytest.skip(f"not installed: {', '.join(missing)}")
    return found


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A folder with its files."""
    for name, text in (("policy.h", HEADER), ("policy.c", NETWORK), ("policy_io.c", INPUT)):
        (tmp_path / name).write_text(text)
    return tmp_path
