"""A policy as C and C++ sources for a microcontroller: the `.tflite` as an array, its settings, and one function per step.

`policy_step.cc` uses TFLite Micro. What surrounds the network, `policy_io.c`, is plain C without it, and for an MLP so is the
network itself, `policy.c`: a device needs one of the two.
"""

import math
import re
import zlib
from pathlib import Path
from string import Template

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError
from edgedqn.agents.files import write_text
from edgedqn.export.devices.microcontroller.plain_c import c_array, plain_c_header, plain_c_source
from edgedqn.export.edge_policy import OPERATORS, PolicyFileError, TfliteModel, VerifiedFile
from edgedqn.export.tflite_file.integer_network import read_integer_network
from edgedqn.export.tflite_file.reader import IOQuantization, io_quantization
from edgedqn.export.tflite_file.tflm import arena_bytes, arena_with_margin

# Of each of `OPERATORS`, the line of MicroMutableOpResolver that brings its kernel. Whatever else a file has is refused before.
RESOLVER_LINES = {
    "ADD": "AddAdd",
    "CONV_2D": "AddConv2D",
    "DEPTHWISE_CONV_2D": "AddDepthwiseConv2D",
    "DEQUANTIZE": "AddDequantize",
    "FULLY_CONNECTED": "AddFullyConnected",
    "MAX_POOL_2D": "AddMaxPool2D",
    "MUL": "AddMul",
    "RELU": "AddRelu",
    "RESHAPE": "AddReshape",
    "MEAN": "AddMean",
    "SUB": "AddSub",
    "ARG_MAX": "AddArgMax",
    "QUANTIZE": "AddQuantize",
}

_SETTINGS = Template("""\
/* What a device must know of this policy. Made by EdgeDQN from $sha256. */
#ifndef POLICY_SETTINGS_H
#define POLICY_SETTINGS_H

/* $environment; an observation is [$shape], after: $preprocessing. */
#define POLICY_INPUTS $inputs
#define POLICY_ACTIONS $actions

/* input = round(observation * scale + offset), one pair for each feature or channel, or one for all. */
#define POLICY_INPUT_PAIRS $pairs
#define POLICY_INPUT_SCALE \\
  { $scale }
#define POLICY_INPUT_OFFSET \\
  { $offset }

/* $meaning = (output - zero point) * scale */
#define POLICY_OUTPUT_SCALE $output_scale
#define POLICY_OUTPUT_ZERO_POINT ($output_zero_point)

/* TFLite Micro took $arena_measured bytes where pointers have 64 bits; a microcontroller's have 32. The rest is the margin. */
#define POLICY_ARENA_BYTES $arena

#define POLICY_MODEL_BYTES $model_bytes
#define POLICY_MODEL_CRC32 $crc

#endif
""")

_IO_HEADER = """\
/* Around the network, in plain C: observation to int8, int8 to action. */
#ifndef POLICY_IO_H
#define POLICY_IO_H

#include <stddef.h>
#include <stdint.h>

#include "policy_settings.h"

#ifdef __cplusplus
extern "C" {
#endif

/* 1; or 0, with input unfinished, where an observation is no finite number. */
int policy_quantize(const float observation[POLICY_INPUTS], int8_t input[POLICY_INPUTS]);

/* The action: the index of the largest output, the lowest among equals. */
int policy_argmax(const int8_t output[POLICY_ACTIONS]);

/* CRC-32 as of zlib and Ethernet, to tell whether the model arrived in flash whole. */
uint32_t policy_crc32(const unsigned char *data, size_t size);

#ifdef __cplusplus
}
#endif

#endif
"""

