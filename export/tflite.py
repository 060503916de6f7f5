"""From a policy network to the bytes of a `.tflite`."""

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import tensorflow as tf
import tf_keras

from edgedqn.agents.architecture import rebuild
from edgedqn.compression.policy import CompressedPolicy
from edgedqn.compression.tfmot import fake_quantization
from edgedqn.export.config import INTEGER_ENDS, ExportConfig
from edgedqn.export.edge_policy import DeviceManifest, TfliteModel
from edgedqn.export.tflite_file.manifest import device_part, embed
from edgedqn.export.tflite_file.reader import fix_names, quantization, stripped
from edgedqn.export.tflite_file.rewriting import with_action_output, with_dense_kernels, with_float_ends

CALIBRATION_STATES = 1_000
CALIBRATED = {
    "ptq-int8": tf.lite.OpsSet.TFLITE_BUILTINS_INT8,
    "int16x8": tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
}


@dataclass(frozen=True)
class Exported:
    """A policy file's content, and its manifest's device part, inside it or not."""

    content: bytes
    device: DeviceManifest

    @cached_property
    def model(self) -> TfliteModel:
        """What the file holds, parsed once."""
        return TfliteModel(self.content)


def to_tflite(policy: CompressedPolicy) -> bytes:
    """The content of a policy's file, with names and an embedded manifest; see `exported`."""
    return exported(policy, ExportConfig()).content


def exported(policy: CompressedPolicy, config: ExportConfig) -> Exported:
    """Converts a policy with a static batch of 1, fixes or leaves out all names, and embeds the manifest's device part or not.

    `float32` stays float. `float16` stores half-precision weights, `dynamic` int8 ones; both compute in float. `ptq-int8` is
    TensorFlow's post-training quantization, calibrated on on-policy observations, `int16x8` the same with 16-bit activations.
    `qat-int8` rounds as the fake-quantized network was trained to. `ptq-int8` and `qat-int8` have int8 input and output,
    `qat-int8-float-output` int8 input alone, all others float ends.

    The same policy gives the same bytes, in any process.

    Raises:
      InputError: `config` asks for what cannot be written of this policy.
    """
    config.check(policy.meaning)
    dense = fake_quantization.dense_kernels(policy.network)
    network = fake_quantization.with_one_scale(policy.network, rebuild(policy.layers)) if dense else policy.network
    converter = tf.lite.TFLiteConverter.from_concrete_functions([_static_batch(network)], network)
    # Writing a SavedModel first would give the same network, in ten times the time.
    converter.experimental_lower_to_saved_model = False
    kind = policy.conversion
    if kind != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind in INTEGER_ENDS:
        converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.float32 if kind == "qat-int8-float-output" else tf.int8
    if kind == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if kind in CALIBRATED:
        # Quantization-aware networks bring their ranges along; with these two lines the converter would discard them.
        observations = policy.observations[:CALIBRATION_STATES]
        converter.representative_dataset = lambda: ([policy.scaling(each)[np.newaxis]] for each in observations)
        converter.target_spec.supported_ops = [CALIBRATED[kind]]
    # Of quantization-aware networks, which bring the ranges of their inputs along. A filter for good, because
    # `catch_warnings` is not safe in threads.
    warnings.filterwarnings("ignore", "Statistics for quantized inputs were expected")
    content = converter.convert()
    if dense:
        content = with_dense_kernels(TfliteModel(content), dense)
    given = quantization(TfliteModel(content).input)
    # The policy's own input scaling joined with the input tensor's: q = (x * s + o) / scale + zero_point.
    device = device_part(
        policy.spec,
        scale=(np.asarray(policy.scaling.scale, np.float64) / given.scale).astype(np.float32),
        offset=(np.asarray(policy.scaling.offset, np.float64) / given.scale + given.zero_point).astype(np.float32),
        meaning="action" if config.output == "action" else policy.meaning,
        recipe=policy.recipe,
    )
    if config.output == "action":
        content = with_action_output(TfliteModel(content))
    if config.float_io and kind in INTEGER_ENDS:
        content, device = with_float_ends(TfliteModel(content), device)
    model = TfliteModel(content)
    content = stripped(model) if config.strip else fix_names(model, device.meaning)
    return Exported(embed(content, device) if config.manifest == "embedded" else content, device)


def _static_batch(network: tf_keras.Model) -> tf.types.experimental.ConcreteFunction:
    specification = tf.TensorSpec((1, *network.input_shape[1:]), tf.float32, name="observation")
    return tf.function(lambda observation: network(observation, training=False)).get_concrete_function(specification)
