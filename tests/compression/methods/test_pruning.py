import itertools
import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_model_optimization.sparsity.keras import PolynomialDecay

from edgedqn.agents.errors import InputError
from edgedqn.compression.methods.pruning import PolynomialSchedule, allocate

CARTPOLE = [(4, 256), (256, 256), (256, 2)]


@pytest.mark.parametrize(
    "schedule",
    [
        PolynomialSchedule(0, 100, 10),
        PolynomialSchedule(37, 237, 50),
        PolynomialSchedule(0, 50),
        PolynomialSchedule(5, 6, 1, 1.0),
        PolynomialSchedule(10, 310, 100, 0.5),
    ],
)
@pytest.mark.parametrize("final_sparsity", [0.0, 0.5, 0.995])
def test_the_schedule_is_the_one_tfmot_follows(schedule: PolynomialSchedule, final_sparsity: float) -> None:
    steps = np.arange(schedule.end_step + 30)
    theirs = PolynomialDecay(0.0, final_sparsity, schedule.begin_step, schedule.end_step, schedule.power, schedule.frequency)
    should_prune, expected = theirs(tf.constant(steps))
    ours = [schedule.sparsity_at(int(step), final_sparsity) for step in steps]
    np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-6)
    # The last update of the masks falls on the end, where the whole sparsity is asked for.
    assert np.flatnonzero(should_prune)[-1] == schedule.end_step
    assert ours[schedule.end_step] == pytest.approx(final_sparsity)


def test_a_frequency_that_does_not_divide_would_miss_the_end() -> None:
    should_prune, _ = PolynomialDecay(0.0, 0.8, 0, 100, 3, 30)(tf.constant(np.arange(200)))
    assert np.flatnonzero(should_prune)[-1] == 90  # why the schedule below is refused
    with pytest.raises(InputError, match=r"must fall on end_step.*divides 100\. Got frequency=30\."):
        PolynomialSchedule(0, 100, 30)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((-1, 10, 1), r"begin before it ends.*Got begin_step=-1 and end_step=10"),
        ((10, 10, 1), r"begin before it ends.*Got begin_step=10 and end_step=10"),
        ((20, 10, 1), r"begin before it ends"),
        ((0, 10, 0), r"Got frequency=0"),
        ((0, 10, -5), r"Got frequency=-5"),
        ((0, 10, 20), r"divides 10\. Got frequency=20"),
        ((0, 10, 5, 0.0), r"power above 0\. Got 0\.0"),
        ((0, 10, 5, -1.0), r"power above 0"),
        ((0, 10, 5, float("nan")), r"power above 0\. Got nan"),
    ],
)
def test_refuses_a_schedule_with_the_reason(arguments: tuple[float, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        PolynomialSchedule(*arguments)  # type: ignore[arg-type]


def total(shapes: list[tuple[int, ...]], sparsities: tuple[float, ...]) -> float:
    sizes = np.array([math.prod(shape) for shape in shapes])
    return float((sizes * sparsities).sum() / sizes.sum())


def test_uniform_asks_the_same_of_each() -> None:
    assert allocate(CARTPOLE, 0.8, "uniform") == (0.8, 0.8, 0.8)


def test_erk_by_hand_at_80_percent() -> None:
    # 67,072 weights, 13,414.4 to keep. In proportion to 260 : 512 : 258 the outer kernels would have densities of 3.3 and 6.6,
    # so they stay dense (1,024 and 512 weights) and the middle one keeps the other 11,878.4 of its 65,536.
    np.testing.assert_allclose(allocate(CARTPOLE, 0.8, "erk"), [0, 1 - 11_878.4 / 65_536, 0], atol=1e-12)


def test_erk_by_hand_at_98_percent() -> None:
    # 1,341.44 to keep, shared as 260 : 512 : 258; none is full.
    share = 1_341.44 / (260 + 512 + 258)
    expected = [1 - 260 * share / 1_024, 1 - 512 * share / 65_536, 1 - 258 * share / 512]
    np.testing.assert_allclose(expected, [0.66932, 0.98983, 0.34373], atol=1e-5)
    np.testing.assert_allclose(allocate(CARTPOLE, 0.98, "erk"), expected, atol=1e-12)


dense = st.tuples(st.integers(1, 600), st.integers(1, 600))
convolution = st.tuples(st.integers(1, 8), st.integers(1, 8), st.integers(1, 64), st.integers(1, 64))
shapes = st.lists(st.one_of(dense, convolution), min_size=1, max_size=6)
sparsities = st.one_of(st.floats(0, 0.9999999), st.sampled_from([0.0, 1e-12, 0.5, 0.8, 0.98, 0.99999, 1 - 1e-12]))


@settings(max_examples=300, deadline=None)
@given(shapes, sparsities)
def test_erk_fills_up_to_the_asked_total(kernels: list[tuple[int, ...]], sparsity: float) -> None:
    got = allocate(kernels, sparsity, "erk")
    assert len(got) == len(kernels)
    assert all(-1e-12 <= s < 1 for s in got)
    assert total(kernels, got) == pytest.approx(sparsity, abs=1e-9)
    # The oracle: one factor for all, found by bisection, such that densities cut off at 1 keep the asked number.
    sizes = np.array([math.prod(shape) for shape in kernels], np.float64)
    raw = np.array([sum(shape) for shape in kernels]) / sizes
    low, high = 0.0, 1 / raw.min()
    for _ in range(200):
        middle = (low + high) / 2
        if (np.minimum(1, middle * raw) * sizes).sum() < (1 - sparsity) * sizes.sum():
            low = middle
        else:
            high = middle
    np.testing.assert_allclose(got, 1 - np.minimum(1, high * raw), atol=1e-7)
    # Who has fewer weights per connected unit loses no larger share of them.
    for a, b in itertools.combinations(range(len(kernels)), 2):
        if raw[a] > raw[b]:
            assert got[a] <= got[b] + 1e-12


@pytest.mark.parametrize("allocation", ["uniform", "erk"])
@pytest.mark.parametrize("sparsity", [-0.1, 1.0, 1.5, float("nan")])
def test_refuses_a_sparsity_that_is_no_share(allocation: str, sparsity: float) -> None:
    with pytest.raises(InputError, match=r"share of zeros\. Expected it in \[0, 1\)\. Got"):
        allocate(CARTPOLE, sparsity, allocation)  # type: ignore[arg-type]


def test_nothing_asked_leaves_all_dense() -> None:
    for allocation in ("uniform", "erk"):
        assert allocate(CARTPOLE, 0.0, allocation) == (0.0, 0.0, 0.0)  # type: ignore[arg-type]


def test_erk_counts_the_window_of_a_convolution() -> None:
    # MinAtar's network with 4 channels: 576 + 131,072 + 384 weights, 10 % of which stay.
    kernels = [(3, 3, 4, 16), (1024, 128), (128, 3)]
    kept = 0.1 * (576 + 131_072 + 384)
    share = kept / ((3 + 3 + 4 + 16) + (1024 + 128) + (128 + 3))
    assert 26 * share < 576  # the convolution is not full ...
    assert 131 * share > 384  # ... but the output is
    share = (kept - 384) / (26 + 1152)
    np.testing.assert_allclose(allocate(kernels, 0.9, "erk"), [1 - 26 * share / 576, 1 - 1152 * share / 131_072, 0], atol=1e-12)
    assert total(kernels, allocate(kernels, 0.9, "erk")) == pytest.approx(0.9)
    assert allocate(kernels, 0.9, "uniform") == (0.9,) * 3
