"""Distillation from a stream: what is learned from, what is looked at, and when it ends."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError
from edgedqn.compression.methods import streaming
from edgedqn.compression.methods.initialization import NewStudent, Restart, ScaleInput
from edgedqn.compression.methods.quantization import QuantizeAware
from edgedqn.compression.methods.streaming import GAPS, Stream, _InTurns, _Look, _Memory
from edgedqn.compression.recipe import Recipe
from edgedqn.compression.stage import CompressionContext, Student

pytestmark = pytest.mark.usefixtures("without_xla")
QUICK = Stream(rates=(1e-2, 1e-3), look=50, patience=1, most_states=2_000, first_states=300, held_out_episodes=3)


@pytest.fixture
def begun(beginning: tuple[Student, CompressionContext]) -> tuple[Student, CompressionContext]:
    student, context = beginning
    return Restart().apply(ScaleInput().apply(student, context)[0], context)[0], context


def test_a_fresh_network_comes_to_act_as_its_teacher(begun: tuple[Student, CompressionContext]) -> None:
    student, context = begun
    before = student.network.get_weights()
    taught, said = replace(QUICK, patience=4).apply(student, context)
    assert said.held_out_agreement is not None and said.states is not None
    assert max(said.held_out_agreement) > 0.9
    look = _Look(taught, context, episodes=10)  # other episodes than those it was chosen by
    assert look(taught.network.get_weights()) > max(0.9, look(before))
    assert (taught.meaning, taught.targets) == ("preferences", GAPS)
    assert len(taught.states) == len(taught.preferences) == min(said.states, QUICK.kept_states)
    np.testing.assert_array_equal(taught.preferences, context.preferences(taught.states, GAPS))
    for array, kept in zip(student.network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(array, kept)


@pytest.mark.parametrize(
    ("settings", "looks", "stopped"),
    [
        ({"gain": 1.0}, [2, 1], "no learning rate gains any more"),  # the very first look is a rise
        ({"gain": 1.0, "patience": 2}, [3, 2], "no learning rate gains any more"),
        ({"gain": 0.0, "most_states": 600}, [3], "after 600 states"),
        ({"gain": 0.0, "minutes": 1e-9}, [0], "after 1e-09 minutes"),
    ],
)
def test_each_rate_is_kept_for_as_long_as_it_gains(
    begun: tuple[Student, CompressionContext],
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    looks: list[int],
    stopped: str,
) -> None:
    student, context = begun
    agreements = iter(np.linspace(0.5, 0.9, 20))
    monkeypatch.setattr(_Look, "__call__", lambda self, weights: float(next(agreements)))
    _, said = replace(QUICK, **settings).train(student, context)
    assert said.stopped == stopped
    assert len(said.held_out_agreement or ()) == sum(looks)


def test_the_best_average_is_taken_not_the_last(
    begun: tuple[Student, CompressionContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    student, context = begun
    shown: list[list[NDArray[np.float32]]] = []

    def look(self: _Look, weights: list[NDArray[np.float32]]) -> float:
        shown.append(weights)
        return (0.5, 0.9, 0.8, 0.7, 0.6)[len(shown) - 1]

    monkeypatch.setattr(_Look, "__call__", look)
    taught, said = replace(QUICK, rates=(1e-2,), patience=3, gain=0.01).train(student, context)
    assert said.held_out_agreement is not None and len(said.held_out_agreement) > 2
    for array, best in zip(taught.network.get_weights(), shown[1], strict=True):
        np.testing.assert_array_equal(array, best)


def test_teacher_and_student_play_an_episode_each() -> None:
    players = _InTurns(lambda observation: 0, lambda observation: 1)

    def played() -> list[int]:
        players.reset()
        return [players(np.zeros(1)) for _ in range(2)]

    assert sorted(played() for _ in range(4)) == [[0, 0], [0, 0], [1, 1], [1, 1]]
    players.student = lambda observation: 7
    assert sorted(played() for _ in range(2)) == [[0, 0], [7, 7]]


def test_only_the_newest_states_are_remembered(begun: tuple[Student, CompressionContext]) -> None:
    _, context = begun
    states = context.teacher.observations[:7]
    memory = _Memory(4, context)
    for part in (states[:3], states[3:5], states[5:]):
        assert memory.add(iter(part), len(part)) == len(part)
    newest, targets = memory.newest(3)
    np.testing.assert_array_equal(newest, states[4:])
    np.testing.assert_array_equal(targets, context.preferences(states[4:], GAPS))
    np.testing.assert_array_equal(memory.newest(99)[0], states[3:])
    drawn, _ = memory.draw((2, 50), np.random.default_rng(0))
    assert {state.tobytes() for state in drawn.reshape(-1, *states.shape[1:])} == {state.tobytes() for state in states[3:]}


def test_images_fill_no_more_than_the_memory_may_have(
    begun: tuple[Student, CompressionContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, context = begun
    states = context.teacher.observations[:5]
    monkeypatch.setattr(streaming, "MEMORY_BYTES", 2 * states[0].nbytes)
    memory = _Memory(1_000, context)
    memory.add(iter(states), 5)
    np.testing.assert_array_equal(memory.newest(5)[0], states[3:])


def test_a_state_counts_by_what_the_choice_costs(begun: tuple[Student, CompressionContext]) -> None:
    student, context = begun
    look = _Look(student, context, episodes=2)
    own = context.teacher
    as_teacher = replace(student, network=own.network, scaling=student.scaling.identity())
    assert _Look(as_teacher, context, episodes=2)(own.network.get_weights()) == 1.0
    assert 0 <= look(student.network.get_weights()) <= 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rates": ()}, "learning rates above 0"),
        ({"look": 0}, "Expected look, patience, .* of 1 or more"),
        ({"states_per_step": 0.0}, "states_per_step and a temperature above 0"),
        ({"gain": 1.5}, r"gain and epsilon in \[0, 1\]"),
        ({"minutes": -1.0}, "minutes of 0 or more"),
    ],
)
def test_refuses_settings_that_make_no_stream(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Stream(**settings)


def test_teaches_a_new_student_in_a_recipe() -> None:
    recipe = Recipe("mine", "", (ScaleInput(), NewStudent(), QUICK, QuantizeAware()), "qat-int8")
    assert Recipe.from_json(recipe.to_json()) == recipe
