"""Twelve agents of other projects come in: each computes what its own library does, and plays as it did."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="imports")

from numpy.typing import NDArray

from edgedqn.agents.importing.agents import DEFAULTS, ModelOptions, read_model
from edgedqn.agents.playing.environments import make_environment
from edgedqn.agents.teaching.teachers import FunctionTeacher, find_function
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.agents.training.config import TrainingConfig
from edgedqn.benchmarks.peers.agent_files import FUNCTION, KINDS, AgentFile, Weights, read_weights
from edgedqn.compression.methods.distillation import Distil, Distillation
from edgedqn.pipeline.commands import teaching
from edgedqn.pipeline.commands.import_agent import import_model

pytestmark = pytest.mark.filterwarnings("ignore")  # the other libraries' own

EPISODES = 100
CHAINS = [name for name, kind in KINDS.items() if kind.activation == "relu"]
LANDER = "edgedqn.benchmarks.peers.lunar_lander:land"


@pytest.fixture(scope="module")
def weights() -> dict[str, Weights]:
    """Of a policy that reaches 500; `train_cartpole.py` makes it."""
    return read_weights(Path(__file__).with_name("cartpole.npz"))


@pytest.fixture
def write(weights: dict[str, Weights], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], AgentFile]]:
    """A kind of file in an empty folder. What a function's module was is forgotten afterwards."""

    def written(name: str) -> AgentFile:
        for module in KINDS[name].needs:
            pytest.importorskip(module, reason="needs the extras sb3, onnx and peers")
        return KINDS[name].write(weights[KINDS[name].activation], tmp_path)

    monkeypatch.syspath_prepend(tmp_path)
    yield written
    sys.modules.pop(FUNCTION.partition(":")[0], None)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Students are narrower and learn for a shorter time."""
    short = Distil(
        learning=Distillation(steps=2_000), greedy_states=4_000, explored_states=2_000, rounds=2, student_states=2_000
    )
    monkeypatch.setattr(teaching, "LEARNING", short)
    monkeypatch.setattr(teaching, "find_preset", lambda *_, **__: TrainingConfig(hidden=(32, 32)))


def play(q_values: Callable[[NDArray[np.float32]], NDArray[Any]]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """The returns [100] of reset seeds 0 to 99 of CartPole-v1, all played at once, and the observations on the way [N, 4]."""
    with ExitStack() as opened:
        envs = [opened.enter_context(closing(make_environment("CartPole-v1"))) for _ in range(EPISODES)]
        playing = {i: env.reset(seed=i)[0] for i, env in enumerate(envs)}
        returns, visited = np.zeros(EPISODES), []
        while playing:
            observations = np.stack(list(playing.values()))  # [B, 4]
            visited.append(observations)
            for i, action in zip(list(playing), q_values(observations).argmax(axis=1), strict=True):
                playing[i], reward, terminated, truncated, _ = envs[i].step(int(action))
                returns[i] += float(reward)
                if terminated or truncated:
                    del playing[i]
    return returns, np.concatenate(visited)


def assert_alike(found: NDArray[Any], wanted: NDArray[Any]) -> None:
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * max(1, np.abs(wanted).max()))


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_is_the_agent(name: str, write: Callable[[str], AgentFile], tmp_path: Path) -> None:
    file = write(name)
    job = import_model(file.model, "CartPole-v1", out=tmp_path / "run", states=200, options=file.options)
    agent = TrainedAgent.load(job.folder.agent)
    wanted, visited = play(file.q_values)
    found, _ = play(agent.policy.q_values)
    np.testing.assert_array_equal(found, wanted)
    assert wanted.mean() == 500
    around = visited[::50] + np.random.default_rng(0).normal(size=visited[::50].shape).astype(np.float32)
    for observations in (visited[::50], around):
        assert_alike(agent.policy.q_values(observations), file.q_values(observations))


@pytest.mark.usefixtures("quick")
def test_a_network_with_tanh_teaches_one(write: Callable[[str], AgentFile], tmp_path: Path) -> None:
    file = write("SB3's DQN with tanh, .zip")
    wanted, visited = play(file.q_values)
    model = read_model(Path(file.model))
    assert model.not_a_chain is not None
    found, _ = play(lambda observations: model.network(observations).numpy())
    np.testing.assert_array_equal(found, wanted)
    assert_alike(model.network(visited[::50]).numpy(), file.q_values(visited[::50]))
    assert_taught(import_and_load(file.model, tmp_path, options=file.options), file)


@pytest.mark.usefixtures("quick")
def test_ppo_teaches_one_as_a_function(write: Callable[[str], AgentFile], tmp_path: Path) -> None:
    file = write("SB3's PPO as a function")
    wanted, visited = play(file.q_values)
    assert wanted.mean() == 500
    teacher = FunctionTeacher(find_function(str(file.model)), "ppo", n_actions=2, gives="probabilities")
    likely = np.maximum(file.q_values(visited[::50]), np.log(np.float32(1e-6)))
    assert_alike(teacher.q_values(visited[::50]), likely)
    assert_taught(import_and_load(file.model, tmp_path, options=file.options), file)


def import_and_load(
    model: str | Path, tmp_path: Path, *, env_id: str = "CartPole-v1", options: ModelOptions = DEFAULTS
) -> TrainedAgent:
    """Of few episodes of its teacher."""
    job = import_model(model, env_id, out=tmp_path / "run", states=1_000, options=options, gate_episodes=EPISODES)
    return TrainedAgent.load(job.folder.agent)


def assert_taught(agent: TrainedAgent, file: AgentFile) -> None:
    """In a few seconds it learns most; docs/results/imported.py lets it learn as users do."""
    assert agent.statistics["taught"]["teacher_return"] == 500 and agent.statistics["score"]["mean"] > 300
    returns, visited = play(agent.policy.q_values)
    assert returns.mean() > 300
    assert (agent.policy.actions(visited) == file.q_values(visited).argmax(axis=1)).mean() > 0.8


@pytest.mark.usefixtures("quick")
def test_a_controller_teaches_one(tmp_path: Path) -> None:
    pytest.importorskip("Box2D", reason="needs the extra box2d")
    agent = import_and_load(LANDER, tmp_path, env_id="LunarLander-v3", options=ModelOptions(gives="action"))
    assert agent.statistics["taught"]["teacher_return"] > 250 and agent.statistics["score"]["mean"] > 100
