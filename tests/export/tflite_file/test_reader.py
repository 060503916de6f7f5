import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from edgedqn.export.edge_policy import PolicyFileError, TfliteModel
from edgedqn.export.tflite_file.reader import (
    Quantization,
    allocated_shape,
    fix_names,
    kernels,
    quantization,
    stripped,
    with_metadata,
)


def run(content: bytes, rows: NDArray[Any]) -> NDArray[Any]:
    """[N, ...] -> [N, A], through the plain interpreter."""
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    source, sink = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    answers = []
    for row in rows:
        interpreter.set_tensor(source["index"], row[None].astype(source["dtype"]))
        interpreter.invoke()
        answers.append(interpreter.get_tensor(sink["index"])[0])
    return np.array(answers)


def convolutions(sparse: bool = False) -> bytes:
    """A network with a CONV_2D, a DEPTHWISE_CONV_2D and a FULLY_CONNECTED, float32."""
    import tensorflow as tf
    import tf_keras

    tf_keras.utils.set_random_seed(0)
    inputs = tf_keras.Input((8, 8, 3), batch_size=1)
    x = tf_keras.layers.Conv2D(4, 3, activation="relu")(inputs)
    x = tf_keras.layers.DepthwiseConv2D(3, activation="relu")(x)
    model = tf_keras.Model(inputs, tf_keras.layers.Dense(2)(tf_keras.layers.Flatten()(x)))
    if sparse:
        dense = model.layers[-1]
        kernel, bias = dense.get_weights()
        kernel[4:] = 0
        dense.set_weights([kernel, bias])
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if sparse:
        converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the converter's own remarks
        content: bytes = converter.convert()
    return content


def test_float_kernels_are_the_networks_weights(network: Any) -> None:
    first, second = kernels(TfliteModel(network.float32))
    np.testing.assert_array_equal(first.values, network.weights[0].T)
    np.testing.assert_array_equal(second.values, network.weights[2].T)
    assert [(k.weights, k.nonzero_weights) for k in (first, second)] == [(64, 64), (32, 32)]


def test_float16_kernels_are_found_behind_their_dequantize(network: Any) -> None:
    first, second = kernels(TfliteModel(network.float16))
    assert first.values.dtype == np.float16
    np.testing.assert_array_equal(first.values, network.weights[0].T.astype(np.float16))
    np.testing.assert_array_equal(second.values, network.weights[2].T.astype(np.float16))


def test_int8_kernels_are_the_weights_on_their_channels_grid(network: Any) -> None:
    interpreter = Interpreter(model_content=network.int8)
    by_name = {detail["name"]: detail for detail in interpreter.get_tensor_details()}
    for kernel, weights in zip(kernels(TfliteModel(network.int8)), (network.weights[0].T, network.weights[2].T), strict=True):
        assert kernel.values.dtype == np.int8
        scales = by_name[kernel.name]["quantization_parameters"]["scales"]
        np.testing.assert_allclose(kernel.values * scales[:, None], weights, atol=float(scales.max()) * 0.51)
        assert kernel.nonzero_weights == np.count_nonzero(kernel.values)


def test_convolution_kernels_keep_their_layout() -> None:
    content = convolutions()
    assert [k.values.shape for k in kernels(TfliteModel(content))] == [(4, 3, 3, 3), (1, 3, 3, 4), (2, 64)]


def test_a_sparse_encoding_is_refused_by_name() -> None:
    with pytest.raises(PolicyFileError, match=r"is sparsely encoded: expected a dense tensor"):
        kernels(TfliteModel(convolutions(sparse=True)))


def ends(content: bytes) -> list[tuple[str, Quantization]]:
    model = TfliteModel(content)
    return [(tensor.dtype, quantization(tensor)) for tensor in (model.input, model.output)]


def test_quantization_of_both_ends(network: Any) -> None:
    interpreter = Interpreter(model_content=network.int8)
    expected = []
    for detail in (interpreter.get_input_details()[0], interpreter.get_output_details()[0]):
        scale, zero_point = detail["quantization"]
        expected.append(("int8", Quantization(float(np.float32(scale)), zero_point)))
    assert ends(network.int8) == expected
    assert ends(network.float32) == [("float32", Quantization(1.0, 0))] * 2


@pytest.mark.parametrize("kind", ["float32", "int8", "float16"])
def test_one_policy_converts_to_the_same_bytes_twice(network: Any, convert_again: Callable[[str], bytes], kind: str) -> None:
    first, second = getattr(network, kind), convert_again(kind)
    assert first != second  # the counters; should this fail one day, fix_names has lost its purpose
    assert fix_names(TfliteModel(first), "preferences") == fix_names(TfliteModel(second), "preferences")


@pytest.mark.parametrize("kind", ["float32", "int8", "float16"])
def test_rewrites_change_no_answer_and_no_kernel(network: Any, kind: str) -> None:
    content = getattr(network, kind)
    rewritten = with_metadata(TfliteModel(fix_names(TfliteModel(content), "preferences")), "note", payload=b"something")
    rows = np.random.default_rng(1).normal(0, 40 if kind == "int8" else 1, (50, 4)).clip(-128, 127)
    np.testing.assert_array_equal(run(rewritten, rows), run(content, rows))
    for before, after in zip(kernels(TfliteModel(content)), kernels(TfliteModel(rewritten)), strict=True):
        np.testing.assert_array_equal(before.values, after.values)
    assert ends(content) == ends(rewritten)


