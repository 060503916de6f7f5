"""An agent on disk is the agent, or an error."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.files import save_arrays
from edgedqn.agents.networks import minatar_torso, q_network
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.playing.spec import EnvironmentSpec, FrameStack, spec_of
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.agents.training.config import QLearningConfig, TrainingConfig
from edgedqn.agents.training.presets import PRESETS


@pytest.fixture
def agent(corridor: gymnasium.Env[Any, Any]) -> TrainedAgent:
    rng = np.random.default_rng(0)
    network = q_network((5,), 2, hidden=[8, 4], rng=rng)
    network.set_weights([rng.normal(size=w.shape) for w in network.get_weights()[:-1]] + [np.zeros(2)])
    return TrainedAgent(network, spec_of(corridor, "Corridor"), rng.random((20, 5), np.float32), {"steps": 3})


@pytest.fixture
def folder(agent: Any, tmp_path: Path) -> Any:
    agent.save(tmp_path / "runs" / "agent")
    return tmp_path / "runs" / "agent"


def test_what_was_saved_is_loaded(agent: Any, folder: Path) -> None:
    loaded = TrainedAgent.load(folder)
    observations = np.random.default_rng(1).normal(size=(50, 5)).astype(np.float32)
    np.testing.assert_array_equal(loaded.network(observations), agent.network(observations))
    np.testing.assert_array_equal(loaded.policy.q_values(observations), agent.policy.q_values(observations))
    np.testing.assert_array_equal(loaded.observations, agent.observations)
    assert loaded.observations.dtype == np.float32
    assert loaded.spec == agent.spec
    assert loaded.statistics == {"steps": 3}
    assert [w.shape for w in loaded.network.get_weights()] == [(5, 8), (8,), (8, 4), (4,), (4, 2), (2,)]


def test_what_taught_it_is_kept(agent: Any, folder: Path) -> None:
    assert TrainedAgent.load(folder).taught_by == {}
    returns = {7: np.array([1.0, -2.5]), 2**30: np.array([3.0])}
    replace(agent, taught_by=returns).save(folder)
    loaded = TrainedAgent.load(folder).taught_by
    assert {seed: each.tolist() for seed, each in loaded.items()} == {7: [1.0, -2.5], 2**30: [3.0]}
    save_arrays(folder / "teacher.npz", [np.array([7, 8]), np.ones(3)])
    with pytest.raises(InputError, match=r"teacher\.npz is damaged"):
        TrainedAgent.load(folder)


def test_so_it_is_with_images_and_every_head(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    network = q_network((6, 5, 2), 3, hidden=(8,), rng=rng, torso=minatar_torso, dueling=True, quantiles=4, input_scale=1 / 255)
    spec = EnvironmentSpec(
        source=EnvironmentSource("My-v0"),
        observation_shape=(6, 5),
        observation_dtype="uint8",
        observation_low=(0.0,),
        observation_high=(255.0,),
        n_actions=3,
        preprocessing=(FrameStack(2),),
    )
    observations = rng.integers(256, size=(20, 6, 5, 2), dtype=np.uint8)
    TrainedAgent(network, spec, observations, {}).save(tmp_path)
    loaded = TrainedAgent.load(tmp_path)
    assert loaded.spec == spec
    assert loaded.observations.dtype == np.uint8
    q_values = network(observations.astype(np.float32)).numpy().mean(axis=2)
    np.testing.assert_allclose(loaded.policy.q_values(observations), q_values, rtol=0, atol=1e-5 * np.abs(q_values).max())


def test_its_policy_is_greedy(agent: Any) -> None:
    observations = np.random.default_rng(2).normal(size=(50, 5)).astype(np.float32)
    expected = agent.network(observations).numpy().argmax(axis=1)
    assert set(expected) == {0, 1}
    assert [agent.policy(observation) for observation in observations] == expected.tolist()


def test_saving_again_replaces_it_whole(agent: Any, folder: Path) -> None:
    agent.network.set_weights([w + 1 for w in agent.network.get_weights()])
    agent.save(folder)
    np.testing.assert_array_equal(TrainedAgent.load(folder).network.get_weights()[0], agent.network.get_weights()[0])
    assert sorted(path.name for path in folder.iterdir()) == ["agent.json", "observations.npz", "weights.npz"]


@pytest.mark.parametrize("fails_at", ["weights.npz", "observations.npz"])
def test_a_save_that_broke_off_leaves_no_mixture(
    agent: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, fails_at: str
) -> None:
    def save_or_fail(path: Path, arrays: Any) -> None:
        if path.name == fails_at:
            raise OSError("No space left on device")
        save_arrays(path, arrays)

    monkeypatch.setattr("edgedqn.agents.trained_agent.save_arrays", save_or_fail)
    with pytest.raises(OSError, match="No space left"):
        agent.save(folder)
    with pytest.raises(InputError, match=r"agent\.json cannot be read"):
        TrainedAgent.load(folder)


HALF = b"half"  # of what the file held


@pytest.mark.parametrize("name", ["agent.json", "weights.npz", "observations.npz"])
@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff\xfe", HALF], ids=["missing", "empty", "brace", "bytes", "half"])
def test_a_missing_or_damaged_file_is_bad_input(folder: Path, name: str, content: bytes | None) -> None:
    path = folder / name
    whole = path.read_bytes()
    path.unlink()
    if content is not None:
        path.write_bytes(whole[: len(whole) // 2] if content == HALF else content)
    with pytest.raises(InputError, match=rf"{name} cannot be read"):
        TrainedAgent.load(folder)


@pytest.mark.parametrize("schema", [1, 3, "2", None])
def test_another_schema_is_refused(folder: Path, schema: int | str | None) -> None:
    path = folder / "agent.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": schema}))
    with pytest.raises(InputError, match=rf"agent\.json has another schema: expected 2\. Got {schema}\."):
        TrainedAgent.load(folder)


@pytest.mark.parametrize(
    "change", [{"environment": {}}, {"environment": 3}, {"network": {}}, {"network": [{"layer": "Lambda"}]}]
)
def test_a_description_of_something_else_is_bad_input(folder: Path, change: dict[str, Any]) -> None:
    path = folder / "agent.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=r"agent\.json describes no agent: "):
        TrainedAgent.load(folder)


@pytest.mark.parametrize("key", ["environment", "network", "statistics"])
def test_so_is_half_a_description(folder: Path, key: str) -> None:
    path = folder / "agent.json"
    description = json.loads(path.read_text())
    del description[key]
    path.write_text(json.dumps(description))
    with pytest.raises(InputError, match=rf"agent\.json describes no agent: .*{key}"):
        TrainedAgent.load(folder)


def test_files_of_two_agents_do_not_mix(agent: Any, folder: Path) -> None:
    weights = agent.network.get_weights()
    save_arrays(folder / "weights.npz", weights[:-2])
    with pytest.raises(InputError, match=r"weights\.npz does not fit the network of agent\.json"):
        TrainedAgent.load(folder)
    save_arrays(folder / "weights.npz", [w.T for w in weights])
    with pytest.raises(InputError, match=r"weights\.npz does not fit the network of agent\.json"):
        TrainedAgent.load(folder)
    save_arrays(folder / "weights.npz", weights)
    for arrays in ([], [agent.observations] * 2, [agent.observations[:, :4]]):
        save_arrays(folder / "observations.npz", arrays)
        with pytest.raises(InputError, match=r"observations\.npz does not fit the environment of agent\.json"):
            TrainedAgent.load(folder)


def test_it_says_how_it_was_trained_or_what_its_environment_suggests(agent: Any, folder: Path) -> None:
    assert agent.training == TrainingConfig()
    for config in (TrainingConfig(n_step=7, hidden=(3, 4)), QLearningConfig(discount=0.7)):
        replace(agent, statistics={"training": asdict(config)}).save(folder)
        assert TrainedAgent.load(folder).training == config
    imported = replace(agent, spec=replace(agent.spec, source=EnvironmentSource("CartPole-v1")))
    assert imported.training == PRESETS["CartPole-v1"]
