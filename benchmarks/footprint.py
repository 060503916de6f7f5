"""What a policy file weighs, read from its bytes."""

import gzip
from contextlib import suppress
from dataclasses import replace

import numpy as np

from edgedqn.benchmarks.rows import BenchmarkRow
from edgedqn.export.edge_policy import TfliteModel
from edgedqn.export.tflite_file.inspection import multiply_accumulates
from edgedqn.export.tflite_file.reader import kernels, stripped
from edgedqn.export.tflite_file.tflm import MicroUnavailableError, arena_bytes


def weigh(row: BenchmarkRow, model: TfliteModel) -> BenchmarkRow:
    """The row with the sizes and the weights of a whole `.tflite`, and what a step of it computes.

    Raises:
      PolicyFileError: its tensors cannot be read.
    """
    content, found, arena = model.content, kernels(model), None
    with suppress(MicroUnavailableError):
        arena = arena_bytes(content)
    return replace(
        row,
        size_bytes=len(content),
        gzip_bytes=len(gzip.compress(content, compresslevel=9, mtime=0)),  # no clock time: the same file, the same size
        stripped_bytes=len(stripped(model)),
        weights=sum(kernel.weights for kernel in found),
        nonzero_weights=sum(kernel.nonzero_weights for kernel in found),
        distinct_values=max((len(np.unique(kernel.values)) for kernel in found), default=0),
        multiply_accumulates=multiply_accumulates(model),
        arena_bytes=arena,
        input_dtype=model.input.dtype,
    )
