import hashlib
import json
import os
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

with warnings.catch_warnings():
    # TF-MOT 0.8.1 compares version numbers with distutils, which setuptools provides and calls deprecated.
    warnings.filterwarnings("ignore", "distutils Version classes are deprecated", DeprecationWarning)
    from edgedqn.compression.tfmot import fake_quantization, wrappers

from edgedqn.agents.architecture import describe
from edgedqn.agents.errors import InputError
from edgedqn.agents.networks import q_network
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.playing.spec import EnvironmentSpec
from edgedqn.compression.folding import InputScaling, fold_input_scaling
from edgedqn.compression.methods.distillation import fit_output_layer
from edgedqn.compression.policy import CompressedPolicy, Conversion
from edgedqn.compression.preferences import Targets, median_action_gap
from edgedqn.compression.rounding import round_network
from edgedqn.export.config import ExportConfig
from edgedqn.export.edge_policy import EdgePolicy, PolicyFileError, TfliteModel, read_device_manifest
from edgedqn.export.tflite import CALIBRATION_STATES, exported, to_tflite
from edgedqn.export.tflite_file.manifest import write_policy
from edgedqn.export.tflite_file.reader import kernels, quantization, stripped
from edgedqn.export.tflite_file.rewriting import float_twin

SPEC = EnvironmentSpec(
    source=EnvironmentSource("CartPole-v1"),
    observation_shape=(4,),
    observation_dtype="float32",
    observation_low=(None,) * 4,
    observation_high=(None,) * 4,
    n_actions=2,
)
KINDS = ["float32", "ptq", "qat", "pruned", "per-output"]


def cartpole_like(count: int, seed: int) -> NDArray[np.float32]:
    """[count, 4] in the units of CartPole's on-policy states, which differ by a factor of 20."""
    return np.random.default_rng(seed).normal(0, [0.8, 0.6, 0.04, 0.5], (count, 4)).astype(np.float32)


def make_policy(kind: str, hidden: tuple[int, ...] = (32, 32)) -> CompressedPolicy:
    """A policy as its recipe would leave it, without the training: weights, masks and ranges are all there."""
    observations = cartpole_like(3_000, 1)
    network = q_network((4,), 2, hidden=hidden, rng=np.random.default_rng(2))
    network.set_weights([array + np.float32(0.05) * (array.ndim == 1) for array in network.get_weights()])
    if kind in ("float32", "ptq"):
        conversion: Conversion = "float32" if kind == "float32" else "ptq-int8"
        identity = InputScaling.identity()
        return CompressedPolicy(
            network=network,
            conversion=conversion,
            scaling=identity,
            meaning="q_values",
            spec=SPEC,
            observations=observations,
            recipe=kind,
            reports=(),
            layers=describe(network),
        )
    q_values = network(observations).numpy()
    scaling = InputScaling.measured(observations)
    inputs = scaling(observations)
    network.set_weights(fold_input_scaling(network.get_weights(), scaling))
    preferences = Targets()(q_values, median_action_gap(q_values))
    network.set_weights(fit_output_layer(network, [inputs], preferences=preferences, ridge=0.1))
    if kind == "pruned":
        wrapped = wrappers.wrap_for_pruning(network, (0.3, 0.8, 0.3), schedule=wrappers.Schedule(0, 1, 1))
        wrappers.reset_pruning(wrapped)
        wrapped(inputs[:1], training=True)
        network = wrappers.strip(wrapped, network)
    if kind == "per-output":
        rounded = round_network(network, lambda: iter([inputs]), limits=(-1.0, 1.0))
        quantized = fake_quantization.quantization_aware(network, scaling.limits, per_output=True)
        fake_quantization.set_rounding(
            quantized, network, weights=rounded.weights, scales=rounded.scales, ranges=rounded.ranges
        )
    else:
        quantized = fake_quantization.quantization_aware(network, scaling.limits, keep_zeros=kind == "pruned")
        fake_quantization.start_ranges(quantized, network, inputs=[inputs])
        quantized(inputs, training=True)  # a training step takes the kernels' ranges
    return CompressedPolicy(
        network=quantized,
        conversion="qat-int8",
        scaling=scaling,
        meaning="preferences",
        spec=SPEC,
        observations=observations,
        recipe=kind,
        reports=(),
        layers=describe(network),
        per_output=True if kind == "per-output" else None,
    )


@pytest.fixture(scope="module")
def policies() -> dict[str, CompressedPolicy]:
    return {kind: make_policy(kind) for kind in KINDS}


@pytest.fixture(scope="module")
def files(policies: dict[str, CompressedPolicy]) -> dict[str, bytes]:
    return {kind: to_tflite(policy) for kind, policy in policies.items()}


