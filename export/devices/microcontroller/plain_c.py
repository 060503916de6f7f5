"""An int8 MLP as one C99 file that needs nothing: `policy.c` and `policy.h`, with TFLite Micro's rounding, bit for bit."""

from collections.abc import Sequence
from string import Template
from typing import Any

from numpy.typing import NDArray

from edgedqn.export.tflite_file.integer_network import IntegerLayer

LINE_WIDTH = 100

_HEADER = Template("""\
/* The policy's network in integers: the same rows as TFLite Micro gives, without it. Made by EdgeDQN from $sha256. */
#ifndef POLICY_H
#define POLICY_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define POLICY_INPUTS $inputs
#define POLICY_OUTPUTS $outputs

/* input: as policy_quantize() of policy_io.h writes it. output: one number per action, for policy_argmax(). */
void policy_infer(const int8_t input[POLICY_INPUTS], int8_t output[POLICY_OUTPUTS]);

#ifdef __cplusplus
}
#endif

#endif
""")

_SOURCE = Template("""\
/* Made by EdgeDQN from $sha256; see policy.h. C99, no library, no heap. */
#include "policy.h"

/* bias: the input's zero point is folded in. multiplier and shift: TFLite Micro's, one per output or one for all. */
typedef struct {
  const int8_t *weights; /* [outputs][inputs] */
  const int32_t *bias;
  const int32_t *multiplier;
  const int8_t *shift;
  uint16_t inputs, outputs;
  uint8_t per_output;
  int8_t zero_point, lowest;
} layer;

$constants

static const layer layers[$count] = {
$layers
};

/* Two roundings, as gemmlowp has them: halves up at 2^-31, then halves away from zero. >> of what is negative is arithmetic in
   every compiler for these devices, and TFLite Micro relies on it, too. */
static int32_t scaled(int32_t sum, int32_t multiplier, int shift) {
  const int32_t wide = shift > 0 ? sum * (int32_t)((uint32_t)1 << shift) : sum;
  const int32_t high = (int32_t)(((int64_t)wide * multiplier + ((int64_t)1 << 30)) >> 31);
  const int right = shift > 0 ? 0 : -shift;
  const int32_t mask = (int32_t)(((uint32_t)1 << right) - 1u);
  return (high >> right) + ((high & mask) > (mask >> 1) + (high < 0));
}

static void dense(const layer *l, const int8_t *input, int8_t *output) {
  const int8_t *weight = l->weights;
  for (int o = 0; o < l->outputs; ++o) {
    const int at = l->per_output ? o : 0;
    const int8_t *x = input;
    const int8_t *const end = input + l->inputs;
    int32_t sum = l->bias[o];
    /* Four at a time: a third of the instructions would otherwise count and compare. Each product is added on its own, because
       the sum of four does not fit into an int of 16 bits. */
    for (; end - x >= 4; x += 4, weight += 4) {
      sum += weight[0] * x[0];
      sum += weight[1] * x[1];
      sum += weight[2] * x[2];
      sum += weight[3] * x[3];
    }
    for (; x != end; ++x, ++weight) sum += *weight * *x;
    sum = scaled(sum, l->multiplier[at], l->shift[at]) + l->zero_point;
    output[o] = (int8_t)(sum < l->lowest ? l->lowest : sum > 127 ? 127 : sum);
  }
}

void policy_infer(const int8_t input[POLICY_INPUTS], int8_t output[POLICY_OUTPUTS]) {
$calls
}
""")


def plain_c_header(layers: Sequence[IntegerLayer], sha256: str) -> str:
    """`policy.h`. Arguments as `plain_c_source`."""
    return _HEADER.substitute(sha256=sha256, inputs=layers[0].weights.shape[1], outputs=layers[-1].weights.shape[0])


def plain_c_source(layers: Sequence[IntegerLayer], sha256: str) -> str:
    """`policy.c`: the network of `layers` as C99, warning-free, without a library, the heap, or floating point.

    Args:
      layers: at least one, as `read_integer_network` gives them.
      sha256: of the `.tflite`, in hexadecimal, so that the two can be told to belong together.
    """
    return _SOURCE.substitute(
        sha256=sha256,
        count=len(layers),
        constants="\n".join(_constants(index, layer) for index, layer in enumerate(layers)),
        layers="\n".join(_entry(index, layer) for index, layer in enumerate(layers)),
        calls=_calls(layers),
    )


def c_array(values: NDArray[Any]) -> str:
    """The numbers between the braces of a C array, wrapped. The least int32 is written as C must read it: without overflow."""
    lines: list[str] = []
    line = " "
    for value in values.ravel():
        text = "-2147483647 - 1" if value == -(2**31) else str(value)
        if len(line) + len(text) + 2 > LINE_WIDTH:
            lines.append(line)
            line = " "
        line += f" {text},"
    return "\n".join([*lines, line])


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
