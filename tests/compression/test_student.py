"""What a context and a student do beyond what the stages' own tests show."""

import itertools
from dataclasses import replace

import gymnasium
import numpy as np
import pytest

from edgedqn.agents.architecture import describe
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.compression.context import CompressionContext
from edgedqn.compression.folding import InputScaling, fold_input_scaling, plain_network
from edgedqn.compression.preferences import Targets
from edgedqn.compression.student import Student
from edgedqn.compression.tfmot import quantization_aware, start_ranges


@pytest.fixture
def context(teacher: TrainedAgent, env: gymnasium.Env[object, object]) -> CompressionContext:
    return CompressionContext(teacher=teacher, env=env, reset_seeds=itertools.count(50), rng=np.random.default_rng(1), gap=0.5)


@pytest.fixture
def student(teacher: TrainedAgent, context: CompressionContext) -> Student:
    """The teacher, behind a scaled input."""
    scaling = InputScaling.measured(teacher.observations)
    network = plain_network(teacher.network)
    network.set_weights(fold_input_scaling(network.get_weights(), scaling))
    states = teacher.observations[:100]
    return Student(network=network, scaling=scaling, states=states, preferences=context.preferences(states))


def test_a_student_plays_behind_its_scaling(student: Student, teacher: TrainedAgent) -> None:
    policy = student.as_policy(teacher.spec)
    states = teacher.observations[:300]
    inside = (np.abs(student.scaling(states)) < 1).all(axis=1)
    actions = policy.actions(states)
    assert [policy(state) for state in states] == actions.tolist()
    q_values = teacher.policy.q_values(states)
    clear = inside & (np.abs(q_values[:, 0] - q_values[:, 1]) > 1e-3)
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(actions[clear], q_values.argmax(axis=1)[clear])


def test_once_rounded_it_plays_rounded(student: Student, teacher: TrainedAgent) -> None:
    """With the actions of the network with fake quantization, one state at a time and all at once."""
    quantized = quantization_aware(student.network, (-1.0, 1.0))
    start_ranges(quantized, student.network, inputs=student.inputs())
    rounded = replace(student, quantized=quantized)
    policy = rounded.as_policy(teacher.spec)
    states = teacher.observations[:600]  # two batches and a bit
    actions = policy.actions(states)
    np.testing.assert_array_equal(actions, quantized(student.scaling(states), training=False).numpy().argmax(axis=1))
    assert [policy(state) for state in states[:100]] == actions[:100].tolist()
    as_it_was = student.as_policy(teacher.spec).actions(states)
    assert 0.6 < (actions == as_it_was).mean() < 1  # rounded Q-values tie


def test_more_states_are_remembered_with_targets_of_the_same_kind(student: Student, context: CompressionContext) -> None:
    one_hot = Targets("one_hot")
    more = context.teacher.observations[100:150]
    taught = Student(
        network=student.network,
        scaling=student.scaling,
        states=student.states,
        preferences=student.preferences,
        targets=one_hot,
    ).with_states(more, context)
    assert len(taught.states) == len(taught.preferences) == 150
    np.testing.assert_array_equal(taught.preferences[:100], student.preferences)
    np.testing.assert_array_equal(taught.preferences[100:], context.preferences(more, one_hot))
    assert set(np.unique(taught.preferences[100:])) == {-1.0, 1.0}


def test_hands_on_the_rounded_network_where_there_is_one(student: Student, teacher: TrainedAgent) -> None:
    plain = student.as_compressed(teacher.spec, teacher.observations, conversion="float32", recipe="mine")
    assert (plain.network, plain.recipe, plain.meaning, plain.reports) == (student.network, "mine", "q_values", ())
    rounded = Student(
        network=student.network,
        scaling=student.scaling,
        states=student.states,
        preferences=student.preferences,
        meaning="preferences",
        quantized=quantization_aware(student.network, (-1.0, 1.0)),
    )
    handed = rounded.as_compressed(teacher.spec, teacher.observations, conversion="qat-int8", recipe="mine")
    assert handed.network is rounded.quantized
    assert (handed.meaning, handed.layers) == ("preferences", describe(student.network))
