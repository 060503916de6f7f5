from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedqn.benchmarks.cores.core import CORES, missing_tools
from edgedqn.benchmarks.cores.footprint import measure
from edgedqn.benchmarks.cores.stepping import Task, build_stepping, run_steps
from edgedqn.export.tflite_file.tflm import int8_inputs, tflm_rows

CORE = CORES["rv32imac"]
pytestmark = pytest.mark.skipif(bool(missing_tools(CORE)), reason=f"not installed: {missing_tools(CORE)}")


@pytest.fixture(scope="module")
def cartpole(sources_of: Any, readme_policies: Path) -> Any:
    return sources_of(readme_policies / "CartPole-v1.tflite")


def test_each_kind_of_task_starts_a_step_where_it_says(cartpole: Any, tmp_path: Path) -> None:
    x = np.array([0.5, -0.25, 0.125, -0.0625], np.float32)
    inputs = int8_inputs(cartpole.file.device, x[np.newaxis])
    starts = {Task.OBSERVATION: x, Task.REALS: x, Task.COUNTS: x * 2**16, Task.INPUT: inputs[0]}
    tasks = [task.written(values) for task, values in starts.items()]
    found = run_steps(CORE, build_stepping(CORE, cartpole.folder, tmp_path), tasks, inputs=4)
    rows = tflm_rows(cartpole.file.content, inputs)
    np.testing.assert_array_equal(found.rows, np.repeat(np.concatenate([inputs, rows], axis=1), 4, axis=0))
    np.testing.assert_array_equal(found.actions, np.repeat(rows.argmax(1), 4))
    cost = measure(CORE, cartpole.folder)
    assert cost.infer is not None and cost.quantize is not None
    assert cost.infer < found.units[3] < found.units[2] < found.units[1] <= found.units[0]  # the later, the less is left
    assert abs(found.units[1] - cost.infer - cost.quantize) < 0.3 * found.units[1]  # another observation, and argmax


def test_what_the_policy_refuses_ends_the_program(cartpole: Any, tmp_path: Path) -> None:
    tasks = [Task.OBSERVATION.written(np.array([0, 0, np.nan, 0]))]
    with pytest.raises(RuntimeError, match="rv32imac exited with 1"):
        run_steps(CORE, build_stepping(CORE, cartpole.folder, tmp_path), tasks, inputs=4)
