"""Networks that round as their `.tflite` will, by the TensorFlow Model Optimization Toolkit: they learn it, or are set."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras
from numpy.typing import NDArray
from tensorflow_model_optimization.python.core.quantization.keras.collab_opts.cluster_preserve import (
    default_8bit_cluster_preserve_quantize_scheme as cluster_preserve,
)
from tensorflow_model_optimization.python.core.quantization.keras.collab_opts.prune_preserve import (
    default_8bit_prune_preserve_quantize_scheme as prune_preserve,
)

LEAST_RANGE = 1e-9  # of a kernel: compiled by XLA, one of zeros alone would become NaN


def quantization_aware(
    model: tf_keras.Model,
    input_limits: tuple[float, float] | None,
    *,
    keep_zeros: bool = False,
    keep_clusters: bool = False,
    per_output: bool | None = None,
    float_output: bool = False,
) -> tf_keras.Model:
    """A copy of a plain network that rounds weights and activations to int8 as its `.tflite` will, and learns around it.

    The ranges of its activations are not yet known: see `start_ranges`. A Conv2D kernel has one scale per filter.

    Args:
      model: the network.
      input_limits: the input lies in [low, high], which has 0 in it; None leaves its range to be followed.
      keep_zeros: the kernels' zeros stay zero (PQAT). Plain QAT would fill them in again.
      keep_clusters: weights that are equal stay equal (CQAT; with `keep_zeros`, PCQAT).
      per_output: with True, a Dense kernel has one scale per output, too, which TF-MOT does not know; else one for all. With
        True and False, the ranges of activations stay as `set_rounding` sets them; with None, they follow the largest numbers.
        Without clusters only.
      float_output: the last layer stays as it is, in float.
    """
    assert per_output is None or not keep_clusters
    last = model.layers[-1]

    def annotate(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
        copy = layer.__class__.from_config(layer.get_config())
        if isinstance(layer, tf_keras.layers.InputLayer) or (float_output and layer is last):
            return copy
        if per_output is None or not layer.weights:
            return tfmot.quantization.keras.quantize_annotate_layer(copy)
        config = _FixedRanges(
            per_output=per_output or isinstance(layer, tf_keras.layers.Conv2D), keep_zeros=keep_zeros, is_last=layer is last
        )
        return tfmot.quantization.keras.quantize_annotate_layer(copy, config)

    annotated = tf_keras.models.clone_model(model, clone_function=annotate)
    for source, target in zip(model.layers, annotated.layers, strict=True):
        target.set_weights(source.get_weights())
    scheme: tuple[Any, ...] = ()
    if keep_clusters:
        scheme = (cluster_preserve.Default8BitClusterPreserveQuantizeScheme(preserve_sparsity=keep_zeros),)
    elif keep_zeros:
        scheme = (prune_preserve.Default8BitPrunePreserveQuantizeScheme(),)
    with tfmot.quantization.keras.quantize_scope(
        {each.__name__: each for each in (_FixedRanges, _KernelQuantizer, _FixedRange)}
    ):
        quantized = tfmot.quantization.keras.quantize_apply(annotated, *scheme)
    for wrapper in quantized.layers:
        own_weights = {_own_name(variable, wrapper): variable for variable in wrapper.weights}
        if "kernel_mask:0" in own_weights:
            own_weights["kernel_mask:0"].assign(tf.cast(own_weights["kernel:0"] != 0, tf.float32))
    if input_limits is not None:
        # TF-MOT widens the input's range to what it sees, from nothing. A known range holds from the first step.
        entrance = quantized.layers[1]
        entrance.quantizer_vars["min_var"].assign(input_limits[0])
        entrance.quantizer_vars["max_var"].assign(input_limits[1])
    return quantized


class DenseKernel(NamedTuple):
    """Of a Dense layer, with one scale per output."""

    values: NDArray[np.int8]  # [in, out]
    scales: NDArray[np.float32]  # [out]
    bias: NDArray[np.float32]  # [out]


class _KernelQuantizer(tfmot.quantization.keras.quantizers.LastValueQuantizer):  # type: ignore[misc] # it ships no types
    """int8 with one scale, or one per output, that follows the largest weight; zeros stay where a mask has them."""

    def __init__(self, per_output: bool, keep_zeros: bool):
        super().__init__(num_bits=8, per_axis=per_output, symmetric=True, narrow_range=True)
        self._per_output, self._keep_zeros = per_output, keep_zeros

    def build(self, tensor_shape: tf.TensorShape, name: str, layer: tf_keras.layers.Layer) -> dict[str, tf.Variable]:
        weights: dict[str, tf.Variable] = super().build(tensor_shape, name, layer)
        if self._keep_zeros:
            weights["mask"] = layer.add_weight(f"{name}_mask", tensor_shape, initializer="ones", trainable=False)
        return weights

    def __call__(self, inputs: tf.Tensor, training: bool, weights: dict[str, tf.Variable], **kwargs: object) -> tf.Tensor:
        kernel = inputs * weights["mask"] if self._keep_zeros else inputs
        if training:
            axes = list(range(kernel.shape.rank - 1)) if self._per_output else None
            reach = tf.maximum(tf.reduce_max(tf.abs(kernel), axis=axes), LEAST_RANGE)  # [out], or one
            weights["min_var"].assign(-reach)
            weights["max_var"].assign(reach)
        name = "fake_quant_with_min_max_vars" + ("_per_channel" if self._per_output else "")
        return getattr(tf.quantization, name)(kernel, weights["min_var"], weights["max_var"], narrow_range=True)

    def get_config(self) -> dict[str, bool]:
        return {"per_output": self._per_output, "keep_zeros": self._keep_zeros}


class _FixedRange(tfmot.quantization.keras.quantizers.Quantizer):  # type: ignore[misc] # it ships no types
    """int8 of a range that is set from outside and stays. TF-MOT's own would grow to the largest number of each batch.

    Numbers beyond the range have no gradient, as always; those of an output that saturates on purpose pass theirs.
    """

    def __init__(self, saturates: bool):
        self._saturates = saturates

    def build(self, tensor_shape: tf.TensorShape, name: str, layer: tf_keras.layers.Layer) -> dict[str, tf.Variable]:
        start = {"min": -6.0, "max": 6.0}
        return {
            f"{end}_var": layer.add_weight(f"{name}_{end}", initializer=tf_keras.initializers.Constant(at), trainable=False)
            for end, at in start.items()
        }

    def __call__(self, inputs: tf.Tensor, training: bool, weights: dict[str, tf.Variable], **kwargs: object) -> tf.Tensor:
        rounded = tf.quantization.fake_quant_with_min_max_vars(inputs, weights["min_var"], weights["max_var"])
        return inputs + tf.stop_gradient(rounded - inputs) if training and self._saturates else rounded

    def get_config(self) -> dict[str, bool]:
        return {"saturates": self._saturates}


class _FixedRanges(tfmot.quantization.keras.QuantizeConfig):  # type: ignore[misc] # it ships no types
    """How TF-MOT is to quantize a Dense or Conv2D layer whose activation has a range that stays."""

    def __init__(self, per_output: bool, keep_zeros: bool, is_last: bool):
        self._per_output, self._keep_zeros, self._is_last = per_output, keep_zeros, is_last

    def get_weights_and_quantizers(self, layer: tf_keras.layers.Layer) -> list[Any]:
        return [(layer.kernel, _KernelQuantizer(self._per_output, self._keep_zeros))]

    def get_activations_and_quantizers(self, layer: tf_keras.layers.Layer) -> list[Any]:
        return [(layer.activation, _FixedRange(self._is_last))]

    def set_quantize_weights(self, layer: tf_keras.layers.Layer, quantize_weights: list[Any]) -> None:
        (layer.kernel,) = quantize_weights

    def set_quantize_activations(self, layer: tf_keras.layers.Layer, quantize_activations: list[Any]) -> None:
        (layer.activation,) = quantize_activations

    def get_output_quantizers(self, layer: tf_keras.layers.Layer) -> list[Any]:
        return []

    def get_config(self) -> dict[str, bool]:
        return {"per_output": self._per_output, "keep_zeros": self._keep_zeros, "is_last": self._is_last}


def set_rounding(
    quantized: tf_keras.Model,
    model: tf_keras.Model,
    *,
    weights: Sequence[NDArray[np.float32]],
    scales: Sequence[NDArray[np.float32]],
    ranges: Sequence[tuple[float, float]],
) -> None:
    """Gives the network that `quantization_aware` made of `model` weights that are rounded already, and the ranges that go with
    them: kernels and biases in turn; of each rounded kernel the scales [out], and the range of its layer's output."""
    layers = [layer for layer in model.layers if layer.weights]
    if isinstance(quantized.layers[-1], tf_keras.layers.Dense):
        quantized.layers[-1].set_weights(weights[-2:])
        layers = layers[:-1]
    for i, (layer, scale, (low, high)) in enumerate(zip(layers, scales, ranges, strict=True)):
        wrapper = _counterpart(quantized, layer)
        values: dict[str, Any] = {"kernel:0": weights[2 * i], "bias:0": weights[2 * i + 1]}
        values |= {"post_activation_min:0": low, "post_activation_max:0": high}
        for variable in wrapper.weights:
            name = _own_name(variable, wrapper)
            if name in ("kernel_min:0", "kernel_max:0"):
                reach = 127 * (scale if variable.shape.rank else scale.max())
                values[name] = -reach if name == "kernel_min:0" else reach
            if name in values:
                variable.assign(values[name])


