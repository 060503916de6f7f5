"""The dueling merge against its equation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedqn.agents.heads import DuelingMerge


@settings(max_examples=30, deadline=None)
@given(batch=st.integers(1, 4), n_actions=st.integers(1, 5), quantiles=st.integers(0, 4), seed=st.integers(0, 99))
def test_it_is_value_plus_advantage_minus_the_mean_advantage(batch, n_actions, quantiles, seed):
    rng = np.random.default_rng(seed)
    n = max(1, quantiles)
    value, advantages = rng.normal(size=(batch, n)), rng.normal(size=(batch, n_actions * n))
    q = DuelingMerge(n_actions, quantiles)([value.astype(np.float32), advantages.astype(np.float32)]).numpy()
    assert q.shape == ((batch, n_actions, quantiles) if quantiles else (batch, n_actions))
    for b in range(batch):
        for i in range(n):
            of_actions = [advantages[b, a * n + i] for a in range(n_actions)]
            expected = [value[b, i] + advantage - sum(of_actions) / n_actions for advantage in of_actions]
            np.testing.assert_allclose(q[b, :, i] if quantiles else q[b], expected, rtol=1e-5, atol=1e-5)


def test_the_mean_over_actions_is_the_value():
    q = DuelingMerge(3)([np.float32([[7]]), np.float32([[1, 2, 9]])]).numpy()
    assert q.tolist() == [[4, 5, 12]]
    assert q.mean() == 7


@pytest.mark.parametrize(("value", "advantages"), [(2, 3), (1, 4), (1, 6)])
def test_streams_of_other_widths_are_refused(value, advantages):
    with pytest.raises(ValueError, match=rf"Expected widths of 1 and 3 to merge\. Got {value} and {advantages}\."):
        DuelingMerge(3)([np.zeros((2, value), np.float32), np.zeros((2, advantages), np.float32)])


@pytest.mark.parametrize("quantiles", [0, 5])
def test_its_configuration_makes_it_again(quantiles):
    again = DuelingMerge.from_config(DuelingMerge(4, quantiles, name="merge").get_config())
    assert (again.n_actions, again.quantiles, again.name) == (4, quantiles, "merge")
