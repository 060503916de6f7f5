"""Distillation from a stream: what is learned from, what is looked at, and when it ends."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.evaluation import EpsilonGreedy, Policy, visit
from edgedqn.compression.methods import streaming
from edgedqn.compression.methods.initialization import NewStudent, Restart, ScaleInput
from edgedqn.compression.methods.quantization import QuantizeAware
from edgedqn.compression.methods.streaming import GAPS, Stream, _InTurns, _Look, _Memory
from edgedqn.compression.preferences import Targets
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
    start, *later = said.held_out_agreement
    assert max(later) > max(0.9, start)
    look = _Look(context, 10)  # other episodes than those it was chosen by
    assert look(taught, taught.network.get_weights()) > 0.9
    assert (taught.meaning, taught.targets) == ("preferences", Targets())
    assert len(taught.states) == min(said.states, QUICK.kept_states)
    np.testing.assert_array_equal(taught.preferences, context.preferences(taught.states))
    for array, kept in zip(student.network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(array, kept)


def test_what_acts_as_its_teacher_already_stays(beginning: tuple[Student, CompressionContext]) -> None:
    student, context = beginning
    taught, said = replace(QUICK, rates=(10.0,)).apply(student, context)
    assert said.held_out_agreement is not None and said.held_out_agreement[0] == 1.0 > said.held_out_agreement[-1]
    states = context.teacher.observations
    np.testing.assert_array_equal(
        taught.as_policy(context.teacher.spec).actions(states), context.teacher.policy.actions(states)
    )


@pytest.mark.parametrize(
    ("settings", "shown", "stopped"),
    [
        # The first is of the start. Of each rate, a look that does not rise by the gain ends it.
        ({}, [0.5, 0.6, 0.6, 0.601], "no learning rate gains any more"),
        ({"patience": 2}, [0.5, 0.505, 0.512, 0.51, 0.51, 0.6, 0.5, 0.5], "no learning rate gains any more"),
        ({"gain": 1e-9, "most_states": 600}, [0.5, 0.6, 0.7, 0.8], "after 600 states"),
        ({"minutes": 1e-9}, [0.5, 0.6], "after 1e-09 minutes"),
    ],
)
def test_each_rate_is_kept_for_as_long_as_it_gains(
    begun: tuple[Student, CompressionContext],
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    shown: list[float],
    stopped: str,
) -> None:
    student, context = begun
    agreements = iter(shown)
    seen: list[list[NDArray[np.float32]]] = []

    def look(self: _Look, student: Student, weights: list[NDArray[np.float32]]) -> float:
        seen.append(weights)
        return next(agreements)

    monkeypatch.setattr(_Look, "__call__", look)
    taught, said = replace(QUICK, **{"gain": 0.01, "most_states": 100_000, **settings}).train(student, context)
    assert (said.held_out_agreement, said.stopped) == (tuple(shown), stopped)
    for array, best in zip(taught.network.get_weights(), seen[int(np.argmax(shown))], strict=True):
        np.testing.assert_array_equal(array, best)


def test_teacher_and_student_play_an_episode_each(begun: tuple[Student, CompressionContext]) -> None:
    _, context = begun
    asked: list[str] = []

    def player(name: str) -> Policy:
        def play(observation: NDArray[Any], /) -> int:
            asked.append(name)
            return 0

        return play

    players = _InTurns(player("teacher"), player("student"))
    explorer = EpsilonGreedy(players, 0.0, n_actions=2, rng=np.random.default_rng(0))
    episodes = []
    for seed in range(4):
        asked.clear()
        list(visit(explorer, context.env, reset_seeds=[seed]))
        episodes.append(set(asked))
    assert sorted(map(sorted, episodes)) == [["student"], ["student"], ["teacher"], ["teacher"]]
    players.student = player("better")
    asked.clear()
    list(visit(explorer, context.env, reset_seeds=[5, 6]))
    assert {*asked} == {"teacher", "better"}


def test_only_the_newest_states_are_remembered(begun: tuple[Student, CompressionContext]) -> None:
    _, context = begun
    states = context.teacher.observations[:7]
    memory = _Memory(4, context)
    for part in (states[:3], states[3:5], states[5:]):
        assert memory.add(part) == len(part)
    np.testing.assert_array_equal(memory.newest(3), states[4:])
    np.testing.assert_array_equal(memory.newest(99), states[3:])
    drawn, targets = memory.draw((2, 50), np.random.default_rng(0))
    assert {state.tobytes() for state in drawn.reshape(-1, *states.shape[1:])} == {state.tobytes() for state in states[3:]}
    np.testing.assert_array_equal(targets[0], context.preferences(drawn[0], GAPS))


def test_images_fill_no_more_than_the_memory_may_have(
    begun: tuple[Student, CompressionContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, context = begun
    states = context.teacher.observations[:5]
    monkeypatch.setattr(streaming, "MEMORY_BYTES", 2 * states[0].nbytes)
    memory = _Memory(1_000, context)
    memory.add(states[:2])
    memory.add(states[2:4])
    np.testing.assert_array_equal(memory.newest(5), states[2:4])


def test_a_state_counts_by_what_the_choice_costs(
    begun: tuple[Student, CompressionContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    student, context = begun
    look = _Look(context, 2)
    own = context.teacher.policy.q_values(look._states)  # [N, A]
    gaps = np.abs(own[:, 0] - own[:, 1])
    always_left = [np.zeros_like(array) for array in student.network.get_weights()]  # the lowest index of equal outputs
    assert look(student, always_left) == pytest.approx(gaps[own[:, 0] > own[:, 1]].sum() / gaps.sum(), rel=1e-4)


def test_it_begins_in_the_unit_of_its_targets_without_another_choice(begun: tuple[Student, CompressionContext]) -> None:
    student, context = begun
    look, weights = _Look(context, 2), student.network.get_weights()
    scaled = look.in_gaps(student)
    assert look(scaled, scaled.network.get_weights()) == look(student, weights)
    outputs = np.sort(scaled.network(scaled.scaling(look._states)).numpy(), axis=1)
    assert np.median(outputs[:, -1] - outputs[:, -2]) == pytest.approx(1, rel=0.2)
    dead = student.with_weights([np.zeros_like(array) for array in weights])
    assert not any(array.any() for array in look.in_gaps(dead).network.get_weights())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rates": ()}, "learning rates above 0"),
        ({"look": 0}, "Expected look, patience, .* of 1 or more"),
        ({"states_per_step": 0.0}, "states_per_step and a temperature above 0"),
        ({"epsilon": 1.5}, r"epsilon in \[0, 1\]"),
        ({"gain": 0.0}, "Expected a gain, .* above 0"),
        ({"most_states": 20_000}, "Expected first_states below most_states"),
        ({"minutes": -1.0}, "minutes of 0 or more"),
    ],
)
def test_refuses_settings_that_make_no_stream(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Stream(**settings)


def test_a_recipe_of_it_is_read_as_it_was_written() -> None:
    recipe = Recipe("mine", "", (ScaleInput(), NewStudent(), QUICK, QuantizeAware()), "qat-int8")
    assert Recipe.from_json(recipe.to_json()) == recipe