def load(folder: Path, content: bytes) -> EdgePolicy:
    path = folder / "policy.tflite"
    path.write_bytes(content)
    return EdgePolicy.load(path)


# --- the same bytes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_policy_is_the_same_file_again(
    policies: dict[str, CompressedPolicy], files: dict[str, bytes], kind: str
) -> None:
    assert to_tflite(policies[kind]) == files[kind]
    assert to_tflite(make_policy(kind)) == files[kind]  # Keras has counted on in the meantime


def test_the_same_policy_is_the_same_file_in_another_process(
    tmp_path: Path, policies: dict[str, CompressedPolicy], files: dict[str, bytes]
) -> None:
    for kind, policy in policies.items():
        policy.save(tmp_path / kind)
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from edgedqn.compression.policy import CompressedPolicy\n"
        "from edgedqn.export.tflite import to_tflite\n"
        "for folder in map(Path, sys.argv[1:]):\n"
        "    (folder / 'policy.tflite').write_bytes(to_tflite(CompressedPolicy.load(folder)))\n"
    )
    # In another order, so that no name counter stands where it stood here.
    folders = [str(tmp_path / kind) for kind in reversed(KINDS)]
    subprocess.run([sys.executable, "-c", script, *folders], capture_output=True, check=True)
    for kind, content in files.items():
        assert (tmp_path / kind / "policy.tflite").read_bytes() == content


@pytest.mark.parametrize("kind", KINDS)
def test_prints_nothing(policies: dict[str, CompressedPolicy], capsys: pytest.CaptureFixture[str], kind: str) -> None:
    to_tflite(policies[kind])
    assert capsys.readouterr() == ("", "")


# --- what the file computes ------------------------------------------------------------------------------------------------


def test_the_float_file_is_the_float_network(
    tmp_path: Path, policies: dict[str, CompressedPolicy], files: dict[str, bytes]
) -> None:
    observations = cartpole_like(500, 3)
    expected = policies["float32"].network(observations).numpy()
    edge = load(tmp_path, files["float32"])
    got = np.array([edge.preferences(observation) for observation in observations])
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert edge.output_meaning == "q_values"


@pytest.mark.parametrize("kind", ["qat", "pruned"])
def test_the_int8_file_rounds_as_the_fake_quantized_network_does(
    tmp_path: Path, policies: dict[str, CompressedPolicy], files: dict[str, bytes], kind: str
) -> None:
    policy = policies[kind]
    observations = cartpole_like(500, 4)
    observations[:20] *= 10  # beyond the range the input was given
    inside = (np.abs(policy.scaling(observations)) < 0.995).all(axis=1)
    assert inside.sum() > 450
    output = quantization(TfliteModel(files[kind]).output)
    expected = policy.network(policy.scaling(observations), training=False).numpy() / output.scale + output.zero_point
    np.testing.assert_allclose(expected, np.rint(expected), atol=1e-2)  # whole steps of the file's own output
    edge = load(tmp_path, files[kind])
    got = np.array([edge.preferences(observation) for observation in observations])
    difference = np.abs(got - expected)
    assert difference[inside].max() <= 2.01  # a hidden value on a half may fall to the other side
    # Where the scaling clamps to -1 the network is fed level -127 (-127.5 rounded up), the device -128: one input step.
    assert difference.max() <= 5.01
    assert (difference < 0.5).mean() > 0.9
    assert len(np.unique(got)) > 60  # the output's levels are used
    decided = np.abs(expected[:, 0] - expected[:, 1]) > 10
    assert decided.mean() > 0.5
    np.testing.assert_array_equal(got.argmax(axis=1)[decided], expected.argmax(axis=1)[decided])
    assert edge.output_meaning == "preferences"


def test_the_naive_file_follows_the_float_network_by_its_own_steps(
    tmp_path: Path, policies: dict[str, CompressedPolicy], files: dict[str, bytes]
) -> None:
    policy = policies["ptq"]
    observations = policy.observations[:CALIBRATION_STATES]
    source = quantization(TfliteModel(files["ptq"]).input)
    # Calibrated on the first 1,000 observations: the input's range is theirs.
    low, high = ((q - source.zero_point) * source.scale for q in (-128, 127))
    np.testing.assert_allclose([low, high], [observations.min(), observations.max()], atol=2 * source.scale)
    expected = policy.network(observations).numpy()
    edge = load(tmp_path, files["ptq"])
    steps = np.array([edge.preferences(observation) for observation in observations]).astype(float)
    output = quantization(TfliteModel(files["ptq"]).output)
    got = (steps - output.zero_point) * output.scale
    assert np.abs(got - expected).mean() < 3 * output.scale
    assert np.abs(got - expected).max() < 0.1 * np.ptp(expected)


