"""An int8 network as one C99 file that needs nothing: `policy.c` and `policy.h`, with TFLite Micro's rounding, bit for bit."""

import itertools
from collections.abc import Sequence
from textwrap import wrap
from typing import Any

from numpy.typing import NDArray

from edgedqn.export.devices.microcontroller.sources import fill
from edgedqn.export.tflite_file.integer_network import LARGEST_SUM, IntegerConvolution, IntegerLayer, sum_bounds

LINE_WIDTH = 100
# What lies between the layers of a small MLP is on the stack. More would overflow the stacks that firmwares set aside; in a
# static array the linker sees it.
MOST_ON_STACK = 512


def plain_c(layers: Sequence[IntegerLayer], sha256: str) -> dict[str, str]:
    """The network as C99 and C++11, warning-free, without a library, the heap, or floating point.

    Args:
      layers: at least one, as `read_integer_network` gives them.
      sha256: of the `.tflite`, in hexadecimal, which stands in the C file, too, and shows that the two belong together.
    Returns:
      `policy.h`, `policy.c` and `policy_flash.h`, which says how constants are read, by their names.
    """
    static = scratch_bytes(layers) > MOST_ON_STACK
    values = {
        "sha256": sha256,
        "inputs": layers[0].inputs,
        "outputs": layers[-1].outputs,
        "memory": memory(layers),
        "functions": "".join(fill(f"{kind}.c") for kind in sorted(set(map(_kind, layers)))),
        "constants": "\n".join(_constants(index, layer) for index, layer in enumerate(layers)),
        "calls": _calls(layers),
        "storage": "static " if static else "",
        "place": "in a static array, for one call at a time" if static else "on the stack",
    }
    return {name: fill(name, values) for name in ("policy.h", "policy.c", "policy_flash.h")}


def memory(layers: Sequence[IntegerLayer]) -> str:
    """The lines of C that say what RAM and flash `policy.c` takes."""
    scratch = scratch_bytes(layers)
    values = {
        "scratch": scratch,
        "ram": layers[0].inputs + scratch + layers[-1].outputs,
        "constant_bytes": sum(map(_constant_bytes, layers)),
    }
    return fill("memory.h", values)


def scratch_bytes(layers: Sequence[IntegerLayer]) -> int:
    """What lies between the layers, at the most: the output of one and that of the next; 1 where nothing does, as C has no
    arrays of nothing."""
    between = [layer.outputs for layer in layers[:-1]]
    return max([1, *between[:1], *(a + b for a, b in itertools.pairwise(between))])


def c_array(values: NDArray[Any]) -> str:
    """The numbers between the braces of a C array, wrapped. The least int32 is written as C must read it: without overflow."""
    numbers = " ".join(f"{value}," for value in values.ravel())
    lines = wrap(numbers, LINE_WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join(lines).replace("-2147483648,", "-2147483647 - 1,")


def _kind(layer: IntegerLayer) -> str:
    return "convolution" if isinstance(layer, IntegerConvolution) else "dense"


def _constants(index: int, layer: IntegerLayer) -> str:
    least, largest = sum_bounds(layer)
    assert -LARGEST_SUM <= least <= largest <= LARGEST_SUM, "a sum leaves 32 bits"
    told = f"/* Layer {index}. Its sums are in {least} .. {largest}, partial ones too, in any order of adding. */"
    tables: list[tuple[str, str, NDArray[Any]]] = [
        ("int8_t", "weights", layer.weights),
        ("int32_t", "bias", layer.bias),
        ("int32_t", "multiplier", layer.multipliers),
        ("int8_t", "shift", layer.shifts),
    ]
    arrays = [
        f"static const {kind} {name}_{index}[{values.size}] POLICY_FLASH = {{\n{c_array(values)}\n}};"
        for kind, name, values in tables
    ]
    return "\n".join([told, *arrays, _entry(index, layer)])


def _entry(index: int, layer: IntegerLayer) -> str:
    """The struct `layer` of policy.c, or `convolution`, in the order of its members."""
    outputs = len(layer.weights)
    names = [f"{name}_{index}" for name in ("weights", "bias", "multiplier", "shift")]
    numbers = [layer.weights.size // outputs, outputs, int(layer.multipliers.size > 1), layer.zero_point, layer.lowest]
    values = ", ".join([*names, *map(str, numbers)])
    if not isinstance(layer, IntegerConvolution):
        return f"static const layer layer_{index} POLICY_FLASH = {{{values}}};"
    (height, width, channels), (rows, columns, _) = layer.input_shape, layer.output_shape
    _, window_height, window_width, _ = layer.weights.shape
    (down, across), (above, left) = layer.strides, layer.padding
    sizes = [height, width * channels, window_height, window_width * channels]
    moves = [down, across * channels, above, left * channels, rows, columns, layer.input_zero_point]
    return f"static const convolution layer_{index} POLICY_FLASH = {{{{{values}}}, {', '.join(map(str, sizes + moves))}}};"


def _constant_bytes(layer: IntegerLayer) -> int:
    """With pointers and ptrdiff_t of 32 bits, each struct padded to a multiple of them."""
    entry = 72 if isinstance(layer, IntegerConvolution) else 28
    return layer.weights.size + 4 * layer.bias.size + 5 * layer.multipliers.size + entry


def _calls(layers: Sequence[IntegerLayer]) -> str:
    """One call per layer. What lies between them is by turns at either end of the scratch buffer."""
    size = scratch_bytes(layers)
    between = [f"scratch + {size - layer.outputs}" if i % 2 else "scratch" for i, layer in enumerate(layers[:-1])]
    functions = {"dense": "dense", "convolution": "convolve"}
    places = itertools.pairwise(["input", *between, "output"])
    calls = [
        f"  {functions[_kind(layer)]}(&layer_{index}, {source}, {sink});"
        for index, (layer, (source, sink)) in enumerate(zip(layers, places, strict=True))
    ]
    return "\n".join([*([] if between else ["  (void)scratch; /* one layer: nothing between */"]), *calls])
