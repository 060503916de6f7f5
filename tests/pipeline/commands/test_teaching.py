"""A policy that is no network of ours teaches one, which is the agent then."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tf_keras

from edgedqn.agents.errors import InputError
from edgedqn.agents.importing.agents import ModelOptions
from edgedqn.agents.playing.environments import make_environment
from edgedqn.agents.playing.gate import Gate
from edgedqn.agents.playing.spec import spec_of
from edgedqn.agents.teaching.teachers import FunctionTeacher
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.benchmarks.latency.interleaved import LatencyConfig
from edgedqn.compression.methods.distillation import Distil, Distillation
from edgedqn.pipeline.cli import main
from edgedqn.pipeline.commands import teaching
from edgedqn.pipeline.commands.import_agent import import_model
from edgedqn.pipeline.config import RunConfig
from edgedqn.pipeline.job import Job
from edgedqn.pipeline.scripting import import_agent, run
from edgedqn.pipeline.seeds import SeedStreams

layers = tf_keras.layers
UNTIMED = LatencyConfig(blocks=2, invokes_per_block=20, patience_s=0.0)
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
    gate, streams = Gate(looks=(30, 60)), SeedStreams(4)
    found = teaching.teach(teacher, spec, streams=streams, states=500, gate=gate)
    states = found.observations
    assert states.shape == (500, 4)
    assert (found.policy.actions(states) == teacher.actions(states)).mean() > 0.97
    played = {streams.first_reset_seed(stream): [500.0] * 60 for stream in ("select", "prove")}
    assert {seed: returns.tolist() for seed, returns in found.taught_by.items()} == played
    again = teaching.teach(teacher, spec, streams=streams, states=500, gate=gate)
    for array, same in zip(found.network.get_weights(), again.network.get_weights(), strict=True):
        np.testing.assert_array_equal(array, same)


def test_a_teacher_plays_to_the_look_by_which_it_has_made_enough_steps() -> None:
    env = make_environment("CartPole-v1")
    teacher = FunctionTeacher(lambda x: int(x[2] + 0.5 * x[3] > 0), "lean", n_actions=2, gives="action")
    for enough, episodes in ((1, 2), (1_001, 4), (10_000, 6)):
        returns = teaching.play_until(
            teacher, env, reset_seeds=iter(range(9)), counts=(2, 4, 6), enough_steps=enough, label="play"
        )
        assert returns.tolist() == [500.0] * episodes
    env.close()


def test_a_function_becomes_a_run(controller: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    words = ["import", f"{controller}:lean", "CartPole-v1", "--gives", "action", "--states", "500", "--gate-episodes", "100"]
    assert main([*words, "--out", str(out)]) == 0
    *_, score, teacher, _ = capsys.readouterr().out.splitlines()
    assert score.startswith("Return: ") and teacher.startswith("Its teacher: 500 on the same episodes; the difference is ")
    agent = TrainedAgent.load(out / "agent")
    assert agent.statistics["kind"] == "function" and agent.statistics["taught"]["teacher_return"] == 500
    assert [len(returns) for returns in agent.taught_by.values()] == [100, 100]
    assert (Job.open(out).command() or "").startswith(
        "edgedqn import controller:lean --gives action --states 500 --gate-episodes 100 "
    )
    result = run("CartPole-v1", out=out, recipes=["ptq-int8"], config=RunConfig(latency=UNTIMED))
    assert all(row.gate in ("pass", "fail", "undecided") for row in result.measured.rows)  # the float file, too
    assert all(row.return_delta and row.gate_looks == (25, 50, 100) for row in result.measured.rows)
    assert "the policy that taught float32" in (out / "report.md").read_text()


def test_a_function_at_hand_teaches_from_a_script(tmp_path: Path) -> None:
    def lean(observation: Any) -> int:
        return int(observation[2] + 0.5 * observation[3] > 0)

    out = tmp_path / "run"
    agent = import_agent(lean, "CartPole-v1", out=out, states=500, gate_episodes=100, options=ModelOptions(gives="action"))
    assert agent.statistics["score"]["mean"] > 400
    assert Job.open(out).command() is None  # nobody else has it


def test_a_network_of_other_layers_teaches_a_chain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = tf_keras.Sequential([tf_keras.Input((4,)), layers.Dense(8, "tanh"), layers.Dense(2)])
    kernel, values = np.zeros((4, 8), np.float32), np.zeros((8, 2), np.float32)
    kernel[:, 0], values[0] = [0.0, 0.1, 1.0, 0.6], [-1, 1]
    network.set_weights([kernel, np.zeros(8), values, np.zeros(2)])
    network.save(tmp_path / "tanh.keras")
    job = import_model(tmp_path / "tanh.keras", "CartPole-v1", out=tmp_path / "run", states=500, gate_episodes=100)
    compared, taught = capsys.readouterr().err.splitlines()[:2]
    assert compared.startswith("Compared: ") and taught.startswith("It is no chain of ours, so it teaches one. Layer ")
    agent = TrainedAgent.load(job.folder.agent)
    wanted = network(agent.observations).numpy().argmax(axis=1)
    assert (agent.policy.actions(agent.observations) == wanted).mean() > 0.97


def test_a_function_that_fails_leaves_no_agent(controller: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"controller:fails gave a bad action: expected 0 to 1, as .* takes it\. Got 7"):
        import_model(f"{controller}:fails", "CartPole-v1", out=tmp_path / "run", options=ModelOptions(gives="action"))
    assert not (tmp_path / "run" / "agent" / "agent.json").exists()
    with pytest.raises(InputError, match=r"No function 'controller:none'"):
        import_model(f"{controller}:none", "CartPole-v1", out=tmp_path / "other")
    assert not (tmp_path / "other").exists()
