"""Our functions around the TensorFlow Model Optimization Toolkit: prune and cluster. `fake_quantization` has the others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras
from tensorflow_model_optimization.python.core.clustering.keras.cluster import _cluster_weights as cluster_weights
from tensorflow_model_optimization.python.core.clustering.keras.cluster_wrapper import ClusterWeights
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


def _inside(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
    return layer.layer if isinstance(layer, PruneLowMagnitude | ClusterWeights) else layer
