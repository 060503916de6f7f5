"""Small real policy files, and an environment in which what each scores is known beforehand.

In `steer:Steer-v0` an episode is ten steps, each with a fresh observation [4]; action 1 earns 1 where its third number is
positive, action 0 where it is negative. The file `float32` always earns 10, `reversed` 0, a random policy 5 on average.
"""

import hashlib
import json
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.playing.spec import EnvironmentSpec
from edgedqn.export.edge_policy import MAGIC, ONE_HOT, Step, TfliteModel, read_device_manifest
from edgedqn.export.tflite_file.manifest import device_part, embed
from edgedqn.export.tflite_file.reader import quantization

STEER = """
import os
import gymnasium
import numpy as np

class Steer(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-10, 10, (4,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, nan_after=None, dies=False):
        self.nan_after, self.dies = nan_after, dies

    def observe(self):
        self.seen = self.np_random.normal(size=4).astype(np.float32)
        if self.nan_after is not None and self.steps >= self.nan_after:
            self.seen = np.full(4, np.nan, np.float32)
        return self.seen

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.total = 0, 0
        return self.observe(), {}

    def step(self, action):
        reward = float(action == (self.seen[2] > 0))
        self.steps += 1
        self.total += reward
        if self.dies and self.steps == 10 and self.total == 0:
            os._exit(1)
        return self.observe(), reward, False, self.steps == 10, {}

class Wide(Steer):
    observation_space = gymnasium.spaces.Box(-10, 10, (5,), np.float32)

for name, make in (
    ("Steer-v0", Steer),
    ("Broken-v0", lambda: Steer(nan_after=3)),
    ("Deadly-v0", lambda: Steer(dies=True)),
    ("Wide-v0", Wide),
):
    gymnasium.register(name, make, disable_env_checker=True)
"""


@pytest.fixture(scope="session")
def steer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of a module that registers the environments; importable here and in processes started from here."""
    folder = tmp_path_factory.mktemp("environments")
    (folder / "steer.py").write_text(STEER)
    sys.path.insert(0, str(folder))
    yield "steer"
    sys.path.remove(str(folder))


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with float32, int8, reversed and nan .tflite files, 4 inputs, 8 hidden, 2 actions."""
    folder = tmp_path_factory.mktemp("models")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's own, on import and while converting
        for name, content in _convert().items():
            (folder / f"{name}.tflite").write_bytes(_with_manifest(content, name))
    return folder


@pytest.fixture(scope="session")
def conversions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the network of `float32` as plain TFLiteConverters write it, with a batch of -1 and no manifest."""
    folder = tmp_path_factory.mktemp("conversions")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow as tf
        import tf_keras

        network = tf_keras.Sequential([tf_keras.layers.Dense(8, "relu", input_shape=(4,)), tf_keras.layers.Dense(2)])
        hidden, out = np.zeros((4, 8), np.float32), np.zeros((8, 2), np.float32)
        hidden[2, :2] = [1, -1]
        out[0, 1] = out[1, 0] = 1
        network.set_weights([hidden, np.zeros(8), out, np.zeros(2)])
        samples = np.random.default_rng(0).normal(size=(200, 1, 4)).astype(np.float32)
        int8, int16 = (
            tf.lite.OpsSet.TFLITE_BUILTINS_INT8,
            tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
        )
        for name, operators, ends in (
            ("float", None, tf.float32),
            ("dynamic", None, tf.float32),
            ("int8", int8, tf.int8),
            ("uint8", int8, tf.uint8),
            ("int16", int16, tf.int16),
            ("int16-inside", int16, tf.float32),
        ):
            converter = tf.lite.TFLiteConverter.from_keras_model(network)
            converter.optimizations = [] if name == "float" else [tf.lite.Optimize.DEFAULT]
            if operators is not None:
                converter.representative_dataset = lambda: ([sample] for sample in samples)
                converter.target_spec.supported_ops = [operators]
                converter.inference_input_type = converter.inference_output_type = ends
            (folder / f"{name}.tflite").write_bytes(converter.convert())
    return folder


@pytest.fixture(scope="session")
def views(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the same int8 network, made for other devices: `stacked` sees two observations [2], `table` 4 states."""
    folder = tmp_path_factory.mktemp("views")
    content = (models / "int8.tflite").read_bytes()
    device = read_device_manifest(content)
    assert device is not None
    other = replace(device, scale=device.scale[:1], offset=device.offset[:1])
    for name, shape, step in (("stacked", (2,), Step("frame_stack", 2)), ("table", (), ONE_HOT)):
        made_for = replace(other, observation_shape=shape, preprocessing=(step,))
        (folder / f"{name}.tflite").write_bytes(_bare(content))
        sidecar = {"schema": 1, "device": made_for.to_json(), "evidence": {}}
        sidecar["file_sha256"] = hashlib.sha256(_bare(content)).hexdigest()
        (folder / f"{name}.json").write_text(json.dumps(sidecar))
    return folder


def _bare(content: bytes) -> bytes:
    """The file with its manifest's magic gone, so that the sidecar alone says what it is."""
    return content.replace(MAGIC, b"NOTHING1")


def _convert() -> dict[str, bytes]:
    import tensorflow as tf
    import tf_keras

    rng = np.random.default_rng(0)
    samples = rng.normal(size=(200, 1, 4)).astype(np.float32)
    network = tf_keras.Sequential(
        [tf_keras.layers.Input((4,), batch_size=1), tf_keras.layers.Dense(8, "relu"), tf_keras.layers.Dense(2)]
    )
    # Two hidden units carry +x[2] and -x[2]; the rest is there to be weights, half of them zero.
    hidden, out = np.zeros((4, 8), np.float32), np.zeros((8, 2), np.float32)
    hidden[2, :2] = [1, -1]
    hidden[:, 6:] = 0.1
    out[0, 1] = out[1, 0] = 1

    def to_tflite(int8: bool) -> bytes:
        converter = tf.lite.TFLiteConverter.from_keras_model(network)
        if int8:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ([sample] for sample in samples)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tf.int8
        content: bytes = converter.convert()
        return content

    files = {}
    for name, weights in {"float32": out, "reversed": out[:, ::-1], "nan": out * np.float32(np.nan)}.items():
        network.set_weights([hidden, np.zeros(8), weights, np.zeros(2)])
        files[name] = to_tflite(int8=False)
        if name == "float32":
            files["int8"] = to_tflite(int8=True)
    return files


def _with_manifest(content: bytes, recipe: str) -> bytes:
    spec = EnvironmentSpec(
        source=EnvironmentSource("steer:Steer-v0"),
        observation_shape=(4,),
        observation_dtype="float32",
        observation_low=(-10.0,) * 4,
        observation_high=(10.0,) * 4,
        n_actions=2,
    )
    given = quantization(TfliteModel(content).input)
    scale, offset = np.array([1 / given.scale], np.float32), np.array([given.zero_point], np.float32)
    return embed(content, device_part(spec, scale=scale, offset=offset, meaning="q_values", recipe=recipe))