# --- what stands in the file -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_one_observation_in_one_row_out(files: dict[str, bytes], kind: str) -> None:
    interpreter = Interpreter(model_content=files[kind])
    interpreter.allocate_tensors()
    (source,), (sink,) = interpreter.get_input_details(), interpreter.get_output_details()
    dtype = np.float32 if kind == "float32" else np.int8
    for end, shape in ((source, [1, 4]), (sink, [1, 2])):
        assert end["dtype"] == dtype
        assert end["shape"].tolist() == end["shape_signature"].tolist() == shape


@pytest.mark.parametrize("kind", ["qat", "pruned"])
def test_the_kernels_are_the_trained_ones_and_zeros_are_zeros(
    policies: dict[str, CompressedPolicy], files: dict[str, bytes], kind: str
) -> None:
    trained = [array.T for array in policies[kind].network.get_weights() if array.ndim == 2]
    for stored, expected in zip(kernels(TfliteModel(files[kind])), trained, strict=True):
        assert stored.values.dtype == np.int8
        scale = np.abs(expected).max() / 127  # one for the whole kernel
        assert np.abs(stored.values - expected / scale).max() < 0.51
        assert (stored.values[expected == 0] == 0).all()
        np.testing.assert_array_equal(stored.values[np.abs(expected) > 0.51 * scale] != 0, True)
    if kind == "pruned":
        zeros = [1 - stored.nonzero_weights / stored.weights for stored in kernels(TfliteModel(files[kind]))]
        assert all(share >= asked - 0.005 for share, asked in zip(zeros, (0.3, 0.8, 0.3), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_the_device_part_joins_both_scalings(policies: dict[str, CompressedPolicy], files: dict[str, bytes], kind: str) -> None:
    policy = policies[kind]
    device = read_device_manifest(files[kind])
    assert device is not None
    assert (device.recipe, device.meaning) == (kind, policy.meaning)
    assert device.env_id == "CartPole-v1"
    scale, offset = np.array(device.scale, np.float32), np.array(device.offset, np.float32)
    observations = cartpole_like(2_000, 5)
    if kind == "float32":
        assert (scale.tolist(), offset.tolist()) == ([1.0], [0.0])
        return
    q = np.rint(np.clip(observations * scale + offset, -128, 127))
    source = quantization(TfliteModel(files[kind]).input)
    two_steps = np.rint(policy.scaling(observations).astype(np.float64) / source.scale + source.zero_point).clip(-128, 127)
    assert np.abs(q - two_steps).max() <= 1
    assert (q == two_steps).mean() > 0.999
    if kind != "ptq":
        assert min(len(np.unique(feature)) for feature in q.T) > 150  # each feature has the levels to itself


def test_the_input_of_a_trained_file_is_the_clamped_range(files: dict[str, bytes]) -> None:
    for kind in ("qat", "pruned"):
        source = quantization(TfliteModel(files[kind]).input)
        assert source.scale == pytest.approx(2 / 255, rel=1e-6)
        assert source.zero_point in (-1, 0)


def test_the_manifest_is_minified_json_inside_the_file(files: dict[str, bytes]) -> None:
    for content in files.values():
        device = read_device_manifest(content)
        assert device is not None
        assert json.dumps(device.to_json(), separators=(",", ":")).encode() in content


# --- other conversions, and other ways to write a file ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("conversion", "share_of_bytes", "tolerance"), [("float16", 0.6, 1e-3), ("dynamic", 0.5, 0.05), ("int16x8", 0.5, 0.05)]
)
def test_conversions_that_train_nothing_compute_nearly_the_same(
    tmp_path: Path, files: dict[str, bytes], conversion: Any, share_of_bytes: float, tolerance: float
) -> None:
    network = q_network((4,), 2, hidden=(128, 128), rng=np.random.default_rng(2))
    observations = cartpole_like(1_000, 1)
    identity = InputScaling.identity()
    policy = CompressedPolicy(
        network=network,
        conversion=conversion,
        scaling=identity,
        meaning="q_values",
        spec=SPEC,
        observations=observations,
        recipe="x",
        reports=(),
        layers=describe(network),
    )
    content = to_tflite(policy)
    assert len(content) < share_of_bytes * len(to_tflite(replace(policy, conversion="float32")))
    edge = load(tmp_path, content)
    expected = network(observations[:200]).numpy()
    got = np.array([edge.preferences(observation) for observation in observations[:200]])
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * np.ptp(expected))
    model = TfliteModel(content)
    assert (model.input.dtype, model.output.dtype) == ("float32", "float32")


