"""A file without a manifest gets what it was converted for, in an environment where every action's worth is known."""

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from edgedqn.agents.playing.environments import make_environment
from edgedqn.agents.playing.evaluation import evaluate
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.benchmarks.feeding import ScaleError, describe_feeding, fed, holds
from edgedqn.benchmarks.foreign import read_foreign
from edgedqn.export.edge_policy import EdgePolicy, PolicyFileError, VerifiedFile
from edgedqn.export.tflite_file.reader import quantization

Convert = Callable[..., VerifiedFile]


def play(file: VerifiedFile, env: gymnasium.Env[Any, Any]) -> float:
    return evaluate(EdgePolicy.from_file(file), env, seeds=range(10)).interval.mean


@pytest.mark.parametrize("name", ["float", "dynamic", "int8", "uint8", "int16", "int16-inside"])
def test_plain_conversions_play_as_their_network_does(conversions: Path, steer: str, name: str) -> None:
    source = EnvironmentSource(f"{steer}:Steer-v0")
    env, file = make_environment(source), read_foreign(conversions / f"{name}.tflite")
    known = fed(file, env, source=source)
    assert (known.device.env_id, known.device.n_actions) == (source.id, 2)
    exact = "8" not in name.removeprefix("int16")
    assert play(known, env) >= (10 if exact else 9)  # what lies within a step of 0 is a tie
    assert play(fed(file, env, source=source, scale=(-1.0,)), env) <= (0 if exact else 1)
    assert play(fed(file, env, source=source, scale=(5.0, 5.0, 0.5, 5.0)), env) >= (10 if exact else 8)


def test_integers_are_those_of_the_files_own_quantization_and_saturate(conversions: Path, steer: str) -> None:
    source = EnvironmentSource(f"{steer}:Steer-v0")
    env = make_environment(source)
    for name, low, high in (("int8", -128, 127), ("uint8", 0, 255), ("int16", -32768, 32767)):
        file = fed(read_foreign(conversions / f"{name}.tflite"), env, source=source, scale=(2.0,))
        stored, policy = quantization(file.model.input), EdgePolicy.from_file(file)
        observation = np.array([0.3, -0.7, 1e6, -1e6], np.float32)
        policy(observation)
        expected = np.rint(2 * observation[:2] / stored.scale + stored.zero_point)
        assert policy._feed.ravel().tolist() == [*expected.tolist(), high, low]


def test_what_does_not_fit_is_refused_with_what_was_expected(conversions: Path, steer: str) -> None:
    file = read_foreign(conversions / "float.tflite")
    for env_id, said in (
        (f"{steer}:Wide-v0", r"float\.tflite: Wrong input for .*: expected \[1, 5\]\. Got \[1, 4\]"),
        ("Acrobot-v1", r"expected \[1, 6\]\. Got \[1, 4\]"),
        ("FrozenLake-v1", r"expected \[1, 16\]\. Got \[1, 4\]"),
    ):
        source = EnvironmentSource(env_id)
        with pytest.raises(PolicyFileError, match=said):
            fed(file, make_environment(source), source=source)
    source = EnvironmentSource(f"{steer}:Steer-v0")
    env = make_environment(source)
    with pytest.raises(ScaleError, match=r"expected 4 numbers, one per feature\. Got 3\."):
        fed(file, env, source=source, scale=(1.0, 2.0, 3.0))
    env.action_space = gymnasium.spaces.Discrete(3)
    with pytest.raises(
        PolicyFileError, match=r"Wrong output for .*: expected a number for each action, \[1, 3\]\. Got \[1, 2\]"
    ):
        fed(file, env, source=source)


def test_what_was_decided_is_told_and_what_does_not_fit_the_input_counted(conversions: Path, steer: str) -> None:
    source = EnvironmentSource(f"{steer}:Steer-v0")
    env = make_environment(source)
    assert describe_feeding(fed(read_foreign(conversions / "float.tflite"), env, source=source)) == (
        "No manifest: its float32 input takes the numbers of an observation as they are."
    )
    observations = np.random.default_rng(0).normal(size=(1_000, 4)).astype(np.float32)
    file = read_foreign(conversions / "int8.tflite")
    told = describe_feeding(fed(file, env, source=source), observations)
    assert "its int8 input takes the numbers of an observation as they are, within -" in told and "outside" not in told
    told = describe_feeding(fed(file, env, source=source, scale=(10.0,)), observations)
    assert "times 10, within" in told and "% of them lie outside of that: is the scale right?" in told


