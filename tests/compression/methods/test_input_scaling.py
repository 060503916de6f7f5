from typing import Any

import numpy as np

from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.compression.context import CompressionContext, q_values_of
from edgedqn.compression.folding import InputScaling
from edgedqn.compression.methods.input_scaling import ScaleInput
from edgedqn.compression.student import Student


def test_scale_input_folds_what_it_measures(student: Student, context: CompressionContext, teacher: TrainedAgent) -> None:
    scaled, said = ScaleInput().apply(student, context)
    assert scaled.scaling == InputScaling.measured(teacher.observations)
    assert (said.scale, said.offset) == (scaled.scaling.scale, scaled.scaling.offset)
    inputs = scaled.scaling(teacher.observations)
    inside = (np.abs(inputs) < 1).all(axis=1)
    assert inside.mean() > 0.9
    expected = teacher.network(teacher.observations[inside]).numpy()
    got = scaled.network(inputs[inside]).numpy()
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    # What lies at the measured ends is as large as the int8 input can say.
    np.testing.assert_allclose(scaled.scaling(np.array([said.lowest, said.highest])), [[-1] * 4, [1] * 4], atol=1e-5)
    assert said.clipped_fraction == (np.abs(inputs) == 1).mean()
    assert scaled.network is not student.network
    assert not scaled.pruned


def test_the_scaled_input_of_any_network_changes_nothing(case: Any, start_of: Any) -> None:
    student, context = start_of(case)
    scaled, said = ScaleInput().apply(student, context)
    assert said.clipped_fraction == 0 or case.agent.spec.observation_dtype == "float32"
    expected = q_values_of(case.agent, case.agent.observations)
    got = np.concatenate([scaled.network(batch) for batch in scaled.inputs()])
    clear = np.abs(scaled.scaling(case.agent.observations)).reshape(len(got), -1).max(axis=1) <= 1
    assert clear.mean() > 0.9
    np.testing.assert_allclose(got[clear], expected[clear], rtol=0, atol=2e-5 * np.abs(expected).max())