def test_a_float_output_speaks_of_the_same_preferences(
    tmp_path: Path, policies: dict[str, CompressedPolicy], files: dict[str, bytes]
) -> None:
    content = to_tflite(replace(policies["qat"], conversion="qat-int8-float-output"))
    model = TfliteModel(content)
    assert (model.input.dtype, model.output.dtype) == ("int8", "float32")
    output = quantization(TfliteModel(files["qat"]).output)
    whole, real = load(tmp_path, files["qat"]), load(tmp_path, content)
    for observation in cartpole_like(200, 6):
        expected = (whole.preferences(observation) - output.zero_point) * output.scale
        np.testing.assert_allclose(real.preferences(observation), expected, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_bare_file_plays_by_its_sidecar_alone(
    tmp_path: Path, policies: dict[str, CompressedPolicy], files: dict[str, bytes], kind: str
) -> None:
    bare = exported(policies[kind], ExportConfig(strip=True, manifest="beside"))
    assert len(bare.content) < len(files[kind]) - 700
    assert read_device_manifest(bare.content) is None
    path = tmp_path / "bare.tflite"
    path.write_bytes(bare.content)
    with pytest.raises(PolicyFileError):
        EdgePolicy.load(path)
    write_policy(path, path.read_bytes(), device=bare.device, evidence={})
    whole, alone = load(tmp_path, files[kind]), EdgePolicy.load(path)
    for observation in cartpole_like(100, 7):
        np.testing.assert_array_equal(alone.preferences(observation), whole.preferences(observation))
    path.write_bytes(bare.content[:-1] + bytes([bare.content[-1] ^ 1]))
    with pytest.raises(PolicyFileError):
        EdgePolicy.load(path)


@pytest.mark.parametrize(("strip", "manifest"), [(False, "beside"), (True, "embedded")])
def test_names_and_manifest_are_left_out_independently(
    policies: dict[str, CompressedPolicy], strip: bool, manifest: Any
) -> None:
    file = exported(policies["qat"], ExportConfig(strip, manifest))
    assert (read_device_manifest(file.content) is not None) == (manifest == "embedded")
    assert (b"observation\0" in file.content) != strip


@pytest.mark.parametrize("kind", ["ptq", "qat", "pruned"])
@pytest.mark.parametrize("strip", [False, True])
def test_float_ends_give_the_same_rows_in_real_numbers(
    tmp_path: Path, policies: dict[str, CompressedPolicy], files: dict[str, bytes], kind: str, strip: bool
) -> None:
    file = exported(policies[kind], ExportConfig(strip, float_io=True))
    assert (file.device.scale, file.device.offset) == ((1.0,), (0.0,))
    integers, floats = load(tmp_path, files[kind]), load(tmp_path, file.content)
    output = quantization(TfliteModel(files[kind]).output)
    for observation in cartpole_like(500, 8):
        steps = integers.preferences(observation).astype(np.float32)
        expected = (steps - output.zero_point) * np.float32(output.scale)
        np.testing.assert_array_equal(floats.preferences(observation), expected)
        assert floats(observation) == integers(observation)
    if strip:
        proven = exported(policies[kind], ExportConfig())  # a twin can be made later, of the file that was proven
        twin, device = float_twin(TfliteModel(proven.content), proven.device)
        assert device == file.device and device.source["twin_of"] == hashlib.sha256(proven.content).hexdigest()
        assert stripped(TfliteModel(twin)) == stripped(TfliteModel(file.content))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("float_io", [False, True])
def test_a_file_can_choose_the_action_itself(
    tmp_path: Path, policies: dict[str, CompressedPolicy], files: dict[str, bytes], kind: str, float_io: bool
) -> None:
    file = exported(policies[kind], ExportConfig(output="action", float_io=float_io))
    ranking, choosing = load(tmp_path, files[kind]), load(tmp_path, file.content)
    assert choosing.output_meaning == file.device.meaning == "action"
    for observation in cartpole_like(300, 9):
        action = choosing(observation)
        assert type(action) is int
        assert action == ranking(observation)
        assert choosing.preferences(observation).tolist() == [int(action == 0), int(action == 1)]


def test_what_a_policy_cannot_give_is_refused(policies: dict[str, CompressedPolicy]) -> None:
    with pytest.raises(InputError, match="Got output='q_values'"):
        exported(policies["qat"], ExportConfig(output="q_values"))
    assert exported(policies["ptq"], ExportConfig(output="q_values")).device.meaning == "q_values"


def test_a_small_policy_is_a_small_file() -> None:
    policy = make_policy("qat", (16,))
    assert len(exported(policy, ExportConfig(strip=True)).content) <= 2_000
    assert len(exported(policy, ExportConfig(strip=True, manifest="beside")).content) <= 1_200


@pytest.mark.parametrize("config", [ExportConfig(float_io=True), ExportConfig(True, output="action")])
def test_other_ends_are_the_same_bytes_again(config: ExportConfig) -> None:
    assert exported(make_policy("qat"), config) == exported(make_policy("qat"), config)
