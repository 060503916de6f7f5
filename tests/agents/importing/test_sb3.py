"""What Stable-Baselines3 computes in PyTorch is computed here; of its archives, tensors and plain JSON are read alone."""

import base64
import io
import itertools
import json
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from numpy.typing import NDArray

from edgedqn.agents.chain import ChainReader
from edgedqn.agents.errors import InputError
from edgedqn.agents.importing.agents import read_model
from edgedqn.agents.importing.building import build
from edgedqn.agents.importing.fitting import as_agent, fit
from edgedqn.agents.importing.sb3 import read_sb3_archive
from edgedqn.agents.playing.environments import agent_view, make_environment
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.playing.spec import Atari, FrameStack
from edgedqn.agents.trained_agent import TrainedAgent

torch = pytest.importorskip("torch", reason="needs PyTorch: the extra sb3")
stable_baselines3 = pytest.importorskip("stable_baselines3", reason="needs Stable-Baselines3: the extra peers")
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3  # noqa: E402
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack  # noqa: E402


class Frames(gymnasium.Env):
    """Images, or other arrays, that depend on the seed and the actions."""

    def __init__(self, shape: tuple[int, ...], dtype: str = "uint8", high: int = 255) -> None:
        self.observation_space: gymnasium.spaces.Box[Any] = gymnasium.spaces.Box(0, high, shape, np.dtype(dtype).type)
        self.action_space = gymnasium.spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self._observe(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.np_random.integers(2 + action)
        return self._observe(), 0.0, False, False, {}

    def _observe(self) -> NDArray[Any]:
        space = self.observation_space
        return (self.np_random.random(space.shape) * (space.high + (space.dtype != np.float32))).astype(space.dtype)


ENVIRONMENTS: dict[str, dict[str, Any]] = {
    "Images-v0": {"shape": (40, 44, 3)},
    "Gray-v0": {"shape": (40, 44)},
    "Grid-v0": {"shape": (6, 5, 4), "dtype": "bool", "high": 1},
    "Vectors-v0": {"shape": (5,), "dtype": "float32", "high": 1},
    "First-v0": {"shape": (3, 40, 44)},
    "Dim-v0": {"shape": (40, 44, 3), "high": 1},
}
torch.set_num_threads(1)
for name, settings in ENVIRONMENTS.items():
    gymnasium.register(name, lambda **given: Frames(**given), kwargs=settings, max_episode_steps=50)


def saved(tmp_path: Path, policy: Any, env: str | gymnasium.Env[Any, Any], **policy_kwargs: Any) -> tuple[DQN, Any]:
    """A DQN that knows nothing, and its archive."""
    made = gymnasium.make(env) if isinstance(env, str) else env
    agent = DQN(policy, made, buffer_size=1, seed=0, device="cpu", policy_kwargs=policy_kwargs)
    with torch.no_grad():
        for i, parameter in enumerate(agent.q_net.parameters()):  # biases too, which begin near zero
            parameter.add_(torch.linspace(-0.02, 0.03, parameter.numel()).reshape(parameter.shape) * (1 + i % 2))
    agent.save(tmp_path / "agent.zip")
    return agent, tmp_path / "agent.zip"


def vector(make: Callable[..., Any], stack: Any) -> VecFrameStack | DummyVecEnv:
    env = DummyVecEnv([make])
    return VecFrameStack(env, stack) if stack > 1 else env


def with_channel(env_id: str) -> Any:
    """What SB3's users do with images without a channel: [H, W] -> [H, W, 1]."""
    env = gymnasium.make(env_id)
    shape = env.observation_space.shape
    assert shape is not None
    space: gymnasium.spaces.Box[Any] = gymnasium.spaces.Box(0, 255, (*shape, 1), np.uint8)
    return gymnasium.wrappers.TransformObservation(env, lambda frame: frame[..., None], space)


PARITY = {
    "mlp": ("MlpPolicy", "CartPole-v1", gymnasium.make, 1, {}),
    "other widths": ("MlpPolicy", "CartPole-v1", gymnasium.make, 1, {"net_arch": [32], "activation_fn": torch.nn.ReLU}),
    "linear": ("MlpPolicy", "CartPole-v1", gymnasium.make, 1, {"net_arch": []}),
    "stacked vectors": ("MlpPolicy", "Vectors-v0", gymnasium.make, 3, {}),
    "states": ("MlpPolicy", "FrozenLake-v1", gymnasium.make, 1, {}),
    "grid": ("MlpPolicy", "Grid-v0", gymnasium.make, 1, {}),
    "mlp on images": ("MlpPolicy", "Images-v0", gymnasium.make, 2, {"net_arch": [16, 8]}),
    "mlp on plain images": ("MlpPolicy", "Images-v0", gymnasium.make, 1, {"net_arch": [8], "normalize_images": False}),
    "mlp on bytes that are no image": ("MlpPolicy", "Dim-v0", gymnasium.make, 1, {"net_arch": [8]}),
    "mlp on gray images": ("MlpPolicy", "Gray-v0", gymnasium.make, 1, {"net_arch": [8]}),
    "cnn": ("CnnPolicy", "Images-v0", gymnasium.make, 1, {}),
    "stacked images": ("CnnPolicy", "Images-v0", gymnasium.make, 4, {"net_arch": [16]}),
    "stacked gray images": ("CnnPolicy", "Gray-v0", with_channel, 4, {"features_extractor_kwargs": {"features_dim": 24}}),
}


@pytest.mark.parametrize(("policy", "env_id", "make", "stack", "settings"), PARITY.values(), ids=PARITY)
def test_an_imported_agent_computes_what_it_computed(
    tmp_path: Path, policy: Any, env_id: str, make: Callable[..., Any], stack: Any, settings: Any
) -> None:
    """Both play the same episode: the one in SB3's own environments and PyTorch, the other in ours."""
    agent, path = saved(tmp_path, policy, vector(lambda: make(env_id), stack), **settings)
    model = read_model(path)
    assert model.kind == "stable-baselines3"
    env = make_environment(env_id)
    spec = fit(model, env, source=EnvironmentSource(env_id))
    assert spec.frame_stack == stack
    env = agent_view(env, spec)
    theirs = agent.get_env()  # SB3 has put its VecTransposeImage around it
    theirs.seed(7)
    observation, _ = env.reset(seed=7)
    their_observation = theirs.reset()
    for step in range(8):
        if step >= stack - 1:  # before, SB3 fills the stack with zeros, where gymnasium repeats the first frame
            with torch.no_grad():
                expected = agent.q_net(agent.policy.obs_to_tensor(their_observation)[0]).numpy()[0]
            assert np.ptp(expected) > 0
            got = model.network(np.asarray(observation, np.float32)[None]).numpy()[0]
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
        action = step % 2
        observation, *_, over, _, _ = env.step(action)
        their_observation, *_ = theirs.step([action])
        if over:
            break
    env.close()


def test_an_agent_that_sees_images_is_played(tmp_path: Path) -> None:
    path = saved(tmp_path, "CnnPolicy", vector(lambda: gymnasium.make("Images-v0"), 2))[1]
    as_agent(read_model(path), EnvironmentSource("Images-v0"), reset_seeds=itertools.count(), count=60).save(tmp_path / "agent")
    agent = TrainedAgent.load(tmp_path / "agent")
    assert (agent.observations.shape, agent.observations.dtype) == ((60, 40, 44, 6), np.dtype(np.uint8))
    assert agent.spec.preprocessing == (FrameStack(2),)
    expected = agent.network(agent.observations.astype(np.float32)).numpy()
    np.testing.assert_allclose(agent.policy.q_values(agent.observations), expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["Tanh", "LeakyReLU", "ELU", "Sigmoid", "SiLU", "GELU", "Softplus", "SELU", "ReLU6"])
def test_another_activation_computes_what_it_computed(tmp_path: Path, name: str) -> None:
    agent, path = saved(tmp_path, "MlpPolicy", "CartPole-v1", net_arch=[16, 16], activation_fn=getattr(torch.nn, name))
    layers, weights, _ = read_sb3_archive(path.read_bytes())
    observations = np.random.default_rng(0).normal(0, 5, (200, 4)).astype(np.float32)
    with torch.no_grad():
        expected = agent.q_net(torch.from_numpy(observations)).numpy()
    got = build(layers, weights)(observations).numpy()
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * max(1, np.abs(expected).max()))


