"""Networks that are pruned or clustered while they learn."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras
from numpy.typing import NDArray
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

    @property
    def final_step(self) -> int:
        """The gradient step from which on sparsity is the final one, though masks may still change."""
        return self.begin_step if self.end_step is None else self.end_step

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


def reset_pruning(wrapped: tf_keras.Model) -> None:
    """Sets TF-MOT's step counters to 0, as its `UpdatePruningStep` callback does under `fit`, and the masks to those of step 0.

    The wrappers count on from here by themselves, one per call with training=True. After a gradient step masked weights are no
    longer zero; `effective_weights` are.
    """
    for layer in wrapped.layers:
        if isinstance(layer, PruneLowMagnitude):
            layer.pruning_step.assign(0)
            layer.pruning_obj.conditional_mask_update()


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


def effective_weights(wrapped: tf_keras.Model) -> list[tf.Tensor]:
    """What a network that was wrapped for pruning or clustering computes with: the kernel and bias of each layer, in order."""
    found: list[tf.Tensor] = []
    for layer in wrapped.layers:
        inside = _inside(layer)
        if not inside.weights:
            continue
        if isinstance(layer, ClusterWeights):
            layer.update_clustered_weights_associations()
        kernel = inside.kernel
        for variable, mask, _ in layer.pruning_vars if isinstance(layer, PruneLowMagnitude) else ():
            kernel = variable * mask
        found += [kernel, inside.bias]
    return found


def masks(wrapped: tf_keras.Model) -> list[NDArray[np.float32] | float]:
    """What pruning multiplies each of `effective_weights` by at this moment; 1 where it prunes nothing."""
    found: list[NDArray[np.float32] | float] = []
    for layer in wrapped.layers:
        if _inside(layer).weights:
            pruned = isinstance(layer, PruneLowMagnitude)
            found += [layer.pruning_vars[0][1].numpy() if pruned else 1.0, 1.0]
    return found


def set_effective_weights(wrapped: tf_keras.Model, weights: Sequence[NDArray[np.float32]]) -> None:
    """Lets a wrapped network compute with these weights: pruned to its masks, or of no more values than it has clusters."""
    remaining = iter(weights)
    for layer in wrapped.layers:
        inside = _inside(layer)
        if not inside.weights:
            continue
        kernel = next(remaining)
        if isinstance(layer, ClusterWeights):
            centroids = layer.cluster_centroids["kernel"]
            values = np.resize(np.unique(kernel), centroids.shape)
            if layer.preserve_sparsity:  # TF-MOT sets the centroid there to 0
                values = np.insert(np.resize(np.unique(kernel[kernel != 0]), len(values) - 1), layer.zero_idx["kernel"], 0)
            centroids.assign(values)
            layer.original_clusterable_weights["kernel"].assign(kernel)
        else:
            inside.kernel.assign(kernel)
        if isinstance(layer, PruneLowMagnitude):
            layer.pruning_vars[0][1].assign((kernel != 0).astype(np.float32))  # the masks may have changed since
        inside.bias.assign(next(remaining))


def strip(wrapped: tf_keras.Model, model: tf_keras.Model) -> tf_keras.Model:
    """A copy of `model`, which was wrapped for pruning or clustering, with the weights that it has been trained to."""
    stripped = tf_keras.models.clone_model(model)
    stripped.set_weights([np.asarray(weight) for weight in effective_weights(wrapped)])
    return stripped


def _inside(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
    return layer.layer if isinstance(layer, PruneLowMagnitude | ClusterWeights) else layer
