from dataclasses import replace

import numpy as np
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.gate import Verdict
from edgedqn.compression.folding import kernels_of
from edgedqn.compression.judge import UNPLAYABLE, Judge, Judgement
from edgedqn.compression.methods.distillation import Distillation
from edgedqn.compression.methods.quantization import QuantizeAware, QuantizeJudged
from edgedqn.compression.methods.stages import Cluster, Prune
from edgedqn.compression.policy import CompressedPolicy
from edgedqn.compression.student import Lesson, Student


@pytest.mark.parametrize("pruned", [False, True])
def test_clusters_stay_few_and_zeros_stay_zeros_through_quantization(beginning: tuple[Student, Lesson], pruned: bool) -> None:
    student, lesson = beginning
    if pruned:
        student, _ = Prune(0.6, "uniform", Distillation(50)).apply(student, lesson)
    clustered, said = Cluster(4, Distillation(50)).apply(student, lesson)
    assert said["clusters_reached"] == [len(np.unique(kernel)) for kernel in kernels_of(clustered.network)]
    assert max(said["clusters_reached"]) <= 4
    rounded, said = QuantizeAware(Distillation(50)).apply(clustered, lesson)
    assert (said["keep_zeros"], said["keep_clusters"]) == (pruned, True)
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
        return Judgement(verdict, 1.0, loss, 3, 4, 5, 0.5, 0.6, 0.1)

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
    beginning: tuple[Student, Lesson], given: list[tuple[Verdict, float]], chosen: int
) -> None:
    student, lesson = beginning
    judge, shown = judging(*given)
    rounded, said = QuantizeJudged(3, Distillation(50)).apply(student, replace(lesson, judge=judge))
    assert [(each["verdict"], each["loss"]) for each in said["attempts"]] == given
    assert (said["passed"], said["chosen"]) == (given[chosen][0] == "pass", chosen)
    assert rounded.quantized is shown[chosen].network
    assert said["keep_zeros"] is False
    learned = {b"".join(array.tobytes() for array in policy.network.get_weights()) for policy in shown}
    assert len(learned) == len(given)  # each from other minibatches


def test_without_a_judge_the_first_is_taken(beginning: tuple[Student, Lesson]) -> None:
    student, lesson = beginning
    judged_once, said = QuantizeJudged(3, Distillation(50)).apply(student, lesson)
    assert said["skipped"] == ["the gate: nobody is there to play files, so the first was taken"]
    assert judged_once.quantized is not None


def test_ends_where_there_is_nothing_to_lose(beginning: tuple[Student, Lesson]) -> None:
    def judge(_: CompressedPolicy) -> Judgement:
        return Judgement("undecided", 1.0, 0.0, 3, 4, 5, 0.5, 0.6, 0.1, "the agent is no better than chance")

    student, lesson = beginning
    _, said = QuantizeJudged(3, Distillation(50)).apply(student, replace(lesson, judge=judge))
    assert (len(said["attempts"]), said["passed"]) == (1, False)


def test_a_file_that_no_runtime_takes_is_the_last_to_be_chosen(beginning: tuple[Student, Lesson]) -> None:
    student, lesson = beginning
    judge, shown = judging(("fail", UNPLAYABLE), ("fail", 200.0), ("fail", UNPLAYABLE))
    rounded, _ = QuantizeJudged(3, Distillation(50)).apply(student, replace(lesson, judge=judge))
    assert rounded.quantized is shown[1].network


def test_refuses_to_try_never() -> None:
    with pytest.raises(InputError, match="attempts of 1 or more"):
        QuantizeJudged(0)
