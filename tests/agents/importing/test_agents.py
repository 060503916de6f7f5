"""A model from elsewhere fits its environment and is played, or is refused with what was expected."""

import hashlib
import itertools
import re
import zipfile
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import tf_keras

from edgedqn.agents.errors import InputError
from edgedqn.agents.importing.agents import ForeignModel, ModelOptions, as_agent, fit, read_model
from edgedqn.agents.playing.environments import make_environment
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.playing.spec import Flatten, FrameStack, OneHot
from edgedqn.agents.trained_agent import TrainedAgent

layers = tf_keras.layers


class Fixed(gymnasium.Env):
    """Two spaces and no life."""

    def __init__(self, observations: Any, n_actions: int = 2) -> None:
        self.observation_space, self.action_space = observations, gymnasium.spaces.Discrete(n_actions)


def box(shape: tuple[int, ...], dtype: Any = np.float32) -> Any:
    return gymnasium.spaces.Box(0, 1, shape, dtype)


def model_of(shape: tuple[int, ...], n_actions: int = 2, dtype: Any = None) -> ForeignModel:
    network = tf_keras.Sequential([tf_keras.Input(shape), layers.Flatten(), layers.Dense(n_actions)])
    return ForeignModel(network=network, kind="keras", source="model.keras", source_sha256="0" * 64, observation_dtype=dtype)


FITTING = [
    (box((2, 3, 2, 3)), (36,), (Flatten(),)),
    (box((2, 3, 2, 3)), (72,), (Flatten(), FrameStack(2))),
    (box((4,)), (4,), ()),
    (box((4,)), (12,), (FrameStack(3),)),
    (gymnasium.spaces.Discrete(16), (16,), (OneHot(),)),
    (box((10, 9, 3)), (10, 9, 3), ()),
    (box((10, 9, 3)), (10, 9, 12), (FrameStack(4),)),
    (box((10, 9)), (10, 9, 1), (FrameStack(1),)),
    (box((10, 9)), (10, 9, 4), (FrameStack(4),)),
    (box((10, 9, 3)), (270,), (Flatten(),)),
    (box((10, 9)), (90,), (Flatten(),)),
    (box((10, 9)), (180,), (Flatten(), FrameStack(2))),
]


@pytest.mark.parametrize(("observations", "shape", "preprocessing"), FITTING)
def test_what_the_network_takes_says_how_it_saw_the_environment(
    observations: Any, shape: tuple[int, ...], preprocessing: Any
) -> None:
    spec = fit(model_of(shape), Fixed(observations), source=EnvironmentSource("My-v0"))
    assert (spec.preprocessing, spec.input_shape) == (preprocessing, shape)


UNFIT = [
    (box((4,)), (5,), r"expected an input of \(4,\), or of several of them stacked\. Got an input of \(5,\)"),
    (box((4,)), (6,), r"Got an input of \(6,\)"),
    (box((4,)), (3,), r"Got an input of \(3,\)"),
    (box((4,)), (2, 2), r"Got an input of \(2, 2\)"),
    (gymnasium.spaces.Discrete(16), (1,), r"expected an input of \(16,\).* Got an input of \(1,\)"),
    (gymnasium.spaces.Discrete(16), (32,), r"Got an input of \(32,\)"),
    (box((10, 9, 3)), (9, 10, 3), r"Got an input of \(9, 10, 3\)"),
    (box((10, 9, 3)), (3, 10, 9), r"Got an input of \(3, 10, 9\)"),
    (box((10, 9, 3)), (10, 9, 4), r"Got an input of \(10, 9, 4\)"),
    (box((10, 9, 3)), (271,), r"Got an input of \(271,\)"),
]


@pytest.mark.parametrize(("observations", "shape", "reason"), UNFIT)
def test_another_input_is_refused(observations: Any, shape: tuple[int, ...], reason: str) -> None:
    with pytest.raises(InputError, match=rf"^model\.keras does not fit My-v0: .*{reason}"):
        fit(model_of(shape), Fixed(observations), source=EnvironmentSource("My-v0"))


def test_so_is_another_output_or_dtype() -> None:
    with pytest.raises(InputError, match=r"expected Q-values of 2 actions\. Got an output of \(3,\)"):
        fit(model_of((4,), n_actions=3), Fixed(box((4,))), source=EnvironmentSource("My-v0"))
    with pytest.raises(InputError, match=r"2 actions\. Got one output, the value of a state, which ranks no actions"):
        fit(model_of((4,), n_actions=1), Fixed(box((4,))), source=EnvironmentSource("My-v0"))
    # SB3 scales bytes: a network that was trained on them is another one on fractions.
    images = Fixed(box((10, 9, 3), np.uint8))
    assert fit(model_of((10, 9, 3), dtype="uint8"), images, source=EnvironmentSource("My-v0")).observation_dtype == "uint8"
    with pytest.raises(InputError, match=r"expected observations of uint8\. Got a model for float32"):
        fit(model_of((10, 9, 3), dtype="float32"), images, source=EnvironmentSource("My-v0"))


