"""A file from elsewhere is read as what it is, or refused with what was expected."""

import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tf_keras

from edgedqn.agents.errors import InputError
from edgedqn.agents.importing.agents import ModelOptions, read_model

layers = tf_keras.layers


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.keras").write_text("hello")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as file:
        file.writestr("config.json", "{}")
    for name in ("text.keras", "other.zip"):
        with pytest.raises(InputError, match=rf"{name} cannot be imported: expected a \.keras, an \.h5, a checkpoint"):
            read_model(tmp_path / name)
    with pytest.raises(InputError, match=r"cannot be imported: expected a file\. Got nothing of this name"):
        read_model(tmp_path / "nothing.h5")


def saved_as(tmp_path: Path, *parts: Any) -> Any:
    tf_keras.Sequential(parts).save(tmp_path / "model.keras")
    return tmp_path / "model.keras"


ODD = {
    "a Dense on a matrix": ([tf_keras.Input((4, 3)), layers.Dense(5), layers.Flatten(), layers.Dense(2)], "expected a vector"),
    "a convolution of a vector": ([tf_keras.Input((4, 3, 2)), layers.Conv2D(2, 2)], "expected one Q-value per action"),
    "a kernel that sees more than there is": (
        [tf_keras.Input((4, 4, 1)), layers.Conv2D(1, 9, padding="same"), layers.Flatten(), layers.Dense(2)],
        r"looks at \[9, 9\] of \(4, 4\): expected at most twice the image",
    ),
    "no Dense at the end": ([tf_keras.Input((4,)), layers.Dense(2), layers.ReLU()], "ends in a Dense layer without activation"),
    "a ReLU at the end": ([tf_keras.Input((4,)), layers.Dense(2, "relu")], "ends in a Dense layer without activation"),
    "a folded vector": (
        [tf_keras.Input((4,)), layers.Reshape((2, 2)), layers.Flatten(), layers.Dense(2)],
        "not one of a plain",
    ),
    "a Rescaling before an activation": (
        [tf_keras.Input((4,)), layers.Dense(3, "relu"), layers.Rescaling(-2.0), layers.ReLU(), layers.Dense(2)],
        "Expected a plain ReLU after a Dense",
    ),
    "an offset that is padded": (
        [
            tf_keras.Input((4, 4, 1)),
            layers.Rescaling(1.0, offset=0.5),
            layers.Conv2D(2, 2, padding="same"),
            layers.Flatten(),
            layers.Dense(2),
        ],
        "cannot be folded into a convolution that pads",
    ),
}


@pytest.mark.parametrize(("parts", "reason"), ODD.values(), ids=ODD)
def test_layers_in_another_order_are_refused_or_make_a_teacher(tmp_path: Path, parts: Any, reason: str) -> None:
    try:
        said = read_model(saved_as(tmp_path, *parts)).not_a_chain or ""
    except InputError as error:
        said = str(error)
        assert "cannot be imported: " in said
    assert re.search(reason, said), said


def test_a_matrix_is_an_image_of_one_channel(tmp_path: Path) -> None:
    path = saved_as(tmp_path, tf_keras.Input((4, 3)), layers.Flatten(), layers.Dense(2))
    model = read_model(path)
    observations = np.random.default_rng(0).random((5, 4, 3), np.float32)
    expected = tf_keras.models.load_model(path, compile=False)(observations)
    np.testing.assert_allclose(model.network(observations[..., None]), expected, rtol=1e-6)
    assert model.network.input_shape == (None, 4, 3, 1)


def test_what_the_user_tells_of_tensors_is_used(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch: the extra sb3")
    state = {f"{part}.0.bias": torch.zeros(8) for part in "ab"}
    state |= {"a.0.weight": torch.ones(8, 4), "a.2.weight": torch.ones(2, 8), "b.0.weight": torch.ones(8, 4)}
    torch.save({**state, "b.2.weight": torch.zeros(2, 8)}, tmp_path / "policy.pth")
    model = read_model(tmp_path / "policy.pth", ModelOptions(part="b"))
    assert model.kind == "pytorch" and {"a relu behind each hidden layer", "passed over: a.0, a.2"} < set(model.assumed)
    assert not model.network(np.ones((1, 4), np.float32)).numpy().any()
    with pytest.raises(InputError, match=r"policy\.pth cannot be imported: expected one network\. Got several"):
        read_model(tmp_path / "policy.pth")


def test_statistics_beside_a_model_are_put_in_front(saved: Any, tmp_path: Path) -> None:
    """With VecNormalize's clip, which makes it no chain; without it, it is one."""
    mean, variance = np.array([1.0, 2, 3, 4]), np.array([4.0, 1, 9, 16])
    np.savez(tmp_path / "vecnormalize.npz", mean=mean, var=variance, clip_obs=1.5, epsilon=1e-8)
    model = read_model(saved, ModelOptions(normalize=tmp_path / "vecnormalize.npz"))
    assert model.not_a_chain and model.unclipped is not None and model.unclipped.not_a_chain is None
    observations = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    scaled = ((observations - mean) / np.sqrt(variance)).astype(np.float32)
    assert np.abs(scaled).max() > 1.5  # so that some are clipped
    own = read_model(saved).network
    np.testing.assert_allclose(model.network(observations), own(scaled.clip(-1.5, 1.5)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.unclipped.network(observations), own(scaled), rtol=1e-4, atol=1e-5)


def test_keras_rls_vectors_with_an_axis_in_front_are_vectors(tmp_path: Path) -> None:
    path = saved_as(tmp_path, tf_keras.Input((1, 4)), layers.Flatten(), layers.Dense(5, "relu"), layers.Dense(2))
    model = read_model(path)
    observations = np.random.default_rng(0).random((5, 4), np.float32)
    expected = tf_keras.models.load_model(path, compile=False)(observations[:, None])
    np.testing.assert_allclose(model.network(observations), expected, rtol=1e-5)
    assert model.network.input_shape == (None, 4)


@pytest.mark.parametrize("told", [{"hidden": (8,)}, {"activation": "tanh"}, {"part": "q"}, {"strides": (1,)}])
def test_what_a_file_says_itself_is_not_told(saved: Any, told: Any) -> None:
    with pytest.raises(InputError, match=r"mine\.keras cannot be imported: expected no"):
        read_model(saved, ModelOptions(**told))
