from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError
from edgedqn.compression.preferences import Targets, median_action_gap

tables = hnp.arrays(np.float32, st.tuples(st.integers(1, 8), st.integers(2, 5)), elements=st.integers(-100, 100).map(float))


@settings(max_examples=100, deadline=None)
@given(tables, st.floats(0.01, 50), st.sampled_from([0.5, 2.0, 3.0]))
def test_clipped_action_gaps_as_the_formula_says(q_values: NDArray[np.float32], gap: float, width: float) -> None:
    expected = np.empty(q_values.shape)
    for n, row in enumerate(q_values.tolist()):
        for a, q in enumerate(row):
            expected[n, a] = 1 + 2 * min(max((q - max(row)) / (width * gap), -1), 0)
    got = Targets(width=width)(q_values, gap)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=1e-6)


@settings(max_examples=100, deadline=None)
@given(tables, st.floats(0.5, 50), st.integers(-1_000, 1_000))
def test_clipped_action_gaps_keep_what_matters(q_values: NDArray[np.float32], gap: float, shift: int) -> None:
    got = Targets()(q_values, gap)
    best = q_values == q_values.max(axis=1, keepdims=True)
    np.testing.assert_array_equal(got == 1, best)  # the best are exactly 1, and only they
    assert got.min() >= -1
    np.testing.assert_array_equal(Targets()(q_values + np.float32(shift), gap), got)  # the state's value is nothing
    for row, preferences in zip(q_values, got, strict=True):
        kept = preferences > -1
        np.testing.assert_array_equal(  # where nothing is clipped the order stays
            np.sign(np.subtract.outer(row, row))[kept][:, kept],
            np.sign(np.subtract.outer(preferences, preferences))[kept][:, kept],
        )
        assert (row[~kept] <= row.max() - 2 * gap + 1e-3).all()


def test_the_gap_and_the_width_are_where_they_should_be() -> None:
    q_values = np.array([[10, 9, 8, 6, -1_000]], np.float32)  # gaps of 0, 1, 2, 4 and a lot, in units of 1
    np.testing.assert_array_equal(Targets()(q_values, 1.0), [[1, 0, -1, -1, -1]])
    np.testing.assert_array_equal(Targets(width=4.0)(q_values, 1.0), [[1, 0.5, 0, -1, -1]])
    np.testing.assert_array_equal(Targets()(q_values, 4.0), [[1, 0.75, 0.5, 0, -1]])


def test_median_action_gap_is_over_the_positive_gaps() -> None:
    q_values = np.array([[5, 4, 0], [1, 1, -9], [0, 3, -1], [7, 7, 7], [-2, -9, -9]], np.float32)
    assert median_action_gap(q_values) == 3  # of 1, 3 and 7; the two ties would make it 1
    assert median_action_gap(q_values[:, ::-1]) == 3
    assert median_action_gap(q_values[:2]) == 1


@settings(max_examples=50, deadline=None)
@given(tables, st.sampled_from([0.25, 2.0, 64.0]))
def test_median_action_gap_follows_the_scale_and_no_shift(q_values: NDArray[np.float32], factor: float) -> None:
    try:
        gap = median_action_gap(q_values)
    except InputError:
        assert (np.sort(q_values, axis=1)[:, -1] == np.sort(q_values, axis=1)[:, -2]).all()
        return
    assert gap > 0
    assert median_action_gap(q_values * np.float32(factor) + 8) == pytest.approx(gap * factor)


def test_targets_of_each_kind_rank_actions_as_the_teacher_does() -> None:
    q_values = np.array([[1.0, 3.0, 2.5], [-4.0, -9.0, -4.5]], np.float32)
    for kind in ("clipped_gaps", "advantages", "q_values", "one_hot"):
        targets = Targets(kind, width=2.0)(q_values, gap=0.5)
        assert (targets.shape, targets.dtype) == ((2, 3), np.dtype(np.float32))
        np.testing.assert_array_equal(targets.argmax(axis=1), [1, 0])
    # One unit of width is 0.5 * 2; it falls from 1 to -1.
    np.testing.assert_allclose(Targets("clipped_gaps")(q_values, 0.5), [[-1, 1, 0], [1, -1, 0]])
    np.testing.assert_allclose(Targets("advantages")(q_values, 0.5), [[-3, 1, 0], [1, -9, 0]])
    np.testing.assert_allclose(Targets("q_values")(q_values, 0.5), [[2, 6, 5], [-8, -18, -9]])
    np.testing.assert_allclose(Targets("one_hot")(q_values, 0.5), [[-1, 1, -1], [1, -1, -1]])


@pytest.mark.parametrize("settings", [{"kind": "guess"}, {"width": 0.0}, {"width": -1.0}])
def test_refuses_targets_that_are_none(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="Got"):
        Targets(**settings)
