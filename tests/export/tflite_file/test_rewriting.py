"""Other ends, the same integers between them."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from edgedqn.export.edge_policy import DeviceManifest, EdgePolicy, PolicyFileError, TfliteModel, read_verified
from edgedqn.export.tflite_file.manifest import write_policy
from edgedqn.export.tflite_file.reader import kernels, quantization, rewrite
from edgedqn.export.tflite_file.rewriting import float_twin, with_action_output, with_float_ends

SCALE, OFFSET = np.array([30, 41.7, 500, 3], np.float32), np.array([-1, 0.3, 12, 0], np.float32)


def run(content: bytes, rows: NDArray[Any]) -> NDArray[Any]:
    """[N, F] -> [N, ...]"""
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    (source,), (sink,) = interpreter.get_input_details(), interpreter.get_output_details()
    results = []
    for row in rows:
        interpreter.set_tensor(source["index"], row[np.newaxis])
        interpreter.invoke()
        results.append(interpreter.get_tensor(sink["index"])[0])
    return np.array(results)


def real(content: bytes, integers: NDArray[np.int8]) -> NDArray[np.float32]:
    output = quantization(TfliteModel(content).output)
    return (integers.astype(np.float32) - output.zero_point) * np.float32(output.scale)


def with_float_io(content: bytes, *, scale: NDArray[np.float32], offset: NDArray[np.float32]) -> bytes:
    device = DeviceManifest(
        env_id="Any-v0",
        observation_shape=(4,),
        observation_dtype="float32",
        n_actions=2,
        preprocessing=(),
        scale=tuple(map(float, scale)),
        offset=tuple(map(float, offset)),
        meaning="preferences",
        recipe="any",
    )
    return with_float_ends(TfliteModel(content), device)[0]


def as_a_device(observations: NDArray[np.float32]) -> NDArray[np.int8]:
    return np.rint(np.clip(observations * SCALE + OFFSET, -128, 127)).astype(np.int8)


def with_zero_point(content: bytes, zero_point: int) -> bytes:
    """Another network, whose input has this zero point."""

    def change(model: Any) -> None:
        graph = model.subgraphs[0]
        graph.tensors[int(graph.inputs[0])].quantization.zeroPoint = np.array([zero_point], np.int64)

    return rewrite(TfliteModel(content), change)


@pytest.mark.parametrize("zero_point", [-128, -1, 0, 7])
def test_the_twin_computes_the_very_integers_of_the_file_it_is_made_of(network: Any, zero_point: int) -> None:
    content = with_zero_point(network.int8, zero_point)
    observations = np.random.default_rng(3).normal(0, 2, (1_000, 4)).astype(np.float32)
    # On all halves, and far outside.
    halves = np.zeros((600, 4), np.float32)
    halves[:, 3] = np.arange(-150, 150, 0.5) / 3
    observations = np.concatenate([observations, halves, 1e9 * observations[:50]])
    integers = run(content, as_a_device(observations))
    assert len(np.unique(integers)) > 50
    twin = with_float_io(content, scale=SCALE, offset=OFFSET)
    np.testing.assert_array_equal(run(twin, observations), real(content, integers))
    model = TfliteModel(twin)
    assert (model.input.dtype, model.output.dtype) == ("float32", "float32")
    for kept, given in zip(kernels(TfliteModel(twin)), kernels(TfliteModel(content)), strict=True):
        np.testing.assert_array_equal(kept.values, given.values)


def test_what_scales_nothing_is_left_out(network: Any) -> None:
    one, zero = np.ones(1, np.float32), np.zeros(1, np.float32)
    whole, bare = (
        with_float_io(network.int8, scale=SCALE, offset=OFFSET),
        with_float_io(network.int8, scale=one, offset=zero),
    )
    assert len(bare) < len(whole) - 200
    observations = np.random.default_rng(4).integers(-128, 128, (300, 4)).astype(np.float32)
    output = quantization(TfliteModel(network.int8).output)
    expected = (run(network.int8, observations.astype(np.int8)).astype(np.float32) - output.zero_point) * np.float32(
        output.scale
    )
    np.testing.assert_array_equal(run(bare, observations), expected)


def test_the_action_is_the_lowest_index_of_the_largest(network: Any) -> None:
    for content, rows in (
        (network.int8, np.random.default_rng(5).integers(-128, 128, (500, 4)).astype(np.int8)),
        (network.float32, np.random.default_rng(5).normal(size=(500, 4)).astype(np.float32)),
    ):
        preferences = run(content, rows)
        chosen = with_action_output(TfliteModel(content))
        assert TfliteModel(chosen).output.dtype == "int32"
        actions = run(chosen, rows)
        assert actions.dtype == np.int32
        np.testing.assert_array_equal(actions, preferences.argmax(axis=1))
        assert 0.01 < actions.mean() < 0.99
    tied = with_action_output(TfliteModel(without_kernels(network.int8)))
    assert run(tied, rows.astype(np.int8)).max() == 0


def without_kernels(content: bytes) -> bytes:
    def change(model: Any) -> None:
        for buffer in model.buffers:
            if buffer.data is not None:
                buffer.data = np.zeros(len(buffer.data), np.uint8)

    return rewrite(TfliteModel(content), change)


def test_float_ends_need_integer_ones(network: Any) -> None:
    with pytest.raises(PolicyFileError, match=r"expected an int8 input\. Got float32"):
        with_float_io(network.float32, scale=SCALE, offset=OFFSET)


def test_the_same_file_becomes_the_same_file(network: Any) -> None:
    assert with_float_io(network.int8, scale=SCALE, offset=OFFSET) == with_float_io(network.int8, scale=SCALE, offset=OFFSET)


@pytest.mark.parametrize("manifest", ["embedded", "beside"])
def test_a_twin_is_whole_and_acts_alike(tmp_path: Path, network: Any, int8_file: Path, manifest: str) -> None:
    device = read_verified(int8_file).device
    content = int8_file.read_bytes() if manifest == "embedded" else network.int8
    twin, told = float_twin(TfliteModel(content), device)
    assert told == replace(device, scale=(1.0,), offset=(0.0,))
    write_policy(tmp_path / "twin.tflite", twin, device=told, evidence={})
    (tmp_path / "twin.json").unlink()  # its manifest is inside
    integers, floats = EdgePolicy.load(int8_file), EdgePolicy.load(tmp_path / "twin.tflite")
    observations = np.random.default_rng(3).normal(size=(200, 4)).astype(np.float32)
    assert [integers(each) for each in observations] == [floats(each) for each in observations]


def test_a_twin_needs_integers_to_begin_with(network: Any, int8_file: Path) -> None:
    with pytest.raises(PolicyFileError, match=r"expected an int8 input\. Got float32"):
        float_twin(TfliteModel(network.float32), read_verified(int8_file).device)
