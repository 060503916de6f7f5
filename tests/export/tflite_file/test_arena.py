"""Bounds of the arena: against sizes worked out by hand, the kernels' own formulas per core, and TFLite Micro's planner."""

import re
import subprocess
import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("tflite_micro", reason="the extra `micro` is not installed")

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.processes import python_command
from edgedqn.export.edge_policy import TfliteModel
from edgedqn.export.tflite_file import tflm
from edgedqn.export.tflite_file.arena import Layer, arena_bounds, cmsis_nn_scratch, esp_nn_scratch

# MinAtar/Freeway: 16 filters of 3x3 over 10x10x7, then a dense layer of 128.
FREEWAY = Layer((10, 10, 7), (3, 3), (8, 8, 16))
# What an ESP32-S3 with ESP-NN 1.3.0 asked in all for the tensors of that network; the arena had 4,492 bytes left.
ASKED = 5_696


def whole(size: int) -> int:
    return -(-size // 16) * 16


def planned(buffers: Sequence[tuple[int, int, int]]) -> int:
    """TFLite Micro's greedy planner: the largest buffer first, each at the lowest place that is free while it is needed.

    Buffers are (bytes, first operator, last operator). Source: tensorflow/lite/micro/memory_planner/greedy_memory_planner.cc.
    """
    placed: list[tuple[int, int, int, int]] = []  # where it begins and ends, and when
    for size, first, last in sorted(((whole(size), *when) for size, *when in buffers), reverse=True):
        at = 0
        for begins, ends, since, until in sorted(placed):
            if since <= last and first <= until and begins < at + size:
                at = max(at, ends)
        placed.append((at, at + size, first, last))
    return max(ends for _, ends, _, _ in placed)


def convolutional(channels: int, padding: str = "valid") -> bytes:
    """An untrained int8 network of MinAtar's shape."""
    import tensorflow as tf
    import tf_keras

    rng = np.random.default_rng(3)
    inputs = tf_keras.Input((10, 10, channels), batch_size=1)
    x = tf_keras.layers.Flatten()(tf_keras.layers.Conv2D(16, 3, padding=padding, activation="relu")(inputs))
    model = tf_keras.Model(inputs, tf_keras.layers.Dense(3)(tf_keras.layers.Dense(128, "relu")(x)))
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: (
        [rng.integers(0, 2, (1, 10, 10, channels)).astype(np.float32)] for _ in range(20)
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the converter's own remarks
        content: bytes = converter.convert()
    return content


@pytest.fixture(scope="module")
def freeway() -> TfliteModel:
    return TfliteModel(convolutional(7))


def test_a_known_case_is_what_the_planner_makes_of_the_scratch() -> None:
    assert esp_nn_scratch(FREEWAY) == 3_968  # 9*16*16 + 3*32*16 + 64 + 4*16
    tensors = [(700, 0, 0), (1_024, 0, 1), (1_024, 1, 2), (128, 2, 3), (3, 3, 3)]
    assert planned([*tensors, (esp_nn_scratch(FREEWAY), 0, 0)]) == ASKED


def test_the_default_arena_has_room_for_the_known_case_where_the_measured_one_has_not(freeway: TfliteModel) -> None:
    bounds = arena_bounds(freeway)
    printed = subprocess.run(
        python_command(tflm._PRINT_ALLOCATIONS, "100000"), input=freeway.content, capture_output=True, check=True
    ).stderr.decode()
    persistent = int(re.search(r"tail (\d+) bytes", printed)[1])  # type: ignore[index]
    assert bounds.reference - persistent < ASKED <= bounds.largest - persistent
    assert bounds.largest == bounds.esp_nn == bounds.reference + 3_968 + 16
    # A sum for each vector-wise dense layer, 128 and 3 outputs, and four windows of 63 numbers.
    assert bounds.cmsis_nn == bounds.reference + (512 + 16) + (16 + 16) + (4 * 64 + 16)


def test_shapes_and_strides_are_the_files_own() -> None:
    padded = arena_bounds(TfliteModel(convolutional(4, "same")))
    expected = esp_nn_scratch(Layer((10, 10, 4), (3, 3), (10, 10, 16)))
    assert padded.esp_nn == padded.reference + whole(expected) + 16


def test_a_network_runs_in_the_arena_with_its_margin(trained: object) -> None:
    from tflite_micro import runtime

    content = trained.path.read_bytes()  # type: ignore[attr-defined]
    bounds = arena_bounds(TfliteModel(content))
    assert all(size % 16 == 0 for size in (bounds.reference, bounds.cmsis_nn, bounds.esp_nn))
    assert bounds.esp_nn == bounds.reference < bounds.cmsis_nn == bounds.largest  # dense layers alone
    interpreter = runtime.Interpreter.from_bytes(content, arena_size=bounds.reference)
    interpreter.set_input(np.zeros((1, 4), np.int8), 0)
    interpreter.invoke()
    with pytest.raises(RuntimeError):
        runtime.Interpreter.from_bytes(content, arena_size=tflm.arena_bytes(content) // 2)


def test_arms_kernels_ask_no_more_on_any_core() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        height, width, rows, columns, channels, outputs = (int(each) for each in rng.integers(1, 40, 6))
        layer = Layer((height, width, channels), (rows, columns), (1, 1, outputs))
        numbers = rows * columns * channels
        with_dsp = 2 * (numbers + -numbers % 4) * 2  # two windows of int16, filled up to four numbers
        with_vectors = 4 * -(-numbers // 16) * 16
        pointwise_by_armclang = 2 * channels * 2
        assert cmsis_nn_scratch(layer) == max(with_dsp, with_vectors, pointwise_by_armclang)
        assert cmsis_nn_scratch(replace(layer, dense=True)) == 4 * outputs


@pytest.mark.parametrize(
    ("layer", "size", "why"),
    [
        (Layer((10, 10, 4), (3, 3), (8, 8, 16)), 2_400, "1.1: 9*16*16 + 32 + 4*16, above the 976 that 1.3.0's im2col takes"),
        (Layer((10, 10, 10), (3, 3), (8, 8, 16)), 5_072, "2022: 2*(90*16 + 1000) + 16*10 + 32"),
        (Layer((20, 20, 32), (4, 4), (9, 9, 64), (2, 2)), 91_680, "2022: 2*(16*32*64 + 12800) + 16*32 + 32"),
        (Layer((10, 10, 8), (3, 3), (10, 10, 16)), 6_240, "between 1.1 and 1.3: 2*12*12*8 + 9*16*16 + 3*32*16 + 32 + 4*16"),
        (Layer((4, 4, 256), (3, 3), (2, 2, 16)), 108_640, "after 1.3: 16 windows of 2,304, 24 more, 16 KiB, 96"),
        (Layer((8, 8, 16), (1, 1), (8, 8, 16)), 576, "1.1 to 1.3: 16*16 + 16*16 + 64"),
        (Layer((5, 5, 3), (1, 1), (5, 5, 8)), 456, "1.1 to 1.3: 25*8 + 8*8 + 16*8 + 64"),
        (Layer((1, 1, 1024), (1, 1), (1, 1, 128), dense=True), 0, "no chip asks any for a dense layer"),
    ],
)
def test_espressifs_kernels_by_hand(layer: Layer, size: int, why: str) -> None:
    assert esp_nn_scratch(layer) == size, why


def test_a_sum_bounds_what_the_planner_makes_of_any_chain() -> None:
    rng = np.random.default_rng(1)
    for _ in range(300):
        sizes, scratch = rng.integers(1, 5_000, 5).tolist(), rng.integers(1, 9_000, 4).tolist()
        tensors = [(size, max(0, at - 1), min(3, at)) for at, size in enumerate(sizes)]
        with_scratch = planned([*tensors, *((size, at, at) for at, size in enumerate(scratch))])
        assert with_scratch <= planned(tensors) + sum(map(whole, scratch))


def test_a_layer_without_a_published_bound_is_refused() -> None:
    import tensorflow as tf
    import tf_keras

    inputs = tf_keras.Input((8, 8, 3), batch_size=1)
    model = tf_keras.Model(inputs, tf_keras.layers.DepthwiseConv2D(3)(inputs))
    content = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    with pytest.raises(InputError, match="DEPTHWISE_CONV_2D is not known"):
        arena_bounds(TfliteModel(content))
