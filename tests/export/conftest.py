"""Small real policy files, made once per run, and the manifest that fits them."""

import functools
import itertools
import json
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import gymnasium
import numpy as np
import pytest
from numpy.typing import NDArray

from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.playing.spec import EnvironmentSpec
from edgedqn.export.edge_policy import DIGEST_SIZE, MAGIC, DeviceManifest, EdgePolicy, TfliteModel, file_digest
from edgedqn.export.tflite_file.integer_network import IntegerConvolution, IntegerLayer
from edgedqn.export.tflite_file.manifest import device_part, embed, write_policy
from edgedqn.export.tflite_file.reader import fix_names, quantization, with_metadata

DeviceFor = Callable[[bytes], DeviceManifest]


@dataclass(frozen=True)
class Network:
    """A 4-16-2 network: its float weights, and its conversions as TensorFlow gave them."""

    weights: list[NDArray[Any]]
    float32: bytes
    int8: bytes
    float16: bytes
    int8_float_io: bytes


def scale_by_quantized_multiplier(
    values: NDArray[np.int64], multipliers: NDArray[np.int32], shifts: NDArray[np.int8]
) -> NDArray[np.int64]:
    """TFLM's MultiplyByQuantizedMultiplier with its two roundings, on int32 values [..., out] held in int64.

    First halves go up (SaturatingRoundingDoublingHighMul), then away from zero (RoundingDivideByPOT).
    """
    left, right = np.maximum(shifts, 0).astype(np.int64), np.maximum(-shifts.astype(np.int64), 0)
    high = ((values << left) * multipliers.astype(np.int64) + (1 << 30)) >> 31
    mask = (np.int64(1) << right) - 1
    return (high >> right) + ((high & mask) > (mask >> 1) + (high < 0))


def run_integer_network(layers: tuple[IntegerLayer, ...], inputs: NDArray[np.int8]) -> NDArray[np.int8]:
    """The output rows, int8 [N, A], for inputs int8 [N, F]; equal to TFLM's in every entry."""
    x = inputs
    for layer in layers:
        windows = windows_of(layer, x) if isinstance(layer, IntegerConvolution) else x  # [N, ..., in]
        kernel = layer.weights.reshape(len(layer.weights), -1).T.astype(np.int64)  # [in, out]
        sums = windows.astype(np.int64) @ kernel + layer.bias  # [N, ..., out]
        scaled = scale_by_quantized_multiplier(sums, layer.multipliers, layer.shifts) + layer.zero_point  # [N, ..., out]
        x = np.clip(scaled, layer.lowest, 127).astype(np.int8).reshape(len(inputs), -1)
    return x


def windows_of(layer: IntegerConvolution, x: NDArray[np.int8]) -> NDArray[np.int8]:
    """What each window sees, [N, rows, columns, height * width * channels] of it, for inputs [N, F]."""
    (height, width, channels), (rows, columns, _) = layer.input_shape, layer.output_shape
    _, tall, wide, _ = layer.weights.shape
    (down, across), (above, left) = layer.strides, layer.padding
    below, right = max((rows - 1) * down + tall - above - height, 0), max((columns - 1) * across + wide - left - width, 0)
    beyond = ((0, 0), (above, below), (left, right), (0, 0))
    image = np.pad(x.reshape(-1, height, width, channels), beyond, constant_values=layer.input_zero_point)
    seen = [
        image[:, row * down : row * down + tall, column * across : column * across + wide].reshape(len(x), -1)
        for row in range(rows)
        for column in range(columns)
    ]
    return np.stack(seen, 1).reshape(len(x), rows, columns, -1)


@pytest.fixture(scope="session", name="scale_by_quantized_multiplier")
def tflm_rounding() -> Callable[..., NDArray[np.int64]]:
    return scale_by_quantized_multiplier


@pytest.fixture(scope="session", name="run_integer_network")
def tflm_arithmetic() -> Callable[..., NDArray[np.int8]]:
    """TFLite Micro's integer arithmetic written out in NumPy, bit for bit."""
    return run_integer_network


def build_network() -> Any:
    """4-16-2 with random weights and biases, always the same ones."""
    import tf_keras

    rng = np.random.default_rng(7)
    inputs = tf_keras.Input((4,), batch_size=1)
    hidden = tf_keras.layers.Dense(16, "relu")(inputs)
    model = tf_keras.Model(inputs, tf_keras.layers.Dense(2)(hidden))
    model.set_weights([rng.normal(0, 0.5, w.shape).astype(np.float32) for w in model.get_weights()])
    return model