def test_an_agent_of_a_game_sees_what_its_zoo_shows(tmp_path: Path) -> None:
    """Behind SB3's own AtariWrapper and VecFrameStack it was made; in the environment of this id it gets the same frames."""
    pytest.importorskip("ale_py", reason="needs games: the extra atari")
    from stable_baselines3.common.atari_wrappers import AtariWrapper

    env_id = "BreakoutNoFrameskip-v4"
    env = make_environment(env_id)  # registers the games
    agent, path = saved(tmp_path, "CnnPolicy", vector(lambda: AtariWrapper(gymnasium.make(env_id)), 4))
    assert agent.observation_space.shape == (4, 84, 84)
    model = read_model(path)
    spec = fit(model, env, source=EnvironmentSource(env_id))
    assert spec.preprocessing == (Atari(), FrameStack(4)) and spec.input_shape == (84, 84, 4)
    env, theirs = agent_view(env, spec), agent.get_env()
    theirs.seed(11)
    observation, _ = env.reset(seed=11)
    their_observation = theirs.reset()
    chosen = set()
    for step in range(12):
        if step >= 3:  # its stack begins with zeros
            np.testing.assert_array_equal(observation, their_observation[0].transpose(1, 2, 0))
            with torch.no_grad():
                expected = agent.q_net(agent.policy.obs_to_tensor(their_observation)[0]).numpy()[0]
            got = model.network(np.asarray(observation, np.float32)[None]).numpy()[0]
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
            assert got.argmax() == agent.predict(their_observation, deterministic=True)[0][0]
            chosen.add(got.tobytes())
        observation, *_ = env.step(step % 4)
        their_observation, *_ = theirs.step([step % 4])
    assert len(chosen) > 5
    env.close()
    # As an archive has it that was saved before VecTransposeImage.
    edit(path, data=lambda data: data["observation_space"].update(_shape=[84, 84, 4]))
    again = read_model(path).network
    np.testing.assert_array_equal(again(observation[None]).numpy(), model.network(observation[None]).numpy())


