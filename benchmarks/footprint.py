"""What a policy file weighs, read from its bytes."""

import gzip
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from edgedqn.export.edge_policy import TfliteModel
from edgedqn.export.tflite_file.inspection import multiply_accumulates
from edgedqn.export.tflite_file.reader import kernels, stripped
from edgedqn.export.tflite_file.tflm import MicroUnavailableError, arena_bytes


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """Sizes in bytes; weights are kernel entries, no biases.

    Attributes:
      size_bytes: the file.
      gzip_bytes: the file at gzip's level 9, what zeros save on the way to a device.
      stripped_bytes: the file without names and whatever else no runtime reads, its manifest beside it.
      weights: of all kernels, each stored one counted once.
      nonzero_weights: of those, the ones that are not 0; int8 kernels are symmetric, so 0 is their zero point.
      distinct_values: of all kernels, the most values that one of them is made of.
      multiply_accumulates: of one step.
      arena_bytes: TFLite Micro's working memory; None where TFLite Micro is missing, or does not run the file.
    """

    size_bytes: int
    gzip_bytes: int
    stripped_bytes: int
    weights: int
    nonzero_weights: int
    distinct_values: int
    multiply_accumulates: int
    arena_bytes: int | None


def footprint(model: TfliteModel) -> Footprint:
    """Weighs a whole `.tflite`.

    Raises:
      PolicyFileError: its tensors cannot be read.
    """
    content, found, arena = model.content, kernels(model), None
    with suppress(MicroUnavailableError):
        arena = arena_bytes(content)
    return Footprint(
        size_bytes=len(content),
        gzip_bytes=len(gzip.compress(content, compresslevel=9, mtime=0)),  # no clock time: the same file, the same size
        stripped_bytes=len(stripped(content)),
        weights=sum(kernel.weights for kernel in found),
        nonzero_weights=sum(kernel.nonzero_weights for kernel in found),
        distinct_values=max((len(np.unique(kernel.values)) for kernel in found), default=0),
        multiply_accumulates=multiply_accumulates(model),
        arena_bytes=arena,
    )