class Bright(gymnasium.Env[Any, Any]):
    """Three steps; action 1 earns 1 where the picture is bright, action 0 where it is dark."""

    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, high: int) -> None:
        self.high = high
        self.observation_space = gymnasium.spaces.Box(0, high, (4, 4, 1), np.uint8)

    def observe(self) -> Any:
        self.bright = bool(self.np_random.integers(2))
        return np.full((4, 4, 1), round(self.high * (0.8 if self.bright else 0.2)), np.uint8)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return self.observe(), {}

    def step(self, action: Any) -> Any:
        reward = float(action == self.bright)
        self.steps += 1
        return self.observe(), reward, False, self.steps == 3, {}


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Convert:
    """Files that call a picture bright where its mean is above half of `highest`, calibrated on 0 .. `highest`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow as tf
        import tf_keras
    folder = tmp_path_factory.mktemp("pictures")

    def convert(highest: float, ends: str = "float32", *, lowest: float = 0.0, flat: bool = False) -> VerifiedFile:
        shape = (16,) if flat else (4, 4, 1)
        network = tf_keras.Sequential([tf_keras.layers.Flatten(input_shape=shape), tf_keras.layers.Dense(2)])
        middle = (lowest + highest) / 2
        kernel = np.stack([np.full(16, -1 / 16), np.full(16, 1 / 16)], axis=1)
        network.set_weights([kernel / (highest - lowest), np.array([middle, -middle]) / (highest - lowest)])
        converter = tf.lite.TFLiteConverter.from_keras_model(network)
        if ends != "float32":
            samples = np.random.default_rng(0).uniform(lowest, highest, size=(100, 1, *shape)).astype(np.float32)
            samples[0], samples[1] = lowest, highest
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ([sample] for sample in samples)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tf.as_dtype(ends)
        path = folder / f"{highest:.0f}-{ends}.tflite"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            path.write_bytes(converter.convert())
        return read_foreign(path)

    return convert


SOURCE = EnvironmentSource("Bright-v0")


@pytest.mark.parametrize("ends", ["uint8", "int8"])
def test_bytes_go_in_as_the_files_quantization_says(picture: Convert, ends: str) -> None:
    env = Bright(255)
    of_fractions, of_bytes = picture(1.0, ends), picture(255.0, ends)
    assert holds(of_fractions)[1] == pytest.approx(1, rel=0.01) and holds(of_bytes)[1] == pytest.approx(255, rel=0.01)
    for file in (of_fractions, of_bytes):
        known = fed(file, env, source=SOURCE)
        assert play(known, env) == 3
        policy = EdgePolicy.from_file(known)
        policy(np.full((4, 4, 1), 200, np.uint8))
        assert set(policy._feed.ravel().tolist()) == {200 if ends == "uint8" else 72}
    # The words `float` on the command line, and 1/255, where it would be decided otherwise.
    assert "outside" in describe_feeding(fed(of_fractions, env, source=SOURCE, scale=(1.0,)), np.full((9, 4, 4, 1), 200))
    assert play(fed(of_fractions, env, source=SOURCE, scale=(1 / 255,)), env) == 3


def test_bytes_of_a_network_that_saw_something_else_need_a_word(picture: Convert) -> None:
    with pytest.raises(ScaleError, match=r"holds -0\.99.* to 1.* expected a scale that says what the network saw of them"):
        fed(picture(1.0, "int8", lowest=-1.0), Bright(255), source=SOURCE)


def test_small_integers_in_bytes_are_no_picture(picture: Convert) -> None:
    env, file = Bright(10), picture(10.0, "int8")
    assert play(fed(file, env, source=SOURCE), env) == 3


def test_a_float_input_takes_bytes_as_they_are_or_scaled(picture: Convert) -> None:
    env = Bright(255)
    assert play(fed(picture(255.0), env, source=SOURCE), env) == 3
    assert play(fed(picture(1.0), env, source=SOURCE, scale=(1 / 255,)), env) == 3
    assert holds(picture(1.0)) == (-math.inf, math.inf)


def test_pictures_are_flattened_where_the_file_takes_a_vector(picture: Convert) -> None:
    env = Bright(255)
    known = fed(picture(255.0, flat=True), env, source=SOURCE)
    assert list(map(str, known.device.preprocessing)) == ["flatten"] and play(known, env) == 3


def test_a_state_becomes_one_hot_and_frames_are_stacked(tmp_path: Path) -> None:
    import tensorflow as tf
    import tf_keras

    def file_of(shape: tuple[int, ...], actions: int) -> VerifiedFile:
        network = tf_keras.Sequential([tf_keras.layers.Flatten(input_shape=shape), tf_keras.layers.Dense(actions)])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            (tmp_path / "x.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(network).convert())
        return read_foreign(tmp_path / "x.tflite")

    source = EnvironmentSource("FrozenLake-v1")
    states = fed(file_of((16,), 4), make_environment(source), source=source)
    assert (states.device.observation_shape, list(map(str, states.device.preprocessing))) == ((), ["one_hot"])
    assert EdgePolicy.from_file(states)(5) in range(4)
    stacked = fed(file_of((4, 4, 3), 2), Bright(255), source=SOURCE)
    assert list(map(str, stacked.device.preprocessing)) == ["frame_stack:3"]
    with pytest.raises(PolicyFileError, match=r"expected \[1, 4, 4, 1\] or \[1, 16\]\. Got \[1, 5, 4, 1\]"):
        fed(file_of((5, 4, 1), 2), Bright(255), source=SOURCE)