def as_quantile_archive(path: Path, quantiles: int) -> Any:
    """Makes the archive of a DQN one of a QR-DQN, as SB3-Contrib 2.9 writes it; returns what its network computes."""

    def widen(state: Any) -> None:
        rng = np.random.default_rng(0)
        for name in list(state):
            state[name.replace("q_net", "quantile_net")] = state.pop(name)
        for side in ("quantile_net.quantile_net", "quantile_net_target.quantile_net"):
            state[f"{side}.4.weight"] = torch.from_numpy(rng.normal(size=(quantiles * 2, 8)).astype(np.float32))
            state[f"{side}.4.bias"] = torch.from_numpy(rng.normal(size=quantiles * 2).astype(np.float32))

    def rename(data: Any) -> None:
        data["policy_class"]["__module__"] = "sb3_contrib.qrdqn.policies"
        data["policy_kwargs"]["n_quantiles"] = quantiles

    edit(path, data=rename, policy=edit_state(widen))
    with zipfile.ZipFile(path) as file:
        state = load(file.read("policy.pth"))
    hidden = [torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2 * quantiles)]
    network = torch.nn.Sequential(*hidden)
    network.load_state_dict({k.removeprefix("quantile_net.quantile_net."): v for k, v in state.items() if "target" not in k})
    # `QuantileNetwork.forward` and `_predict`.
    return lambda observations: network(observations).view(-1, quantiles, 2)


def test_the_quantiles_of_each_action_stay_together(archive: Any) -> None:
    network = as_quantile_archive(archive, 5)
    observations = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(observations)).numpy()  # [B, N, A]
    model = read_model(archive)
    np.testing.assert_allclose(model.network(observations).numpy(), expected.swapaxes(1, 2), rtol=0, atol=1e-5)
    assert ChainReader(model.network).n_actions == 2
    assert fit(model, gymnasium.make("CartPole-v1"), source=EnvironmentSource("CartPole-v1")).n_actions == 2


def test_quantiles_that_do_not_divide_are_refused(archive: Any) -> None:
    as_quantile_archive(archive, 5)
    edit(archive, data=lambda data: data["action_space"].update(n="3"))
    with pytest.raises(InputError, match=r"expected as many quantiles of each of 3 actions\. Got 10 in all"):
        read_model(archive)
    edit(archive, data=lambda data: data["action_space"].update(n="-3"))
    with pytest.raises(InputError, match="expected a Discrete action space"):
        read_model(archive)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return saved(tmp_path, "MlpPolicy", "CartPole-v1", net_arch=[8, 8])[1]


def edit(path: Path, **edits: Any) -> None:
    """Replaces members of an archive; `data` as JSON."""
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    if "data" in edits:
        data = json.loads(members["data"])
        edits["data"](data)
        members["data"] = json.dumps(data).encode()
    if "policy" in edits:
        members["policy.pth"] = edits["policy"](members["policy.pth"])
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)


