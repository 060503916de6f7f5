"""The one place that touches the TensorFlow Model Optimization Toolkit."""

from collections.abc import Callable, Sequence

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
    """A copy of `model` whose Dense kernels are pruned by magnitude while it trains; see `start_pruning`.

    Args:
      model: a functional model of Dense layers.
      sparsities: the final share of zeros of each Dense kernel, in order, in [0, 1). Kernels asked for 0 are left alone.
      schedule: when.
    """
    dense = [layer for layer in model.layers if isinstance(layer, tf_keras.layers.Dense)]
    asked = dict(zip((layer.name for layer in dense), sparsities, strict=True))

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
        _dense_of(target).set_weights(source.get_weights())
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


def quantization_aware(model: tf_keras.Model, preserve_zeros: bool, input_limit: float | None) -> tf_keras.Model:
    """A copy of `model` that rounds weights and activations to int8 as its `.tflite` will, and learns around it.

    The ranges of its activations are not yet known: see `start_ranges`.

    Args:
      model: a functional model of Dense layers.
      preserve_zeros: keep the kernels' zeros at zero (PQAT). Plain QAT would fill them in again.
      input_limit: the input lies in [-input_limit, input_limit]; None leaves its range to be followed.
    """
    annotated = tfmot.quantization.keras.quantize_annotate_model(model)
    scheme = (prune_preserve.Default8BitPrunePreserveQuantizeScheme(),) if preserve_zeros else ()
    quantized = tfmot.quantization.keras.quantize_apply(annotated, *scheme)
    if input_limit is not None:
        # TF-MOT widens the input's range to what it sees, from nothing. A known range holds from the first step.
        entrance = quantized.layers[1]
        entrance.quantizer_vars["min_var"].assign(-input_limit)
        entrance.quantizer_vars["max_var"].assign(input_limit)
    return quantized


def start_ranges(quantized: tf_keras.Model, model: tf_keras.Model, inputs: NDArray[np.float32]) -> None:
    """Sets the activations' ranges to what `model`, which `quantized` was made of, shows on `inputs` [N, F].

    TF-MOT starts them at [-6, 6] and moves them by a thousandth per gradient step, which takes longer than a short
    fine-tuning has.
    """
    activation = inputs
    for layer in (layer for layer in model.layers if isinstance(layer, tf_keras.layers.Dense)):
        activation = layer(activation)  # [N, units]
        for variable in quantized.get_layer(f"quant_{layer.name}").weights:
            if variable.name.endswith("post_activation_min:0"):
                variable.assign(min(0.0, float(np.min(activation))))
            elif variable.name.endswith("post_activation_max:0"):
                variable.assign(max(0.0, float(np.max(activation))))


def _dense_of(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
    return layer.layer if isinstance(layer, PruneLowMagnitude) else layer