_IO_SOURCE = """\
/* See policy_io.h. C99; not for -ffast-math, which assumes that every number is finite. */
#include "policy_io.h"

static const float scale[POLICY_INPUT_PAIRS] = POLICY_INPUT_SCALE;
static const float offset[POLICY_INPUT_PAIRS] = POLICY_INPUT_OFFSET;

/* Halves to even, without a library. Clamped first: a cast of what no int holds is undefined. */
static int8_t rounded(float real) {
  if (real >= 127.0f) return 127;
  if (real <= -128.0f) return -128;
  int whole = (int)real; /* towards zero */
  const float rest = real - (float)whole;
  if (rest > 0.5f || (rest == 0.5f && (whole & 1))) ++whole;
  if (rest < -0.5f || (rest == -0.5f && (whole & 1))) --whole;
  return (int8_t)whole;
}

int policy_quantize(const float observation[POLICY_INPUTS], int8_t input[POLICY_INPUTS]) {
  for (int i = 0; i < POLICY_INPUTS; ++i) {
    const float x = observation[i];
    if (x - x != 0.0f) return 0; /* a NaN or an infinity */
    /* volatile: multiplied, rounded, then added, as where the policy was judged; a fused multiply-add rounds once. */
    volatile const float product = x * scale[i % POLICY_INPUT_PAIRS];
    input[i] = rounded(product + offset[i % POLICY_INPUT_PAIRS]);
  }
  return 1;
}

int policy_argmax(const int8_t output[POLICY_ACTIONS]) {
  int best = 0;
  for (int action = 1; action < POLICY_ACTIONS; ++action)
    if (output[action] > output[best]) best = action;
  return best;
}

uint32_t policy_crc32(const unsigned char *data, size_t size) {
  uint32_t crc = 0xffffffffu;
  for (size_t i = 0; i < size; ++i) {
    crc ^= data[i];
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (0xedb88320u & (0u - (crc & 1u)));
  }
  return ~crc;
}
"""

_MODEL_HEADER = """\
// The policy's .tflite, to be placed in flash; POLICY_MODEL_CRC32 of policy_settings.h is its checksum.
#ifndef POLICY_MODEL_H
#define POLICY_MODEL_H

#include "policy_settings.h"

extern const unsigned char g_policy_model_data[POLICY_MODEL_BYTES];
extern const unsigned int g_policy_model_data_size;

#endif
"""

_MODEL_SOURCE = Template("""\
// Made by EdgeDQN from $sha256.
#include "policy_model.h"

// TFLite Micro reads weights in place, wherever the file aligns them at 16 bytes.
alignas(16) const unsigned char g_policy_model_data[POLICY_MODEL_BYTES] = {
$bytes
};
const unsigned int g_policy_model_data_size = POLICY_MODEL_BYTES;
""")

_STEP_HEADER = """\
// The policy on TFLite Micro: policy_setup() once, then policy_step() for each observation.
#ifndef POLICY_STEP_H
#define POLICY_STEP_H

#include "policy_settings.h"

// False: the model did not arrive whole, is of another schema, or does not fit the arena.
bool policy_setup();

// The action, 0 .. POLICY_ACTIONS - 1; or -1: no finite observation, no setup, or a failed invoke.
int policy_step(const float observation[POLICY_INPUTS]);

#endif
"""

_STEP_SOURCE = Template("""\
#include "policy_step.h"

#include <stdint.h>

#include "policy_io.h"
#include "policy_model.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace {
alignas(16) uint8_t arena[POLICY_ARENA_BYTES];
tflite::MicroInterpreter* interpreter = nullptr;

// Exactly the operators of this policy: each one more would bring its kernel along.
bool add_operators(tflite::MicroMutableOpResolver<$operator_count>& resolver) {
  return $resolver_lines;
}
}  // namespace

bool policy_setup() {
  if (interpreter != nullptr) return true;
  if (policy_crc32(g_policy_model_data, g_policy_model_data_size) != POLICY_MODEL_CRC32) return false;
  const tflite::Model* model = tflite::GetModel(g_policy_model_data);
  if (model->version() != TFLITE_SCHEMA_VERSION) return false;
  static tflite::MicroMutableOpResolver<$operator_count> resolver;
  if (!add_operators(resolver)) return false;
  static tflite::MicroInterpreter prepared(model, resolver, arena, sizeof(arena));
  if (prepared.AllocateTensors() != kTfLiteOk) return false;
  if (prepared.input(0)->bytes != POLICY_INPUTS || prepared.output(0)->bytes != POLICY_ACTIONS) return false;
  interpreter = &prepared;
  return true;
}

int policy_step(const float observation[POLICY_INPUTS]) {
  if (interpreter == nullptr || !policy_quantize(observation, interpreter->input(0)->data.int8)) return -1;
  if (interpreter->Invoke() != kTfLiteOk) return -1;
  return policy_argmax(interpreter->output(0)->data.int8);
}
""")


