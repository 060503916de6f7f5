"""Agreement, weighted agreement and ties on rows whose answer is plain."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from edgedqn.benchmarks.agreement import Agreement, agreement, output_range, preferences_of
from edgedqn.benchmarks.rows import OutputRange
from edgedqn.export.edge_policy import EdgePolicy

ROWS = arrays(np.float64, st.tuples(st.integers(1, 20), st.integers(2, 5)), elements=st.integers(-128, 127))


def test_a_choice_counts_by_what_it_costs() -> None:
    baseline = np.array([[0.0, 9.0], [1.0, 0.0], [5.0, 5.0]])  # gaps 9, 1, 0
    candidate = np.array([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    found = agreement(baseline, candidate)
    assert found == Agreement(action_agreement=1 / 3, gap_weighted_agreement=0.9, tie_rate=0.0)


def test_ties_are_of_the_largest_output_and_the_lowest_index_decides() -> None:
    baseline = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    candidate = np.array([[7.0, 7.0, 0.0], [7.0, 7.0, 0.0], [9.0, 7.0, 7.0]])
    found = agreement(baseline, candidate)
    assert found.tie_rate == pytest.approx(2 / 3)
    assert found.action_agreement == pytest.approx(2 / 3)


def test_where_no_choice_costs_anything_all_agree_by_gap() -> None:
    assert agreement(np.ones((3, 2)), np.array([[0.0, 1.0]] * 3)).gap_weighted_agreement == 1.0


def test_the_gap_is_to_the_second_best_action() -> None:
    baseline = np.array([[10.0, 9.0, -100.0], [4.0, 0.0, 0.0]])  # gaps 1 and 4
    candidate = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    assert agreement(baseline, candidate).gap_weighted_agreement == pytest.approx(0.8)


@given(rows=ROWS, scale=st.floats(0.1, 10), shift=st.floats(-10, 10))
def test_a_file_agrees_with_itself_in_any_unit(rows: NDArray[np.float64], scale: float, shift: float) -> None:
    found = agreement(rows, rows * scale + shift)
    assert (found.action_agreement, found.gap_weighted_agreement) == (1.0, 1.0)


@given(rows=ROWS, seed=st.integers(0, 100))
def test_shares_are_shares(rows: NDArray[np.float64], seed: int) -> None:
    found = agreement(rows, np.random.default_rng(seed).integers(-2, 2, rows.shape).astype(float))
    for share in (found.action_agreement, found.gap_weighted_agreement, found.tie_rate):
        assert 0 <= share <= 1


@pytest.mark.parametrize("shape", [(2, 3), (3, 2)])
def test_only_the_same_states_and_actions_compare(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"same states and actions, \(2, 2\)"):
        agreement(np.ones((2, 2)), np.ones(shape))


def test_rows_are_what_the_file_computes(models: Path) -> None:
    observations = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    third = observations[:, 2]
    expected = np.stack([np.maximum(-third, 0), np.maximum(third, 0)], axis=1)
    np.testing.assert_allclose(preferences_of(EdgePolicy.load(models / "float32.tflite"), observations), expected, atol=1e-6)
    rows = preferences_of(EdgePolicy.load(models / "int8.tflite"), observations)
    assert (rows == np.rint(rows)).all()
    assert rows.min() >= -128


def test_nan_is_never_a_preference(models: Path) -> None:
    with pytest.raises(ValueError, match="not finite"):
        preferences_of(EdgePolicy.load(models / "nan.tflite"), np.ones((2, 4), np.float32))


def test_states_are_compared_as_the_network_sees_them(models: Path, views: Path) -> None:
    """Each for itself: a stack that is complete needs no memory."""
    observations = np.random.default_rng(1).normal(size=(20, 4)).astype(np.float32)
    expected = preferences_of(EdgePolicy.load(models / "int8.tflite"), observations)
    policy = EdgePolicy.load(views / "stacked.tflite")
    np.testing.assert_array_equal(preferences_of(policy, observations), expected)
    np.testing.assert_array_equal(preferences_of(policy, observations[::-1]), expected[::-1])
    one_hot = preferences_of(EdgePolicy.load(views / "table.tflite"), np.eye(4, dtype=np.int64))
    np.testing.assert_array_equal(one_hot, [EdgePolicy.load(views / "table.tflite").preferences(i) for i in range(4)])


def test_the_range_of_all_outputs_and_the_median_of_the_gaps() -> None:
    rows = np.array([[0.0, 5.0, 4.0], [-3.0, 1.0, 1.0], [9.0, 2.0, 7.0]])
    assert output_range(rows) == OutputRange(-3.0, 9.0, 1.0)
    assert output_range(rows[:, :1]).median_gap == 0.0


@given(ROWS)
def test_what_is_not_legal_counts_nowhere(rows: NDArray[np.float64]) -> None:
    """As if these actions were not there, whatever the networks make of them."""
    legal = np.tile([True, False], (len(rows), rows.shape[1]))
    other = rows + np.arange(rows.shape[1])
    masked = [np.repeat(each, 2, axis=1) + np.where(legal, 0, 500) for each in (rows, other)]
    assert agreement(*masked, legal=legal) == agreement(rows, other)
