"""Verdicts on real files: an Uno's by running the firmware in simavr, an Arm board's by linking it."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.networks import q_network
from edgedqn.agents.playing.spec import EnvironmentSpec
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.benchmarks.cores.budget import TARGETS, find_budget
from edgedqn.benchmarks.cores.core import missing_tools
from edgedqn.benchmarks.cores.fit import FitTest
from edgedqn.compression.folding import InputScaling
from edgedqn.compression.stage import Student
from edgedqn.export.config import ExportConfig
from edgedqn.export.edge_policy import read_verified
from edgedqn.pipeline.devices.fitting import measure_fit, measure_fits, require_tools
from edgedqn.pipeline.stages import write_verified

POLICIES = Path(__file__).parents[3] / "docs" / "results" / "policies"
LUNAR_LANDER, BREAKOUT = POLICIES / "LunarLander-v3.tflite", POLICIES / "MinAtar-Breakout-v1.tflite"
pytestmark = pytest.mark.skipif(not POLICIES.exists(), reason="looks at the checkout, not at the package")


def fitted(board: str, *paths: Path, rate_hz: float | None = None) -> FitTest:
    """What is found on a board whose tools are there."""
    budget = find_budget(board, rate_hz)
    if missing := missing_tools(TARGETS[budget.core]):
        pytest.skip(f"not installed: {', '.join(missing)}")
    return measure_fit({path.stem: path for path in paths}, budget)


def test_an_uno_runs_the_readmes_policies_and_is_too_slow_for_images() -> None:
    lunar_lander, breakout = fitted("uno", LUNAR_LANDER, BREAKOUT, rate_hz=100).files
    assert lunar_lander.reason is None and lunar_lander.rate_hz is not None and 400 < lunar_lander.rate_hz < 550
    assert breakout.reason is not None and breakout.reason.startswith("cycles: ")
    assert breakout.ram_bytes is not None and 1_200 < breakout.ram_bytes < 2_048


def test_a_network_of_two_large_layers_is_too_large_for_an_uno(tmp_path: Path) -> None:
    made_for = read_verified(POLICIES / "CartPole-v1.tflite").evidence["environment"]
    spec, rng = EnvironmentSpec.from_json(made_for), np.random.default_rng(0)
    observations = rng.uniform(-1, 1, (200, 4)).astype(np.float32)
    network = q_network((4,), 2, hidden=(256, 256), rng=rng)
    none = np.empty((0, 2), np.float32)
    student = Student(network=network, scaling=InputScaling.identity(), states=observations, preferences=none)
    agent = TrainedAgent(network, spec, observations, {})
    for conversion in ("ptq-int8", "float32"):
        policy = student.as_compressed(agent, conversion=conversion, recipe=conversion)
        write_verified(policy, tmp_path / f"{conversion}.tflite", config=ExportConfig(), origin={})
    large, real = fitted("uno", tmp_path / "ptq-int8.tflite", tmp_path / "float32.tflite").files
    assert large.reason == "flash: 71,782 bytes of constants of 32,256"
    assert real.reason is not None and "expected int8 input and output" in real.reason
    (on_mega,) = fitted("mega", tmp_path / "ptq-int8.tflite").files
    assert on_mega.reason is not None and on_mega.reason.startswith(
        "flash: 71,782 bytes of constants of the 60,000 in the first 64 KB"
    )
    (linked,) = fitted("nano33", tmp_path / "ptq-int8.tflite").files
    assert linked.reason is None and linked.flash_bytes is not None and 70_000 < linked.flash_bytes < 80_000


def test_an_arm_boards_flash_and_ram_are_those_of_the_linked_firmware() -> None:
    (found,) = fitted("nano33", LUNAR_LANDER).files
    assert found.reason is None and found.flash_bytes and found.ram_bytes
    one_less = f"cortex-m4f:{found.flash_bytes - 1},{found.ram_bytes},99999999"
    assert fitted(one_less, LUNAR_LANDER).files[0].reason == f"flash: {found.flash_bytes:,} of {found.flash_bytes - 1:,} bytes"


def test_boards_that_were_asked_about_are_measured_again_beside_the_limit() -> None:
    files, (uno, nano33) = {"CartPole-v1": POLICIES / "CartPole-v1.tflite"}, map(find_budget, ("uno", "nano33"))
    for budget in (uno, nano33):
        if missing := missing_tools(TARGETS[budget.core]):
            pytest.skip(f"not installed: {', '.join(missing)}")
    earlier = [FitTest(budget=each, is_limit=is_limit, files=()) for each, is_limit in ((uno, True), (nano33, False))]
    found = measure_fits(files, earlier, None)
    assert [(each.budget, each.is_limit, len(each.files)) for each in found] == [(nano33, False, 1)]
    assert measure_fits(files, earlier, nano33) == (replace(found[0], is_limit=True),)


def test_a_file_without_a_manifest_does_not_fit_and_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "foreign.tflite").write_bytes(b"TFL3")
    assert fitted("uno", tmp_path / "foreign.tflite").files[0].reason


def test_tools_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda tool: None)
    with pytest.raises(InputError, match=r"pico is emulated by its core, cortex-m0.* Missing: arm-none-eabi-gcc"):
        require_tools(find_budget("pico"))
