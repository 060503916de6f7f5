"""The sum tree against a running sum, the draws against their probabilities, the weights against the paper."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedqn.agents.errors import InputError
from edgedqn.agents.prioritized import Prioritized, SumTree


def tree_of(leaves: Any) -> SumTree:
    tree = SumTree(len(leaves))
    tree[np.arange(len(leaves))] = np.array(leaves, np.float64)
    return tree


@settings(max_examples=200, deadline=None)
@given(
    leaves=st.lists(st.integers(0, 9), min_size=1, max_size=40).filter(any),
    places=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=9),
)
def test_a_mass_falls_where_a_running_sum_says(leaves: Any, places: Any) -> None:
    tree = tree_of(leaves)
    assert tree.total == sum(leaves)
    mass = np.array(places) * tree.total
    # The first leaf whose running sum is beyond the mass; never one of 0.
    expected = [next(i for i in range(len(leaves)) if sum(leaves[: i + 1]) > m) for m in mass]
    assert tree.find(mass).tolist() == expected
    assert tree.find(np.stack([mass, mass])).tolist() == [expected, expected]


@settings(max_examples=100, deadline=None)
@given(
    size=st.integers(1, 40), writes=st.lists(st.lists(st.tuples(st.integers(0, 39), st.floats(0, 1e6)), min_size=1), max_size=8)
)
def test_many_writes_leave_what_a_list_would_hold_the_last_of_equals_counts(size: int, writes: Any) -> None:
    tree, model = SumTree(size), [0.0] * size
    for pairs in writes:
        slots, values = zip(*((slot % size, value) for slot, value in pairs), strict=True)
        tree[np.array(slots)] = np.array(values)
        for slot, value in zip(slots, values, strict=True):
            model[slot] = value
        np.testing.assert_array_equal(tree[np.arange(size)], model)
        assert tree.total == pytest.approx(sum(model))


@given(leaves=st.lists(st.sampled_from([0.0, 1e-300, 0.1, 0.3, 1e16]), min_size=1, max_size=40).filter(any))
def test_rounding_never_finds_an_empty_leaf(leaves: Any) -> None:
    tree = tree_of(leaves)
    mass = np.array([0.0, np.nextafter(tree.total, 0), tree.total, *np.minimum(np.cumsum(leaves), tree.total)])
    assert all(leaves[i] > 0 for i in tree.find(mass))


def learned(priorities: Any, **settings: Any) -> Prioritized:
    """A sampler of a full ring whose transitions have these priorities, alpha being 1."""
    sampler = Prioritized(
        len(priorities), np.random.default_rng(0), **{"alpha": 1.0, "beta": 0.4, "anneal_minibatches": 1, **settings}
    )
    for slot in range(len(priorities)):
        sampler.added(slot)
    sampler.draw(0, len(priorities), capacity=len(priorities), shape=(1, 1))
    sampler.learned(np.arange(len(priorities))[None], np.array([priorities], np.float32))
    return sampler


def test_draws_are_in_proportion_to_priorities() -> None:
    priorities = np.array([1, 0, 5, 2, 2, 0, 10, 4])
    slots = learned(priorities).draw(0, 8, capacity=8, shape=(400, 60)).slots
    counts = np.bincount(slots.ravel(), minlength=8)
    np.testing.assert_allclose(counts / counts.sum(), priorities / priorities.sum(), atol=0.005)


def test_each_minibatch_is_drawn_from_parts_of_equal_mass() -> None:
    slots = learned([1] * 8).draw(0, 8, capacity=8, shape=(50, 8)).slots
    assert slots.tolist() == [list(range(8))] * 50


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_a_priority_is_the_absolute_error_to_the_power_alpha(alpha: float) -> None:
    sampler = Prioritized(5, np.random.default_rng(0), alpha=alpha, beta=0.4, anneal_minibatches=1)
    for slot in range(5):
        sampler.added(slot)
    sampler.draw(0, 5, capacity=5, shape=(1, 3))
    errors = np.array([[0.5, 2, 0], [3, 0.25, 1]], np.float32)
    sampler.learned(np.array([[0, 1, 2], [3, 0, 3]]), errors)
    # Slots 0 and 3 were drawn twice: what was learned last counts. Slot 4 was not drawn: as bad as the worst when it was added.
    arrays, _ = sampler.state()
    np.testing.assert_allclose(arrays["priorities"][:5], [0.25**alpha, 2**alpha, 1e-6**alpha, 1, 1], rtol=1e-5)


def test_a_new_transition_counts_as_the_worst_so_far() -> None:
    sampler = learned([1, 7, 2, 3])
    sampler.added(0)
    sampler.learned(np.array([[1]]), np.array([[0.5]], np.float32))
    sampler.added(2)
    np.testing.assert_allclose(sampler.state()[0]["priorities"], [7, 0.5, 7, 3], rtol=1e-5)


def test_what_is_forgotten_is_never_drawn_until_its_slot_is_used_again() -> None:
    sampler = learned([3] * 10)
    for slot in (0, 1, 2):
        sampler.forgotten(slot)
    sampler.added(1)
    assert set(sampler.draw(3, 8, capacity=10, shape=(50, 50)).slots.ravel()) == {1, *range(3, 10)}


def test_weights_are_those_of_the_paper() -> None:
    priorities = np.array([1.0, 4, 5, 10])
    draw = learned(priorities, beta=0.5, anneal_minibatches=10**9).draw(0, 4, capacity=4, shape=(30, 6))
    probability = priorities[draw.slots] / 20
    expected = (4 * probability) ** -0.5
    expected /= expected.max(axis=1, keepdims=True)
    assert draw.weights is not None
    assert draw.weights.dtype == np.float32
    np.testing.assert_allclose(draw.weights, expected, rtol=1e-5)


def test_full_correction_undoes_the_preference() -> None:
    values = np.array([1.0, 2, 3, 4])
    draw = learned([1, 4, 5, 10], beta=1.0).draw(0, 4, capacity=4, shape=(1, 20_000))
    estimate = np.average(values[draw.slots], weights=draw.weights)
    assert estimate == pytest.approx(values.mean(), abs=0.01)


def test_beta_rises_to_one_with_the_minibatches_and_stays() -> None:
    sampler = Prioritized(4, np.random.default_rng(0), beta=0.4, anneal_minibatches=10, alpha=0.6)
    sampler.added(0)
    betas = []
    for _ in range(4):
        betas.append(sampler.beta)
        sampler.draw(0, 1, capacity=4, shape=(4, 2))
    assert betas == pytest.approx([0.4, 0.64, 0.88, 1.0])
    assert sampler.beta == 1.0


@pytest.mark.parametrize(("alpha", "beta"), [(-0.1, 0.4), (1.1, 0.4), (np.nan, 0.4), (0.6, -0.1), (0.6, 1.1), (0.6, np.nan)])
def test_exponents_out_of_range_are_refused(alpha: Any, beta: Any) -> None:
    with pytest.raises(
        InputError, match=rf"^Expected priority_exponent and importance_exponent in \[0, 1\]\. Got {alpha} and {beta}"
    ):
        Prioritized(4, np.random.default_rng(0), alpha=alpha, beta=beta, anneal_minibatches=1)


def test_it_goes_on_where_its_state_was_taken() -> None:
    sampler, again = (
        learned([1, 4, 5, 10, 2], beta=0.4, anneal_minibatches=50),
        learned([9] * 5, beta=0.4, anneal_minibatches=50),
    )
    sampler.added(3)  # still to be written
    again.added(4)
    arrays, values = sampler.state()
    again.restore({name: array.copy() for name, array in arrays.items()}, json.loads(json.dumps(values)))
    for _ in range(3):
        ours, theirs = (one.draw(0, 5, capacity=5, shape=(3, 4)) for one in (again, sampler))
        np.testing.assert_array_equal(ours.slots, theirs.slots)
        np.testing.assert_array_equal(ours.weights, theirs.weights)
        assert ours.weights is not None
        for one in (again, sampler):
            one.learned(ours.slots, ours.weights)
            one.added(2)
