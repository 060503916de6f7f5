"""Fake quantization: what it rounds, which ranges it has, and what the converter is given of it."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from edgedqn.agents.networks import q_network
from edgedqn.compression.folding import InputScaling, in_batches, kernels_of
from edgedqn.compression.methods.distillation import Distillation, Distiller
from edgedqn.compression.rounding import round_network
from edgedqn.compression.tfmot.fake_quantization import (
    dense_kernels,
    quantization_aware,
    set_rounding,
    settle,
    start_ranges,
    with_one_scale,
)

UNIT = (-1.0, 1.0)
TrainingSet = tuple[NDArray[np.float32], NDArray[np.float32]]
Teach = Callable[[tf_keras.Model], tf_keras.Model]
SHORT = Distillation(steps=50, learning_rate=1e-2)


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


def test_plain_training_fills_the_zeros_in_and_preserving_keeps_every_one(taught: Teach) -> None:
    network = sparse_network()
    before = network.get_weights()
    zeros = [kernel == 0 for kernel in kernels_of(network)]
    kept = taught(quantization_aware(network, UNIT, keep_zeros=True))
    filled = taught(quantization_aware(network, UNIT))
    for zero, start, with_zeros, without in zip(zeros, kernels_of(network), kernels_of(kept), kernels_of(filled), strict=True):
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
    limits: tuple[float, float], keep_zeros: bool, training_set: TrainingSet
) -> None:
    network = sparse_network()
    inputs = np.clip(0.5 * limits[1] * training_set[0], *limits)  # an average would follow them inwards
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


def test_start_ranges_are_those_of_the_activations_seen(training_set: TrainingSet) -> None:
    network = q_network((4,), 3, hidden=(16, 8), rng=np.random.default_rng(10))
    network.set_weights([array + np.float32(0.1) for array in network.get_weights()])
    inputs = training_set[0]
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


def rounded(
    network: tf_keras.Model, inputs: NDArray[np.float32], *, per_output: bool, keep_zeros: bool = False
) -> tf_keras.Model:
    found = round_network(network, lambda: in_batches(inputs), limits=UNIT, per_output=per_output, keep_zeros=keep_zeros)
    quantized = quantization_aware(network, UNIT, keep_zeros=keep_zeros, per_output=per_output)
    set_rounding(quantized, network, weights=found.weights, scales=found.scales, ranges=found.ranges)
    return quantized


def test_an_output_without_weights_stays_finite_where_xla_compiles(training_set: TrainingSet) -> None:
    network = uneven_network()
    kernel, bias = network.layers[1].get_weights()
    kernel[:, 0] = 0
    network.layers[1].set_weights([kernel, bias])
    quantized = rounded(network, training_set[0], per_output=True, keep_zeros=True)
    x = training_set[0][:8]

    @tf.function(jit_compile=True)  # type: ignore[untyped-decorator] # TensorFlow ships no types
    def step() -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(quantized(x, training=True))
        return tape.gradient(loss, quantized.trainable_variables)

    for _ in range(2):
        assert all(np.isfinite(gradient).all() for gradient in step())


def uneven_network() -> tf_keras.Model:
    """4-16-16-2 whose outputs have weights of very different size: one scale for all would lose the small ones."""
    network = q_network((4,), 2, hidden=(16, 16), rng=np.random.default_rng(13))
    sizes = np.exp(np.random.default_rng(14).normal(0, 1.5, 16))
    weights = network.get_weights()
    network.set_weights([weights[0] * sizes, weights[1], weights[2] / sizes[:, np.newaxis], *weights[3:]])
    return network


def test_with_one_scale_per_output_weights_are_finer(training_set: TrainingSet) -> None:
    network = uneven_network()
    errors = {}
    for per_output in (True, False):
        first = kernels_of(rounded(network, training_set[0], per_output=per_output))[0]  # [in, out]
        relative = np.abs(first - kernels_of(network)[0]) / np.abs(kernels_of(network)[0]).max(axis=0)
        errors[per_output] = relative.mean()
    assert errors[True] < 0.2 * errors[False]
    scales = [kernel.scales for kernel in dense_kernels(rounded(network, training_set[0], per_output=True))]
    assert [len(set(each.tolist())) for each in scales] == [16, 16, 2]
    assert dense_kernels(rounded(network, training_set[0], per_output=False)) == dense_kernels(network) == []


@pytest.mark.parametrize("per_output", [True, False])
def test_set_ranges_stay_while_it_learns_and_an_output_beyond_its_own_comes_back(
    per_output: bool, training_set: TrainingSet
) -> None:
    network = uneven_network()
    quantized = rounded(network, training_set[0], per_output=per_output)
    before = ranges(quantized, "post_activation")
    weights = network.get_weights()
    shifted = [variable for variable in quantized.trainable_variables if variable.name.endswith("bias:0")][-1]
    shifted.assign_add([50.0, 50.0])  # far above the range: all outputs are its end
    inputs = training_set[0]
    assert np.ptp(quantized(inputs, training=False)) < 1e-6
    Distiller(quantized, InputScaling.identity(), config=Distillation(steps=400, learning_rate=0.5)).train(
        *training_set, rng=np.random.default_rng(1), label="test"
    )
    assert ranges(quantized, "post_activation") == before
    assert np.ptp(quantized(inputs, training=False)) > 0
    for array, unchanged in zip(network.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(array, unchanged)


@pytest.mark.parametrize("per_output", [True, False])
def test_zeros_stay_where_ranges_are_set(per_output: bool, training_set: TrainingSet, taught: Teach) -> None:
    network = sparse_network()
    learned = taught(rounded(network, training_set[0], per_output=per_output, keep_zeros=True))
    settled = settle(learned, network, keep_zeros=True, per_output=per_output)
    np.testing.assert_allclose(settled(training_set[0], training=False), learned(training_set[0], training=False), atol=1e-6)
    for kernel, before in zip(kernels_of(settled), kernels_of(network), strict=True):
        assert (kernel[before == 0] == 0).all()
        assert (kernel[before != 0] != 0).mean() > 0.8


@pytest.mark.filterwarnings("ignore:Statistics for quantized inputs:UserWarning")
def test_the_converter_takes_the_twin_and_refuses_one_scale_per_output(training_set: TrainingSet) -> None:
    """Else `with_dense_kernels` would be needed no more."""
    network = uneven_network()
    quantized = rounded(network, training_set[0], per_output=True)
    twin = with_one_scale(quantized, network)
    converted = []
    for each in (twin, quantized):
        converter = tf.lite.TFLiteConverter.from_keras_model(each)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        try:
            converted.append(converter.convert())
        except Exception as error:
            assert "mismatched quantized axes" in str(error)
    assert len(converted) == 1
    Interpreter(model_content=converted[0]).allocate_tensors()
