import re
import subprocess
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("tflite_micro", reason="the extra `micro` is not installed")

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.actions import ActionLevels
from edgedqn.agents.playing.spec import EnvironmentSpec
from edgedqn.benchmarks.cores.core import CORES, missing_tools
from edgedqn.benchmarks.cores.programs import run_on
from edgedqn.export.devices.microcontroller import bundle
from edgedqn.export.devices.microcontroller.bundle import _actions, resolver_lines, write_microcontroller
from edgedqn.export.devices.microcontroller.fixed_point import input_macros
from edgedqn.export.devices.microcontroller.plain_c import c_array, memory
from edgedqn.export.devices.microcontroller.sources import harmless
from edgedqn.export.edge_policy import OPERATORS, EdgePolicy, PolicyFileError, TfliteModel, read_verified
from edgedqn.export.tflite_file.arena import arena_bounds
from edgedqn.export.tflite_file.integer_network import read_integer_network
from edgedqn.export.tflite_file.manifest import device_part, embed
from edgedqn.export.tflite_file.reader import fix_names, read_operators
from edgedqn.export.tflite_file.tflm import tflm_rows

CORTEX_M4 = CORES["cortex-m4f"]
EMULATED = pytest.mark.skipif(bool(missing_tools(CORTEX_M4)), reason=f"not installed: {missing_tools(CORTEX_M4)}")
DECLARED = Path(__file__).parent / "tflm_declared"

# Observations travel as bit patterns: no decimal comes between.
OBSERVATIONS = """
static const union {{ uint32_t bits[{count}][POLICY_INPUTS]; float values[{count}][POLICY_INPUTS]; }} observations = {{ {{
{bits}
}} }};
"""

QUANTIZE = """
#include "policy_io.h"
#include "port.h"
{observations}
int main(void) {{
  int8_t input[POLICY_INPUTS];
  for (int i = 0; i < {count}; ++i) {{
    put_number(policy_quantize(observations.values[i], input));
    for (int f = 0; f < POLICY_INPUTS; ++f) put_number(input[f]);
  }}
  return 0;
}}
"""

STEP = """
#include "policy_io.h"
#include "policy_model.h"
#include "policy_step.h"
#include "port.h"
{observations}
extern "C" int main(void) {{
  put_number(policy_step(observations.values[0]));
  put_number(policy_setup());
  put_number(policy_setup());
  put_number(policy_crc32(g_policy_model_data, g_policy_model_data_size) == POLICY_MODEL_CRC32);
  for (int i = 0; i < {count}; ++i) put_number(policy_step(observations.values[i]));
  return 0;
}}
"""


def program(template: str, observations: NDArray[np.float32]) -> str:
    bits = ",\n".join("{" + ", ".join(f"{value}u" for value in row) + "}" for row in observations.view(np.uint32))
    count = len(observations)
    return template.format(count=count, observations=OBSERVATIONS.format(count=count, bits=bits))


def integers(path: Path, observations: NDArray[np.float32]) -> NDArray[np.int8]:
    """What EdgePolicy feeds to the network, [N, F]."""
    policy = EdgePolicy.load(path)
    rows = []
    for observation in observations:
        policy(observation)
        rows.append(policy._feed[0].copy())
    return np.array(rows)


def emulated_integers(path: Path, observations: NDArray[np.float32], folder: Path) -> NDArray[np.int8]:
    write_microcontroller(read_verified(path), folder)
    printed = run_on(CORTEX_M4, program(QUANTIZE, observations), [folder / "policy_io.c"], [folder])
    rows = np.array(printed.split(), int).reshape(len(observations), -1)
    assert (rows[:, 0] == 1).all()
    return rows[:, 1:].astype(np.int8)


@EMULATED
def test_quantizes_as_python_does(trained: Any, tmp_path: Path) -> None:
    device = EdgePolicy.load(trained.path).device
    scale, offset = np.array(device.scale, np.float32), np.array(device.offset, np.float32)
    # Observations that land on a half, one float32 below and above it, and far outside.
    targets = np.repeat(np.arange(-129, 129, dtype=np.float32)[:, np.newaxis] + np.float32(0.5), 4, 1)  # [258, 4]
    halves = (targets - offset) / scale  # [258, 4]
    huge = np.array([[3e38, -3e38, 1e-45, -0.0]], np.float32)
    around = [np.nextafter(halves, np.float32(side)) for side in (-np.inf, np.inf)]
    observations = np.concatenate([trained.observations, halves, *around, huge]).astype(np.float32)
    expected = integers(trained.path, observations)
    np.testing.assert_array_equal(emulated_integers(trained.path, observations, tmp_path / "c"), expected)