def test_rewrites_keep_convolution_options() -> None:
    content = convolutions()
    rows = np.random.default_rng(2).normal(size=(10, 8, 8, 3)).astype(np.float32)
    np.testing.assert_array_equal(run(fix_names(TfliteModel(content), "q_values"), rows), run(content, rows))


def test_names_and_signature_agree(network: Any) -> None:
    interpreter = Interpreter(model_content=fix_names(TfliteModel(network.int8), "q_values"))
    assert interpreter.get_input_details()[0]["name"] == "observation"
    assert interpreter.get_output_details()[0]["name"] == "q_values"
    assert interpreter.get_signature_list() == {"serving_default": {"inputs": ["observation"], "outputs": ["q_values"]}}
    runner = interpreter.get_signature_runner()
    assert runner(observation=np.zeros((1, 4), np.int8))["q_values"].shape == (1, 2)


def test_buffers_stay_aligned(network: Any) -> None:
    payload = b"\x01\x02 a payload that occurs nowhere else"
    rewritten = with_metadata(TfliteModel(network.int8), "note", payload=payload)
    at = rewritten.index(payload)
    assert at % 16 == 0
    assert int.from_bytes(rewritten[at - 4 : at], "little") == len(payload)
    for kernel in kernels(TfliteModel(rewritten)):
        assert rewritten.index(kernel.values.tobytes()) % 16 == 0


def test_with_metadata_is_deterministic_and_keeps_what_was_there(network: Any) -> None:
    from ai_edge_litert import schema_py_generated as schema

    once = with_metadata(TfliteModel(network.int8), "note", payload=b"payload")
    assert once == with_metadata(TfliteModel(network.int8), "note", payload=b"payload")
    before = schema.ModelT.InitFromObj(schema.Model.GetRootAs(network.int8)).metadata
    after = schema.ModelT.InitFromObj(schema.Model.GetRootAs(once)).metadata
    assert [entry.name for entry in after] == [*(entry.name for entry in before), b"note"]


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\0" * 8 + b"TFL3", b"\xff\xff\xff\xffTFL3", b"not a model at all"])
def test_refuses_what_is_no_model(content: bytes) -> None:
    for read in (
        TfliteModel,
        lambda c: fix_names(TfliteModel(c), "q_values"),
        lambda c: with_metadata(TfliteModel(c), "note", payload=b"x"),
    ):
        with pytest.raises(PolicyFileError):
            read(content)


def test_damaged_bytes_end_in_one_exception_only(network: Any) -> None:
    rng = np.random.default_rng(8)
    refused = 0
    for _ in range(2000):
        damaged = bytearray(network.float16)
        for place in rng.integers(0, len(damaged), int(rng.integers(1, 6))):
            damaged[place] = int(rng.choice([0, 1, 127, 128, 255, int(rng.integers(256))]))
        for read in (lambda content: kernels(TfliteModel(content)), ends):
            try:
                read(bytes(damaged))
            except PolicyFileError:
                refused += 1
    assert refused > 200


@pytest.mark.parametrize("kind", ["float32", "float16", "int8"])
def test_a_stripped_file_computes_the_same_and_holds_no_text(network: Any, kind: str) -> None:
    content = with_metadata(TfliteModel(getattr(network, kind)), "note", payload=b"something that is read by nobody")
    bare = stripped(TfliteModel(content))
    rows = np.random.default_rng(4).normal(size=(50, 4)) * (20 if kind == "int8" else 1)
    np.testing.assert_array_equal(run(bare, rows), run(content, rows))
    for before, after in zip(kernels(TfliteModel(content)), kernels(TfliteModel(bare)), strict=True):
        np.testing.assert_array_equal(before.values, after.values)
        assert after.name == ""
    assert ends(bare) == ends(content)
    assert not any(len(text) > 4 for text in re.findall(rb"[a-zA-Z_ ]{5,}", bare) if text in content and text != b"TFL3")
    assert len(bare) < len(content) - 400
    assert stripped(TfliteModel(bare)) == bare


def test_stripping_keeps_convolutions() -> None:
    content = convolutions()
    rows = np.random.default_rng(2).normal(size=(10, 8, 8, 3)).astype(np.float32)
    np.testing.assert_array_equal(run(stripped(TfliteModel(content)), rows), run(content, rows))


def test_equal_vectors_are_written_once(network: Any) -> None:
    """Of a layer with one scale per output, the zero points of kernel and bias are as many zeros."""
    places: dict[int, set[int]] = {}
    content = stripped(TfliteModel(network.int8))
    for tensor in TfliteModel(content).tensors:
        table = tensor.table.table(4)
        if table is not None and (several := table.numbers(3, "q")):
            places.setdefault(len(several), set()).add(table.target(3))
    assert 16 in places and all(len(found) == 1 for length, found in places.items() if length > 1)
    assert len(content) < len(network.int8)


def test_a_batch_that_nobody_fixed_is_allocated_as_one() -> None:
    import tensorflow as tf
    import tf_keras

    network = tf_keras.Sequential([tf_keras.layers.Dense(2, input_shape=(4,))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        content = tf.lite.TFLiteConverter.from_keras_model(network).convert()
    model = TfliteModel(content)
    assert (model.input.shape, allocated_shape(model.input)) == ((-1, 4), (1, 4))
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    assert interpreter.get_output_details()[0]["shape"].tolist() == list(allocated_shape(model.output))
