import ctypes
import itertools
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgedqn.benchmarks.cores.core import CORES, missing_tools
from edgedqn.benchmarks.cores.programs import run_on
from edgedqn.export.devices.microcontroller.plain_c import c_array, memory, plain_c, scratch_bytes
from edgedqn.export.edge_policy import TfliteModel
from edgedqn.export.tflite_file.integer_network import IntegerConvolution, IntegerLayer, read_integer_network

POLICIES = Path(__file__).parents[4] / "docs" / "results" / "policies"
CHECKOUT = pytest.mark.skipif(not POLICIES.exists(), reason="the wheel has no docs; the checkout's suite runs this")
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


def write_sources(layers: tuple[IntegerLayer, ...], folder: Path) -> Path:
    for name, text in plain_c(layers, "0").items():
        (folder / name).write_text(text)
    return folder / "policy.c"


def emulated_rows(
    layers: tuple[IntegerLayer, ...], inputs: NDArray[np.int8], folder: Path, optimization: str = "-O2"
) -> NDArray[np.int8]:
    write_sources(layers, folder)
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


def host_rows(
    layers: tuple[IntegerLayer, ...], inputs: NDArray[np.int8], folder: Path, command: tuple[str, ...] = ("cc", "-O2")
) -> NDArray[np.int8]:
    """The rows of `policy_infer`, after `policy_infer_in` gave the same ones with a scratch buffer of just the stated size."""
    program = folder / f"policy-{'-'.join(command).replace('/', '')}.so"
    subprocess.run([*command, "-shared", "-fPIC", "-o", program, write_sources(layers, folder)], check=True)
    library = ctypes.CDLL(str(program))
    output, size, guard = np.zeros(layers[-1].outputs, np.int8), scratch_bytes(layers), 16
    scratch = np.full(size + 2 * guard, 77, np.int8)
    rows = []
    for row in np.ascontiguousarray(inputs):
        library.policy_infer_in(
            *(ctypes.c_void_p(at) for at in (row.ctypes.data, output.ctypes.data, scratch.ctypes.data + guard))
        )
        rows.append(output.copy())
        library.policy_infer(ctypes.c_void_p(row.ctypes.data), ctypes.c_void_p(output.ctypes.data))
        np.testing.assert_array_equal(output, rows[-1])
    assert (scratch[:guard] == 77).all() and (scratch[guard + size :] == 77).all()
    return np.array(rows)


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


def random_convolution(rng: np.random.Generator, input_shape: tuple[int, int, int]) -> IntegerConvolution:
    """Of any kernel, stride and padding, as long as each window sees a pixel."""
    size = np.array(input_shape[:2])
    strides, padding = rng.integers(1, 4, 2), rng.integers(0, 3, 2)
    window = np.minimum(padding + rng.integers(1, 5, 2), size + padding)
    places = (size + padding - 1) // strides + 1  # with the last window's corner still in the input
    if rng.random() < 0.5:
        padding, window = 0 * padding, np.minimum(window, size)
        places = (size - window) // strides + 1
    outputs = int(rng.integers(1, 6))
    dense = random_layer(rng, int(window.prod()) * input_shape[2], outputs, -7, bool(rng.random() < 0.5))
    values = vars(dense) | {"weights": dense.weights.reshape(outputs, *window, input_shape[2])}
    return IntegerConvolution(
        **values,
        input_shape=input_shape,
        output_shape=(int(places[0]), int(places[1]), outputs),
        strides=(int(strides[0]), int(strides[1])),
        padding=(int(padding[0]), int(padding[1])),
        input_zero_point=int(rng.integers(-128, 128)),
    )


@pytest.mark.parametrize("seed", range(12))
def test_any_kernel_stride_and_padding(seed: int, tmp_path: Path, run_integer_network: Any) -> None:
    """Two convolutions, whole, against NumPy."""
    rng = np.random.default_rng(seed)
    first = random_convolution(rng, (int(rng.integers(4, 12)), int(rng.integers(4, 12)), int(rng.integers(1, 6))))
    network = (first, random_convolution(rng, first.output_shape))
    inputs = rng.integers(-128, 128, (20, network[0].inputs)).astype(np.int8)
    rows = host_rows(network, inputs, tmp_path)
    np.testing.assert_array_equal(rows, run_integer_network(network, inputs))
    assert len(np.unique(rows, axis=0)) > 1


@CHECKOUT
def test_rows_of_minatar_equal_those_of_tflite_micro(tmp_path: Path) -> None:
    pytest.importorskip("tflite_micro", reason="the extra `micro` is not installed")
    from edgedqn.export.tflite_file.tflm import tflm_rows

    content = (POLICIES / "MinAtar-Breakout-v1.tflite").read_bytes()
    inputs = np.where(np.random.default_rng(2).random((1_000, 400)) < 0.1, 127, -128).astype(np.int8)
    rows = host_rows(read_integer_network(TfliteModel(content)), inputs, tmp_path)
    np.testing.assert_array_equal(rows, tflm_rows(content, inputs))
    assert len(np.unique(rows.argmax(1))) == 3


def test_rows_of_a_nature_network_equal_those_of_tflite_micro(image_file: Callable[[str], bytes], tmp_path: Path) -> None:
    """docs/results/plain_c.py compares a thousand."""
    pytest.importorskip("tflite_micro", reason="the extra `micro` is not installed")
    from edgedqn.export.tflite_file.tflm import tflm_rows

    content = image_file("nature")
    layers = read_integer_network(TfliteModel(content))
    assert [len(layer.weights) for layer in layers] == [32, 64, 64, 512, 4]
    inputs = np.random.default_rng(2).integers(-128, 128, (8, layers[0].inputs)).astype(np.int8)
    np.testing.assert_array_equal(host_rows(layers, inputs, tmp_path), tflm_rows(content, inputs))