@pytest.fixture
def saved(tmp_path: Path) -> Any:
    """A model for CartPole that pushes to the side where the pole falls."""
    model = tf_keras.Sequential([tf_keras.Input((4,)), layers.Dense(4, "relu"), layers.Dense(2)])
    lean = np.array([0, 0, 1, 0.5], np.float32)
    kernel = np.stack([lean, -lean, 0 * lean, 0 * lean], axis=1)
    model.set_weights([kernel, np.zeros(4), np.array([[-1, 1], [1, -1], [0, 0], [0, 0]]), np.zeros(2)])
    model.save(tmp_path / "mine.keras")
    return tmp_path / "mine.keras"


def test_a_model_that_is_played_becomes_an_agent(saved: Any, tmp_path: Path) -> None:
    model = read_model(saved)
    sha256 = hashlib.sha256(saved.read_bytes()).hexdigest()
    assert (model.kind, model.source, model.source_sha256) == ("keras", "mine.keras", sha256)
    agent = as_agent(model, EnvironmentSource("CartPole-v1"), reset_seeds=itertools.count(5), count=300)
    assert agent.statistics == {"source": "mine.keras", "source_sha256": sha256, "kind": "keras"}
    assert agent.observations.shape == (300, 4)
    env = make_environment("CartPole-v1")
    np.testing.assert_array_equal(agent.observations[0], env.reset(seed=5)[0])
    for step in range(100):  # it balances, so these are of one episode, and its own actions lead from one to the next
        observation, *_ = env.step(int(agent.network(agent.observations[step][None]).numpy().argmax()))
        np.testing.assert_array_equal(agent.observations[step + 1], observation)
    env.close()
    agent.save(tmp_path / "agent")
    loaded = TrainedAgent.load(tmp_path / "agent")
    np.testing.assert_array_equal(loaded.network(agent.observations), agent.network(agent.observations))
    assert loaded.statistics == agent.statistics


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
    assert fit(model, Fixed(box((4, 3))), source=EnvironmentSource("My-v0")).input_shape == (4, 3, 1)


def test_what_the_user_tells_of_tensors_is_used(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch: the extra sb3")
    state = {"a.0.weight": torch.ones(8, 4), "a.2.weight": torch.ones(2, 8), "b.0.weight": torch.ones(8, 4)}
    torch.save({**state, "b.2.weight": torch.zeros(2, 8)}, tmp_path / "policy.pth")
    model = read_model(tmp_path / "policy.pth", ModelOptions(part="b"))
    assert (model.kind, model.assumed) == ("pytorch", ("a relu behind each hidden layer",))
    assert not model.network(np.ones((1, 4), np.float32)).numpy().any()
    with pytest.raises(InputError, match=r"policy\.pth cannot be imported: expected one network\. Got several"):
        read_model(tmp_path / "policy.pth")


def test_statistics_beside_a_model_are_put_in_front(saved: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mean, variance = np.array([1.0, 2, 3, 4]), np.array([4.0, 1, 9, 16])
    np.savez(tmp_path / "vecnormalize.npz", mean=mean, var=variance, clip_obs=10.0, epsilon=1e-8)
    model = read_model(saved, ModelOptions(normalize=tmp_path / "vecnormalize.npz"))
    assert (model.clip, read_model(saved).clip) == (10.0, None)
    observations = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    expected = read_model(saved).network(((observations - mean) / np.sqrt(variance)).astype(np.float32))
    np.testing.assert_allclose(model.network(observations), expected, rtol=1e-4, atol=1e-5)


def test_keras_rls_vectors_with_an_axis_in_front_are_vectors(tmp_path: Path) -> None:
    path = saved_as(tmp_path, tf_keras.Input((1, 4)), layers.Flatten(), layers.Dense(5, "relu"), layers.Dense(2))
    model = read_model(path)
    observations = np.random.default_rng(0).random((5, 4), np.float32)
    expected = tf_keras.models.load_model(path, compile=False)(observations[:, None])
    np.testing.assert_allclose(model.network(observations), expected, rtol=1e-5)
    assert fit(model, Fixed(box((4,))), source=EnvironmentSource("My-v0")).input_shape == (4,)


@pytest.mark.parametrize("told", [{"hidden": (8,)}, {"activation": "tanh"}, {"part": "q"}, {"strides": (1,)}])
def test_what_a_file_says_itself_is_not_told(saved: Any, told: Any) -> None:
    with pytest.raises(InputError, match=r"mine\.keras cannot be imported: expected no"):
        read_model(saved, ModelOptions(**told))