def rounded_kernels(quantized: tf_keras.Model) -> list[tf.Tensor]:
    """The kernels that a network with fake quantization computes with, in order; its scales stay."""
    return [
        quantizer(kernel, training=False, weights=variables)
        for wrapper in quantized.layers
        for kernel, quantizer, variables in getattr(wrapper, "_weight_vars", ())
    ]


def before_last_rounding(quantized: tf_keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """What a network with fake quantization computes before its output is rounded: scaled observations [B, ...] -> [B, A]."""
    trunk = tf_keras.Model(quantized.input, quantized.layers[-2].output)

    def outputs(x: tf.Tensor) -> tf.Tensor:
        return trunk(x, training=False) @ rounded_kernels(quantized)[-1] + quantized.layers[-1].layer.bias

    return outputs


def settle(
    quantized: tf_keras.Model, model: tf_keras.Model, *, keep_zeros: bool = False, per_output: bool | None = None
) -> tf_keras.Model:
    """The QAT network that computes what `quantized` does, without what kept its zeros and clusters while it learned.

    `quantized` is what `quantization_aware` made of `model`, trained."""
    float_output = isinstance(quantized.layers[-1], tf_keras.layers.Dense)
    settled = quantization_aware(model, None, per_output=per_output, float_output=float_output)
    copy_weights(quantized, settled)
    if keep_zeros:  # the masks of PQAT multiply, and are no variables or ours, whenever it computes
        for layer in model.layers:
            if layer.weights:
                wrapper = _counterpart(settled, layer)
                kernel = next(variable for variable in wrapper.weights if _own_name(variable, wrapper) == "kernel:0")
                kernel.assign(tf.where(layer.kernel == 0, 0.0, kernel))
    return settled


def copy_weights(source: tf_keras.Model, target: tf_keras.Model) -> None:
    """Between networks that `quantization_aware` made of the same one; what one of them has alone stays."""
    for layer, trained in zip(target.layers, source.layers, strict=True):
        values = {_own_name(variable, trained): variable for variable in trained.weights}
        for variable in layer.weights:
            if (name := _own_name(variable, layer)) in values:
                variable.assign(values[name])


def dense_kernels(quantized: tf_keras.Model) -> list[DenseKernel]:
    """Those that have one scale per output, as integers, in order."""
    found = []
    for wrapper in quantized.layers:
        values = {_own_name(variable, wrapper): variable.numpy() for variable in wrapper.weights}
        if np.ndim(values.get("kernel_max:0", 0)) == 1 and values["kernel:0"].ndim == 2:
            # An output without weights, or nearly so, still has a bias, which counts in units of its scale, in 32 bits.
            scales = np.maximum(values["kernel_max:0"], 1e-3 * values["kernel_max:0"].max()).astype(np.float32) / 127  # [out]
            rounded = np.rint(np.clip(values["kernel:0"] / scales, -127, 127)).astype(np.int8)  # [in, out]
            found.append(DenseKernel(rounded, scales, values["bias:0"]))
    return found


def with_one_scale(quantized: tf_keras.Model, model: tf_keras.Model) -> tf_keras.Model:
    """The same network with one scale per Dense kernel, which the converter takes; `model` is the plain one.

    TensorFlow 2.21 refuses one scale per output of a Dense kernel under quantization-aware training, because it transposes the
    kernel and leaves the axis of the scales: "'tfl.transpose' op has mismatched quantized axes of input and output".
    """
    twin = quantization_aware(model, None, float_output=isinstance(quantized.layers[-1], tf_keras.layers.Dense))
    for wrapper, source in zip(twin.layers, quantized.layers, strict=True):
        values = {_own_name(variable, source): variable.numpy() for variable in source.weights}
        for variable in wrapper.weights:
            value = values[_own_name(variable, wrapper)]
            variable.assign(value if value.shape == variable.shape else np.sign(value[0]) * np.abs(value).max())
    return twin


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
        for variable in _counterpart(quantized, model.get_layer(name)).weights:
            if variable.name.endswith("post_activation_min:0"):
                variable.assign(low)
            elif variable.name.endswith("post_activation_max:0"):
                variable.assign(high)


def _counterpart(quantized: tf_keras.Model, layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
    """What became of a layer of the plain network: its wrapper, or the last layer itself, in float."""
    is_float = layer.name == quantized.layers[-1].name
    return quantized.get_layer(layer.name if is_float else f"quant_{layer.name}")


def _own_name(variable: tf.Variable, layer: tf_keras.layers.Layer) -> str:
    """Without the layer's name, which Keras numbers over the life of a process."""
    return str(variable.name).rpartition("/")[2].removeprefix(f"{layer.name}_")
