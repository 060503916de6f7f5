import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgedqn.export.edge_policy import PolicyFileError, TfliteModel
from edgedqn.export.tflite_file.integer_network import (
    IntegerConvolution,
    IntegerLayer,
    quantized_multiplier,
    read_integer_network,
    sum_bounds,
)
from edgedqn.export.tflite_file.reader import rewrite


def test_rows_equal_those_of_tflite_micro(trained: Any, run_integer_network: Any) -> None:
    pytest.importorskip("tflite_micro", reason="the extra `micro` is not installed")
    from edgedqn.export.tflite_file.tflm import tflm_rows

    content = trained.path.read_bytes()
    inputs = np.concatenate([trained.inputs, trained.corners])
    layers = read_integer_network(TfliteModel(content))
    assert (run_integer_network(layers, inputs) == tflm_rows(content, inputs)).all()
    per_output = "ptq" in trained.path.name
    assert [layer.multipliers.size for layer in layers] == ([16, 16, 2] if per_output else [1, 1, 1])


def test_rows_of_random_weights_equal_those_of_tflite_micro(network: Any, run_integer_network: Any) -> None:
    """Two layers, and inputs of all sizes: rarely met roundings, too."""
    pytest.importorskip("tflite_micro", reason="the extra `micro` is not installed")
    from edgedqn.export.tflite_file.tflm import tflm_rows

    inputs = np.random.default_rng(3).integers(-128, 128, (5_000, 4)).astype(np.int8)
    assert (
        run_integer_network(read_integer_network(TfliteModel(network.int8)), inputs) == tflm_rows(network.int8, inputs)
    ).all()


@pytest.mark.parametrize("name", ["quantiles", "same"])
def test_rows_of_convolutions_equal_those_of_tflite_micro(
    image_file: Callable[[str], bytes], run_integer_network: Any, name: str
) -> None:
    """Both paddings, unequal strides, two streams and quantiles folded, and layers whose bias the converter left out."""
    pytest.importorskip("tflite_micro", reason="the extra `micro` is not installed")
    from edgedqn.export.tflite_file.tflm import tflm_rows

    layers = read_integer_network(TfliteModel(image_file(name)))
    assert [type(layer) for layer in layers[:1] + layers[-1:]] == [IntegerConvolution, IntegerLayer]
    inputs = np.random.default_rng(3).integers(-128, 128, (200, layers[0].inputs)).astype(np.int8)
    inputs[0], inputs[1] = -128, 127
    rows = tflm_rows(image_file(name), inputs)
    np.testing.assert_array_equal(run_integer_network(layers, inputs), rows)
    assert len(np.unique(rows, axis=0)) > 100


@st.composite
def any_layer(draw: st.DrawFn) -> IntegerLayer:
    outputs, inputs = draw(st.integers(1, 3)), draw(st.integers(1, 6))
    weights = draw(st.lists(st.integers(-128, 127), min_size=outputs * inputs, max_size=outputs * inputs))
    bias = draw(st.lists(st.integers(-(2**20), 2**20), min_size=outputs, max_size=outputs))
    return IntegerLayer(
        weights=np.array(weights, np.int8).reshape(outputs, inputs),
        bias=np.array(bias, np.int32),
        multipliers=np.array([2**30], np.int32),
        shifts=np.zeros(1, np.int8),
        zero_point=0,
        lowest=-128,
        least_input=draw(st.integers(-128, 127)),
    )


def partial_sums(layer: IntegerLayer, x: NDArray[np.int64], order: NDArray[np.intp]) -> NDArray[np.int64]:
    """[outputs, terms]: what each sum passes through, the bias being one of the terms that are added in this order."""
    terms = np.concatenate([layer.bias[:, np.newaxis].astype(np.int64), layer.weights * x], 1)  # [outputs, 1 + inputs]
    return terms[:, order].cumsum(1)


@settings(deadline=None, max_examples=200)
@given(layer=any_layer(), seed=st.integers(0, 2**31))
def test_no_sum_leaves_its_bounds_in_any_order_and_each_bound_is_reached(layer: IntegerLayer, seed: int) -> None:
    least, largest = sum_bounds(layer)
    rng = np.random.default_rng(seed)
    x = rng.integers(layer.least_input, 128, layer.inputs)
    sums = partial_sums(layer, x, rng.permutation(layer.inputs + 1))
    assert least <= sums.min() and sums.max() <= largest
    # The extreme inputs of each output, positive terms first and negative terms first.
    met = [0]
    for weights, bias in zip(layer.weights.astype(np.int64), layer.bias, strict=True):
        for extreme in (np.where(weights > 0, 127, layer.least_input), np.where(weights > 0, layer.least_input, 127)):
            terms = np.sort(np.append(weights * extreme, bias))
            met += [*terms.cumsum(), *terms[::-1].cumsum()]
    assert (min(met), max(met)) == (least, largest)


def test_a_layer_behind_a_relu_takes_what_that_lets_through(image_file: Callable[[str], bytes]) -> None:
    for layers in (read_integer_network(TfliteModel(image_file(name))) for name in ("same", "quantiles")):
        # The zero beyond an image is within its range, wherever that begins.
        lowest = [-128, *(layer.lowest for layer in layers[:-1])]
        assert [layer.least_input for layer in layers] == lowest
    padded = read_integer_network(TfliteModel(image_file("same")))[0]
    assert isinstance(padded, IntegerConvolution)
    assert padded.input_zero_point != -128 and padded.padding == (1, 1) and padded.strides == (2, 1)


