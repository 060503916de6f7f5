from collections.abc import Callable, Sequence

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray
from tensorflow_model_optimization.sparsity.keras import PolynomialDecay

from edgedqn.agents.networks import q_network
from edgedqn.compression.folding import kernels_of
from edgedqn.compression.tfmot.wrappers import (
    Schedule,
    effective_weights,
    reset_pruning,
    set_effective_weights,
    strip,
    wrap_for_clustering,
    wrap_for_pruning,
)

UNIT = (-1.0, 1.0)
TrainingSet = tuple[NDArray[np.float32], NDArray[np.float32]]
Teach = Callable[[tf_keras.Model], tf_keras.Model]


def cubic(schedule: Schedule, step: int) -> float:
    """The share of the final sparsity, as Zhu and Gupta (2017) have it."""
    assert schedule.end_step is not None
    progress = (step - schedule.begin_step) / (schedule.end_step - schedule.begin_step)
    return float(1 - (1 - np.clip(progress, 0, 1)) ** 3)


@pytest.mark.parametrize(
    "schedule", [Schedule(0, 100, 10), Schedule(37, 237, 50), Schedule(0, 50, 50), Schedule(5, 6, 1), Schedule(10, 310, 100)]
)
@pytest.mark.parametrize("final_sparsity", [0.0, 0.5, 0.995])
def test_sparsity_rises_along_a_cubic_to_the_end(schedule: Schedule, final_sparsity: float) -> None:
    assert schedule.end_step is not None
    should_prune, found = schedule.for_kernel(final_sparsity)(tf.constant(np.arange(schedule.end_step + 30)))
    expected = [cubic(schedule, step) * final_sparsity for step in range(schedule.end_step + 30)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)
    # The last update of the masks falls on the end, where the whole sparsity is asked for.
    assert np.flatnonzero(should_prune)[-1] == schedule.end_step
    assert float(found[schedule.end_step]) == pytest.approx(final_sparsity)


def test_a_frequency_that_does_not_divide_would_miss_the_end() -> None:
    should_prune, _ = PolynomialDecay(0.0, 0.8, 0, 100, 3, 30)(tf.constant(np.arange(200)))
    assert np.flatnonzero(should_prune)[-1] == 90  # why the schedule below is refused
    with pytest.raises(AssertionError):
        Schedule(0, 100, 30)


@pytest.mark.parametrize(
    "schedule", [(-1, 10, 1), (10, 10, 1), (20, 10, 1), (0, 10, 0), (0, 10, -5), (0, 10, 20), (0, None, 0)]
)
def test_refuses_a_schedule_that_never_ends(schedule: tuple[int, int, int]) -> None:
    with pytest.raises(AssertionError):
        Schedule(*schedule)


def test_pruning_reaches_what_was_asked_of_each_kernel_and_its_zeros_are_zero(training_set: TrainingSet, taught: Teach) -> None:
    asked = (0.5, 0.9, 0.0)
    network = q_network((4,), 2, hidden=(16, 16), rng=np.random.default_rng(3))
    before = network.get_weights()
    wrapped = wrap_for_pruning(network, asked, schedule=Schedule(0, 30, 10))
    np.testing.assert_array_equal(wrapped(training_set[0]), network(training_set[0]))
    reset_pruning(wrapped)
    taught(wrapped)
    # The last gradient step moved what the masks hold at zero.
    assert (wrapped.layers[2].layer.kernel.numpy() == 0).mean() < 0.9
    network_after = strip(wrapped, network)
    assert [type(layer) for layer in network_after.layers] == [type(layer) for layer in network.layers]
    for kernel, start, sparsity in zip(kernels_of(network_after), before[::2], asked, strict=True):
        assert abs((kernel == 0).mean() - sparsity) <= 0.005 + 0.5 / kernel.size
        assert (kernel != start).any()  # learned
    assert all((bias != 0).any() for bias in network_after.get_weights()[1::2])
    for array, kept in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(array, kept)


