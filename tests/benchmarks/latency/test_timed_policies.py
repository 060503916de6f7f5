"""What is timed of real files: each call, on what the device sees; and what XNNPACK takes over of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedqn.benchmarks.latency.interleaved import LatencyConfig
from edgedqn.benchmarks.latency.timed_policies import as_device_sees, cold_starts, delegation, invokes, load, steps
from edgedqn.benchmarks.rows import Delegation
from edgedqn.export.edge_policy import DeviceManifest, EdgePolicy, parse_step, read_verified

CONFIG = LatencyConfig()


@pytest.mark.parametrize("name", ["float32", "int8"])
@pytest.mark.parametrize("kind", [invokes, steps, cold_starts])
def test_real_files_are_timed_call_by_call(models: Path, name: str, kind: Any) -> None:
    observations = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
    block = kind(read_verified(models / f"{name}.tflite"), observations, config=CONFIG)()
    durations = block(30)
    assert durations.shape == (30,)
    assert durations.dtype == np.int64
    assert (durations > 0).all()


@pytest.mark.parametrize("kind", [invokes, steps, cold_starts])
@pytest.mark.parametrize(("name", "shape"), [("stacked", (4,)), ("table", (4,)), ("stacked", (2,)), ("table", ())])
def test_files_with_preprocessing_are_timed_on_states_and_on_stand_ins(
    views: Path, kind: Any, name: str, shape: tuple[int, ...]
) -> None:
    observations = np.random.default_rng(0).normal(size=(7, *shape)).astype(np.float32)
    durations = kind(read_verified(views / f"{name}.tflite"), observations, config=CONFIG)()(30)
    assert (durations > 0).all()


def test_a_step_is_what_the_device_does_and_an_invoke_what_the_network_gets(
    views: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, ...]] = []
    real = EdgePolicy._run

    def remember(self: EdgePolicy, x: Any) -> Any:
        seen.append(np.shape(x))
        return real(self, x)

    monkeypatch.setattr(EdgePolicy, "_run", remember)
    states = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    steps(read_verified(views / "stacked.tflite"), states, config=CONFIG)()(3)
    steps(read_verified(views / "table.tflite"), states, config=CONFIG)()(3)
    assert seen == [(2,)] * 3 + [()] * 3
    seen.clear()
    invokes(read_verified(views / "stacked.tflite"), states, config=CONFIG)()(3)
    assert seen == [(4,)] * 3


@pytest.mark.parametrize(
    ("shape", "steps"),
    [
        ((4,), []),
        ((4,), ["frame_stack:3"]),
        ((5, 4), ["atari", "frame_stack:3"]),
        ((5, 4), ["frame_stack:1"]),
        ((5, 4), ["flatten", "frame_stack:3"]),
        ((5, 4), ["frame_stack:3", "flatten"]),
        ((5, 4, 2), ["frame_stack:3"]),
        ((5, 4, 2), ["flatten"]),
    ],
)
def test_the_device_saw_the_newest_frame(shape: tuple[int, ...], steps: list[str]) -> None:
    device = DeviceManifest(
        env_id="",
        observation_shape=shape,
        observation_dtype="uint8",
        n_actions=2,
        preprocessing=tuple(map(parse_step, steps)),
        scale=(1.0,),
        offset=(0.0,),
        meaning="q_values",
        recipe="",
    )
    policy = EdgePolicy(Fed(int(np.prod(device.input_shape(0)))), device)
    for frame in np.random.default_rng(0).integers(0, 256, (4, *shape), dtype=np.uint8):
        policy(frame)
        network_input = policy._feed.reshape(policy.input_shape)
        np.testing.assert_array_equal(as_device_sees(policy, network_input), frame)


class Fed:
    """Stands where an interpreter stands."""

    def __init__(self, size: Any) -> None:
        self.set_tensor = self.invoke = lambda *_: None
        self.get_tensor = lambda index: np.zeros((1, 2), np.float32)
        self.get_input_details = lambda: [{"index": 0, "shape": (1, size), "dtype": np.float32}]
        self.get_output_details = lambda: [{"index": 1, "dtype": np.float32}]


@pytest.mark.parametrize("name", ["float32", "int8"])
def test_xnnpack_takes_over_a_plain_network_or_is_left_out(models: Path, name: str) -> None:
    file = read_verified(models / f"{name}.tflite")
    operators = delegation(file, CONFIG).operators
    assert operators >= 2
    assert delegation(file, CONFIG).xnnpack == operators
    assert delegation(file, LatencyConfig(xnnpack=False)) == Delegation(operators, 0)


def test_what_lies_behind_a_delegate_is_what_it_took_over(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain of four of which the delegate has the middle two; the last one's weights lie inside its border, too."""
    chain = [{"op_name": "ADD", "inputs": [at, 10 + at], "outputs": [at + 1]} for at in range(4)]
    taken = {"op_name": "DELEGATE", "inputs": [1, 11, 12], "outputs": [3]}
    monkeypatch.setattr("ai_edge_litert.interpreter.Interpreter._get_ops_details", lambda self: [*chain, taken])
    assert delegation(read_verified(models / "int8.tflite"), CONFIG) == Delegation(4, 2)


def test_without_xnnpack_the_actions_stay(models: Path) -> None:
    observations = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    file = read_verified(models / "float32.tflite")
    plain = load(file, LatencyConfig(xnnpack=False))[1]
    policy = load(file, CONFIG)[1]
    assert [plain(x) for x in observations] == [policy(x) for x in observations]