COMPILERS = [
    ("gcc", "c99"),
    ("gcc", "c++11"),
    ("clang", "c99"),
    ("clang", "c++11"),
    ("tcc", "c99"),
    ("avr-gcc", "c99"),
    ("avr-gcc", "c++11"),
    ("arm-none-eabi-gcc", "c99"),
    ("arm-none-eabi-gcc", "c++11"),
]
STRICT = ("-Wall", "-Wextra", "-Wconversion", "-Wsign-compare", "-pedantic", "-Werror")
CHIPS = {"avr-gcc": ("-mmcu=atmega328p", "-Os"), "arm-none-eabi-gcc": ("-mcpu=cortex-m0", "-mthumb", "-O2")}


def mixed_network() -> tuple[IntegerLayer, ...]:
    rng = np.random.default_rng(1)
    first = random_convolution(rng, (6, 5, 2))
    second = random_layer(rng, first.outputs, 7, -8, False)
    return first, second, random_layer(rng, 7, 3, -6, True)


@pytest.mark.parametrize(("compiler", "standard"), COMPILERS)
def test_no_compiler_has_a_word_to_say(compiler: str, standard: str, tmp_path: Path, run_integer_network: Any) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"not installed: {compiler}")
    language = ("-x", "c++") if standard == "c++11" else ()
    strict = (compiler, *language, f"-std={standard}", *STRICT, *CHIPS.get(compiler, ()))
    for layers in (mixed_network(), mixed_network()[1:], mixed_network()[2:]):
        source = write_sources(layers, tmp_path)
        subprocess.run([*strict, "-c", "-o", tmp_path / "policy.o", source], check=True)
    if compiler not in CHIPS:
        inputs = np.random.default_rng(3).integers(-128, 128, (50, mixed_network()[0].inputs)).astype(np.int8)
        rows = host_rows(mixed_network(), inputs, tmp_path, strict)
        np.testing.assert_array_equal(rows, run_integer_network(mixed_network(), inputs))


def section_sizes(tool: str, compiled: Path) -> dict[str, int]:
    told = subprocess.run([tool, "-A", compiled], capture_output=True, text=True, check=True).stdout
    return {line.split()[0]: int(line.split()[1]) for line in told.splitlines() if line.startswith(".")}


@pytest.mark.parametrize("hidden", [7, 600])
def test_an_avr_has_buffers_in_ram_and_nothing_else(hidden: int, tmp_path: Path) -> None:
    if shutil.which("avr-gcc") is None:
        pytest.skip("not installed: avr-gcc")
    rng = np.random.default_rng(1)
    layers = (random_layer(rng, 4, hidden, -8, True), random_layer(rng, hidden, 3, -6, True))
    compiled = tmp_path / "policy.o"
    subprocess.run(["avr-gcc", "-mmcu=atmega328p", "-Os", "-c", "-o", compiled, write_sources(layers, tmp_path)], check=True)
    sizes = section_sizes("avr-size", compiled)
    assert sizes[".data"] == sum(size for name, size in sizes.items() if name.startswith(".rodata")) == 0
    assert sizes[".bss"] == (hidden if hidden > 512 else 0)  # what is larger than a stack lies beside it


@EMULATED
def test_the_stated_bytes_are_those_that_are_compiled(tmp_path: Path) -> None:
    layers = mixed_network()
    stated = dict(re.findall(r"#define POLICY_(\w+) (\d+)", memory(layers)))
    places = [layer.outputs for layer in layers]
    assert int(stated["SCRATCH_BYTES"]) == scratch_bytes(layers) == places[0] + places[1]
    assert int(stated["RAM_BYTES"]) == layers[0].inputs + sum(places)
    compiled = tmp_path / "policy.o"
    build = ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-O0", "-fdata-sections", "-c", "-o"]
    subprocess.run([*build, compiled, write_sources(layers, tmp_path)], check=True)
    sizes = section_sizes("arm-none-eabi-size", compiled)
    assert int(stated["CONSTANT_BYTES"]) == sum(size for name, size in sizes.items() if name.startswith(".rodata"))


def test_what_no_avr_can_read_is_not_compiled_for_it(tmp_path: Path) -> None:
    if shutil.which("avr-gcc") is None:
        pytest.skip("not installed: avr-gcc")
    rng = np.random.default_rng(1)
    layers = tuple(random_layer(rng, 180, 180, -8, False) for _ in range(2))
    source = write_sources(layers, tmp_path)
    refused = subprocess.run(
        ["avr-gcc", "-mmcu=atmega2560", "-fsyntax-only", source], capture_output=True, text=True, check=False
    )
    assert refused.returncode and "from the first 64 KB of its flash" in refused.stderr


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
            match = re.search(rf"{name}_{index}\[(\d+)\] POLICY_FLASH = {{([^}}]*)}}", source)
            assert match is not None
            assert int(match[1]) == expected.size
            printed = [int(number) for number in match[2].split(",") if number.strip()]
            assert printed == expected.ravel().tolist()


def test_the_least_int32_is_no_overflow() -> None:
    assert "-2147483647 - 1" in c_array(np.array([-(2**31)], np.int32))


def test_no_sum_of_products_needs_an_int_of_more_than_16_bits() -> None:
    # C99 multiplies int8 as int; where that has 16 bits, one product fits, and the sum of four does not.
    added = re.findall(r"sum \+= ([^;]*);", plain_c(mixed_network(), "0")["policy.c"])
    assert len(added) == 6 and not any("+" in re.sub(r"\([^()]*\)", "", product) for product in added)
