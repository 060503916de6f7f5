"""Convolutions, images and tables as files: what the converter makes of them, and what it costs."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tf_keras
from numpy.typing import NDArray

from edgedqn.agents.architecture import describe
from edgedqn.agents.networks import q_network, table_network
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.playing.spec import EnvironmentSpec, FrameStack, OneHot, format_steps
from edgedqn.benchmarks.footprint import weigh
from edgedqn.benchmarks.rows import BenchmarkRow
from edgedqn.compression.folding import InputScaling, fold_input_scaling, in_batches, pads_input, plain_network
from edgedqn.compression.policy import CompressedPolicy
from edgedqn.compression.tfmot.fake_quantization import quantization_aware, start_ranges
from edgedqn.export.config import ExportConfig
from edgedqn.export.edge_policy import EdgePolicy, PolicyFileError, TfliteModel, check_structure, read_device_manifest
from edgedqn.export.tflite import exported, to_tflite
from edgedqn.export.tflite_file.reader import kernels, quantization

BYTES = EnvironmentSpec(
    source=EnvironmentSource("Bytes-v0"),
    observation_shape=(7, 6),
    observation_dtype="uint8",
    observation_low=(0.0,),
    observation_high=(255.0,),
    n_actions=3,
    preprocessing=(FrameStack(4),),
)
BITS = EnvironmentSpec(
    source=EnvironmentSource("Bits-v0"),
    observation_shape=(7, 6, 2),
    observation_dtype="bool",
    observation_low=(0.0,),
    observation_high=(1.0,),
    n_actions=3,
)
STATES = EnvironmentSpec(
    source=EnvironmentSource("States-v0"),
    observation_shape=(),
    observation_dtype="int64",
    observation_low=(0.0,),
    observation_high=(11.0,),
    n_actions=3,
    preprocessing=(OneHot(),),
)
SPECS = {"bytes": BYTES, "bits": BITS, "states": STATES}


def torso(padding: str) -> Any:
    def look(x: Any, rng: np.random.Generator) -> Any:
        x = tf_keras.layers.Conv2D(5, 3, padding=padding, activation="relu")(x)
        return tf_keras.layers.Flatten()(tf_keras.layers.Conv2D(4, 2, 2, activation="relu")(x))

    return look


def make_policy(kind: str, conversion: Any, padding: str = "valid") -> CompressedPolicy:
    """As a recipe would leave it, without the training."""
    rng = np.random.default_rng(5)
    spec = SPECS[kind]
    if kind == "states":
        network = table_network(12, 3)
        observations = np.eye(12, dtype=np.int64)[rng.integers(0, 9, 500)]  # the last three are never visited
    else:
        scale = 1 / 255 if kind == "bytes" else 1.0
        network = q_network(spec.input_shape, 3, hidden=(9,), rng=rng, torso=torso(padding), dueling=True, input_scale=scale)
        observations = rng.integers(0, 256 if kind == "bytes" else 2, (500, *spec.input_shape)).astype(spec.observation_dtype)
    network.set_weights([rng.normal(0, 0.3, array.shape) for array in network.get_weights()])
    plain = network = plain_network(network)
    scaling = InputScaling.identity()
    if conversion == "qat-int8":
        scaling = InputScaling.fitting(spec, observations, pads=pads_input(network))
        network.set_weights(fold_input_scaling(network.get_weights(), scaling))
        network = quantization_aware(network, scaling.limits)
        start_ranges(network, plain, inputs=map(scaling, in_batches(observations)))
        network(scaling(observations), training=True)  # a training step takes the kernels' ranges
    return CompressedPolicy(
        network=network,
        conversion=conversion,
        scaling=scaling,
        meaning="q_values",
        spec=spec,
        observations=observations,
        recipe="test",
        reports=(),
        layers=describe(plain),
    )


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Any]:
    def write_and_load(policy: CompressedPolicy, config: ExportConfig = ExportConfig()) -> tuple[bytes, EdgePolicy]:
        content = exported(policy, config).content
        (tmp_path / "policy.tflite").write_bytes(content)
        return content, EdgePolicy.load(tmp_path / "policy.tflite")

    yield write_and_load


def real(rows: NDArray[Any], content: bytes) -> NDArray[np.float64]:
    output = quantization(TfliteModel(content).output)
    return (rows.astype(np.float64) - output.zero_point) * output.scale


@pytest.mark.parametrize(
    ("kind", "padding"), [("bytes", "valid"), ("bytes", "same"), ("bits", "valid"), ("bits", "same"), ("states", "none")]
)
@pytest.mark.parametrize("conversion", ["float32", "ptq-int8", "qat-int8"])
def test_the_file_computes_what_the_network_does(load: Any, kind: str, conversion: str, padding: str) -> None:
    policy = make_policy(kind, conversion, padding)
    content, edge = load(policy)
    sample = policy.observations[:200]
    expected = policy.network(policy.scaling(sample), training=False).numpy()
    rows = real(np.array([edge.preferences(observation) for observation in sample]), content)
    if conversion == "float32":
        np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
        return
    step = quantization(TfliteModel(content).output).scale
    largest = {"ptq-int8": 0.1 * np.ptp(expected), "qat-int8": 2.01 * step}[conversion]
    assert np.abs(rows - expected).max() <= largest
    assert np.abs(rows - expected).mean() < 3 * step
    if conversion == "qat-int8":
        assert (np.abs(rows - expected) < 0.5 * step).mean() > 0.9


@pytest.mark.parametrize("kind", SPECS)
def test_the_input_of_a_trained_file_holds_each_value_exactly(load: Any, kind: str) -> None:
    content, edge = load(make_policy(kind, "qat-int8"))
    source = quantization(TfliteModel(content).input)
    assert (source.zero_point, source.scale) == pytest.approx((-128, 1 / 255))
    largest = 255 if kind == "bytes" else 1
    device = read_device_manifest(content)
    assert device is not None
    assert len(device.scale) == len(device.offset) == 1
    values = np.arange(largest + 1, dtype=np.float32)
    levels = values * np.float32(device.scale[0]) + np.float32(device.offset[0])
    np.testing.assert_array_equal(np.rint(levels), np.arange(largest + 1) * (255 // largest) - 128)
    assert edge.input_shape == SPECS[kind].input_shape


def test_the_device_part_is_the_devices_view(load: Any) -> None:
    for kind, spec in SPECS.items():
        environment = load(make_policy(kind, "float32"))[1].device
        assert environment.observation_shape == spec.observation_shape
        assert environment.observation_dtype == spec.observation_dtype
        assert list(map(str, environment.preprocessing)) == format_steps(spec.preprocessing)


def test_a_state_that_was_never_visited_is_what_the_table_says(load: Any) -> None:
    policy = make_policy("states", "qat-int8")
    _, edge = load(policy)
    inputs = np.eye(12, dtype=np.float32)
    chosen = policy.network(inputs, training=False).numpy()
    # The outputs' range was set by the states that were visited; within it, each state is as good as another.
    inside = (chosen < chosen[:9].max()).all(axis=1) & (chosen > chosen[:9].min()).all(axis=1)
    assert inside[9:].any()
    np.testing.assert_array_equal([edge(int(state)) for state in np.flatnonzero(inside)], chosen[inside].argmax(axis=1))


@pytest.mark.parametrize("conversion", ["float32", "ptq-int8", "qat-int8"])
def test_kernels_and_weights_of_convolutions_are_found(load: Any, conversion: str) -> None:
    content, _ = load(make_policy("bytes", conversion))
    shapes = [(5, 3, 3, 4), (4, 2, 2, 5), (18, 16), (3, 18)]
    assert [kernel.values.shape for kernel in kernels(TfliteModel(content))] == shapes
    found = weigh(BenchmarkRow(name="policy", file="policy.tflite"), TfliteModel(content))
    assert found.weights == sum(int(np.prod(shape)) for shape in shapes)
    assert found.size_bytes == len(content)


@pytest.mark.parametrize("kind", SPECS)
@pytest.mark.parametrize("conversion", ["float32", "qat-int8"])
def test_the_same_policy_is_the_same_file_again(kind: str, conversion: str) -> None:
    assert to_tflite(make_policy(kind, conversion)) == to_tflite(make_policy(kind, conversion))


def test_the_walk_over_damaged_bytes_ends_in_one_exception_only() -> None:
    content = to_tflite(make_policy("bytes", "ptq-int8"))
    device = read_device_manifest(content)
    assert device is not None
    rng = np.random.default_rng(6)
    refused = 0
    for _ in range(500):
        damaged = bytearray(content)
        for place in rng.integers(0, len(damaged), int(rng.integers(1, 6))):
            damaged[place] = int(rng.choice([0, 1, 127, 128, 255, int(rng.integers(256))]))
        cut = bytes(damaged[: int(rng.integers(1, len(damaged) + 1))])
        for walk in (partial(check_structure, device=device), kernels):
            try:
                walk(TfliteModel(cut))
            except PolicyFileError:
                refused += 1
    assert refused > 100


@pytest.mark.parametrize(("kind", "padding"), [("bytes", "valid"), ("bytes", "same"), ("bits", "same"), ("states", "none")])
@pytest.mark.parametrize("conversion", ["ptq-int8", "qat-int8"])
def test_float_ends_give_the_same_rows_in_real_numbers(load: Any, kind: str, conversion: str, padding: str) -> None:
    policy = make_policy(kind, conversion, padding)
    content, edge = load(policy)
    sample = policy.observations[:100]
    rows = np.array([edge.preferences(observation) for observation in sample])
    _, twin = load(policy, ExportConfig(float_io=True))
    output = quantization(TfliteModel(content).output)
    expected = (rows.astype(np.float32) - output.zero_point) * np.float32(output.scale)
    np.testing.assert_array_equal([twin.preferences(observation) for observation in sample], expected)
