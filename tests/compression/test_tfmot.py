import re
from collections.abc import Sequence

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray
from tensorflow_model_optimization.sparsity.keras import PolynomialDecay

from edgedqn.agents.networks import q_network
from edgedqn.compression.folding import InputScaling
from edgedqn.compression.methods.distillation import Distillation, Distiller
from edgedqn.compression.preferences import Targets, median_action_gap
from edgedqn.compression.tfmot import Schedule, quantization_aware, reset_pruning, start_ranges, strip, wrap_for_pruning

UNIT = (-1.0, 1.0)
SHORT = Distillation(steps=50, learning_rate=1e-2)


def kernels(network: tf_keras.Model) -> list[NDArray[np.float32]]:
    return [array for array in network.get_weights() if array.ndim > 1]


def training_set(features: int = 4, count: int = 500) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Inputs in [-1, 1] and what some other network prefers there."""
    rng = np.random.default_rng(0)
    inputs = rng.uniform(-1, 1, (count, features)).astype(np.float32)
    q_values = q_network((features,), 2, hidden=(8,), rng=rng)(inputs).numpy()
    return inputs, Targets()(q_values, median_action_gap(q_values))


def taught(network: tf_keras.Model) -> tf_keras.Model:
    Distiller(network, InputScaling.identity(), config=SHORT).train(*training_set(), rng=np.random.default_rng(1), label="test")
    return network


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


def sparse_network(share: float = 0.6) -> tf_keras.Model:
    """4-16-16-2 whose smallest weights are zero."""
    network = q_network((4,), 2, hidden=(16, 16), rng=np.random.default_rng(2))
    network.set_weights([np.where(np.abs(a) < np.quantile(np.abs(a), share), 0, a) for a in network.get_weights()])
    return network


def ranges(quantized: tf_keras.Model, of: str) -> list[tuple[float, float]]:
    """(min, max) of each variable pair `of`: "input", "kernel" or "post_activation"."""
    name = {"input": r"quantize_layer(_\d+)?"}.get(of, of)  # Keras counts the layers of a process
    sides = (
        [float(v.numpy()) for v in quantized.weights if re.search(rf"/{name}_{side}:0$", v.name)] for side in ("min", "max")
    )
    return list(zip(*sides, strict=True))


# --- pruning ---------------------------------------------------------------------------------------------------------------


def test_pruning_reaches_what_was_asked_of_each_kernel_and_its_zeros_are_zero() -> None:
    asked = (0.5, 0.9, 0.0)
    network = q_network((4,), 2, hidden=(16, 16), rng=np.random.default_rng(3))
    before = network.get_weights()
    wrapped = wrap_for_pruning(network, asked, schedule=Schedule(0, 30, 10))
    np.testing.assert_array_equal(wrapped(training_set()[0]), network(training_set()[0]))
    apply_masks = reset_pruning(wrapped)
    taught(wrapped)
    # The last gradient step moved what the masks hold at zero; that is what apply_masks() is for.
    assert (strip(wrapped, network).get_weights()[2] == 0).mean() < 0.9
    apply_masks()
    network_after = strip(wrapped, network)
    assert [type(layer) for layer in network_after.layers] == [type(layer) for layer in network.layers]
    for kernel, start, sparsity in zip(kernels(network_after), before[::2], asked, strict=True):
        assert abs((kernel == 0).mean() - sparsity) <= 0.005 + 0.5 / kernel.size
        assert (kernel != start).any()  # learned
    assert all((bias != 0).any() for bias in network_after.get_weights()[1::2])
    for array, kept in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(array, kept)


def test_masks_follow_the_schedule_step_by_step() -> None:
    schedule = Schedule(5, 25, 10)
    network = q_network((4,), 2, hidden=(64, 64), rng=np.random.default_rng(4))
    wrapped = wrap_for_pruning(network, (0.5, 0.9, 0.0), schedule=schedule)
    apply_masks = reset_pruning(wrapped)
    for step in range(1, 41):
        wrapped(np.zeros((1, 4), np.float32), training=True)
        apply_masks()
        last_update = 5 + 10 * ((min(step, 25) - 5) // 10)
        shares = [(kernel == 0).mean() for kernel in kernels(strip(wrapped, network))]
        for share, kernel_sparsity in zip(shares, (0.5, 0.9, 0.0), strict=True):
            expected = cubic(schedule, last_update) * kernel_sparsity if step >= 5 else 0.0
            assert share == pytest.approx(expected, abs=0.003)


def test_the_smallest_weights_go() -> None:
    network = q_network((4,), 2, hidden=(32,), rng=np.random.default_rng(5))
    before = kernels(network)[0]
    wrapped = wrap_for_pruning(network, (0.75, 0.0), schedule=Schedule(0, 1, 1))
    apply_masks = reset_pruning(wrapped)
    wrapped(np.zeros((1, 4), np.float32), training=True)
    apply_masks()
    after = kernels(strip(wrapped, network))[0]
    assert (after == 0).sum() == 96
    np.testing.assert_array_equal(after, np.where(np.abs(before) >= np.sort(np.abs(before).ravel())[96], before, 0))


def test_calls_without_training_prune_nothing() -> None:
    network = q_network((4,), 2, hidden=(8,), rng=np.random.default_rng(6))
    wrapped = wrap_for_pruning(network, (0.5, 0.5), schedule=Schedule(0, 1, 1))
    apply_masks = reset_pruning(wrapped)
    for _ in range(3):
        wrapped(np.zeros((1, 4), np.float32), training=False)
    apply_masks()
    for array, kept in zip(strip(wrapped, network).get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(array, kept)


@pytest.mark.parametrize("sparsities", [(0.5,), (0.5, 0.5, 0.5)])
def test_asks_for_one_sparsity_per_kernel(sparsities: Sequence[float]) -> None:
    with pytest.raises(ValueError, match=r"zip\(\) argument"):
        wrap_for_pruning(q_network((4,), 2, hidden=(8,), rng=np.random.default_rng(7)), sparsities, schedule=Schedule(0, 1, 1))


# --- quantization-aware training -------------------------------------------------------------------------------------------


def test_plain_training_fills_the_zeros_in_and_preserving_keeps_every_one() -> None:
    network = sparse_network()
    before = network.get_weights()
    zeros = [kernel == 0 for kernel in kernels(network)]
    kept = taught(quantization_aware(network, UNIT, keep_zeros=True))
    filled = taught(quantization_aware(network, UNIT))
    for zero, start, with_zeros, without in zip(zeros, kernels(network), kernels(kept), kernels(filled), strict=True):
        assert 0.5 < zero.mean() < 0.7
        assert (with_zeros[zero] == 0).all()
        assert (with_zeros[~zero] != start[~zero]).mean() > 0.5  # the others learned
        assert (without[zero] != 0).mean() > 0.5
    # The range of the input is known and stands; those of the activations and kernels are followed.
    for quantized in (kept, filled):
        assert ranges(quantized, "input") == [(-1.0, 1.0)]
        assert (-6.0, 6.0) not in ranges(quantized, "post_activation") + ranges(quantized, "kernel")
    for array, unchanged in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(array, unchanged)


@pytest.mark.parametrize("limits", [UNIT, (-2.5, 2.5), (0.0, 1.0)])
@pytest.mark.parametrize("keep_zeros", [False, True])
def test_a_known_input_range_holds_from_the_first_step_and_a_new_one_moves(
    limits: tuple[float, float], keep_zeros: bool
) -> None:
    network = sparse_network()
    inputs = np.clip(0.5 * limits[1] * training_set()[0], *limits)  # an average would follow them inwards
    known = quantization_aware(network, limits, keep_zeros=keep_zeros)
    followed = quantization_aware(network, None, keep_zeros=keep_zeros)
    assert ranges(known, "input") == [limits]
    (start,) = ranges(followed, "input")
    for _ in range(3):
        known(inputs, training=True)
        followed(inputs, training=True)
    assert ranges(known, "input") == [limits]
    assert ranges(followed, "input") != [start]


def test_rounds_the_input_and_the_weights_to_the_grids_of_int8() -> None:
    """One linear layer, written out."""
    network = q_network((3,), 2, hidden=(), rng=np.random.default_rng(8))
    inputs = np.random.default_rng(9).uniform(-1, 1, (200, 3)).astype(np.float32)
    quantized = quantization_aware(network, UNIT)
    start_ranges(quantized, network, inputs=[inputs])
    quantized(inputs, training=True)  # takes the kernel's range
    kernel, bias = network.get_weights()
    weight_scale = np.abs(kernel).max() / 127
    rounded_kernel = np.rint(kernel / weight_scale) * weight_scale
    input_scale = 2 / 255
    rounded = np.rint(inputs / input_scale).clip(-128, 127) * input_scale
    ((low, high),) = ranges(quantized, "post_activation")
    exact = rounded @ rounded_kernel + bias
    got = quantized(inputs, training=False).numpy()
    np.testing.assert_allclose(
        got, exact, atol=0.51 * (high - low) / 255 + 1.01 * input_scale * np.abs(kernel).sum(axis=0).max()
    )
    assert len(np.unique(got)) <= 256
    steps = np.diff(np.unique(got)) / ((high - low) / 255)
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-2)  # whole steps apart


@pytest.mark.parametrize("keep_zeros", [False, True])
def test_takes_the_weights_along(keep_zeros: bool) -> None:
    network = sparse_network()
    quantized = quantization_aware(network, UNIT, keep_zeros=keep_zeros)
    arrays = [array for array in quantized.get_weights() if array.ndim]
    for array, expected in zip(arrays, network.get_weights(), strict=True):
        np.testing.assert_array_equal(array, expected)


def test_start_ranges_are_those_of_the_activations_seen() -> None:
    network = q_network((4,), 3, hidden=(16, 8), rng=np.random.default_rng(10))
    network.set_weights([array + np.float32(0.1) for array in network.get_weights()])
    inputs = training_set()[0]
    quantized = quantization_aware(network, UNIT)
    assert ranges(quantized, "post_activation") == [(-6.0, 6.0)] * 3
    start_ranges(quantized, network, inputs=[inputs])
    x = inputs
    weights = network.get_weights()
    for layer, (low, high) in enumerate(ranges(quantized, "post_activation")):
        x = x @ weights[2 * layer] + weights[2 * layer + 1]
        x = np.maximum(x, 0) if layer < 2 else x
        np.testing.assert_allclose([low, high], [min(0, x.min()), max(0, x.max())], rtol=1e-5)
    assert ranges(quantized, "input") == [(-1.0, 1.0)]
    assert ranges(quantized, "kernel") == [(-6.0, 6.0)] * 3  # taken from the kernels in the first training step


def test_ranges_include_zero_where_no_activation_does() -> None:
    network = q_network((2,), 1, hidden=(), rng=np.random.default_rng(11))
    network.set_weights([np.zeros((2, 1), np.float32), np.array([3.0], np.float32)])
    quantized = quantization_aware(network, UNIT)
    start_ranges(quantized, network, inputs=[np.zeros((5, 2), np.float32)])
    assert ranges(quantized, "post_activation") == [(0.0, 3.0)]