def test_masks_follow_the_schedule_step_by_step() -> None:
    schedule = Schedule(5, 25, 10)
    network = q_network((4,), 2, hidden=(64, 64), rng=np.random.default_rng(4))
    wrapped = wrap_for_pruning(network, (0.5, 0.9, 0.0), schedule=schedule)
    reset_pruning(wrapped)
    for step in range(1, 41):
        wrapped(np.zeros((1, 4), np.float32), training=True)
        last_update = 5 + 10 * ((min(step, 25) - 5) // 10)
        shares = [(kernel == 0).mean() for kernel in kernels_of(strip(wrapped, network))]
        for share, kernel_sparsity in zip(shares, (0.5, 0.9, 0.0), strict=True):
            expected = cubic(schedule, last_update) * kernel_sparsity if step >= 5 else 0.0
            assert share == pytest.approx(expected, abs=0.003)


@pytest.mark.parametrize(("schedule", "calls"), [(Schedule(0, 1, 1), 1), (Schedule(0, None, 50), 0)])
def test_the_smallest_weights_go(schedule: Schedule, calls: int) -> None:
    network = q_network((4,), 2, hidden=(32,), rng=np.random.default_rng(5))
    before = kernels_of(network)[0]
    wrapped = wrap_for_pruning(network, (0.75, 0.0), schedule=schedule)
    reset_pruning(wrapped)
    for _ in range(calls):
        wrapped(np.zeros((1, 4), np.float32), training=True)
    after = kernels_of(strip(wrapped, network))[0]
    assert (after == 0).sum() == 96
    np.testing.assert_array_equal(after, np.where(np.abs(before) >= np.sort(np.abs(before).ravel())[96], before, 0))


def test_calls_without_training_prune_nothing() -> None:
    network = q_network((4,), 2, hidden=(8,), rng=np.random.default_rng(6))
    wrapped = wrap_for_pruning(network, (0.5, 0.5), schedule=Schedule(0, 1, 1))
    reset_pruning(wrapped)
    for _ in range(3):
        wrapped(np.zeros((1, 4), np.float32), training=False)
    for array, kept in zip(strip(wrapped, network).get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(array, kept)


@pytest.mark.parametrize("sparsities", [(0.5,), (0.5, 0.5, 0.5)])
def test_asks_for_one_sparsity_per_kernel(sparsities: Sequence[float]) -> None:
    with pytest.raises(ValueError, match=r"zip\(\) argument"):
        wrap_for_pruning(q_network((4,), 2, hidden=(8,), rng=np.random.default_rng(7)), sparsities, schedule=Schedule(0, 1, 1))


@pytest.mark.parametrize("keep_zeros", [False, True])
def test_weights_that_a_clustered_network_once_had_can_be_set_again(keep_zeros: bool, taught: Teach) -> None:
    network = q_network((4,), 2, hidden=(16,), rng=np.random.default_rng(7))
    network.set_weights(
        [np.where(np.abs(array) < 0.2, 0, array) if array.ndim > 1 else array for array in network.get_weights()]
    )
    wrapped = wrap_for_clustering(network, [True, False], clusters=6, keep_zeros=keep_zeros)
    once = [np.asarray(tensor) for tensor in effective_weights(wrapped)]
    taught(wrapped)
    assert (np.asarray(effective_weights(wrapped)[0]) != once[0]).any()
    set_effective_weights(wrapped, once)
    for array, expected in zip(strip(wrapped, network).get_weights(), once, strict=True):
        np.testing.assert_allclose(array, expected, rtol=1e-6)
    assert len(np.unique(once[0])) <= 6


def test_weights_that_a_pruned_network_once_had_bring_their_masks() -> None:
    network = q_network((4,), 2, hidden=(16,), rng=np.random.default_rng(8))
    wrapped = wrap_for_pruning(network, (0.75, 0.0), schedule=Schedule(0, None, 1))
    reset_pruning(wrapped)
    once = [np.asarray(tensor) for tensor in effective_weights(wrapped)]
    other = [array[::-1] for array in once]  # other weights are zero
    set_effective_weights(wrapped, other)
    for array, expected in zip(strip(wrapped, network).get_weights(), other, strict=True):
        np.testing.assert_array_equal(array, expected)
