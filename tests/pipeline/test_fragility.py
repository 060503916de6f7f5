"""Mistakes cost an agent what they should, in a bounded number of steps, and never on the seeds that prove a file."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.evaluation import evaluate
from edgedqn.agents.playing.fragility import Fragility
from edgedqn.agents.playing.gate import Gate, gate_for, looks_within
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.benchmarks import playing
from edgedqn.pipeline import fragility
from edgedqn.pipeline.fragility import measure_fragility
from edgedqn.pipeline.job import Job, RunResult
from edgedqn.pipeline.seeds import BLOCK, STREAMS, SeedStreams


@pytest.fixture
def agent(tiny_run: RunResult, monkeypatch: pytest.MonkeyPatch) -> TrainedAgent:
    monkeypatch.setattr("edgedqn.pipeline.proving.usable_cores", lambda: 1)
    monkeypatch.setattr(fragility, "MOST_STEPS", 5_000)
    return TrainedAgent.load(tiny_run.folder / "agent")


def test_it_is_the_same_again_costs_more_with_more_mistakes_and_stays_off_prove(
    agent: TrainedAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: set[int] = set()
    real = evaluate

    def remember(*arguments: Any, **keywords: Any) -> Any:
        seeds.update(keywords["seeds"])
        return real(*arguments, **keywords)

    monkeypatch.setattr(playing, "evaluate", remember)
    monkeypatch.setattr(fragility, "RANDOM_ACTIONS", (0.0, 0.5))
    found = measure_fragility(agent, streams=SeedStreams(0), gate=gate_for("CartPole-v1"))
    none, eighth, half, *noise = found.losses
    assert (none.share.mean, none.share.high, none.disagreement) == (0, 0, 0)
    assert half.share.low > 0.1 and half.disagreement == 0.25
    assert eighth.size == 0.16 and eighth.disagreement == pytest.approx(0.08), "half of the random actions of two are its own"
    assert noise == sorted(noise, key=lambda loss: loss.disagreement) and len(noise) == 3
    assert found.env_steps < 60_000 and found.random_return < 40
    blocks = {seed // BLOCK for seed in seeds}
    assert blocks == {STREAMS.index("select")}
    assert min(seeds) > SeedStreams(0).first_reset_seed("select") + 10_000, "the checkpoint was chosen on those"
    assert measure_fragility(agent, streams=SeedStreams(0), gate=gate_for("CartPole-v1")) == found


def test_an_agent_that_is_worse_than_random_has_nothing_to_lose(agent: TrainedAgent) -> None:
    agent.network.set_weights([np.zeros_like(each) for each in agent.network.get_weights()[:-1]] + [np.array([1.0, 0.0])])
    found = measure_fragility(agent, streams=SeedStreams(0), gate=gate_for("CartPole-v1"))
    assert found.losses == () and found.mean_return < found.random_return


def test_a_slow_simulator_plays_no_more_than_its_gate_looks_at_first(
    agent: TrainedAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = measure_fragility(agent, streams=SeedStreams(0), gate=Gate(looks=looks_within(100)))
    assert {loss.episodes for loss in found.losses} == {25}
    monkeypatch.setattr(fragility, "MOST", 30)
    found = measure_fragility(agent, streams=SeedStreams(0), gate=Gate(looks=looks_within(400)))
    assert {loss.episodes for loss in found.losses} == {30}  # a gate of more looks asks for no more than there are seeds


def test_a_run_measures_it_once(tiny_run: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(tiny_run.folder, tmp_path / "run")
    job = Job.open(tmp_path / "run")
    found = job.fragility()
    assert found == Fragility.load(tmp_path / "run" / "agent" / "fragility.json")
    assert found is not None and found.summary in (tmp_path / "run" / "report.html").read_text()
    monkeypatch.setattr("edgedqn.pipeline.stages.measure_fragility", lambda *_, **__: pytest.fail("measured again"))
    with job.locked():
        job.do(("compress",))


def test_no_preference_is_bad_input(agent: TrainedAgent) -> None:
    agent.network.set_weights([np.zeros_like(each) for each in agent.network.get_weights()])
    with pytest.raises(InputError, match="all actions are equal"):
        measure_fragility(agent, streams=SeedStreams(0), gate=gate_for("CartPole-v1"))