def stored(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def edit_state(change: Callable[..., Any]) -> Any:
    def edited(content: bytes) -> Any:
        state = torch.load(io.BytesIO(content), weights_only=True)
        change(state)
        return stored(state)

    return edited


def test_a_space_that_an_old_gym_wrote_is_read_alike(archive: Any) -> None:
    as_new = read_sb3_archive(archive.read_bytes())

    def as_gym_wrote_it(data: Any) -> None:
        space = data["observation_space"]
        space["shape"] = space.pop("_shape")
        space[":type:"] = space[":type:"].replace("gymnasium", "gym")

    edit(archive, data=as_gym_wrote_it)
    layers, weights, dtype = read_sb3_archive(archive.read_bytes())
    assert (layers, dtype) == (as_new[0], as_new[2])
    assert all((a == b).all() for name in weights for a, b in zip(weights[name], as_new[1][name], strict=True))


class Trap:
    """Makes a folder where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.mkdir, (self.path,)


def test_a_pickled_object_is_refused_and_not_unpickled(archive: Any, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    whole = archive.read_bytes()
    for value in (Trap(mark), {"q_net.q_net.0.weight": Trap(mark)}, {Trap(mark): torch.zeros(3)}):
        archive.write_bytes(whole)
        edit(archive, policy=lambda _, value=value: stored(value))
        with pytest.raises(InputError, match=r"'policy\.pth' in it holds more than tensors, or is damaged: ") as caught:
            read_model(archive)
        assert "\n" not in str(caught.value) and not mark.exists()
        torch.load(io.BytesIO(stored(value)), weights_only=False)
        assert mark.exists(), "the trap would not have gone off anyway"
        mark.rmdir()


def test_what_else_is_pickled_in_the_archive_is_not_touched(archive: Any, tmp_path: Path) -> None:
    trap = base64.b64encode(f"cos\nmkdir\n(V{tmp_path / 'ran'}\ntR.".encode()).decode()

    def plant(data: Any) -> None:
        for value in data.values():
            if isinstance(value, dict) and ":serialized:" in value:
                value[":serialized:"] = trap
        data["policy_kwargs"] = {":type:": "<class 'dict'>", ":serialized:": trap}

    edit(archive, data=plant)
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("extra.pkl", base64.b64decode(trap))
    read_model(archive)
    assert not (tmp_path / "ran").exists()


SPACE = "observation_space"
REFUSED = {
    "another algorithm": (
        {"data": lambda d: d["policy_class"].update(__module__="stable_baselines3.common.policies")},
        r"expected a policy of stable_baselines3\.dqn\.policies or .* Got one of .*common\.policies', of PPO or A2C",
    ),
    "no policy": ({"data": lambda d: d.pop("policy_class")}, "Got one of None"),
    "another activation": (
        {"data": lambda d: d.update(policy_kwargs={"activation_fn": "<class 'torch.nn.modules.activation.PReLU'>"})},
        r"expected an activation of ReLU, Tanh, .*PReLU",
    ),
    "an activation that is an object": (
        {"data": lambda d: d.update(policy_kwargs={"activation_fn": {}})},
        "expected an activation of ReLU",
    ),
    "an extractor of the user's own": (
        {"data": lambda d: d.update(policy_kwargs={"features_extractor_class": "<class '__main__.Mine'>"})},
        "expected the features extractor NatureCNN, or none",
    ),
    "arguments of the user's own": (
        {"data": lambda d: d.update(policy_kwargs={"features_extractor_kwargs": {"depth": 3}})},
        "expected no features_extractor_kwargs but features_dim",
    ),
    "an unknown setting": ({"data": lambda d: d.update(policy_kwargs={"squash": True})}, "is not understood: 'squash'=True"),
    "settings that are none": ({"data": lambda d: d.update(policy_kwargs=[])}, r"expected policy_kwargs\. Got \[\]"),
    "no space": ({"data": lambda d: d.pop(SPACE)}, "expected an observation space"),
    "a Dict space": (
        {"data": lambda d: d[SPACE].update({":type:": "<class 'gymnasium.spaces.dict.Dict'>"})},
        r"expected observations of a Box of rank 1 to 3, or Discrete\. Got .*Dict",
    ),
    "a space without a shape": ({"data": lambda d: d[SPACE].pop("_shape")}, "observation space is not understood"),
    "another shape": (
        {"data": lambda d: d[SPACE].update(_shape=[5])},
        r"layer 'hidden_0' has weights \[\(4, 8\), \(8,\)\]: expected \[\(5, 8\)",
    ),
    "a huge shape": ({"data": lambda d: d[SPACE].update(_shape=[2**40])}, "cannot have shape"),
    "a negative shape": ({"data": lambda d: d[SPACE].update(_shape=[-4])}, "cannot have shape"),
    "no tensors": ({"policy": lambda _: stored({})}, r"expected the q_net of a DQN with MlpPolicy or CnnPolicy\. Got \[\]"),
    "a list": ({"policy": lambda _: stored([torch.zeros(3)])}, "to hold a state dict. Got a list"),
    "a number": ({"policy": lambda _: stored({"q_net.q_net.0.weight": 3})}, r"expected the q_net of a DQN.* Got \[\]"),
    "tensors without a name": ({"policy": lambda _: stored({3: torch.zeros(3)})}, r"expected tensors by name\. Got 3"),
    "more tensors": ({"policy": edit_state(lambda s: s.update({"q_net.extra": torch.zeros(3)}))}, r"Got \['extra'\]"),
    "an actor": (
        {"policy": edit_state(lambda s: s.update({"mlp_extractor.x": torch.zeros(3)}))},
        r"Got \['mlp_extractor\.x'\]",
    ),
    "quantiles": (
        {"policy": lambda c: stored({k.replace("q_net", "quantile_net"): v for k, v in load(c).items()})},
        r"expected the q_net of a DQN.*quantile_net",
    ),
    "a bias that is missing": ({"policy": edit_state(lambda s: s.pop("q_net.q_net.2.bias"))}, "expected 'q_net.2.bias' in"),
    "a layer in between": (
        {
            "policy": edit_state(
                lambda s: s.update({"q_net.q_net.1.weight": torch.ones(8), "q_net.q_net.1.bias": torch.ones(8)})
            )
        },
        r"expected 'q_net\.6\.weight' in 'policy\.pth'",
    ),
    "layers that do not follow": (
        {"policy": edit_state(lambda s: s.update({"q_net.q_net.2.weight": torch.ones(8, 9)}))},
        r"layer 'hidden_1' has weights \[\(9, 8\), \(8,\)\]: expected \[\(8, 8\)",
    ),
    "integers": (
        {"policy": edit_state(lambda s: s.update({"q_net.q_net.0.weight": torch.ones(8, 4, dtype=torch.int64)}))},
        r"to be a plain tensor of floating-point numbers\. Got torch\.int64",
    ),
    "a NaN": (
        {"policy": edit_state(lambda s: s["q_net.q_net.0.bias"].fill_(torch.nan))},
        "layer 'hidden_0' has a weight that is no finite number",
    ),
    "a view larger than its data": (
        {"policy": edit_state(lambda s: s.update({"q_net.q_net.0.weight": torch.zeros(1).expand(2**20, 2**20)}))},
        "to be a plain tensor of floating-point numbers",
    ),
    "a sparse tensor": (
        {"policy": edit_state(lambda s: s.update({"q_net.q_net.0.weight": torch.eye(8).to_sparse()}))},
        "to be a plain tensor of floating-point numbers",
    ),
    "half a file": ({"policy": lambda content: content[: len(content) // 2]}, "expected a zip archive"),
    "a file before PyTorch 1.6": ({"policy": lambda _: b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."}, "expected a zip archive"),
    "a packed one": ({"policy": lambda content: packed(content)}, r"'policy\.pth' in it is packed: expected stored tensors"),
}


def load(content: bytes) -> Any:
    return torch.load(io.BytesIO(content), weights_only=True)


def packed(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return buffer.getvalue()


TEACHES = r"gives no Q-values, but can teach one\. .*predict\(x, deterministic=True\)\[0\]; edgedqn import module:act ENV_ID"
OTHERS = {
    "PPO": (PPO, "CartPole-v1", TEACHES),
    "A2C": (A2C, "CartPole-v1", TEACHES),
    "PPO of a torque": (PPO, "Pendulum-v1", r"gives no Q-values\.$"),
    "SAC": (SAC, "Pendulum-v1", r"gives no Q-values\.$"),
    "TD3": (TD3, "Pendulum-v1", r"gives no Q-values\.$"),
    "DDPG": (DDPG, "Pendulum-v1", r"gives no Q-values\.$"),
}


@pytest.mark.parametrize(("algorithm", "env_id", "reason"), OTHERS.values(), ids=OTHERS)
def test_an_agent_of_another_algorithm_is_named(tmp_path: Path, algorithm: Any, env_id: str, reason: str) -> None:
    agent = algorithm("MlpPolicy", env_id, device="cpu", policy_kwargs={"net_arch": [4]})
    agent.save(tmp_path / "agent.zip")
    with pytest.raises(InputError, match=rf"Got one of '.*', of {algorithm.__name__}: its network {reason}"):
        read_model(tmp_path / "agent.zip")
    torch.save(agent.policy.state_dict(), tmp_path / "policy.pth")
    with pytest.raises(InputError, match=r"expected the tensors of a Q-network\. Got those of (PPO or A2C|an actor)"):
        read_model(tmp_path / "policy.pth")


def test_what_lies_beside_an_agent_is_named(tmp_path: Path, archive: Path) -> None:
    agent = DQN.load(archive, env=gymnasium.make("CartPole-v1"))
    agent.policy.save(tmp_path / "alone.pth")
    with pytest.raises(InputError, match=r"a policy as SB3's policy\.save writes it: import the \.zip of model\.save"):
        read_model(tmp_path / "alone.pth")
    agent.save_replay_buffer(tmp_path / "replay_buffer.pkl")
    with pytest.raises(InputError, match=r"Got a replay buffer of Stable-Baselines3: what an agent has seen"):
        read_model(tmp_path / "replay_buffer.pkl")
    with zipfile.ZipFile(archive) as file:
        file.extractall(tmp_path / "unpacked")
    pack = r"shutil\.make_archive\('agent', 'zip', 'unpacked'\)"
    with pytest.raises(InputError, match=rf"Got a folder with what is in an archive of Stable-Baselines3\..*{pack}"):
        read_model(tmp_path / "unpacked")
    assert read_model(Path(shutil.make_archive(str(tmp_path / "agent"), "zip", tmp_path / "unpacked"))).kind
    for name, what in (("data", "the settings of a"), ("policy.optimizer.pth", "the state of its optimizer")):
        with pytest.raises(InputError, match=f"Got {what}"):
            read_model(tmp_path / "unpacked" / name)


@pytest.mark.parametrize(("edits", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_understood_is_refused_in_a_line(archive: Any, edits: Any, reason: str) -> None:
    edit(archive, **edits)
    with pytest.raises(InputError, match=reason) as caught:
        read_model(archive)
    assert "\n" not in str(caught.value)


def test_another_convolution_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, "CnnPolicy", "Images-v0")[1]
    edit(path, policy=edit_state(lambda s: s.update({"q_net.features_extractor.cnn.0.weight": torch.ones(32, 3, 4, 4)})))
    with pytest.raises(InputError, match=r"expected NatureCNN's 32 filters of 8x8"):
        read_model(path)


def test_images_of_another_size_do_not_fit_the_layer_behind_them(tmp_path: Path) -> None:
    path = saved(tmp_path, "CnnPolicy", "Images-v0")[1]
    edit(path, data=lambda d: d["observation_space"].update(_shape=[3, 60, 60]))
    with pytest.raises(InputError, match="'features' has 128 inputs: expected 1024"):
        read_model(path)


def test_a_convolution_of_anything_but_images_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, "CnnPolicy", "Images-v0")[1]
    edit(path, data=lambda d: d["observation_space"].update(dtype="float32"))
    with pytest.raises(InputError, match="expected a CnnPolicy to see images of bytes"):
        read_model(path)


def test_images_with_the_channels_first_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, "CnnPolicy", "First-v0")[1]
    env = gymnasium.make("First-v0")
    with pytest.raises(
        InputError, match=r"expected an input of \(3, 40, 44\), or of several of them stacked\. Got an input of \(40, 44, 3\)"
    ):
        fit(read_model(path), env, source=EnvironmentSource("First-v0"))
    # As many channels as rows: SB3 would not have transposed this.
    edit(path, data=lambda d: d["observation_space"].update(_shape=[3, 3, 3]))
    with pytest.raises(InputError, match=r"its environment has images channels first, \(3, 3, 3\)"):
        read_model(path)


def test_pytorch_is_asked_for_where_it_is_missing_or_old(archive: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    with pytest.raises(InputError, match=r"expected PyTorch 2\.10 or later to read it\. Got 2\.9\.1\+cpu"):
        read_model(archive)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match=r"this needs the extra `sb3`: pip install 'edgedqn\[sb3\]'"):
        read_model(archive)
