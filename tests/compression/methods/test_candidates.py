import itertools
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.networks import minatar_torso, q_network
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.compression.folding import InputScaling, plain_network
from edgedqn.compression.judge import Judgement
from edgedqn.compression.methods.candidates import described, judged
from edgedqn.compression.methods.distillation import Distillation
from edgedqn.compression.methods.quantization import QuantizeAware
from edgedqn.compression.policy import CompressedPolicy
from edgedqn.compression.student import Lesson, Student


def test_describes_widths_and_counts_weights() -> None:
    network = plain_network(q_network((10, 10, 4), 3, hidden=(12,), rng=np.random.default_rng(5), torso=minatar_torso))
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