def convert(model: Any, kind: str) -> bytes:
    """`kind`: float32, float16, or after training int8 (with integer ends) or int8-float-io."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if kind != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if kind.startswith("int8"):
        samples = np.random.default_rng(11).normal(size=(200, 1, 4)).astype(np.float32)
        converter.representative_dataset = lambda: ([s] for s in samples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if kind == "int8":
        converter.inference_input_type = converter.inference_output_type = tf.int8
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the converter's own remarks
        content: bytes = converter.convert()
    return content


@pytest.fixture(scope="session")
def convert_again() -> Callable[[str], bytes]:
    """Builds and converts the network once more; Keras's name counters have moved on by then."""
    return lambda kind: convert(build_network(), kind)


@pytest.fixture(scope="session")
def network() -> Network:
    model = build_network()
    return Network(model.get_weights(), *(convert(model, kind) for kind in ("float32", "int8", "float16", "int8-float-io")))


@pytest.fixture(scope="session")
def spec() -> EnvironmentSpec:
    return EnvironmentSpec(
        source=EnvironmentSource("Test-v0"),
        observation_shape=(4,),
        observation_dtype="float32",
        observation_low=(None,) * 4,
        observation_high=(None,) * 4,
        n_actions=2,
    )


@pytest.fixture(scope="session")
def device_for(spec: EnvironmentSpec) -> DeviceFor:
    """The device part of a network that takes plain observations: only the input tensor's own quantization is applied."""

    def build(content: bytes) -> DeviceManifest:
        given = quantization(TfliteModel(content).input)
        scale = np.full(4, 1 / given.scale, np.float32)
        return device_part(
            spec, scale=scale, offset=np.full(4, given.zero_point, np.float32), meaning="preferences", recipe="test"
        )

    return build


@pytest.fixture(scope="session")
def int8_policy(network: Network, device_for: DeviceFor) -> bytes:
    content = fix_names(TfliteModel(network.int8), "preferences")
    return embed(content, device_for(content))


@pytest.fixture(scope="session")
def float_policy(network: Network, device_for: DeviceFor) -> bytes:
    content = fix_names(TfliteModel(network.float32), "preferences")
    return embed(content, device_for(content))


@pytest.fixture
def int8_file(tmp_path: Path, int8_policy: bytes, device_for: DeviceFor) -> Path:
    """policy.tflite with its sidecar."""
    path = tmp_path / "policy.tflite"
    write_policy(path, int8_policy, device=device_for(int8_policy), evidence={"return": 1.0})
    return path


@pytest.fixture
def embed_unchecked() -> Callable[[bytes, Any], bytes]:
    """Embeds any JSON value with a right digest, as a newer version of this project might."""

    def embed_any(content: bytes, device: Any) -> bytes:
        whole = with_metadata(TfliteModel(content), "edgedqn", payload=MAGIC + bytes(DIGEST_SIZE) + json.dumps(device).encode())
        at = whole.index(MAGIC) + len(MAGIC)
        return whole[:at] + file_digest(whole) + whole[at + DIGEST_SIZE :]

    return embed_any


@pytest.fixture
def cartpole_files(tmp_path: Path, network: Network) -> tuple[Path, Path]:
    """An untrained policy for CartPole-v1, with sidecars: `int8.tflite`, and `int8-float-io.tflite` with float ends."""
    folder = tmp_path / "models"
    folder.mkdir()
    spec = EnvironmentSpec(
        source=EnvironmentSource("CartPole-v1"),
        observation_shape=(4,),
        observation_dtype="float32",
        observation_low=(None,) * 4,
        observation_high=(None,) * 4,
        n_actions=2,
    )
    paths = folder / "int8.tflite", folder / "int8-float-io.tflite"
    for path, converted in zip(paths, (network.int8, network.int8_float_io), strict=True):
        content = fix_names(TfliteModel(converted), "preferences")
        given = quantization(TfliteModel(content).input)
        scale, offset = np.full(4, 1 / given.scale, np.float32), np.full(4, given.zero_point, np.float32)
        device = device_part(spec, scale=scale, offset=offset, meaning="preferences", recipe="test")
        write_policy(path, embed(content, device), device=device, evidence={})
    return paths


