"""The lab: policies on all cores, whole rows against TFLite Micro's interpreter."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedqn.benchmarks.cores.core import CORES, Core, missing_tools
from edgedqn.benchmarks.cores.fit import FIRMWARE, LOOP
from edgedqn.benchmarks.cores.footprint import measure, memory_of, too_small
from edgedqn.benchmarks.cores.programs import build
from edgedqn.benchmarks.cores.stepping import Task, build_stepping, known_tasks
from edgedqn.benchmarks.cores.trials import Q16_16, RANDOM, UNDECIDED, corners, decided, halves

# An 8-bit core takes a tenth of a second for an image, emulated; others are tried with all.
IMAGE, ONE_IN = 100, 100
# Four products, each on its own, as policy.c has them.
FOUR_SUMS = re.compile(r"(    sum \+= POLICY_READ_INT8\(weight(?: \+ \d)?\) \* x\[\d\];\n){4}")
ONE_SUM = "    sum += {};\n".format(" + ".join(f"POLICY_READ_INT8(weight + {i}) * x[{i}]" for i in range(4)))


def assert_no_wrong_row(core: Core, policy: Any, folder: Path) -> None:
    trial = policy.trial.of(known_tasks(core, policy.folder))
    trial = trial.every(ONE_IN) if core.is_avr and trial.inputs >= IMAGE else trial
    assert len(np.unique(trial.rows[:, trial.inputs :].argmax(1))) > 1
    assert trial.wrong(core, build_stepping(core, policy.folder, folder)) == 0


def test_every_core_gives_the_rows_of_tflite_micro(readme_policy: Any, core: Core, tmp_path: Path) -> None:
    """From the observation to the action. All fit, an image of bytes the RAM of an ATmega328P, too."""
    assert too_small(core, readme_policy.folder) is None
    assert_no_wrong_row(core, readme_policy, tmp_path)


def test_every_core_gives_the_rows_of_wider_networks(untrained_policy: Any, core: Core, tmp_path: Path) -> None:
    assert_no_wrong_row(core, replace(untrained_policy, trial=untrained_policy.trial.every(5)), tmp_path)


def test_four_products_in_one_sum_are_seen(sources_of: Any, readme_policies: Path, tmp_path: Path) -> None:
    """The sum of four products of int8 overflows an `int` of 16 bits, and a corner of the input shows it."""
    core = CORES["atmega328p"]
    if missing_tools(core):
        pytest.skip(f"not installed: {missing_tools(core)}")
    policy = sources_of(readme_policies / "CartPole-v1.tflite")
    source = policy.folder / "policy.c"
    right = source.read_text()
    one_sum, changes = FOUR_SUMS.subn(lambda _: ONE_SUM, right)
    assert changes == 1
    source.write_text(one_sum)
    assert policy.trial.wrong(core, build_stepping(core, policy.folder, tmp_path)) > 0
    source.write_text(right)
    assert policy.trial.wrong(core, build_stepping(core, policy.folder, tmp_path)) == 0


@pytest.mark.parametrize("name", ["cortex-m0", "atmega2560"])
def test_the_linked_binary_has_the_ram_that_is_stated(name: str, readme_policy: Any, tmp_path: Path) -> None:
    if missing_tools(CORES[name]):
        pytest.skip(f"not installed: {missing_tools(CORES[name])}")
    stated = dict(re.findall(r"#define POLICY_(\w+) (\d+)", (readme_policy.folder / "policy_settings.h").read_text()))
    found = measure(CORES[name], readme_policy.folder)
    scratch = int(stated["SCRATCH_BYTES"])
    saturated = CORES[name].int_bytes  # policy_io.c counts them in an `int`
    beside_the_stack = scratch * (scratch > 512)
    assert found.ram_bytes - saturated - beside_the_stack in range(4)
    assert found.stack_bytes >= scratch - beside_the_stack
    assert found.flash_bytes > int(stated["CONSTANT_BYTES"])
    sources = [readme_policy.folder / name for name in FIRMWARE]
    whole = memory_of(CORES[name], build(CORES[name], LOOP, sources, includes=[readme_policy.folder], folder=tmp_path))
    buffers = int(stated["RAM_BYTES"]) - scratch + beside_the_stack + int(stated["OBSERVE_RAM_BYTES"])
    # The firmware keeps the action in an `int`, too; where memory is aligned there is some between the arrays.
    assert whole.ram_bytes - buffers - 2 * saturated in range(1 if CORES[name].is_avr else 12)


def test_random_inputs_are_tried_beside_the_corners_and_what_a_chip_has_no_room_for_is_left_out(
    sources_of: Any, readme_policies: Path
) -> None:
    trial = sources_of(readme_policies / "CartPole-v1.tflite").trial
    inputs = trial.of([Task.INPUT])
    assert len(inputs.tasks) == 81 + RANDOM and len(inputs.rows) == len(inputs.tasks)
    assert len(np.unique(inputs.rows[81:, :4])) > 200
    assert {task[0] for task in trial.tasks} == set(Task) and {task[0] for task in inputs.tasks} == {Task.INPUT}


def test_halves_are_hit_and_missed_on_either_side(sources_of: Any, readme_policies: Path) -> None:
    device = sources_of(readme_policies / "LunarLander-v3.tflite").file.device
    on, below, above = (part.astype(np.float64) for part in np.split(halves(device, (8,)), 3))
    assert (below < on).all() and (on < above).all()
    steps = on * np.array(device.scale) + np.array(device.offset)
    np.testing.assert_allclose(steps, np.broadcast_to(np.arange(-128.5, 129)[:, None], steps.shape), atol=2e-4)


def test_counts_are_left_out_where_either_int8_is_right(sources_of: Any, readme_policies: Path) -> None:
    device = replace(sources_of(readme_policies / "CartPole-v1.tflite").file.device, scale=(1.0,), offset=(0.0,))
    counts = np.array([[0.5], [0.5 + UNDECIDED / 2], [0.75], [-3.25], [1e4]]) * Q16_16
    certain, inputs = decided(device, counts)
    np.testing.assert_array_equal(certain, counts[2:])
    np.testing.assert_array_equal(inputs, [[1], [-3], [127]])


@pytest.mark.parametrize(("inputs", "rows"), [(2, 9), (4, 81), (6, 64), (8, 256), (400, 256)])
def test_corners_are_all_or_as_many_as_there_is_time_for(inputs: int, rows: int) -> None:
    found = corners(inputs)
    assert found.shape == (rows, inputs) and set(np.unique(found)) <= {-128, -127, 127}
