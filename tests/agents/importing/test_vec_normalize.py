"""VecNormalize's statistics scale what the network sees; its pickle runs nothing."""

import io
import pickle  # noqa: TID251 - the tests write what readers must not run
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.importing.building import build
from edgedqn.agents.importing.layer_writer import LayerWriter
from edgedqn.agents.importing.vec_normalize import AS_NPZ, Normalization, read_vec_normalize, with_normalization

pytest.importorskip("stable_baselines3", reason="needs Stable-Baselines3: the extra peers")
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize


@pytest.fixture(scope="module")
def normalizing() -> Any:
    env = VecNormalize(DummyVecEnv([lambda: gymnasium.make("CartPole-v1")]), clip_obs=5.0)
    env.seed(3)
    env.reset()
    for step in range(60):
        env.step([step % 2])
    return env


@pytest.fixture(scope="module")
def content(normalizing: Any, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("vec") / "vecnormalize.pkl"
    normalizing.save(str(path))
    return path.read_bytes()


def test_what_was_saved_is_read(normalizing: Any, content: bytes) -> None:
    found = read_vec_normalize(content)
    np.testing.assert_array_equal(found.mean, normalizing.obs_rms.mean)
    np.testing.assert_array_equal(found.variance, normalizing.obs_rms.var)
    assert (found.clip, found.epsilon) == (5.0, normalizing.epsilon)


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_is_read(normalizing: Any, protocol: int) -> None:
    found = read_vec_normalize(pickle.dumps(normalizing, protocol=protocol))
    np.testing.assert_array_equal(found.mean, normalizing.obs_rms.mean)


def test_the_command_that_saves_them_makes_what_is_read(normalizing: Any, content: bytes, tmp_path: Path) -> None:
    (tmp_path / "vecnormalize.pkl").write_bytes(content)
    command = AS_NPZ.replace("vecnormalize.", f"{tmp_path}/vecnormalize.")
    exec(command, {"VecNormalize": VecNormalize, "numpy": np, "env": normalizing.venv})
    found, expected = read_vec_normalize((tmp_path / "vecnormalize.npz").read_bytes()), read_vec_normalize(content)
    np.testing.assert_array_equal(found.variance, expected.variance)
    assert (found.clip, found.epsilon) == (expected.clip, expected.epsilon)


def linear(shape: list[int]) -> Any:
    writer = LayerWriter()
    writer.add("InputLayer", "observation", shape=shape)
    if len(shape) > 1:
        writer.add("Flatten", "flatten")
    weight = np.random.default_rng(0).normal(size=(2, int(np.prod(shape)))).astype(np.float32)
    writer.linear(weight, None, name="q", activation="linear")
    return writer.network, weight


@pytest.mark.parametrize("shape", [[4], [1, 4]])
def test_the_network_sees_what_it_saw(normalizing: Any, content: bytes, shape: list[int]) -> None:
    network, weight = linear(shape)
    normalization = read_vec_normalize(content)
    for size, is_clipped in ((0.03, False), (30, True)):  # of the observations
        observations = np.random.default_rng(1).normal(0, size, (20, 4)).astype(np.float32)
        expected = normalizing.normalize_obs(observations) @ weight.T
        assert normalization.clips(observations) == is_clipped == (np.abs(normalizing.normalize_obs(observations)).max() == 5)
        for clips in (True, is_clipped):  # where nothing is clipped, the network without a clip is the same
            got = build(*with_normalization(network, normalization, clips=clips))(observations)
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * max(1, np.abs(expected).max()))


def test_statistics_of_others_are_refused(content: bytes) -> None:
    with pytest.raises(InputError, match=r"expected the statistics of \[5\] numbers\. Got those of 4"):
        with_normalization(linear([5])[0], read_vec_normalize(content))


class Trap:
    """Makes a folder where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.mkdir, (self.path,)


def test_planted_code_does_not_run(normalizing: Any, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    trapped = VecNormalize(normalizing.venv)
    trapped.trap = Trap(mark)
    assert read_vec_normalize(pickle.dumps(trapped)).mean.tolist() == [0, 0, 0, 0]
    trapped.trap, trapped.obs_rms.mean = None, Trap(mark)
    for content in (pickle.dumps(trapped), pickle.dumps(Trap(mark)), f"cos\nmkdir\n(V{mark}\ntR.".encode()):
        with pytest.raises(InputError):
            read_vec_normalize(content)
        assert not mark.exists()
        pickle.loads(content)
        assert mark.exists(), "the trap would not have gone off anyway"
        mark.rmdir()


def saved(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


GOOD: dict[str, Any] = {"mean": np.zeros(4), "var": np.ones(4), "clip_obs": 10.0, "epsilon": 1e-8}
BAD: dict[str, tuple[bytes, str]] = {
    "another object": (pickle.dumps(np.zeros(3)), "expected the file that VecNormalize.save wrote. Got 'ndarray'"),
    "a dict": (pickle.dumps({"obs_rms": 3}), "Got 'dict'"),
    "nothing": (b"", "expected a pickle"),
    "half": (pickle.dumps(list(range(1000)))[:500], "expected a pickle"),
    "no variance": (saved(mean=np.zeros(4), clip_obs=10.0, epsilon=1e-8), r"'var\.npy' in it cannot be read"),
    "a negative variance": (saved(**{**GOOD, "var": -np.ones(4)}), "expected finite means, variances"),
    "a NaN": (saved(**{**GOOD, "mean": np.full(4, np.nan)}), "expected finite means"),
    "an image": (saved(**{**GOOD, "mean": np.zeros((4, 4)), "var": np.ones((4, 4))}), "a mean and a variance of each feature"),
    "objects": (saved(**{**GOOD, "mean": np.array([{}])}), "expected an array of numbers"),
}


@pytest.mark.parametrize(("content", "reason"), BAD.values(), ids=BAD)
def test_what_is_no_statistics_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        read_vec_normalize(content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("holder", ["obs_rms", "mean"])
def test_lists_that_are_in_lists_again_and_again_are_not_written_out(normalizing: Any, holder: str) -> None:
    """Two to the thirtieth power of them, in a file of some hundred bytes."""
    nested: list[Any] = [1.0]
    for _ in range(30):
        nested = [nested, nested]
    odd = VecNormalize(normalizing.venv)
    setattr(odd if holder == "obs_rms" else odd.obs_rms, holder, nested)
    with pytest.raises(InputError, match=r"expected (the statistics of one kind|mean, var, clip_obs and epsilon\. Got a list)"):
        read_vec_normalize(pickle.dumps(odd))


def test_statistics_that_were_not_used_are_refused(normalizing: Any) -> None:
    unused = VecNormalize(normalizing.venv, norm_obs=False)
    with pytest.raises(InputError, match="norm_obs=False"):
        read_vec_normalize(pickle.dumps(unused))


def test_damage_is_bad_input(content: bytes, outcomes: Callable[..., Any]) -> None:
    assert outcomes(read_vec_normalize, content, 300)["refused"] > 30
    assert outcomes(read_vec_normalize, saved(**GOOD), 200)["refused"] > 30


def test_a_normalization_says_what_it_is() -> None:
    with pytest.raises(InputError, match=r"a mean and a variance of each feature\. Got \(3,\), \(4,\)"):
        Normalization(mean=np.zeros(3), variance=np.ones(4), clip=10, epsilon=1e-8)
