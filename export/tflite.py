"""From a policy network to the bytes of a `.tflite`."""

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from edgedqn.compression.policy import CompressedPolicy
from edgedqn.export import flatbuffer, manifest

CALIBRATION_STATES = 1_000


def to_tflite(policy: CompressedPolicy) -> bytes:
    """Converts a policy with a static batch of 1, fixes all names, and embeds the manifest's device part.

    `float32` stays float. `ptq-int8` is TensorFlow's post-training quantization, calibrated on on-policy observations.
    `qat-int8` rounds as the fake-quantized network was trained to. Integer files have int8 input and output.

    The same policy gives the same bytes, in any process.
    """
    converter = tf.lite.TFLiteConverter.from_concrete_functions([_static_batch(policy.network)], policy.network)
    if policy.conversion != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    if policy.conversion == "ptq-int8":
        # Quantization-aware networks bring their ranges along; with these two lines the converter would discard them.
        converter.representative_dataset = lambda: _calibration(policy)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    with _silence():
        content = flatbuffer.fix_names(converter.convert(), policy.meaning)
    source = flatbuffer.io_quantization(content).input
    return manifest.embed(content, _device_part(policy, source.scale, source.zero_point))


def _static_batch(network: tf_keras.Model) -> tf.types.experimental.ConcreteFunction:
    specification = tf.TensorSpec((1, *network.input_shape[1:]), tf.float32, name="observation")
    return tf.function(lambda observation: network(observation, training=False)).get_concrete_function(specification)


def _calibration(policy: CompressedPolicy) -> Iterator[list[NDArray[np.float32]]]:
    for observation in policy.observations[:CALIBRATION_STATES]:
        yield [policy.scaling(observation)[np.newaxis]]


def _device_part(policy: CompressedPolicy, scale: float, zero_point: int) -> dict[str, Any]:
    """Joins the policy's own input scaling with the input tensor's: q = (x * s + o) / scale + zero_point."""
    own_scale = np.asarray(policy.scaling.scale, np.float64)  # [F], or [1]
    own_offset = np.asarray(policy.scaling.offset, np.float64)  # [F], or [1]
    return manifest.device_part(
        policy.spec,
        (own_scale / scale).astype(np.float32),
        (own_offset / scale + zero_point).astype(np.float32),
        policy.meaning,
        policy.recipe,
    )


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keeps the converter's chatter from the terminal: it logs each conversion at length, whatever the log level."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