@EMULATED
def test_every_half_goes_to_the_even_integer(network: Any, spec: EnvironmentSpec, tmp_path: Path) -> None:
    content = fix_names(TfliteModel(network.int8), "preferences")
    device = device_part(
        spec, scale=np.ones(1, np.float32), offset=np.zeros(1, np.float32), meaning="preferences", recipe="test"
    )
    path = tmp_path / "policy.tflite"
    path.write_bytes(embed(content, device))
    observations = np.repeat(np.arange(-130, 130, dtype=np.float32)[:, np.newaxis] + np.float32(0.5), 4, 1)
    rows = emulated_integers(path, observations, tmp_path / "c")
    np.testing.assert_array_equal(rows, integers(path, observations))
    assert rows[observations[:, 0] == 2.5].tolist() == [[2] * 4]
    assert rows[observations[:, 0] == -1.5].tolist() == [[-2] * 4]


@EMULATED
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_refuses_what_is_no_number(trained: Any, tmp_path: Path, bad: float) -> None:
    write_microcontroller(read_verified(trained.path), tmp_path)
    observations = np.zeros((1, 4), np.float32)
    observations[0, 2] = bad
    printed = run_on(CORTEX_M4, program(QUANTIZE, observations), [tmp_path / "policy_io.c"], [tmp_path])
    assert printed.split()[0] == "0"


@EMULATED
def test_steps_as_the_interpreter_would(trained: Any, tmp_path: Path) -> None:
    """policy_step.cc with the declared interface, whose invoke is policy.c; the actions are those of TFLM's interpreter."""
    write_microcontroller(read_verified(trained.path), tmp_path)
    observations = np.concatenate([trained.observations, np.full((1, 4), np.nan, np.float32)])
    sources = [tmp_path / name for name in ("policy_step.cc", "policy_model.cc", "policy_io.c", "policy_observe.c", "policy.c")]
    printed = run_on(CORTEX_M4, program(STEP, observations), sources, [tmp_path, DECLARED])
    before, first, second, whole, *actions = map(int, printed.split())
    assert (before, first, second, whole) == (-1, 1, 1, 1)
    expected = tflm_rows(trained.path.read_bytes(), trained.inputs).argmax(1)
    assert actions == [*expected, -1]
    assert 0 < np.mean(expected) < 1


@EMULATED
def test_a_damaged_model_is_not_set_up(trained: Any, tmp_path: Path) -> None:
    write_microcontroller(read_verified(trained.path), tmp_path)
    model = tmp_path / "policy_model.cc"
    content = np.frombuffer(trained.path.read_bytes(), np.uint8)
    changed = content.copy()
    changed[-20] ^= 4
    assert c_array(content) in model.read_text()
    model.write_text(model.read_text().replace(c_array(content), c_array(changed)))
    sources = [tmp_path / name for name in ("policy_step.cc", "policy_model.cc", "policy_io.c", "policy_observe.c", "policy.c")]
    printed = run_on(CORTEX_M4, program(STEP, trained.observations[:1]), sources, [tmp_path, DECLARED])
    assert printed.split() == ["-1", "0", "0", "0", "-1"]


