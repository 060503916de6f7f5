"""Checkpoints of TensorFlow, in layers that are told; what kills TensorFlow's reader is bad input here."""

import importlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from edgedqn.agents.errors import InputError
from edgedqn.agents.importing.agents import ModelOptions, read_model
from edgedqn.agents.importing.keras_model import tf_checkpoints
from edgedqn.agents.importing.keras_model.tf_checkpoints import index_of, read_checkpoint

X = np.random.default_rng(1).normal(size=(30, 4)).astype(np.float32)
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")


def mlp(keras: Any, depth: int = 2) -> Any:
    hidden = [keras.layers.Dense(8, "relu") for _ in range(depth)]
    model = keras.Sequential([keras.Input((4,)), *hidden, keras.layers.Dense(2)])
    rng = np.random.default_rng(3)
    model.set_weights([rng.normal(size=w.shape).astype(np.float32) for w in model.get_weights()])
    return model


class Subclassed(tf_keras.Model):  # type: ignore[misc]
    """Its layers' names say nothing of their order."""

    def __init__(self) -> None:
        super().__init__()
        self.z = tf_keras.layers.Dense(8, "relu")
        self.hidden = [tf_keras.layers.Dense(8, "relu") for _ in range(2)]
        self.a = tf_keras.layers.Dense(2)

    def call(self, x: Any) -> Any:
        for layer in (self.z, *self.hidden):
            x = layer(x)
        return self.a(x)


def trained() -> Any:
    model = mlp(tf_keras, depth=12)  # of which the tenth sorts before the second
    model.compile("adam", "mse")
    model.train_on_batch(tf.ones((1, 4)), tf.ones((1, 2)))  # its optimizer is saved along
    return model


def subclassed() -> Any:
    model = Subclassed()
    model(X)
    return model


MODELS: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "of Keras 2": (trained, (8,) * 12),
    "of Keras 3": (lambda: mlp(importlib.import_module("keras")), (8, 8)),
    "of a class": (subclassed, (8, 8, 8)),
}


@pytest.mark.parametrize(("make_model", "hidden"), MODELS.values(), ids=MODELS)
def test_a_chain_that_is_told(tmp_path: Path, make_model: Any, hidden: Any, assert_same: Any) -> None:
    model = make_model()
    if model.__class__.__module__.startswith("keras"):
        tf.train.Checkpoint(model=model).write(str(tmp_path / "ckpt"))
    else:
        model.save_weights(str(tmp_path / "ckpt"))
    found = read_model(tmp_path / "ckpt.index", ModelOptions(hidden=hidden))
    assert_same(found.network, model, X)
    assert (found.kind, found.source, found.assumed[0]) == ("tensorflow", "ckpt.index", "a relu behind each hidden layer")
    assert found.assumed[1].startswith("one layer behind the other, in this order: ")


def test_layers_that_the_models_json_tells(tmp_path: Path, make: Any, observe: Any, assert_same: Any) -> None:
    model = make(tf_keras, "image")
    tf.train.Checkpoint(model=model).save(str(tmp_path / "ckpt"))
    (tmp_path / "model.json").write_text(model.to_json())
    found = read_model(tmp_path / "ckpt-1", ModelOptions(model_json=tmp_path / "model.json"))
    assert_same(found.network, model, observe("image"))
    assert found.not_a_chain


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An online and a target network, of which the second has other weights."""
    folder = tmp_path_factory.mktemp("saved")
    online, target = mlp(tf_keras), tf_keras.models.clone_model(mlp(tf_keras))
    tf.train.Checkpoint(online=online, target_net=target, step=tf.Variable(1)).write(str(folder / "ckpt"))
    online.save_weights(str(folder / "expected.h5"))
    return folder


def test_the_network_that_plays(saved: Path) -> None:
    expected = read_model(saved / "expected.h5", ModelOptions(hidden=(8, 8))).network(X).numpy()
    found = read_model(saved / "ckpt.index", ModelOptions(hidden=(8, 8)))
    np.testing.assert_array_equal(found.network(X), expected)
    assert found.assumed[0] == "of online, target_net those without 'target' in their name play"
    part = read_model(saved / "ckpt.index", ModelOptions(hidden=(8, 8), part="target_net"))
    assert np.abs(part.network(X).numpy() - expected).max() > 0.01
    with pytest.raises(InputError, match=r"expected a part of online, target_net\. Got part='mine'"):
        read_checkpoint(saved / "ckpt.index", part="mine", hidden=(8, 8))


def test_other_layers_are_refused(saved: Path) -> None:
    with pytest.raises(InputError, match=r"hidden widths of \(8, 9\)\. Got kernels of \[4, 8\], \[8, 8\], \[8, 2\]"):
        read_checkpoint(saved / "ckpt.index", hidden=(8, 9))
    with pytest.raises(InputError, match=r"expected hidden= or the model's JSON beside weights alone"):
        read_checkpoint(saved / "ckpt.index")


def test_the_index_is_found_by_each_of_its_names(saved: Path) -> None:
    for name in ("ckpt", "ckpt.index", "ckpt.data-00000-of-00001"):
        assert index_of(saved / name) == saved / "ckpt.index"
    assert index_of(saved / "expected.h5") == saved / "expected.h5"


def test_weights_of_another_kind_are_refused(tmp_path: Path) -> None:
    layer = tf_keras.layers.SeparableConv2D(2, 2)
    layer.build((None, 4, 4, 1))
    tf.train.Checkpoint(layer=layer).write(str(tmp_path / "ckpt"))
    with pytest.raises(InputError, match=r"Got \['depthwise_kernel', 'pointwise_kernel'\] of 'layer'"):
        read_checkpoint(tmp_path / "ckpt.index", hidden=())


@pytest.fixture
def copied(saved: Path, tmp_path: Path) -> Path:
    for path in saved.glob("ckpt.*"):
        shutil.copy(path, tmp_path)
    return tmp_path / "ckpt.index"


@pytest.mark.parametrize("suffix", ["index", "data-00000-of-00001"])
def test_a_damaged_file_is_bad_input(copied: Path, suffix: str) -> None:
    damaged = copied.with_suffix(f".{suffix}")
    content = bytearray(damaged.read_bytes())
    content[len(content) // 3] ^= 64
    damaged.write_bytes(content)
    with pytest.raises(InputError, match="its checkpoint cannot be read: ") as caught:
        read_checkpoint(copied, hidden=(8, 8))
    assert "\n" not in str(caught.value)


def test_missing_data_are_named(copied: Path) -> None:
    copied.with_suffix(".data-00000-of-00001").unlink()
    with pytest.raises(InputError, match=r"expected ckpt\.data-00000-of-00001 beside the index"):
        read_checkpoint(copied, hidden=(8, 8))


def test_a_reader_that_hangs_is_stopped(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf_checkpoints, "TIME_LIMIT", 1e-4)
    with pytest.raises(InputError, match=r"its checkpoint is damaged: reading it took more than 0\.0001 seconds"):
        read_checkpoint(copied, hidden=(8, 8))
