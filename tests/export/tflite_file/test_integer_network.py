import struct
from typing import Any

import numpy as np
import pytest

from edgedqn.export.edge_policy import PolicyFileError, TfliteModel
from edgedqn.export.tflite_file.integer_network import quantized_multiplier, read_integer_network


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


def test_refuses_what_is_no_integer_mlp(network: Any, int8_policy: bytes) -> None:
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
