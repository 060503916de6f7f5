"""The ring against a deque."""

from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedqn.agents.errors import InputError
from edgedqn.agents.replay import Transitions, UniformReplay


def transition(n):
    """The n-th transition, n >= 1; each field says which it is, and none is the zero of an unused slot."""
    return np.float32([n, -n]), n, n / 2, n / 4, np.float32([n + 1, -n - 1])


def filled(capacity, count, seed=0):
    replay = UniformReplay(capacity, (2,), np.random.default_rng(seed))
    for n in range(1, count + 1):
        replay.add(*transition(n))
    return replay


@settings(max_examples=50, deadline=None)
@given(capacity=st.integers(1, 12), count=st.integers(1, 40))
def test_it_holds_what_a_deque_would_hold(capacity, count):
    model = deque(maxlen=capacity)
    model.extend(range(1, count + 1))
    replay = filled(capacity, count)
    assert len(replay) == len(model)
    # 60 draws per entry: that one is missed happens once in 10**25.
    sample = replay.sample(60, len(model))
    assert set(sample.a_tm1.ravel().tolist()) == set(model)
    expected = Transitions._make(
        np.array(field, np.float32) for field in zip(*map(transition, sample.a_tm1.ravel()), strict=True)
    )
    for field, values in zip(sample, expected, strict=True):
        np.testing.assert_array_equal(field.reshape(values.shape), values)


def test_a_sample_is_minibatches_of_transitions():
    sample = filled(100, 30).sample(5, 7)
    assert isinstance(sample, Transitions)
    assert [(field.shape, field.dtype) for field in sample] == [
        ((5, 7, 2), np.float32),
        ((5, 7), np.int32),
        ((5, 7), np.float32),
        ((5, 7), np.float32),
        ((5, 7, 2), np.float32),
    ]


def test_sampling_is_uniform_and_with_replacement():
    counts = np.bincount(filled(10, 14).sample(100, 100).a_tm1.ravel(), minlength=15)
    assert counts[:5].sum() == 0  # 0 was never there, 1 to 4 made room
    assert np.abs(counts[5:] - 1_000).max() < 150  # five standard deviations
    assert filled(10, 1).sample(1, 3).a_tm1.tolist() == [[1, 1, 1]]


def test_the_rng_decides_the_sample():
    first, again, other = (filled(50, 50, seed).sample(4, 8).a_tm1 for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_sample_and_what_was_added_are_copies():
    replay = UniformReplay(1, (2,), np.random.default_rng(0))
    s_tm1 = np.zeros(2, np.float32)
    replay.add(s_tm1, 0, 0.0, 1.0, s_tm1)
    s_tm1 += 9
    sample = replay.sample(1, 1)
    sample.s_t[:] = 9
    assert not sample.s_tm1.any()
    assert not replay.sample(1, 1).s_t.any()


@pytest.mark.parametrize("capacity", [0, -1])
def test_a_capacity_is_positive(capacity):
    with pytest.raises(InputError, match=rf"^Expected a replay capacity of 1 or more\. Got {capacity}\.$"):
        UniformReplay(capacity, (4,), np.random.default_rng(0))


def test_what_memory_cannot_hold_is_refused_at_once(monkeypatch):
    def no_memory(*_):
        raise MemoryError

    rng = np.random.default_rng(0)
    monkeypatch.setattr(np, "zeros", no_memory)
    with pytest.raises(InputError, match=r"^A replay of 1,000,000 transitions does not fit in memory\.$"):
        UniformReplay(1_000_000, (4,), rng)


def test_so_is_what_no_machine_can_address():
    with pytest.raises(InputError, match="does not fit in memory"):
        UniformReplay(10**19, (4,), np.random.default_rng(0))  # NumPy: "Maximum allowed dimension exceeded"
