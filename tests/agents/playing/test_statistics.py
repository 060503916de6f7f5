"""Bootstrap intervals, and scores over training seeds."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedqn.agents.playing.statistics import Interval, across_seeds, bootstrap_interval, interquartile_mean

FINITE = st.floats(-1e6, 1e6)


@given(value=FINITE, count=st.integers(1, 50))
def test_equal_values_give_an_interval_of_no_width(value: Any, count: int) -> None:
    assert bootstrap_interval([value] * count) == Interval(*[float(np.mean([value] * count))] * 3)


@settings(max_examples=25, deadline=None)
@given(values=st.lists(FINITE, min_size=1, max_size=40))
def test_the_interval_lies_within_the_values_and_round_their_mean(values: Any) -> None:
    found = bootstrap_interval(values)
    slack = 1e-9 * max(map(abs, values))
    assert min(values) - slack <= found.low <= found.high <= max(values) + slack
    assert found.mean == pytest.approx(np.mean(values))
    assert found == bootstrap_interval(values)


@settings(max_examples=25, deadline=None)
@given(values=st.lists(FINITE, min_size=2, max_size=40))
def test_more_confidence_is_a_wider_interval(values: Any) -> None:
    narrow, wide = bootstrap_interval(values, 0.9), bootstrap_interval(values, 0.99)
    assert wide.low <= narrow.low <= narrow.high <= wide.high


@pytest.mark.parametrize("draw", ["normal", "exponential"])
def test_the_interval_agrees_with_scipys(draw: str) -> None:
    stats = pytest.importorskip("scipy.stats")
    values = getattr(np.random.default_rng(1), draw)(size=200)
    found = bootstrap_interval(values, 0.99)
    theirs = stats.bootstrap(
        (values,), np.mean, confidence_level=0.99, method="percentile", n_resamples=10_000, rng=np.random.default_rng(2)
    ).confidence_interval
    width = theirs.high - theirs.low
    assert found.low == pytest.approx(theirs.low, abs=0.05 * width)
    assert found.high == pytest.approx(theirs.high, abs=0.05 * width)


def test_the_interval_agrees_with_the_normal_approximation_on_many_values() -> None:
    values = np.random.default_rng(3).normal(5, 2, size=2_000)
    found = bootstrap_interval(values)
    half = 1.96 * values.std() / np.sqrt(values.size)
    assert found.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.1 * half)


@pytest.mark.parametrize("values", [[], [1.0, np.nan], [np.inf]])
def test_what_has_no_mean_has_no_interval(values: Any) -> None:
    with pytest.raises(ValueError, match="at least one value, all finite"):
        bootstrap_interval(values)


def test_the_interquartile_mean_drops_a_quarter_at_each_end() -> None:
    assert interquartile_mean(np.array([100.0, 1.0, 2.0, 3.0, -50.0])) == 2
    assert interquartile_mean(np.array([9.0, 1.0, 2.0])) == 4  # too few to drop any
    np.testing.assert_array_equal(interquartile_mean(np.array([[0.0, 4, 8, 900], [1, 1, 1, 1]])), [6, 1])


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9))
def test_the_summary_lies_within_the_seeds(means: Any) -> None:
    iqm = across_seeds(means)
    slack = 1e-9 * max(map(abs, means))
    assert min(means) - slack <= iqm.low <= iqm.high <= max(means) + slack
    assert min(means) - slack <= iqm.mean <= max(means) + slack
    assert iqm == across_seeds(means)


def test_equal_seeds_have_no_interval() -> None:
    iqm = across_seeds([500.0] * 5)
    assert (iqm.mean, iqm.low, iqm.high) == (500, 500, 500)


@pytest.mark.parametrize("means", [[], [1.0, float("nan")]])
def test_no_seeds_and_no_number_are_refused(means: Any) -> None:
    with pytest.raises(ValueError, match="Expected the mean return of at least one seed"):
        across_seeds(means)
