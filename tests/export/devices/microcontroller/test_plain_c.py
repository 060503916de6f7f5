import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgedqn.benchmarks.cores.core import CORES, missing_tools
from edgedqn.benchmarks.cores.programs import run_on
from edgedqn.export.devices.microcontroller.plain_c import c_array, plain_c
from edgedqn.export.edge_policy import TfliteModel
from edgedqn.export.tflite_file.integer_network import IntegerLayer, read_integer_network

CORTEX_M4 = CORES["cortex-m4f"]
EMULATED = pytest.mark.skipif(bool(missing_tools(CORTEX_M4)), reason=f"not installed: {missing_tools(CORTEX_M4)}")

MAIN = """
#include "policy.h"
#include "port.h"
static const int8_t inputs[][POLICY_INPUTS] = {{
{inputs}
}};
int main(void) {{
  int8_t output[POLICY_OUTPUTS];
  for (unsigned i = 0; i < sizeof inputs / sizeof *inputs; ++i) {{
    policy_infer(inputs[i], output);
    for (int o = 0; o < POLICY_OUTPUTS; ++o) put_number(output[o]);
  }}
  return 0;
}}
"""


def emulated_rows(
    layers: tuple[IntegerLayer, ...], inputs: NDArray[np.int8], folder: Path, optimization: str = "-O2"
) -> NDArray[np.int8]:
    for name, text in plain_c(layers, "0").items():
        (folder / name).write_text(text)
    rows = ",\n".join("{" + c_array(row) + "}" for row in inputs)
    printed = run_on(CORTEX_M4, MAIN.format(inputs=rows), [folder / "policy.c"], [folder], optimization=optimization)
    return np.array(printed.split(), np.int8).reshape(len(inputs), -1)


@EMULATED
@pytest.mark.parametrize("optimization", ["-O2", "-Os"])
def test_rows_equal_those_of_tflite_micro(trained: Any, tmp_path: Path, optimization: str) -> None:
    """The whole rows: the actions alone would hide most mistakes."""
    pytest.importorskip("tflite_micro", reason="the extra `micro` is not installed")
    from edgedqn.export.tflite_file.tflm import tflm_rows

    content = trained.path.read_bytes()
    inputs = np.concatenate([trained.inputs, trained.corners])
    rows = emulated_rows(read_integer_network(TfliteModel(content)), inputs, tmp_path, optimization)
    assert len(rows) == 1_081
    np.testing.assert_array_equal(rows, tflm_rows(content, inputs))


def random_layer(rng: np.random.Generator, inputs: int, outputs: int, shift: int, per_output: bool) -> IntegerLayer:
    count = outputs if per_output else 1
    return IntegerLayer(
        weights=rng.integers(-127, 128, (outputs, inputs)).astype(np.int8),
        bias=rng.integers(-3_000, 3_000, outputs).astype(np.int32),
        multipliers=rng.integers(2**30, 2**31, count).astype(np.int32),
        shifts=np.full(count, shift, np.int8),
        zero_point=int(rng.integers(-128, 128)),
        lowest=int(rng.integers(-128, 0)),
    )


@EMULATED
@pytest.mark.parametrize(
    ("widths", "shifts"),
    [((3, 2), (-9,)), ((4, 16, 2), (-7, -8)), ((5, 9, 7, 6, 3), (-7, -6, -6, -5)), ((4, 5, 2), (0, 1)), ((1, 1), (-31,))],
)
@pytest.mark.parametrize("per_output", [False, True])
def test_any_depth_width_and_shift(
    widths: tuple[int, ...], shifts: tuple[int, ...], per_output: bool, tmp_path: Path, run_integer_network: Any
) -> None:
    """Widths that are no multiple of four, one layer and four, and scales that TFLM shifts to the left."""
    rng = np.random.default_rng(len(widths))
    layers = tuple(
        random_layer(rng, *pair, shift, per_output) for pair, shift in zip(itertools.pairwise(widths), shifts, strict=True)
    )
    inputs = rng.integers(-128, 128, (300, widths[0])).astype(np.int8)
    rows = emulated_rows(layers, inputs, tmp_path)
    np.testing.assert_array_equal(rows, run_integer_network(layers, inputs))


def test_the_printed_constants_are_the_network(trained: Any) -> None:
    """1,000 rows can miss a bias that is off by one."""
    layers = read_integer_network(TfliteModel(trained.path.read_bytes()))
    source = plain_c(layers, "0")["policy.c"]
    for index, layer in enumerate(layers):
        constants: list[tuple[str, NDArray[Any]]] = [
            ("weights", layer.weights),
            ("bias", layer.bias),
            ("multiplier", layer.multipliers),
            ("shift", layer.shifts),
        ]
        for name, expected in constants:
            match = re.search(rf"{name}_{index}\[(\d+)\] = {{([^}}]*)}}", source)
            assert match is not None
            assert int(match[1]) == expected.size
            printed = [int(number) for number in match[2].split(",") if number.strip()]
            assert printed == expected.ravel().tolist()


def test_the_least_int32_is_no_overflow() -> None:
    assert "-2147483647 - 1" in c_array(np.array([-(2**31)], np.int32))


def test_no_sum_of_products_needs_an_int_of_more_than_16_bits() -> None:
    # C99 multiplies int8 as int; where that has 16 bits, one product fits, and the sum of four does not.
    kernel, ones = np.ones((1, 8), np.int8), np.ones(1, np.int32)
    layer = IntegerLayer(
        weights=kernel, bias=0 * ones, multipliers=2**30 * ones, shifts=np.zeros(1, np.int8), zero_point=0, lowest=-128
    )
    added = re.findall(r"sum \+= ([^;]*);", plain_c([layer], "0")["policy.c"])
    assert len(added) == 5 and not any(" + " in product for product in added)
