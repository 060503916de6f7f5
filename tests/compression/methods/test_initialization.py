from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.networks import minatar_torso, q_network
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.compression.folding import InputScaling, plain_network
from edgedqn.compression.methods.initialization import NewStudent, Restart, ScaleInput
from edgedqn.compression.networks import widths
from edgedqn.compression.stage import CompressionContext, Student, q_values_of


def test_a_restart_forgets_everything(student: Student, context: CompressionContext) -> None:
    fresh, _ = Restart().apply(student, context)
    assert [a.shape for a in fresh.network.get_weights()] == [a.shape for a in student.network.get_weights()]
    assert not fresh.network.get_weights()[-1].any()
    assert abs(np.corrcoef(fresh.network.get_weights()[2].ravel(), student.network.get_weights()[2].ravel())[0, 1]) < 0.3


def test_a_new_student_has_the_widths_and_nothing_of_the_teacher(beginning: tuple[Student, CompressionContext]) -> None:
    student, context = beginning
    student = replace(student, scaling=InputScaling.measured(student.states))
    fresh, said = NewStudent((7, 5)).apply(student, context)
    assert widths(fresh.network) == ((), (7, 5))
    assert said.size is not None
    assert (said.size.hidden, said.size.filters) == ((7, 5), ())
    assert fresh.scaling == student.scaling
    assert not fresh.network.get_weights()[1].any()  # the teacher's biases are not zero


def test_a_new_student_of_images_has_a_quarter_of_the_filters_or_those_given(
    beginning: tuple[Student, CompressionContext],
) -> None:
    student, context = beginning
    network = plain_network(q_network((10, 10, 4), 3, hidden=(32,), rng=np.random.default_rng(0), torso=minatar_torso))
    student = replace(student, network=network)
    assert widths(NewStudent((8,)).apply(student, context)[0].network) == ((4,), (8,))
    assert widths(NewStudent((8,), (6,)).apply(student, context)[0].network) == ((6,), (8,))


@pytest.mark.parametrize("settings", [{"hidden": (0,)}, {"filters": (4, 0)}])
def test_refuses_widths_of_nothing(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="Expected widths of 1 or more"):
        NewStudent(**settings)


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


def test_more_headroom_makes_each_range_wider(student: Student, context: CompressionContext) -> None:
    usual, wide = (ScaleInput(headroom).apply(student, context)[1] for headroom in (0.1, 1.0))
    assert usual.highest and usual.lowest and wide.highest and wide.lowest
    widths = np.subtract(usual.highest, usual.lowest)
    np.testing.assert_allclose(np.subtract(wide.highest, wide.lowest), widths / 1.2 * 3, rtol=1e-5)
    with pytest.raises(InputError, match=r"Expected a finite headroom of 0 or more\. Got -1"):
        ScaleInput(-1)


def test_the_scaled_input_of_any_network_changes_nothing(case: Any, start_of: Any) -> None:
    student, context = start_of(case)
    scaled, said = ScaleInput().apply(student, context)
    assert said.clipped_fraction == 0 or case.agent.spec.observation_dtype == "float32"
    expected = q_values_of(case.agent, case.agent.observations)
    got = np.concatenate([scaled.network(batch) for batch in scaled.inputs()])
    clear = np.abs(scaled.scaling(case.agent.observations)).reshape(len(got), -1).max(axis=1) <= 1
    assert clear.mean() > 0.9
    np.testing.assert_allclose(got[clear], expected[clear], rtol=0, atol=2e-5 * np.abs(expected).max())
