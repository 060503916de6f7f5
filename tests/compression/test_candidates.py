import itertools
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.networks import minatar_torso, q_network
from edgedqn.agents.noninferiority import Verdict
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.compression.candidates import QuantizeJudged, described, judged
from edgedqn.compression.distillation import Distillation
from edgedqn.compression.folding import InputScaling, plain_network
from edgedqn.compression.judge import Judge, Judgement
from edgedqn.compression.policy import CompressedPolicy
from edgedqn.compression.stages import QuantizeAware
from edgedqn.compression.student import Lesson, Student


def test_describes_widths_and_counts_weights() -> None:
    network = plain_network(q_network((10, 10, 4), 3, (12,), np.random.default_rng(5), minatar_torso))
    weights = 3 * 3 * 4 * 16 + 16 + 8 * 8 * 16 * 12 + 12 + 12 * 3 + 3
    assert described(network) == {"filters": [16], "hidden": [12], "weights": weights}


@pytest.mark.parametrize("conversion", ["qat-int8", "qat-int8-float-output"])
def test_a_candidate_is_judged_as_what_would_ship(teacher: TrainedAgent, env: gymnasium.Env[Any, Any], conversion: Any) -> None:
    shown: list[CompressedPolicy] = []

    def judge(policy: CompressedPolicy) -> Judgement:
        shown.append(policy)
        return Judgement("fail", 1.0, 2.0, 3, 4, 5, 0.5, 0.6, 0.1)

    lesson = Lesson(teacher, env, itertools.count(), np.random.default_rng(0), 0.5, judge, conversion)
    states = teacher.observations
    student = Student(plain_network(teacher.network), InputScaling.identity(), states, lesson.preferences(states))
    before = student.network.get_weights()
    rounded, said = judged(student, lesson, QuantizeAware(Distillation(50)))
    assert said == Judgement("fail", 1.0, 2.0, 3, 4, 5, 0.5, 0.6, 0.1)
    assert (shown[0].network, shown[0].conversion) == (rounded.quantized, conversion)
    for array, kept in zip(student.network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(array, kept)
    with pytest.raises(InputError, match="Expected a judge"):
        judged(student, replace(lesson, judge=None), QuantizeAware(Distillation(50)))


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
    assert rounded.quantized is shown[chosen].network
    assert said["keep_zeros"] is False
    learned = {b"".join(array.tobytes() for array in policy.network.get_weights()) for policy in shown}
    assert len(learned) == len(given)  # each from other minibatches


def test_without_a_judge_the_first_is_taken(beginning: tuple[Student, Lesson]) -> None:
    student, lesson = beginning
    judged_once, said = QuantizeJudged(3, Distillation(50)).apply(student, lesson)
    assert "attempts" not in said
    assert judged_once.quantized is not None


def test_refuses_to_try_never() -> None:
    with pytest.raises(InputError, match="attempts of 1 or more"):
        QuantizeJudged(0)
