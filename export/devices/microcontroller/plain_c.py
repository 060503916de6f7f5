"""An int8 MLP as one C99 file that needs nothing: `policy.c` and `policy.h`, with TFLite Micro's rounding, bit for bit."""

from collections.abc import Sequence
from textwrap import wrap
from typing import Any

from numpy.typing import NDArray

from edgedqn.export.devices.microcontroller.sources import fill
from edgedqn.export.tflite_file.integer_network import IntegerLayer

LINE_WIDTH = 100


def plain_c(layers: Sequence[IntegerLayer], sha256: str) -> dict[str, str]:
    """`policy.h` and `policy.c`: the network as C99, warning-free, without a library, the heap, or floating point.

    Args:
      layers: at least one, as `read_integer_network` gives them.
      sha256: of the `.tflite`, in hexadecimal, which stands in the C file, too, and shows that the two belong together.
    """
    values = {
        "sha256": sha256,
        "inputs": layers[0].weights.shape[1],
        "outputs": layers[-1].weights.shape[0],
        "count": len(layers),
        "constants": "\n".join(_constants(index, layer) for index, layer in enumerate(layers)),
        "layers": "\n".join(_entry(index, layer) for index, layer in enumerate(layers)),
        "calls": _calls(layers),
    }
    return {name: fill(name, values) for name in ("policy.h", "policy.c")}


def c_array(values: NDArray[Any]) -> str:
    """The numbers between the braces of a C array, wrapped. The least int32 is written as C must read it: without overflow."""
    numbers = " ".join(f"{value}," for value in values.ravel())
    lines = wrap(numbers, LINE_WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join(lines).replace("-2147483648,", "-2147483647 - 1,")


def _constants(index: int, layer: IntegerLayer) -> str:
    tables: list[tuple[str, str, NDArray[Any]]] = [
        ("int8_t", "weights", layer.weights),
        ("int32_t", "bias", layer.bias),
        ("int32_t", "multiplier", layer.multipliers),
        ("int8_t", "shift", layer.shifts),
    ]
    return "\n".join(
        f"static const {kind} {name}_{index}[{values.size}] = {{\n{c_array(values)}\n}};" for kind, name, values in tables
    )


def _entry(index: int, layer: IntegerLayer) -> str:
    outputs, inputs = layer.weights.shape
    tables = ", ".join(f"{name}_{index}" for name in ("weights", "bias", "multiplier", "shift"))
    per_output = int(layer.multipliers.size > 1)
    return f"    {{{tables}, {inputs}, {outputs}, {per_output}, {layer.zero_point}, {layer.lowest}}},"


def _calls(layers: Sequence[IntegerLayer]) -> str:
    """One call per layer; the hidden rows alternate between as many buffers as are needed, of the sizes that are needed."""
    widths = [layer.weights.shape[0] for layer in layers[:-1]]
    buffers = [max(widths[parity::2]) for parity in (0, 1) if widths[parity::2]]
    places = ["input", *(f"hidden_{index % 2}" for index in range(len(widths))), "output"]
    declared = [f"  int8_t hidden_{parity}[{size}];" for parity, size in enumerate(buffers)]
    calls = [f"  dense(&layers[{index}], {places[index]}, {places[index + 1]});" for index in range(len(layers))]
    return "\n".join([*declared, *calls])
