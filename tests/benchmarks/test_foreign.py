"""What a file without a manifest says of itself."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from edgedqn.benchmarks.foreign import is_foreign, read_foreign
from edgedqn.benchmarks.latency.interleaved import LatencyConfig
from edgedqn.benchmarks.latency.timed_policies import load
from edgedqn.export.edge_policy import EdgePolicy, PolicyFileError, TfliteModel
from edgedqn.export.tflite_file.reader import stripped


@pytest.fixture(params=["float32", "int8"])
def pair(request: pytest.FixtureRequest, models: Path, tmp_path: Path) -> tuple[Any, Any]:
    """The same file with and without its manifest."""
    known = models / f"{request.param}.tflite"
    foreign = tmp_path / "foreign.tflite"
    foreign.write_bytes(stripped(TfliteModel(known.read_bytes())))
    return known, foreign


def test_it_acts_as_the_same_file_does_with_its_manifest(pair: Any) -> None:
    known, foreign = pair
    policy, other = EdgePolicy.load(known), load(read_foreign(foreign), LatencyConfig())[1]
    observations = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    assert other.n_actions == policy.n_actions
    assert [other(x) for x in observations] == [policy(x) for x in observations]


def test_a_manifest_inside_or_beside_makes_it_ours(pair: Any, tmp_path: Path) -> None:
    known, foreign = pair
    assert not is_foreign(known)
    assert is_foreign(foreign)
    foreign.with_suffix(".json").write_text("{}")
    assert not is_foreign(foreign)
    assert not is_foreign(tmp_path / "absent.tflite")


@pytest.mark.parametrize("damage", [lambda b: b[:100], lambda b: b"x" * 400, lambda b: b""])
def test_what_is_no_policy_is_refused_by_name(pair: Any, damage: Callable[..., Any], tmp_path: Path) -> None:
    _, foreign = pair
    foreign.write_bytes(damage(foreign.read_bytes()))
    with pytest.raises(PolicyFileError, match=r"foreign\.tflite"):
        read_foreign(foreign)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(PolicyFileError, match="Cannot be read"):
        read_foreign(tmp_path / "absent.tflite")


def test_a_dynamic_batch_is_refused_by_what_was_expected(tmp_path: Path) -> None:
    """As Keras networks are converted where nobody says otherwise."""
    network = tf_keras.Sequential([tf_keras.layers.Dense(2, input_shape=(4,))])
    path = tmp_path / "dynamic.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(network).convert())
    with pytest.raises(PolicyFileError, match=r"Bad input batch: expected a static batch of 1\. Got shape \[-1, 4\]"):
        read_foreign(path)


def test_other_types_are_refused(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgedqn.benchmarks import foreign
    from edgedqn.export import edge_policy
    from edgedqn.export.tflite_file.reader import Quantization

    shutil.copy(models / "float32.tflite", tmp_path / "a.tflite")
    with monkeypatch.context() as patch:
        patch.setattr(foreign, "quantization", lambda tensor: Quantization(0.0, 0))
        with pytest.raises(PolicyFileError, match="Impossible input scale"):
            read_foreign(tmp_path / "a.tflite")
    monkeypatch.setitem(edge_policy.DTYPES, 0, "uint8")
    with pytest.raises(PolicyFileError, match="uint8"):
        read_foreign(tmp_path / "a.tflite")
