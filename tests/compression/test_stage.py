"""What a method of one's own needs, and what a recipe asks of it."""

import itertools
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest

from edgedqn.agents.architecture import describe
from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.spec import ActionMask
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.compression.folding import BATCH, InputScaling, fold_input_scaling, plain_network
from edgedqn.compression.methods.distillation import Distil, Visit
from edgedqn.compression.methods.initialization import Restart
from edgedqn.compression.methods.pruning import Prune
from edgedqn.compression.methods.quantization import QuantizeAware
from edgedqn.compression.methods.reinforcement import TdLearning
from edgedqn.compression.methods.search import Search
from edgedqn.compression.methods.shrinking import Shrink
from edgedqn.compression.preferences import Targets
from edgedqn.compression.recipe import Recipe
from edgedqn.compression.report import Findings
from edgedqn.compression.stage import CompressionContext, Stage, Student, q_values_of
from edgedqn.compression.tfmot.fake_quantization import quantization_aware, start_ranges


@dataclass(frozen=True)
class Halve(Stage):
    """Halves all weights; of a ReLU network, that keeps the order of the actions where there are no biases."""

    name: ClassVar[str] = "halve"
    fixes_weights: ClassVar[bool] = True

    def apply(self, student: Student, context: CompressionContext) -> tuple[Student, Findings]:
        return student.with_weights([array / 2 for array in student.network.get_weights()]), Findings()


def test_a_stage_of_ones_own_goes_into_a_recipe_and_others_heed_what_it_says_of_itself() -> None:
    assert Recipe("mine", "", (Distil(), Halve(), QuantizeAware()), "qat-int8").asks_gate is False
    with pytest.raises(InputError, match="restart makes a new network: expected no halve before"):
        Recipe("mine", "", (Halve(), Restart(), Prune(0.5)), "float32")
    with pytest.raises(InputError, match="Distillation moves all weights"):
        Recipe("mine", "", (Halve(), Distil()), "float32")


def test_what_it_trains_is_what_its_settings_say() -> None:
    assert (Halve().trains, Prune(0.5).trains, Prune(0.5, learning=TdLearning()).trains) == (None, "preferences", "q_values")
    assert (Distil().trains, Search().trains, Shrink().trains, Visit().trains) == (*("preferences",) * 3, None)


def test_visits_what_the_policy_sees_from_the_reset_seeds(context: CompressionContext, teacher: TrainedAgent) -> None:
    visited = context.gather_states(teacher.policy, 700, epsilon=0.0)
    env = gymnasium.make("CartPole-v1")
    expected: list[Any] = []
    for seed in itertools.count(50):
        observation, _ = env.reset(seed=seed)
        over = False
        while not over:
            expected.append(observation)
            observation, _, terminated, truncated, _ = env.step(teacher.policy(observation))
            over = terminated or truncated
        if len(expected) >= 700:
            break
    env.close()
    assert visited.dtype == np.float32
    np.testing.assert_array_equal(visited, expected[:700])


def test_epsilon_mixes_random_actions_in(context: CompressionContext, teacher: TrainedAgent) -> None:
    spread = [np.abs(context.gather_states(teacher.policy, 2_000, epsilon=epsilon)[:, 2]).mean() for epsilon in (0.0, 0.3, 1.0)]
    assert spread[0] < spread[1] < spread[2]  # the pole leans further the less the policy has to say


def test_preferences_are_1_for_the_teachers_action(context: CompressionContext, teacher: TrainedAgent) -> None:
    preferences = context.preferences(teacher.observations)
    q_values = teacher.network(teacher.observations).numpy()
    best = q_values.argmax(axis=1)
    gaps = np.abs(q_values[:, 0] - q_values[:, 1])
    np.testing.assert_array_equal(preferences[np.arange(len(best)), best], 1)
    # Half of the states have a gap below the median, where the other action's preference is above 0.
    assert (preferences[np.arange(len(best)), 1 - best] > 0).mean() == pytest.approx(0.5, abs=0.01)
    np.testing.assert_allclose(preferences.min(axis=1), 1 - np.minimum(gaps / context.gap, 2), atol=1e-3)


