"""Windows that move over images: convolutions and pooling, with Keras' two paddings or zeros around the image before."""

from edgedqn.agents.errors import require
from edgedqn.agents.importing.onnx_model.operands import IMAGE, Operands
from edgedqn.agents.importing.onnx_model.values import Signal
from edgedqn.agents.numpy_network import same_margins


def convolution(given: Operands) -> Signal:
    node, kernel, bias = given.node, given.constant(1), given.optional(2)
    if node.integer("group", 1) != 1:
        raise given.refuse("groups")
    if kernel.ndim != 4 or (bias is not None and bias.shape != kernel.shape[:1]):
        raise given.refuse(f"a kernel of {list(kernel.shape)}; expected one of a 2D convolution and its bias")
    size = [int(side) for side in kernel.shape[2:]]
    signal, strides, padding = _window(given, given.image(), size, pads_zeros=True)
    require(signal.shape[0] == kernel.shape[1], f"Conv takes {signal.shape[0]} channels: expected {kernel.shape[1]}.")
    sides = _sides(signal, size, strides=strides, padding=padding)
    return given.write(
        "Conv2D",
        signal,
        [kernel.transpose(2, 3, 1, 0), *([] if bias is None else [bias])],
        shape=(kernel.shape[0], *sides),
        axes=IMAGE,
        filters=int(kernel.shape[0]),
        kernel_size=size,
        strides=strides,
        padding=padding,
        activation="linear",
        use_bias=bias is not None,
    )


def pool(given: Operands) -> Signal:
    node, is_average = given.node, given.node.operator == "AveragePool"
    size = node.integers("kernel_shape", [])
    if node.integer("ceil_mode", 0) or len(size) != 2:
        raise given.refuse("ceil_mode, or windows that are not 2D")
    with_zeros = is_average and bool(node.integer("count_include_pad", 0))
    signal, strides, padding = _window(given, given.image(), size, pads_zeros=with_zeros)
    sides = _sides(signal, size, strides=strides, padding=padding)
    kind = "AveragePooling2D" if is_average else "MaxPooling2D"
    settings = {"pool_size": size, "strides": strides, "padding": padding}
    return given.write(kind, signal, (), shape=(signal.shape[0], *sides), axes=IMAGE, **settings)


def global_average(given: Operands) -> Signal:
    signal = given.image()
    written = given.write("GlobalAveragePooling2D", signal, shape=(signal.shape[0],))
    return written.with_shape((signal.shape[0], 1, 1))


def _window(given: Operands, signal: Signal, size: list[int], *, pads_zeros: bool) -> tuple[Signal, list[int], str]:
    """The strides and Keras' padding of a window that moves over an image, which is padded before where that is neither."""
    node = given.node
    if any(each != 1 for each in node.integers("dilations", [1, 1])):
        raise given.refuse("dilations")
    strides = node.integers("strides", [1, 1])
    if len(strides) != 2 or min(strides) < 1 or min(size) < 1 or node.integers("kernel_shape", size) != size:
        raise given.refuse(f"strides of {strides} and windows of {size}")
    _, *sides = signal.shape
    steps = zip(sides, strides, size, strict=True)
    same = [list(same_margins(side, window=window, stride=stride)) for side, stride, window in steps]
    auto, pads = node.text("auto_pad", "NOTSET"), node.integers("pads", [0, 0, 0, 0])
    if auto == "SAME_LOWER":
        margins = [[after, before] for before, after in same]
    elif auto == "SAME_UPPER":
        margins = same
    else:
        require(len(pads) == 4 and min(pads) >= 0, f"the operator {node.operator} has pads of {pads}.")
        margins = [[0, 0], [0, 0]] if auto == "VALID" else [[pads[0], pads[2]], [pads[1], pads[3]]]
    if not any(map(any, margins)):
        return signal, strides, "valid"
    average_of_zeros = pads_zeros and node.operator == "AveragePool"
    if margins == same and not average_of_zeros:
        return signal, strides, "same"
    if not pads_zeros:
        raise given.refuse(f"pads of {margins}")
    shape = (signal.shape[0], *(side + sum(pair) for side, pair in zip(sides, margins, strict=True)))
    return given.write("ZeroPadding2D", signal, shape=shape, axes=IMAGE, padding=margins), strides, "valid"


def _sides(signal: Signal, size: list[int], *, strides: list[int], padding: str) -> list[int]:
    found = [
        (side - window) // stride + 1 if padding == "valid" else -(-side // stride)
        for side, window, stride in zip(signal.shape[1:], size, strides, strict=True)
    ]
    require(min(found) >= 1, f"windows of {size} do not fit into an image of {signal.shape[1:]}.")
    return found