# What a bundle's README says of the sources, after its heading.
README = """
`microcontroller/` has sources to compile into a firmware, C99 and C++17:

    #include "policy_step.h"                  /* TensorFlow Lite Micro: policy_step.cc, policy_model.cc, policy_io.c */
    policy_setup();                           /* once: checks the model, prepares it in its arena */
    int action = policy_step(observation);    /* float observation[POLICY_INPUTS]; -1 where it holds a NaN */

`policy_settings.h` has the sizes and scales. `observation` is what the network takes: one-hot, frame stack and flatten are
`EdgePolicy`'s work in Python, and yours here. An MLP comes as plain C, too, without TensorFlow Lite Micro, the same integers:

    #include "policy.h"                       /* policy.c, policy_io.c */
    #include "policy_io.h"
    int8_t input[POLICY_INPUTS], output[POLICY_OUTPUTS];
    if (policy_quantize(observation, input)) { policy_infer(input, output); action = policy_argmax(output); }
"""


def write_microcontroller(file: VerifiedFile, folder: Path) -> tuple[str, ...]:
    """Writes the sources into `folder`, which is made where it is missing.

    Args:
      file: a policy with int8 input and output.
      folder: afterwards with `policy_settings.h`, `policy_io.h/.c`, `policy_model.h/.cc` and `policy_step.h/.cc`; for an MLP
        `policy.h/.c`, too. The same policy gives the same bytes.
    Returns:
      The files' names, sorted.
    Raises:
      InputError: an end of the network is float, TFLM lacks an operator, or the extra `micro` is missing, which measures
        the arena.
    """
    ends = io_quantization(file.model)
    if (ends.input.dtype, ends.output.dtype) != ("int8", "int8"):
        raise InputError(
            "policy_step() wants integers: expected int8 input and output, as the recipes qat-int8 and ptq-int8 write. "
            f"Got {ends.input.dtype} and {ends.output.dtype}."
        )
    lines = resolver_lines(file.model)
    sources = {
        "policy_settings.h": _settings(file, ends),
        "policy_io.h": _IO_HEADER,
        "policy_io.c": _IO_SOURCE,
        "policy_model.h": _MODEL_HEADER,
        "policy_model.cc": _MODEL_SOURCE.substitute(
            sha256=file.file_sha256, bytes=c_array(np.frombuffer(file.content, np.uint8))
        ),
        "policy_step.h": _STEP_HEADER,
        "policy_step.cc": _STEP_SOURCE.substitute(
            operator_count=len(lines),
            resolver_lines=" &&\n         ".join(f"resolver.{line}() == kTfLiteOk" for line in lines),
        ),
    }
    try:
        layers = read_integer_network(file.model)
    except PolicyFileError:  # a convolution, for one: TFLite Micro is its only way
        pass
    else:
        sources["policy.h"] = plain_c_header(layers, file.file_sha256)
        sources["policy.c"] = plain_c_source(layers, file.file_sha256)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in sources.items():
        write_text(folder / name, text)
    return tuple(sorted(sources))


def resolver_lines(model: TfliteModel) -> list[str]:
    """The resolver's methods for exactly the operators that run, each once, in the order of their codes.

    Args:
      model: of a file that was proven, so of `OPERATORS` alone.
    """
    return [RESOLVER_LINES[OPERATORS[code]] for code in sorted({operator.code for operator in model.operators})]


def _settings(file: VerifiedFile, ends: IOQuantization) -> str:
    device, measured = file.device, arena_bytes(file.content)
    shape = device.input_shape(
        math.prod(file.model.input.shape)
    )  # where observations number states, only the file says how many
    scale, offset = np.array(device.scale, np.float32), np.array(device.offset, np.float32)
    pairs = max(scale.size, offset.size)
    return _SETTINGS.substitute(
        sha256=file.file_sha256,
        environment=_in_comment(device.env_id),
        shape=", ".join(map(str, shape)),
        preprocessing=", ".join(map(str, device.preprocessing)) or "nothing",
        inputs=math.prod(shape),
        actions=device.n_actions,
        pairs=pairs,
        scale=_floats(np.broadcast_to(scale, pairs)),
        offset=_floats(np.broadcast_to(offset, pairs)),
        meaning=device.meaning,
        output_scale=_float(ends.output.scale),
        output_zero_point=ends.output.zero_point,
        arena_measured=measured,
        arena=arena_with_margin(measured),
        model_bytes=len(file.content),
        crc=f"0x{zlib.crc32(file.content):08x}u",
    )


def _in_comment(text: str) -> str:
    """An environment's id as it may stand in a C comment: what ids are not made of becomes `_`, so nothing ends the comment."""
    return re.sub(r"[^\w.:/-]", "_", text, flags=re.ASCII)


def _floats(values: NDArray[np.float32]) -> str:
    return ", ".join(_float(float(value)) for value in values)


def _float(value: float) -> str:
    """A C literal of exactly this float32: nine digits tell any two of them apart."""
    text = f"{value:.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"