@dataclass(frozen=True)
class TrainedFile:
    """The exported policy of a briefly trained CartPole agent, and 1,000 observations [N, 4] it met itself."""

    path: Path
    observations: NDArray[np.float32]

    @property
    def inputs(self) -> NDArray[np.int8]:
        """The observations as the network takes them, int8 [N, 4]."""
        device = EdgePolicy.load(self.path).device
        scale, offset = np.array(device.scale, np.float32), np.array(device.offset, np.float32)
        return np.rint(np.clip(self.observations * scale + offset, -128, 127)).astype(np.int8)  # [N, 4]

    @property
    def corners(self) -> NDArray[np.int8]:
        """Every combination of the extremes and the zero, int8 [81, 4]."""
        return np.array(list(itertools.product((-128, 0, 127), repeat=4)), np.int8)


@pytest.fixture(scope="session", params=["one-scale-int8", "ptq-int8"])
def trained(request: pytest.FixtureRequest, trained_run: Path) -> TrainedFile:
    """4-16-16-2, with one scale for all weights of a layer, or one per output (`ptq-int8`)."""
    path = trained_run / "models" / f"{request.param}.tflite"
    policy = EdgePolicy.load(path)
    rng = np.random.default_rng(5)
    env = gymnasium.make("CartPole-v1")
    observation, _ = env.reset(seed=31)
    met = []
    for _ in range(1_000):
        met.append(observation)
        action = policy(observation) if rng.random() > 0.1 else int(rng.integers(2))
        observation, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            observation, _ = env.reset()
    return TrainedFile(path, np.array(met, np.float32))


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a few seconds."""
    from edgedqn.agents.training.config import TrainingConfig
    from edgedqn.benchmarks.latency.interleaved import LatencyConfig
    from edgedqn.compression.methods.initialization import ScaleInput
    from edgedqn.compression.methods.ladder import Quantize
    from edgedqn.compression.recipe import Recipe
    from edgedqn.pipeline.config import RunConfig
    from edgedqn.pipeline.scripting import run

    training = TrainingConfig(
        steps=3_000, hidden=(16, 16), batch_size=32, learning_rate=2e-3, evaluation_interval=1_000, evaluation_episodes=2
    )
    short = LatencyConfig(blocks=4, invokes_per_block=50, patience_s=0)
    folder = tmp_path_factory.mktemp("runs") / "micro"
    one_scale = Recipe("one-scale-int8", "", (ScaleInput(), Quantize(("round",), per_output=False)), "qat-int8")
    return run(
        "CartPole-v1", out=folder, recipes=["qat-int8", one_scale], config=RunConfig(training=training, latency=short)
    ).folder


def same_torso(x: Any, rng: np.random.Generator) -> Any:
    """Padded at all sides, unequally: [B, 7, 6, 2] -> [B, 45]."""
    import tf_keras

    x = tf_keras.layers.Conv2D(4, (3, 4), (2, 1), padding="same", activation="relu")(x)
    return tf_keras.layers.Flatten()(tf_keras.layers.Conv2D(5, 2, (2, 2), padding="same")(x))


@pytest.fixture(scope="session")
def image_file() -> Callable[[str], bytes]:
    """Untrained networks for images as `ptq-int8` files, by name: `nature`; `quantiles`, MinAtar's with dueling streams; and
    `same`, whose convolutions pad, of images of real numbers around 0, so that the zero beyond them is no -128."""
    from edgedqn.agents.architecture import describe
    from edgedqn.agents.networks import minatar_torso, nature_torso, q_network
    from edgedqn.compression.folding import InputScaling, plain_network
    from edgedqn.compression.policy import CompressedPolicy
    from edgedqn.export.tflite import to_tflite

    @functools.cache
    def build(name: str) -> bytes:
        rng = np.random.default_rng(5)
        shape, hidden, torso = {
            "nature": ((84, 84, 4), (512,), nature_torso),
            "quantiles": ((10, 10, 4), (32,), minatar_torso),
            "same": ((7, 6, 2), (9,), same_torso),
        }[name]
        quantiles = 5 if name == "quantiles" else 0
        network = q_network(shape, 4, hidden=hidden, rng=rng, torso=torso, dueling=name != "nature", quantiles=quantiles)
        network.set_weights([array + rng.normal(0, 0.02, array.shape) for array in network.get_weights()])  # biases, too
        plain = plain_network(network)
        given = EnvironmentSpec(
            source=EnvironmentSource("Test-v0"),
            observation_shape=shape,
            observation_dtype="float32",
            observation_low=(None,),
            observation_high=(None,),
            n_actions=4,
        )
        policy = CompressedPolicy(
            network=plain,
            conversion="ptq-int8",
            scaling=InputScaling.identity(),
            meaning="q_values",
            spec=given,
            observations=rng.normal(0, 1, (20, *shape)).astype(np.float32),
            recipe="test",
            reports=(),
            layers=describe(plain),
        )
        return to_tflite(policy)

    return build
