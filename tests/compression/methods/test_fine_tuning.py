from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgedqn.compression.methods.distillation import STEPS_PER_CALL, Distillation
from edgedqn.compression.methods.fine_tuning import clusters_of, final_loss, fine_tune, meaning_after, sparsity_of
from edgedqn.compression.methods.reinforcement import TdLearning
from edgedqn.compression.networks import fresh
from edgedqn.compression.student import Lesson, Student


@pytest.mark.parametrize("learning", [Distillation(100), TdLearning(100, batch_size=8)])
def test_a_wrapped_network_learns_as_it_is_told_and_the_students_own_stays(
    beginning: tuple[Student, Lesson], learning: Distillation | TdLearning
) -> None:
    student, lesson = beginning
    start = replace(student, network=fresh(student.network, lesson.rng))
    before = start.network.get_weights()
    wrapped = fresh(student.network, np.random.default_rng(4))
    losses = fine_tune(wrapped, start, lesson, learning, "learn")
    assert losses.shape == (100,) and np.isfinite(losses).all()
    assert any((a != b).any() for a, b in zip(wrapped.get_weights(), before, strict=True))
    for array, kept in zip(start.network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(array, kept)


def test_what_outputs_mean_depends_on_who_taught() -> None:
    assert (meaning_after(Distillation(50)), meaning_after(TdLearning())) == ("preferences", "q_values")


def test_the_final_loss_is_that_of_the_last_call() -> None:
    losses = np.concatenate([np.full(2 * STEPS_PER_CALL, 9.0), np.full(STEPS_PER_CALL, 0.5)]).astype(np.float32)
    assert final_loss(losses) == 0.5


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40))
def test_counts_zeros_and_values(values: list[int]) -> None:
    kernel = np.array([values], np.float32)
    assert sparsity_of([kernel]) == [pytest.approx(values.count(0) / len(values))]
    assert clusters_of([kernel, kernel]) == [len(set(values))] * 2


def test_of_filters_the_one_with_most_values_counts_where_that_is_asked_for() -> None:
    kernel = np.zeros((2, 2, 1, 2), np.float32)  # height, width, inputs, filters
    kernel[0, :, 0, 0], kernel[..., 0, 1] = [1, 2], [[3, 4], [5, 6]]
    assert clusters_of([kernel]) == [7]
    assert clusters_of([kernel], per_filter=True) == [4]
    assert clusters_of([kernel.reshape(4, 2)], per_filter=True) == [7]
