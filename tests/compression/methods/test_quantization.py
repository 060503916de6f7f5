import itertools
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.gate import Verdict
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.compression.folding import InputScaling, kernels_of, plain_network
from edgedqn.compression.methods.clustering import Cluster
from edgedqn.compression.methods.distillation import Distillation
from edgedqn.compression.methods.pruning import Prune
from edgedqn.compression.methods.quantization import QuantizeAware, QuantizeJudged, round_and_judge
from edgedqn.compression.policy import CompressedPolicy, Judge
from edgedqn.compression.report import UNPLAYABLE, Judgement
from edgedqn.compression.stage import CompressionContext, Student


@pytest.mark.parametrize("pruned", [False, True])
def test_clusters_stay_few_and_zeros_stay_zeros_through_quantization(
    beginning: tuple[Student, CompressionContext], pruned: bool
) -> None:
    student, context = beginning
    if pruned:
        student, _ = Prune(0.6, allocation="uniform", learning=Distillation(steps=50)).apply(student, context)
    clustered, said = Cluster(4, Distillation(steps=50)).apply(student, context)
    assert said.clusters_reached == tuple(len(np.unique(kernel)) for kernel in kernels_of(clustered.network))
    assert max(said.clusters_reached) <= 4
    rounded, said = QuantizeAware(Distillation(steps=50)).apply(clustered, context)
    assert (said.keep_zeros, said.keep_clusters) == (pruned, True)
    assert rounded.quantized is not None
    for kernel, before in zip(kernels_of(rounded.quantized), kernels_of(student.network), strict=True):
        assert len(np.unique(kernel)) <= 4
        if pruned:
            assert (kernel[before == 0] == 0).mean() > 0.99


def judging(*given: tuple[Verdict, float]) -> tuple[Judge, list[CompressedPolicy]]:
    """A judge that gives these verdicts and losses in turn, and remembers what it was shown."""
    shown: list[CompressedPolicy] = []

    def judge(policy: CompressedPolicy) -> Judgement:
        verdict, loss = given[len(shown)]
        shown.append(policy)
        return Judgement(
            verdict=verdict,
            mean_return=1.0,
            loss=loss,
            episodes=3,
            env_steps=4,
            size_bytes=5,
            action_agreement=0.5,
            gap_weighted_agreement=0.6,
            tie_rate=0.1,
        )

    return judge, shown


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        ([("pass", 0.5)], 0),
        ([("undecided", 0.9), ("pass", 0.95)], 1),  # a pass counts more than a smaller loss
        ([("fail", 3.0), ("undecided", 0.9), ("fail", 2.0)], 1),
    ],
)
def test_rounds_again_until_the_gate_passes(
    beginning: tuple[Student, CompressionContext], given: list[tuple[Verdict, float]], chosen: int
) -> None:
    student, context = beginning
    judge, shown = judging(*given)
    rounded, said = QuantizeJudged(3, Distillation(steps=50)).apply(student, replace(context, judge=judge))
    assert said.attempts is not None
    assert [(each.judgement.verdict, each.judgement.loss) for each in said.attempts] == given
    assert (said.passed, said.chosen) == (given[chosen][0] == "pass", chosen)
    assert rounded.quantized is shown[chosen].network
    assert said.keep_zeros is False
    learned = {b"".join(array.tobytes() for array in policy.network.get_weights()) for policy in shown}
    assert len(learned) == len(given)  # each from other minibatches


def test_without_a_judge_the_first_is_taken(beginning: tuple[Student, CompressionContext]) -> None:
    student, context = beginning
    judged_once, said = QuantizeJudged(3, Distillation(steps=50)).apply(student, context)
    assert said.skipped == ("the gate: there is no judge to play files, so the first was taken",)
    assert judged_once.quantized is not None


def test_ends_where_there_is_nothing_to_lose(beginning: tuple[Student, CompressionContext]) -> None:
    def judge(_: CompressedPolicy) -> Judgement:
        return Judgement(
            verdict="undecided",
            mean_return=1.0,
            loss=0.0,
            episodes=3,
            env_steps=4,
            size_bytes=5,
            action_agreement=0.5,
            gap_weighted_agreement=0.6,
            tie_rate=0.1,
            reason="the agent is no better than chance",
        )

    student, context = beginning
    _, said = QuantizeJudged(3, Distillation(steps=50)).apply(student, replace(context, judge=judge))
    assert said.attempts is not None
    assert (len(said.attempts), said.passed) == (1, False)


def test_a_file_that_no_runtime_takes_is_the_last_to_be_chosen(beginning: tuple[Student, CompressionContext]) -> None:
    student, context = beginning
    judge, shown = judging(("fail", UNPLAYABLE), ("fail", 200.0), ("fail", UNPLAYABLE))
    rounded, _ = QuantizeJudged(3, Distillation(steps=50)).apply(student, replace(context, judge=judge))
    assert rounded.quantized is shown[1].network


def test_refuses_to_try_never() -> None:
    with pytest.raises(InputError, match="attempts of 1 or more"):
        QuantizeJudged(0)


@pytest.mark.parametrize("conversion", ["qat-int8", "qat-int8-float-output"])
def test_a_candidate_is_judged_as_what_would_ship(teacher: TrainedAgent, env: gymnasium.Env[Any, Any], conversion: Any) -> None:
    shown: list[CompressedPolicy] = []

    def judge(policy: CompressedPolicy) -> Judgement:
        shown.append(policy)
        return Judgement(
            verdict="fail",
            mean_return=1.0,
            loss=2.0,
            episodes=3,
            env_steps=4,
            size_bytes=5,
            action_agreement=0.5,
            gap_weighted_agreement=0.6,
            tie_rate=0.1,
        )

    context = CompressionContext(
        teacher=teacher,
        env=env,
        reset_seeds=itertools.count(),
        rng=np.random.default_rng(0),
        gap=0.5,
        judge=judge,
        conversion=conversion,
    )
    states = teacher.observations
    student = Student(
        network=plain_network(teacher.network),
        scaling=InputScaling.identity(),
        states=states,
        preferences=context.preferences(states),
    )
    before = student.network.get_weights()
    rounded, _, said = round_and_judge(student, context, quantizing=Distillation(steps=50))
    assert said == Judgement(
        verdict="fail",
        mean_return=1.0,
        loss=2.0,
        episodes=3,
        env_steps=4,
        size_bytes=5,
        action_agreement=0.5,
        gap_weighted_agreement=0.6,
        tie_rate=0.1,
    )
    assert (shown[0].network, shown[0].conversion) == (rounded.quantized, conversion)
    for array, kept in zip(student.network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(array, kept)
    with pytest.raises(InputError, match="Expected a judge"):
        round_and_judge(student, replace(context, judge=None), quantizing=Distillation(steps=50))