def test_the_settings_are_the_files_own(trained: Any, tmp_path: Path) -> None:
    names = write_microcontroller(read_verified(trained.path), tmp_path / "c")
    assert list(names) == sorted(path.name for path in (tmp_path / "c").iterdir())
    settings = (tmp_path / "c" / "policy_settings.h").read_text()
    content = trained.path.read_bytes()
    assert f"#define POLICY_MODEL_CRC32 0x{zlib.crc32(content):08x}u" in settings
    assert f"#define POLICY_MODEL_BYTES {len(content)}" in settings
    assert memory(read_integer_network(TfliteModel(content))) in settings
    bounds = arena_bounds(TfliteModel(content))
    for kernels, size in (("REFERENCE", bounds.reference), ("CMSIS_NN", bounds.cmsis_nn), ("ESP_NN", bounds.esp_nn)):
        assert f"#define POLICY_ARENA_{kernels}_BYTES {size}\n" in settings
    assert f"#ifndef POLICY_ARENA_BYTES\n#define POLICY_ARENA_BYTES {bounds.largest}\n#endif" in settings
    device = EdgePolicy.load(trained.path).device
    lines = settings.splitlines()
    for key, values in (("scale", device.scale), ("offset", device.offset)):
        printed = lines[lines.index(f"#define POLICY_INPUT_{key.upper()} \\") + 1].strip(" {}")
        assert [np.float32(number.rstrip("f")) for number in printed.split(", ")] == [np.float32(v) for v in values]
    rows = lines[lines.index("#define POLICY_INPUT_Q \\") + 1]
    assert rows.count("{") == 1 + max(len(device.scale), len(device.offset))
    write_microcontroller(read_verified(trained.path), tmp_path / "again")
    assert all((tmp_path / "c" / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in names)


def test_a_network_that_has_no_plain_c_is_tflite_micros(
    int8_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pooling(model: TfliteModel) -> None:
        raise PolicyFileError("Got the operator MAX_POOL_2D.")

    monkeypatch.setattr(bundle, "read_integer_network", pooling)
    names = write_microcontroller(read_verified(int8_file), tmp_path / "c")
    assert "policy_step.cc" in names and "policy.c" not in names
    assert "No policy.c" in (tmp_path / "c" / "policy_settings.h").read_text()


def test_brings_exactly_the_operators_used(network: Any) -> None:
    codes = [operator.code for operator in read_operators(TfliteModel(network.int8))]
    assert len(codes) == 2 and resolver_lines(codes) == ["AddFullyConnected"]


def test_every_operator_that_policies_are_made_of_has_its_line() -> None:
    assert " ".join(resolver_lines(OPERATORS)) == (
        "AddAdd AddConv2D AddDepthwiseConv2D AddDequantize AddFullyConnected AddMaxPool2D AddMul AddRelu AddReshape AddMean "
        "AddSub AddArgMax AddQuantize"
    )


def test_refuses_a_float_policy(float_policy: bytes, tmp_path: Path) -> None:
    path = tmp_path / "policy.tflite"
    path.write_bytes(float_policy)
    with pytest.raises(InputError, match="expected int8 input and output"):
        write_microcontroller(read_verified(path), tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_refuses_a_damaged_policy(int8_policy: bytes, tmp_path: Path) -> None:
    path = tmp_path / "policy.tflite"
    path.write_bytes(int8_policy[:-1] + bytes([int8_policy[-1] ^ 1]))
    with pytest.raises(PolicyFileError):
        write_microcontroller(read_verified(path), tmp_path / "c")


@pytest.mark.parametrize("env_id", ["*//", "**//", "a*/ int x; /*-v0", "a\nb", "a??/\nb", "a\\"])
def test_an_environments_id_cannot_end_the_comment_it_stands_in(env_id: str) -> None:
    written = harmless(env_id)
    assert re.fullmatch(r"[A-Za-z0-9_.:/-]*", written) and len(written) == len(env_id)
    assert harmless("my_module:MinAtar/Breakout-v1") == "my_module:MinAtar/Breakout-v1"


ACTIONS = """
#include <stdio.h>
#include "policy_action.h"
#include "policy_io.h"
int main(void) {{
  float action[POLICY_ACTION_SIZE];
  const int8_t output[POLICY_ACTIONS] = {{3, 9, 9, 1, 9, 2}};
  const uint8_t none[POLICY_ACTIONS] = {{0}}, some[POLICY_ACTIONS] = {{1, 0, 0, 1, 1, 1}};
  for (int index = 0; index < POLICY_ACTIONS; ++index) {{
    if (!policy_action(index, action)) return 1;
    for (int i = 0; i < POLICY_ACTION_SIZE; ++i) printf("%d ", (int)(100 * action[i]));
  }}
  action[0] = 7;
  if (policy_action(-1, action) || action[0] != 7) return 2; /* no action: the last one stays */
  printf("%d %d %d", policy_argmax(output), policy_argmax_legal(output, some), policy_argmax_legal(output, none));
  return 0;
}}
"""


def test_an_index_becomes_the_environments_own_action(
    write_surroundings: Callable[..., list[Path]], spec: EnvironmentSpec, tmp_path: Path
) -> None:
    levels = ActionLevels(((-1.0, 0.25), (0.0, 1.0, 2.0)), (2,), "float32")
    six = replace(spec, actions=levels, n_actions=6)
    device = device_part(
        six, scale=np.ones(1, np.float32), offset=np.zeros(1, np.float32), meaning="preferences", recipe="test"
    )
    assert device.actions is not None
    ones = np.ones(1)
    settings = {"inputs": 1, "actions": 6, **input_macros(ones.astype(np.float32), ones.astype(np.float32), ones)}
    files = write_surroundings(tmp_path / "c", settings, {**_actions(device.actions, "0" * 64), "main.c": ACTIONS.format()})
    program = tmp_path / "main"
    subprocess.run(["cc", "-std=c99", "-o", program, *files], check=True)
    *own, best, legal, none = map(int, subprocess.run([program], capture_output=True, check=True).stdout.split())
    np.testing.assert_array_equal(np.reshape(own, (6, 2)), np.rint(100 * levels.table))
    assert (best, legal, none) == (1, 4, -1)
