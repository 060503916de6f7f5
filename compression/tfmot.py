"""The one place that touches the TensorFlow Model Optimization Toolkit."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras
from numpy.typing import NDArray
from tensorflow_model_optimization.python.core.quantization.keras.collab_opts.prune_preserve import (
    default_8bit_prune_preserve_quantize_scheme as prune_preserve,
)
from tensorflow_model_optimization.python.core.sparsity.keras.pruning_wrapper import PruneLowMagnitude

from edgedqn.compression.pruning import PolynomialSchedule


def wrap_for_pruning(model: tf_keras.Model, sparsities: Sequence[float], schedule: PolynomialSchedule) -> tf_keras.Model:
    """A copy of `model` whose kernels are pruned by magnitude while it trains; see `start_pruning`.

    Args:
      model: a plain network.
      sparsities: the final share of zeros of each kernel, in order, in [0, 1). Kernels asked for 0 are left alone.
      schedule: when.
    """
    asked = dict(zip((layer.name for layer in model.layers if layer.weights), sparsities, strict=True))

    def wrap(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
        if not asked.get(layer.name):
            return layer.__class__.from_config(layer.get_config())
        decay = tfmot.sparsity.keras.PolynomialDecay(
            0.0, asked[layer.name], schedule.begin_step, schedule.end_step, schedule.power, schedule.frequency
        )
        copy = layer.__class__.from_config(layer.get_config())
        return tfmot.sparsity.keras.prune_low_magnitude(copy, decay)

    wrapped = tf_keras.models.clone_model(model, clone_function=wrap)
    for source, target in zip(model.layers, wrapped.layers, strict=True):
        _inside(target).set_weights(source.get_weights())
    return wrapped


def start_pruning(wrapped: tf_keras.Model) -> Callable[[], None]:
    """Sets the step counters to 0 and returns what ends the pruning: it applies the masks to the kernels one last time.

    Both are what TF-MOT's `UpdatePruningStep` callback does under `fit`. The wrappers count on from here by themselves, one
    per call with training=True; after the last gradient step the kernels are no longer zero where their masks are.
    """
    wrappers = [layer for layer in wrapped.layers if isinstance(layer, PruneLowMagnitude)]
    for wrapper in wrappers:
        wrapper.pruning_step.assign(0)

    def finish() -> None:
        for wrapper in wrappers:
            wrapper.pruning_obj.weight_mask_op()

    return finish


def strip_pruning(wrapped: tf_keras.Model) -> tf_keras.Model:
    """The model without the wrappers; the zeros stay."""
    return tfmot.sparsity.keras.strip_pruning(wrapped)


def quantization_aware(model: tf_keras.Model, preserve_zeros: bool, input_limits: tuple[float, float] | None) -> tf_keras.Model:
    """A copy of `model` that rounds weights and activations to int8 as its `.tflite` will, and learns around it.

    The ranges of its activations are not yet known: see `start_ranges`. TF-MOT gives a Dense kernel one range, a Conv2D one per
    filter.

    Args:
      model: a plain network.
      preserve_zeros: keep the kernels' zeros at zero (PQAT). Plain QAT would fill them in again.
      input_limits: the input lies in [low, high], which has 0 in it; None leaves its range to be followed.
    """
    annotated = tfmot.quantization.keras.quantize_annotate_model(model)
    scheme = (prune_preserve.Default8BitPrunePreserveQuantizeScheme(),) if preserve_zeros else ()
    quantized = tfmot.quantization.keras.quantize_apply(annotated, *scheme)
    if input_limits is not None:
        # TF-MOT widens the input's range to what it sees, from nothing. A known range holds from the first step.
        entrance = quantized.layers[1]
        entrance.quantizer_vars["min_var"].assign(input_limits[0])
        entrance.quantizer_vars["max_var"].assign(input_limits[1])
    return quantized


def quantization_aware_again(model: tf_keras.Model, preserve_zeros: bool, weights: Sequence[NDArray[Any]]) -> tf_keras.Model:
    """What `quantization_aware` made of `model`, and training of that, from the weights it had in the end.

    Args:
      model: a plain network; its weights are set to the trained ones.
      preserve_zeros: as it was.
      weights: all of the quantized network's, in their order.
    Raises:
      ValueError: the weights are of another network.
    """
    quantized = quantization_aware(model, preserve_zeros, None)
    trained = {id(variable) for variable in quantized.trainable_variables}
    pairs = zip(quantized.weights, weights, strict=True)
    model.set_weights([array for variable, array in pairs if id(variable) in trained])
    if preserve_zeros:  # PQAT takes its masks from the kernels it wraps, so they must be there first
        quantized = quantization_aware(model, preserve_zeros, None)
    quantized.set_weights(weights)
    return quantized


def start_ranges(quantized: tf_keras.Model, model: tf_keras.Model, inputs: Iterable[NDArray[np.float32]]) -> None:
    """Sets the activations' ranges to what `model`, which `quantized` was made of, shows on batches [B, ...] of inputs.

    TF-MOT starts them at [-6, 6] and moves them by a thousandth per gradient step, which takes longer than a short
    fine-tuning has. A range always has 0 in it.
    """
    ranges = {layer.name: (0.0, 0.0) for layer in model.layers if layer.weights}
    for activation in inputs:
        for layer in model.layers[1:]:
            activation = layer(activation)
            if layer.name in ranges:
                low, high = ranges[layer.name]
                ranges[layer.name] = min(low, float(np.min(activation))), max(high, float(np.max(activation)))
    for name, (low, high) in ranges.items():
        for variable in quantized.get_layer(f"quant_{name}").weights:
            if variable.name.endswith("post_activation_min:0"):
                variable.assign(low)
            elif variable.name.endswith("post_activation_max:0"):
                variable.assign(high)


def _inside(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
    return layer.layer if isinstance(layer, PruneLowMagnitude) else layer
