"""The judge on the real environment: what it plays, and what it says of candidates of known worth."""

import itertools
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgedqn.agents.networks import q_network
from edgedqn.agents.playing.environments import agent_view, make_environment
from edgedqn.agents.playing.evaluation import evaluate, gather_observations
from edgedqn.agents.playing.gate import Gate
from edgedqn.agents.playing.spec import spec_of
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.benchmarks.cores.budget import find_budget
from edgedqn.benchmarks.cores.core import CORES, missing_tools
from edgedqn.compression.folding import InputScaling, plain_network
from edgedqn.compression.policy import CompressedPolicy
from edgedqn.compression.report import UNPLAYABLE
from edgedqn.compression.stage import Student
from edgedqn.export.config import ExportConfig
from edgedqn.pipeline.judge import excess_of, judging
from edgedqn.pipeline.seeds import SeedStreams

GATE = Gate(tolerance=0.1, looks=(30, 60))
STREAMS = SeedStreams(3)


@pytest.fixture(scope="module")
def agent() -> TrainedAgent:
    """Pushes the cart to where the pole leans and falls: 500 without learning."""
    network = q_network((4,), 2, hidden=(8,), rng=np.random.default_rng(0))
    weights = [0.01 * array for array in network.get_weights()]
    lean = np.array([0.1, 0.5, 6.0, 2.0])
    weights[0][:, 0], weights[0][:, 1] = lean, -lean
    weights[2][0], weights[2][1] = [-1, 1], [1, -1]
    network.set_weights(weights)
    with closing(make_environment("CartPole-v1")) as env:
        spec = spec_of(env, "CartPole-v1")
        agent = TrainedAgent(network, spec, np.empty(0), {})
        return replace(
            agent,
            observations=gather_observations(agent.policy, agent_view(env, spec), reset_seeds=itertools.count(5), count=500),
        )


def as_file(agent: TrainedAgent, change: Any = lambda weights: weights) -> CompressedPolicy:
    network = plain_network(agent.network)
    network.set_weights(change(network.get_weights()))
    student = Student(
        network=network, scaling=InputScaling.identity(), states=agent.observations, preferences=np.empty((0, 2), np.float32)
    )
    return student.as_compressed(agent, conversion="float32", recipe="candidate")


def test_a_candidate_that_no_runtime_takes_has_failed(agent: TrainedAgent) -> None:
    def dead(weights: Any) -> Any:
        weights[1] -= 100  # no hidden neuron fires, so the layer has no range
        return weights

    with judging(agent, streams=STREAMS, gate=GATE, export=ExportConfig()) as judge:
        said = judge(replace(as_file(agent, dead), conversion="ptq-int8"))
    assert (said.verdict, said.episodes, said.env_steps) == ("fail", 0, 0)
    assert said.loss == UNPLAYABLE
    assert "this runtime cannot run it" in said.reason
    assert said.mean_return < 40


@pytest.mark.parametrize("config", [ExportConfig(), ExportConfig(strip=True, manifest="beside")])
def test_says_what_a_candidate_scores_on_the_select_seeds(agent: TrainedAgent, config: ExportConfig) -> None:
    with judging(agent, streams=STREAMS, gate=GATE, export=config) as judge:
        same = judge(as_file(agent))
        other = judge(as_file(agent, lambda weights: [*weights[:-2], -weights[-2], -weights[-1]]))
    assert (same.verdict, same.loss, same.episodes) == ("pass", 0.0, 10)  # a third of the gate's first look is enough
    assert (other.verdict, other.episodes) == ("fail", 10)
    assert same.reason == other.reason == "" and not other.agent_is_no_better_than_random
    with closing(make_environment("CartPole-v1")) as env:
        expected = evaluate(agent.policy, env, seeds=itertools.islice(STREAMS.reset_seeds("select"), 10))
    assert (same.mean_return, same.env_steps) == (float(np.mean(expected.returns)), expected.env_steps)
    assert other.mean_return < 20
    assert other.loss == pytest.approx((same.mean_return - other.mean_return) / (0.1 * (same.mean_return - 22)), rel=0.1)
    assert 500 < same.size_bytes < 4_000
    assert (same.action_agreement, same.gap_weighted_agreement, same.tie_rate) == (1.0, 1.0, 0.0)
    assert (other.action_agreement, other.gap_weighted_agreement) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("env_id", "looks", "expected"),
    [
        ("CartPole-v1", (30, 60), (10, 30, 60)),
        ("CartPole-v1", (1_200, 4_800, 19_200), (400, 1_200, 4_800)),
        ("CartPole-v1", (9_000,), (1_600, 4_800)),
        ("CartPole-v1", (2, 3), (2, 3)),
        ("ALE/Pong-v5", (100, 300, 600), (20, 60)),  # an episode takes seconds
        ("ale_py:ALE/Pong-v5", (100, 300, 600), (20, 60)),
    ],
)
def test_looks_early_and_not_for_ever(
    agent: TrainedAgent, env_id: str, looks: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    of_env = replace(agent, spec=replace(agent.spec, source=replace(agent.spec.source, id=env_id)))
    with judging(of_env, streams=STREAMS, gate=Gate(looks=looks), export=ExportConfig()) as judge:
        assert judge.stricter.looks == expected  # type: ignore[attr-defined]


def test_of_an_agent_no_better_than_chance_nothing_can_be_said(agent: TrainedAgent) -> None:
    poor = as_file(agent, lambda weights: [*weights[:-2], -weights[-2], -weights[-1]]).network
    with judging(replace(agent, network=poor), streams=STREAMS, gate=GATE, export=ExportConfig()) as judge:
        said = judge(as_file(agent))
    assert (said.verdict, said.loss, said.episodes, said.mean_return) == ("undecided", 0.0, 10, 500.0)
    assert said.agent_is_no_better_than_random
    assert said.reason.startswith("the float agent is not better than random: 8.7")


def test_of_an_agent_that_was_taught_the_teacher_is_the_measure(agent: TrainedAgent) -> None:
    first = STREAMS.first_reset_seed("select")
    for returns, verdict, loss in ((500.0, "pass", 0.0), (1_000.0, "fail", 5.0)):
        taught = replace(agent, taught_by={first: np.full(40, returns)})
        with judging(taught, streams=STREAMS, gate=GATE, export=ExportConfig()) as judge:
            said = judge(as_file(agent))
        assert (said.verdict, said.episodes) == (verdict, 10)
        assert said.loss == pytest.approx(loss, abs=0.2)  # margins, a tenth of what the teacher earns over random


def test_says_why_a_candidate_does_not_fit_a_board(agent: TrainedAgent) -> None:
    if missing := missing_tools(CORES["atmega328p"]):
        pytest.skip(f"not installed: {', '.join(missing)}")
    policy = replace(as_file(agent), conversion="ptq-int8")
    assert excess_of(find_budget("uno"), ExportConfig())(policy) == ""
    assert excess_of(find_budget("atmega328p:32768,2048,100"), ExportConfig())(policy).endswith("of 100 per step")
    assert "expected int8 input and output" in excess_of(find_budget("uno"), ExportConfig())(as_file(agent))


def test_starts_nothing_where_nobody_asks(agent: TrainedAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    exports: list[str] = []
    monkeypatch.setattr("edgedqn.pipeline.judge.export_policy", lambda policy, _: exports.append(policy.recipe))
    with judging(agent, streams=STREAMS, gate=GATE, export=ExportConfig()) as judge:
        assert exports == []
        with pytest.raises(AttributeError):  # this export has no content
            judge(as_file(agent))
    assert exports == ["float"]  # the first who asks has the float agent exported