def test_constants_are_those_of_the_file(trained: Any) -> None:
    """Against ai-edge-litert's own reading of the file: a bias or a scale off by one may change no action."""
    from ai_edge_litert.interpreter import Interpreter

    content = trained.path.read_bytes()
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    tensors = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    operators = [each for each in interpreter._get_ops_details() if each["op_name"] == "FULLY_CONNECTED"]
    layers = read_integer_network(TfliteModel(content))
    assert len(operators) == len(layers) == 3
    for layer, operator in zip(layers, operators, strict=True):
        given, kernel, bias = (tensors[index] for index in operator["inputs"])
        result = tensors[operator["outputs"][0]]
        weights = interpreter.get_tensor(kernel["index"])
        np.testing.assert_array_equal(layer.weights, weights)
        folded = interpreter.get_tensor(bias["index"]) - given["quantization"][1] * weights.sum(1, dtype=np.int64)
        np.testing.assert_array_equal(layer.bias, folded)
        scales = kernel["quantization_parameters"]["scales"].astype(np.float64)
        real = np.float64(given["quantization"][0]) * scales / np.float64(result["quantization"][0])
        stored = layer.multipliers * 2.0 ** (layer.shifts.astype(float) - 31)
        np.testing.assert_allclose(np.broadcast_to(stored, real.shape), real, rtol=2**-31)
        assert layer.zero_point == result["quantization"][1]


@pytest.mark.parametrize(
    ("real", "expected"),
    [
        (0.5, (2**30, 0)),
        (1.0, (2**30, 1)),
        (0.75, (3 * 2**29, 0)),
        (1 - 2**-40, (2**30, 1)),  # rounds up to 2**31, which no int32 holds
        ((2**30 + 0.5) / 2**31, (2**30 + 1, 0)),  # a half goes up; to even it would go down
        (2.0**-40, (0, 0)),
    ],
)
def test_multipliers_are_rounded_as_in_c(real: float, expected: tuple[int, int]) -> None:
    assert quantized_multiplier(real) == expected


def test_halves_are_rounded_twice(scale_by_quantized_multiplier: Any) -> None:
    """0.5 is rounded away from zero, and what the first rounding made a half counts as one."""
    values = np.array([[1], [-1], [3], [-3]], np.int64) * 2
    half = scale_by_quantized_multiplier(values, np.array([2**30], np.int32), np.array([-1], np.int8))
    assert half.ravel().tolist() == [1, -1, 2, -2]
    # 5 / 4 * 2**-1 = 0.625: once rounded it is 1; and -0.375 is -0.5 after the first rounding, then -1.
    twice = scale_by_quantized_multiplier(np.array([[-3]], np.int64), np.array([2**29], np.int32), np.array([-1], np.int8))
    assert twice.ravel().tolist() == [-1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda graph: setattr(graph.operators[0].builtinOptions, "dilationHFactor", 2), "expected a window without dilation"),
        (lambda graph: setattr(graph.operators[0].builtinOptions, "strideW", 0), "expected a window without dilation"),
        (lambda graph: setattr(graph.operators[0].builtinOptions, "padding", 1), "The layer does not fit: expected 84 numbers"),
        (
            lambda graph: setattr(graph.operators[0].builtinOptions, "fusedActivationFunction", 3),
            r"expected none or ReLU\. Got 3",
        ),
        (
            lambda graph: setattr(graph.operators[2], "inputs", 0 * graph.operators[2].inputs),
            "expected a chain, each layer reading the one before",
        ),
        (lambda graph: graph.operators.pop(), "expected a chain that ends at the output"),
    ],
)
def test_refuses_other_convolutions_in_one_line(image_file: Callable[[str], bytes], change: Any, message: str) -> None:
    content = rewrite(TfliteModel(image_file("same")), lambda parts: change(parts.subgraphs[0]))
    with pytest.raises(PolicyFileError, match=message) as raised:
        read_integer_network(TfliteModel(content))
    assert "\n" not in str(raised.value)


def test_names_an_operator_that_it_does_not_know(image_file: Callable[[str], bytes]) -> None:
    def pool(parts: Any) -> None:
        next(code for code in parts.operatorCodes if code.builtinCode == 22).builtinCode = 17
        next(code for code in parts.operatorCodes if code.deprecatedBuiltinCode == 22).deprecatedBuiltinCode = 17

    with pytest.raises(PolicyFileError, match=r"expected FULLY_CONNECTED, CONV_2D and RESHAPE\. Got the operator MAX_POOL_2D"):
        read_integer_network(TfliteModel(rewrite(TfliteModel(image_file("same")), pool)))


def test_refuses_what_is_no_integer_network(network: Any, int8_policy: bytes) -> None:
    with pytest.raises(PolicyFileError, match="No int8 layer"):
        read_integer_network(TfliteModel(network.float32))
    with pytest.raises(PolicyFileError):
        read_integer_network(TfliteModel(int8_policy[: len(int8_policy) // 2]))


def test_refuses_sums_that_could_overflow(network: Any) -> None:
    """A bias of 2**31 - 1: TFLM would add to it and wrap around, which C leaves undefined."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=network.int8)
    interpreter.allocate_tensors()
    bias = next(
        interpreter.get_tensor(tensor["index"])
        for tensor in interpreter.get_tensor_details()
        if tensor["dtype"] is np.int32 and list(tensor["shape"]) == [16]
    )
    stored = bias.astype("<i4").tobytes()
    assert network.int8.count(stored) == 1
    changed = network.int8.replace(stored, struct.pack("<i", 2**31 - 1) + stored[4:])
    with pytest.raises(PolicyFileError, match="sums are too large"):
        read_integer_network(TfliteModel(changed))