def test_q_values_of_many_states_are_those_of_each(frames: Any) -> None:
    states = frames.agent.observations[: BATCH + 3]
    expected = np.stack([frames.agent.policy.q_values(state) for state in states])
    np.testing.assert_allclose(q_values_of(frames.agent, states), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.fixture
def scaled(teacher: TrainedAgent, context: CompressionContext) -> Student:
    """The teacher, behind a scaled input."""
    scaling = InputScaling.measured(teacher.observations)
    network = plain_network(teacher.network)
    network.set_weights(fold_input_scaling(network.get_weights(), scaling))
    states = teacher.observations[:100]
    return Student(network=network, scaling=scaling, states=states, preferences=context.preferences(states))


def test_a_student_plays_behind_its_scaling(scaled: Student, teacher: TrainedAgent) -> None:
    policy = scaled.as_policy(teacher.spec)
    states = teacher.observations[:300]
    inside = (np.abs(scaled.scaling(states)) < 1).all(axis=1)
    actions = policy.actions(states)
    assert [policy(state) for state in states] == actions.tolist()
    q_values = teacher.policy.q_values(states)
    clear = inside & (np.abs(q_values[:, 0] - q_values[:, 1]) > 1e-3)
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(actions[clear], q_values.argmax(axis=1)[clear])


def test_once_rounded_it_plays_rounded(scaled: Student, teacher: TrainedAgent) -> None:
    """With the actions of the network with fake quantization, one state at a time and all at once."""
    quantized = quantization_aware(scaled.network, (-1.0, 1.0))
    start_ranges(quantized, scaled.network, inputs=scaled.inputs())
    rounded = replace(scaled, quantized=quantized)
    policy = rounded.as_policy(teacher.spec)
    states = teacher.observations[:600]  # two batches and a bit
    actions = policy.actions(states)
    np.testing.assert_array_equal(actions, quantized(scaled.scaling(states), training=False).numpy().argmax(axis=1))
    assert [policy(state) for state in states[:100]] == actions[:100].tolist()
    as_it_was = scaled.as_policy(teacher.spec).actions(states)
    assert 0.6 < (actions == as_it_was).mean() < 1  # rounded Q-values tie


def test_more_states_are_remembered_with_targets_of_the_same_kind(scaled: Student, context: CompressionContext) -> None:
    one_hot = Targets("one_hot")
    more = context.teacher.observations[100:150]
    taught = Student(
        network=scaled.network,
        scaling=scaled.scaling,
        states=scaled.states,
        preferences=scaled.preferences,
        targets=one_hot,
    ).with_states(more, context)
    assert len(taught.states) == len(taught.preferences) == 150
    np.testing.assert_array_equal(taught.preferences[:100], scaled.preferences)
    np.testing.assert_array_equal(taught.preferences[100:], context.preferences(more, one_hot))
    assert set(np.unique(taught.preferences[100:])) == {-1.0, 1.0}


def test_hands_on_the_rounded_network_where_there_is_one(scaled: Student, teacher: TrainedAgent) -> None:
    plain = scaled.as_compressed(teacher, conversion="float32", recipe="mine")
    assert (plain.network, plain.recipe, plain.meaning, plain.reports) == (scaled.network, "mine", "q_values", ())
    assert plain.scaling == replace(scaled.scaling, limits=None)  # a float input has no ends
    rounded = Student(
        network=scaled.network,
        scaling=scaled.scaling,
        states=scaled.states,
        preferences=scaled.preferences,
        meaning="preferences",
        quantized=quantization_aware(scaled.network, (-1.0, 1.0)),
    )
    handed = rounded.as_compressed(teacher, conversion="qat-int8", recipe="mine")
    assert handed.network is rounded.quantized and handed.scaling == scaled.scaling
    assert (handed.meaning, handed.layers) == ("preferences", describe(scaled.network))


def test_a_teacher_values_what_is_not_legal_like_the_worst_that_is_and_a_student_does_not_take_it(
    scaled: Student, teacher: TrainedAgent
) -> None:
    spec = teacher.spec
    of_two = replace(spec, observation_shape=(spec.observation_shape[0] - spec.n_actions,), preprocessing=(ActionMask(),))
    masked = replace(teacher, spec=of_two)
    states = teacher.observations[:50].copy()
    states[:, -2:] = [[1, 0], [0, 1], [1, 1], [1, 0], [0, 1]] * 10  # CartPole's last two features stand in
    values, plain = q_values_of(masked, states), q_values_of(teacher, states)
    legal = states[:, -2:].astype(bool)
    np.testing.assert_array_equal(values[legal], plain[legal])
    worst = np.where(legal, plain, np.inf).min(axis=1)
    np.testing.assert_array_equal(values[~legal], np.repeat(worst[:, None], 2, axis=1)[~legal])
    actions = scaled.as_policy(of_two).actions(states)
    assert legal[np.arange(50), actions].all() and len(set(actions)) == 2
    assert [masked.policy(state) for state in states] == np.where(legal, plain, -np.inf).argmax(axis=1).tolist()
