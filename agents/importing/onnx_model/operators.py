"""Each operator of ONNX that layers here compute, by its name. Source: onnx/docs/Operators.md."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from edgedqn.agents.errors import require
from edgedqn.agents.importing.onnx_model.arithmetic import add, divide, error_function, greater, mean, multiply, subtract, where
from edgedqn.agents.importing.onnx_model.operands import Operands, elementwise
from edgedqn.agents.importing.onnx_model.shapes import flatten, reshape, squeeze, transpose, unsqueeze
from edgedqn.agents.importing.onnx_model.values import Action, Constant, Signal, Value
from edgedqn.agents.importing.onnx_model.windows import convolution, global_average, pool


def gemm(given: Operands) -> Signal:
    node, kernel, bias = given.node, given.constant(1), given.optional(2)
    signal = given.vector()
    if node.integer("transA", 0):
        raise given.refuse("transA")
    require(kernel.ndim == 2, f"the operator Gemm has a kernel of {list(kernel.shape)}: expected a matrix.")
    kernel = (kernel.T if node.integer("transB", 0) else kernel) * kernel.dtype.type(node.number("alpha", 1.0))
    return dense(given, signal, kernel, None if bias is None else bias * node.number("beta", 1.0))


def matmul(given: Operands) -> Signal:
    return dense(given, given.vector(), given.constant(1), None)


def dense(given: Operands, signal: Signal, kernel: Constant, bias: Constant | None) -> Signal:
    if kernel.ndim != 2 or kernel.shape[0] != signal.size or kernel.dtype.kind != "f" or not kernel.shape[1]:
        raise given.refuse(f"a kernel of {list(kernel.shape)} behind {signal.size} numbers")
    weights = [signal.as_layer(kernel)]
    units = kernel.shape[1]
    if bias is not None:
        if bias.size not in (1, units) or (bias.ndim and bias.shape[-1] != bias.size):
            raise given.refuse(f"a bias of {list(bias.shape)} for {units} numbers")
        weights.append(np.broadcast_to(bias.reshape(-1), (units,)))
    return given.write("Dense", signal, weights, shape=(units,), units=units, activation="linear", use_bias=bias is not None)


def layer_normalization(given: Operands) -> Signal:
    signal, scale, bias = given.vector(), given.constant(1), given.optional(2)
    bias = np.zeros_like(scale) if bias is None else bias
    if given.node.integer("axis", -1) not in (1, -1) or scale.shape != signal.shape or bias.shape != signal.shape:
        raise given.refuse(f"a scale of {list(scale.shape)} and {signal.shape}")
    weights = [signal.as_layer(scale), signal.as_layer(bias)]
    epsilon = given.node.number("epsilon", 1e-5)
    return replace(given.write("LayerNormalization", signal, weights, shape=signal.shape, epsilon=epsilon), order=signal.order)


def batch_normalization(given: Operands) -> Signal:
    signal = given.image() if given.signal().axes else given.vector()
    own = [given.constant(i) for i in range(1, 5)]
    if given.node.integer("training_mode", 0) or any(each.shape != signal.shape[:1] for each in own):
        raise given.refuse(f"training, or weights of {[list(each.shape) for each in own]}")
    epsilon = given.node.number("epsilon", 1e-5)
    weights = own if signal.axes else [signal.as_layer(each) for each in own]
    written = given.write("BatchNormalization", signal, weights, shape=signal.shape, axes=signal.axes, epsilon=epsilon)
    return replace(written, order=signal.order)


def clip(given: Operands) -> Signal:
    limits = [given.optional(i) for i in (1, 2)]
    low, high = (
        given.node.number(name, default) if limit is None else float(limit.reshape(()))
        for name, limit, default in zip(("min", "max"), limits, (-np.inf, np.inf), strict=True)
    )
    if low != 0 or high not in (6, np.inf):
        raise given.refuse(f"limits of {low} and {high}; expected 0 and 6, or 0 alone")
    return elementwise(given, "Activation", activation="relu6" if high == 6 else "relu")


def gelu(given: Operands) -> Signal:
    approximation = given.node.text("approximate", "none")
    if approximation not in ("none", "tanh"):
        raise given.refuse(f"approximate={approximation}")
    return elementwise(given, "Activation", activation="gelu" if approximation == "none" else "gelu_tanh")


def selu(given: Operands) -> Signal:
    alpha, gamma = given.node.number("alpha", 1.67326324), given.node.number("gamma", 1.05070098)
    if abs(alpha - 1.67326324) > 1e-6 or abs(gamma - 1.05070098) > 1e-6:
        raise given.refuse(f"alpha={alpha} and gamma={gamma}")
    return elementwise(given, "Activation", activation="selu")


def cast(given: Operands) -> Value:
    value = given.values[0]
    if isinstance(value, Action):
        return value
    if given.node.integer("to", 0) not in (1, 11):  # FLOAT, DOUBLE
        raise given.refuse("another type than float")
    return given.signal()


def dropout(given: Operands) -> Signal:
    training = given.optional(2)
    if training is not None and training.any():
        raise given.refuse("training_mode")
    return elementwise(given, "Dropout", rate=0.0)  # does nothing, and is told


def largest(given: Operands) -> Action:
    if given.node.integer("axis", 0) not in (1, -1):
        raise given.refuse("another axis than the actions")
    return Action(given.vector())


def _activation(name: str) -> Callable[[Operands], Value]:
    return lambda given: elementwise(given, "Activation", activation=name)


OPERATORS: dict[str, Callable[[Operands], Value]] = {
    "Gemm": gemm,
    "MatMul": matmul,
    "Add": add,
    "Sub": subtract,
    "Mul": multiply,
    "Div": divide,
    "Erf": error_function,
    "Greater": greater,
    "Where": where,
    "ReduceMean": mean,
    "Relu": _activation("relu"),
    "Tanh": _activation("tanh"),
    "Sigmoid": _activation("sigmoid"),
    "Softplus": _activation("softplus"),
    "LeakyRelu": lambda given: elementwise(given, "LeakyReLU", alpha=given.node.number("alpha", 0.01)),
    "Elu": lambda given: elementwise(given, "ELU", alpha=given.node.number("alpha", 1.0)),
    "Selu": selu,
    "Gelu": gelu,
    "Clip": clip,
    "Conv": convolution,
    "MaxPool": pool,
    "AveragePool": pool,
    "GlobalAveragePool": global_average,
    "Flatten": flatten,
    "Reshape": reshape,
    "Transpose": transpose,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "LayerNormalization": layer_normalization,
    "BatchNormalization": batch_normalization,
    "Identity": lambda given: given.signal(),
    "Dropout": dropout,
    "Cast": cast,
    "ArgMax": largest,
}

_WINDOW = frozenset({"auto_pad", "dilations", "kernel_shape", "pads", "strides"})
# The settings that are looked at, or that change nothing here. With any other one an operator is refused.
ATTRIBUTES: dict[str, frozenset[str]] = {
    "Gemm": frozenset({"transA", "transB", "alpha", "beta"}),
    "ReduceMean": frozenset({"axes", "keepdims", "noop_with_empty_axes"}),
    "LeakyRelu": frozenset({"alpha"}),
    "Elu": frozenset({"alpha"}),
    "Selu": frozenset({"alpha", "gamma"}),
    "Gelu": frozenset({"approximate"}),
    "Clip": frozenset({"min", "max"}),
    "Conv": _WINDOW | {"group"},
    "MaxPool": _WINDOW | {"ceil_mode", "storage_order"},
    "AveragePool": _WINDOW | {"ceil_mode", "count_include_pad"},
    "Flatten": frozenset({"axis"}),
    "Reshape": frozenset({"allowzero"}),
    "Transpose": frozenset({"perm"}),
    "Squeeze": frozenset({"axes"}),
    "Unsqueeze": frozenset({"axes"}),
    "LayerNormalization": frozenset({"axis", "epsilon", "stash_type"}),
    "BatchNormalization": frozenset({"epsilon", "momentum", "training_mode"}),
    "Dropout": frozenset({"ratio", "seed"}),
    "Cast": frozenset({"to", "saturate", "round_mode"}),
    "ArgMax": frozenset({"axis", "keepdims", "select_last_index"}),
}
