"""Scores over training seeds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgedqn.agents.playing.statistics import across_seeds, interquartile_mean


def test_the_interquartile_mean_drops_a_quarter_at_each_end():
    assert interquartile_mean(np.array([100.0, 1.0, 2.0, 3.0, -50.0])) == 2
    assert interquartile_mean(np.array([9.0, 1.0, 2.0])) == 4  # too few to drop any
    np.testing.assert_array_equal(interquartile_mean(np.array([[0.0, 4, 8, 900], [1, 1, 1, 1]])), [6, 1])


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9))
def test_the_summary_lies_within_the_seeds(means):
    summary = across_seeds(means)
    slack = 1e-9 * max(map(abs, means))
    assert min(means) - slack <= summary.iqm.low <= summary.iqm.high <= max(means) + slack
    assert min(means) - slack <= summary.iqm.mean <= max(means) + slack
    assert summary.mean == pytest.approx(np.mean(means))
    assert summary == across_seeds(means)


def test_equal_seeds_have_no_interval():
    iqm = across_seeds([500.0] * 5).iqm
    assert (iqm.mean, iqm.low, iqm.high) == (500, 500, 500)


@pytest.mark.parametrize("means", [[], [1.0, float("nan")]])
def test_no_seeds_and_no_number_are_refused(means):
    with pytest.raises(ValueError, match="Expected the mean return of at least one seed"):
        across_seeds(means)
