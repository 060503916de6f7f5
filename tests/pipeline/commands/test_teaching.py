"""A policy that is no network of ours teaches one, which is the agent then."""

import json
from pathlib import Path

import numpy as np
import pytest
import tf_keras

from edgedqn.agents.errors import InputError
from edgedqn.agents.importing.agents import ModelOptions
from edgedqn.agents.playing.environments import make_environment
from edgedqn.agents.playing.spec import spec_of
from edgedqn.agents.teaching.teachers import FunctionTeacher
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.compression.methods.distillation import Distil, Distillation
from edgedqn.pipeline.commands import teaching
from edgedqn.pipeline.commands.import_agent import import_model
from edgedqn.pipeline.job import Job
from edgedqn.pipeline.seeds import SeedStreams

layers = tf_keras.layers
CONTROLLER = """
def lean(observation):  # where the pole leans and falls
    return int(observation[2] + 0.5 * observation[3] > 0)

def fails(observation):
    return 1 if abs(observation[2]) < 0.1 else 7
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    short = Distil(learning=Distillation(steps=600), greedy_states=2_000, explored_states=1_000, rounds=1, student_states=1_000)
    monkeypatch.setattr(teaching, "LEARNING", short)


@pytest.fixture
def controller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "controller.py").write_text(CONTROLLER)
    monkeypatch.syspath_prepend(tmp_path)
    return "controller"


def test_what_only_acts_is_learned_and_compared() -> None:
    env = make_environment("CartPole-v1")
    spec = spec_of(env, "CartPole-v1")
    env.close()
    teacher = FunctionTeacher(lambda x: int(x[2] + 0.5 * x[3] > 0), "lean", n_actions=2, gives="action")
    found = teaching.teach(teacher, spec, streams=SeedStreams(4), states=500)
    states = found.agent.observations
    assert states.shape == (500, 4)
    assert (found.agent.policy.actions(states) == teacher.actions(states)).mean() > 0.97
    assert found.teacher == 500 and found.difference.mean == pytest.approx(found.student - found.teacher)
    again = teaching.teach(teacher, spec, streams=SeedStreams(4), states=500)
    for array, same in zip(found.agent.network.get_weights(), again.agent.network.get_weights(), strict=True):
        np.testing.assert_array_equal(array, same)


def test_a_function_becomes_a_run(controller: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    job = import_model(f"{controller}:lean", "CartPole-v1", out=out, states=500, told=ModelOptions(gives="action"))
    said = capsys.readouterr().err
    assert said.startswith("Taught: a return of ") and "where its teacher has 500 (paired difference" in said
    statistics = TrainedAgent.load(job.folder.agent).statistics
    assert statistics["kind"] == "function" and statistics["taught"]["teacher_return"] == 500
    assert (Job.open(out).command() or "").startswith("edgedqn import controller:lean --gives action --states 500 CartPole-v1")
    assert json.loads((out / "run.json").read_text())["stages"][0]["status"] == "done"


def test_a_network_of_other_layers_teaches_a_chain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = tf_keras.Sequential([tf_keras.Input((4,)), layers.Dense(8, "tanh"), layers.Dense(2)])
    kernel, values = np.zeros((4, 8), np.float32), np.zeros((8, 2), np.float32)
    kernel[:, 0], values[0] = [0.0, 0.1, 1.0, 0.6], [-1, 1]
    network.set_weights([kernel, np.zeros(8), values, np.zeros(2)])
    network.save(tmp_path / "tanh.keras")
    job = import_model(tmp_path / "tanh.keras", "CartPole-v1", out=tmp_path / "run", states=500)
    assert capsys.readouterr().err.startswith("It is no chain of ours, so it teaches one. Layer ")
    agent = TrainedAgent.load(job.folder.agent)
    wanted = network(agent.observations).numpy().argmax(axis=1)
    assert (agent.policy.actions(agent.observations) == wanted).mean() > 0.97


def test_a_function_that_fails_leaves_no_agent(controller: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"controller:fails gave a bad action: expected 0 to 1\. Got 7"):
        import_model(f"{controller}:fails", "CartPole-v1", out=tmp_path / "run", told=ModelOptions(gives="action"))
    assert not (tmp_path / "run" / "agent" / "agent.json").exists()
    with pytest.raises(InputError, match=r"No function 'controller:none'"):
        import_model(f"{controller}:none", "CartPole-v1", out=tmp_path / "other")
    assert not (tmp_path / "other").exists()
