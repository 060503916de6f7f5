"""Our functions around the TensorFlow Model Optimization Toolkit: prune, cluster, quantize. Nothing else imports it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras
from numpy.typing import NDArray
from tensorflow_model_optimization.python.core.clustering.keras.cluster import _cluster_weights as cluster_weights
from tensorflow_model_optimization.python.core.clustering.keras.cluster_wrapper import ClusterWeights
from tensorflow_model_optimization.python.core.quantization.keras.collab_opts.cluster_preserve import (
    default_8bit_cluster_preserve_quantize_scheme as cluster_preserve,
)
from tensorflow_model_optimization.python.core.quantization.keras.collab_opts.prune_preserve import (
    default_8bit_prune_preserve_quantize_scheme as prune_preserve,
)
from tensorflow_model_optimization.python.core.sparsity.keras.pruning_wrapper import PruneLowMagnitude

# Which weights go together: each by itself; two of four neighbours along the inputs; or blocks of (outputs, inputs), as the
# `.tflite` stores a kernel, of which one by sixteen is what its sparse encoding knows.
Structure = Literal["unstructured", "2:4"] | tuple[int, int]


@dataclass(frozen=True)
class Schedule:
    """The gradient steps at which the masks of pruning change.

    Attributes:
      begin_step: the first.
      end_step: until here sparsity rises from 0 along a cubic, quickly while there is much to lose, slowly at the end. With
        None it is the final one at once, and again at each update: weights may come back and others go (2:4 is chosen once).
      frequency: steps between two updates; divides end_step - begin_step, because TF-MOT prunes only at
        begin_step + i * frequency and would otherwise miss the end.
    Source: Zhu and Gupta (2017), "To prune, or not to prune".
    """

    begin_step: int
    end_step: int | None
    frequency: int

    def __post_init__(self) -> None:
        length = None if self.end_step is None else self.end_step - self.begin_step
        assert self.begin_step >= 0 and self.frequency >= 1
        assert length is None or (length > 0 and length % self.frequency == 0)

    def for_kernel(self, sparsity: float) -> tfmot.sparsity.keras.PruningSchedule:
        """As TF-MOT takes it, with the final share of zeros of a kernel."""
        if self.end_step is None:
            return tfmot.sparsity.keras.ConstantSparsity(sparsity, self.begin_step, frequency=self.frequency)
        return tfmot.sparsity.keras.PolynomialDecay(0.0, sparsity, self.begin_step, self.end_step, frequency=self.frequency)


def wrap_for_pruning(
    model: tf_keras.Model, sparsities: Sequence[float], *, schedule: Schedule, structure: Structure = "unstructured"
) -> tf_keras.Model:
    """A copy of a plain network whose kernels are pruned by magnitude while it trains; see `reset_pruning`.

    The sparsities are the final share of zeros of each kernel, in order, in [0, 1). Kernels asked for 0 are left alone; blocks
    are for Dense kernels alone.
    """
    asked = dict(zip((layer.name for layer in model.layers if layer.weights), sparsities, strict=True))

    def wrap(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
        copy = layer.__class__.from_config(layer.get_config())
        if not asked.get(layer.name):
            return copy
        when = schedule.for_kernel(asked[layer.name])
        match structure:
            case "unstructured":
                return tfmot.sparsity.keras.prune_low_magnitude(copy, when)
            case "2:4":
                return tfmot.sparsity.keras.prune_low_magnitude(copy, when, sparsity_m_by_n=(2, 4))
            case (outputs, inputs):  # Keras has kernels as [in, out]
                return tfmot.sparsity.keras.prune_low_magnitude(copy, when, block_size=(inputs, outputs))

    wrapped = tf_keras.models.clone_model(model, clone_function=wrap)
    for source, target in zip(model.layers, wrapped.layers, strict=True):
        _inside(target).set_weights(source.get_weights())
    return wrapped


def reset_pruning(wrapped: tf_keras.Model) -> Callable[[], None]:
    """Sets TF-MOT's step counters to 0 and returns a function that multiplies the kernels by their masks.

    Both are what TF-MOT's `UpdatePruningStep` callback does under `fit`. The wrappers count on from here by themselves, one
    per call with training=True. After a gradient step masked weights are no longer zero: the function is to be called before
    weights are copied, and at the end.
    """
    wrappers = [layer for layer in wrapped.layers if isinstance(layer, PruneLowMagnitude)]
    for wrapper in wrappers:
        wrapper.pruning_step.assign(0)

    def apply_masks() -> None:
        for wrapper in wrappers:
            wrapper.pruning_obj.weight_mask_op()

    return apply_masks


def wrap_for_clustering(model: tf_keras.Model, layers: Sequence[bool], *, clusters: int, keep_zeros: bool) -> tf_keras.Model:
    """A copy of a plain network whose kernels have no more than `clusters` distinct values, >= 2, while it trains.

    `layers` says which of the layers with weights are clustered, in order; the others do not learn. With `keep_zeros`, zeros
    stay zeros; they are one of the values.
    """
    chosen = dict(zip((layer.name for layer in model.layers if layer.weights), layers, strict=True))

    def wrap(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
        copy = layer.__class__.from_config(layer.get_config())
        if not chosen.get(layer.name):
            copy.trainable = False
            return copy
        copy.build(layer.input_shape)
        copy.set_weights(layer.get_weights())  # the centroids are placed among the weights when it is wrapped and built
        start = tfmot.clustering.keras.CentroidInitialization.KMEANS_PLUS_PLUS
        return cluster_weights(copy, clusters, start, preserve_sparsity=keep_zeros)

    wrapped = tf_keras.models.clone_model(model, clone_function=wrap)
    for source, target in zip(model.layers, wrapped.layers, strict=True):
        if not isinstance(target, ClusterWeights):
            target.set_weights(source.get_weights())
    return wrapped


def is_clustered(model: tf_keras.Model) -> bool:
    """Whether its kernels keep few distinct values while it trains.

    XLA is slow at finding the nearest centroid: 56 ms per gradient step of [256, 256] with 16 clusters, against 10 ms without.
    """
    return any("cluster_centroids" in variable.name for variable in model.trainable_variables)


def strip(wrapped: tf_keras.Model, model: tf_keras.Model) -> tf_keras.Model:
    """A copy of `model`, which was wrapped for pruning or clustering, with the weights that it has been trained to."""
    stripped = tf_keras.models.clone_model(model)
    for source, target in zip(wrapped.layers, stripped.layers, strict=True):
        if isinstance(source, ClusterWeights):
            source.update_clustered_weights_associations()
        if target.weights:
            inside = _inside(source)
            target.set_weights([np.asarray(inside.kernel), np.asarray(inside.bias)])
    return stripped


def quantization_aware(
    model: tf_keras.Model, input_limits: tuple[float, float] | None, *, keep_zeros: bool = False, keep_clusters: bool = False
) -> tf_keras.Model:
    """A copy of a plain network that rounds weights and activations to int8 as its `.tflite` will, and learns around it.

    The ranges of its activations are not yet known: see `start_ranges`. TF-MOT gives a Dense kernel one range, a Conv2D one per
    filter.

    Args:
      model: the network.
      input_limits: the input lies in [low, high], which has 0 in it; None leaves its range to be followed.
      keep_zeros: the kernels' zeros stay zero (PQAT). Plain QAT would fill them in again.
      keep_clusters: weights that are equal stay equal (CQAT; with `keep_zeros`, PCQAT).
    """
    annotated = tfmot.quantization.keras.quantize_annotate_model(model)
    scheme: tuple[Any, ...] = ()
    if keep_clusters:
        scheme = (cluster_preserve.Default8BitClusterPreserveQuantizeScheme(preserve_sparsity=keep_zeros),)
    elif keep_zeros:
        scheme = (prune_preserve.Default8BitPrunePreserveQuantizeScheme(),)
    quantized = tfmot.quantization.keras.quantize_apply(annotated, *scheme)
    if input_limits is not None:
        # TF-MOT widens the input's range to what it sees, from nothing. A known range holds from the first step.
        entrance = quantized.layers[1]
        entrance.quantizer_vars["min_var"].assign(input_limits[0])
        entrance.quantizer_vars["max_var"].assign(input_limits[1])
    return quantized


def settle(quantized: tf_keras.Model, model: tf_keras.Model, *, keep_zeros: bool = False) -> tf_keras.Model:
    """The plain QAT network that computes what `quantized` does, without what kept its zeros and clusters while it learned.

    `quantized` is what `quantization_aware` made of `model`, trained.
    """
    settled = quantization_aware(model, None)
    for layer, trained in zip(settled.layers, quantized.layers, strict=True):
        values = {_own_name(variable, trained): variable for variable in trained.weights}
        for variable in layer.weights:
            variable.assign(values[_own_name(variable, layer)])
    if keep_zeros:  # PQAT multiplies by its masks, which are no variables, whenever it computes
        for layer in model.layers:
            if layer.weights:
                wrapper = settled.get_layer(f"quant_{layer.name}")
                kernel = next(variable for variable in wrapper.weights if _own_name(variable, wrapper) == "kernel:0")
                kernel.assign(tf.where(layer.kernel == 0, 0.0, kernel))
    return settled


def start_ranges(quantized: tf_keras.Model, model: tf_keras.Model, *, inputs: Iterable[NDArray[np.float32]]) -> None:
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


def _own_name(variable: tf.Variable, layer: tf_keras.layers.Layer) -> str:
    """Without the layer's name, which Keras numbers over the life of a process."""
    return str(variable.name).rpartition("/")[2].removeprefix(f"{layer.name}_")


def _inside(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
    return layer.layer if isinstance(layer, PruneLowMagnitude | ClusterWeights) else layer
