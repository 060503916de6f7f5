"""What a policy file weighs, read from its bytes."""

import gzip
from dataclasses import dataclass

from edgedqn.export.flatbuffer import kernels
from edgedqn.export.tflm import MicroUnavailableError, arena_bytes


@dataclass(frozen=True)
class Footprint:
    """Sizes in bytes; weights are kernel entries, no biases.

    Attributes:
      size_bytes: the file.
      gzip_bytes: the file at gzip's level 9, what zeros save on the way to a device.
      weights: as the network multiplies them: a sparse tensor counts its zeros too.
      nonzero_weights: of those, the ones that do not stand for 0 (int8: those unequal to the zero point).
      arena_bytes: TFLite Micro's working memory; None where TFLite Micro is missing, or does not run the file.
    """

    size_bytes: int
    gzip_bytes: int
    weights: int
    nonzero_weights: int
    arena_bytes: int | None


def footprint(content: bytes) -> Footprint:
    """Weighs a whole `.tflite`.

    Raises:
      PolicyFileError: its tensors cannot be read.
    """
    found = kernels(content)
    return Footprint(
        size_bytes=len(content),
        gzip_bytes=len(gzip.compress(content, compresslevel=9, mtime=0)),  # no clock time: the same file, the same size
        weights=sum(kernel.weights for kernel in found),
        nonzero_weights=sum(kernel.nonzero_weights for kernel in found),
        arena_bytes=_arena_bytes(content),
    )


def _arena_bytes(content: bytes) -> int | None:
    try:
        return arena_bytes(content)
    except MicroUnavailableError:
        return None
