"""Observations without floating point: what turns a sensor's counts into the network's int8, in exact arithmetic.

A count stands for `count * unit`; the input is `count * unit * scale + offset`, rounded half to even and clamped. The C code
multiplies how far a count lies above the first that is not clamped, 32 bits, by a multiplier of 32 bits. What it gets has 23
bits behind the point: the product, the multiplier and the base are rounded down, each by less than one of the last bit.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from edgedqn.export.devices.microcontroller.sources import c_float

Q16_16 = 2.0**-16  # the unit where none is given
INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
BITS = 23  # behind the point
BELOW, ABOVE = Fraction(-257, 2), Fraction(255, 2)  # what rounds to -128 .. 127 is from here up to, without it, there


@dataclass(frozen=True)
class FixedPoint:
    """The numbers of one feature, in the order of `fixed_point` of policy_io.c, which says what it does with them.

    Attributes:
      least: int32, the first count that is not clamped.
      most: int32, the last one; less than `least` where there is none.
      multiplier: uint32, of a count's distance from `least` times 2**shift: steps times 2**(32 + BITS).
      base: uint32, how far the input of `least` lies above -128.5, in steps times 2**BITS.
      shift: 0 .. 31; or ~shift, where the input falls as counts rise, and all of this is of ~count.
    """

    least: int
    most: int
    multiplier: int
    base: int
    shift: int


def fixed_point(scale: float, offset: float, unit: float = Q16_16) -> FixedPoint:
    """The numbers of a feature with this scale and offset, which are float32 numbers, where a count stands for this unit."""
    per_count, start = Fraction(scale) * Fraction(unit), Fraction(offset)
    falls = per_count < 0
    if falls:  # count = -1 - ~count
        per_count, start = -per_count, start - per_count
    if per_count:
        least, most = math.ceil((BELOW - start) / per_count), math.ceil((ABOVE - start) / per_count) - 1
    else:
        least, most = (INT32_MAX if start < BELOW else INT32_MIN), (INT32_MIN if start >= ABOVE else INT32_MAX)
    # Where every int32 is clamped, the one that is nearest stands for all: it alone gives the same without being counted.
    least, most = (min(max(bound, INT32_MIN), INT32_MAX) for bound in (least, most))
    span = max(most - least, 0)
    shift = 32 - max(span.bit_length(), 1)
    above = math.floor((least * per_count + start - BELOW) * 2**BITS)
    return FixedPoint(
        least=least,
        most=most,
        # Of 32 bits: span * per_count < 256 steps, and span >= 2**(31 - shift).
        multiplier=math.floor(per_count * 2 ** (32 + BITS - shift)) if span else 0,
        base=min(max(above, 0), 2 ** (8 + BITS) - 1),
        shift=~shift if falls else shift,
    )


def input_macros(scale: NDArray[np.float32], offset: NDArray[np.float32], units: NDArray[np.float64]) -> dict[str, object]:
    """What policy_settings.h says of the input: as many numbers of each kind as the one of which there are most.

    Args:
      scale: [1] or one for each feature or channel.
      offset: likewise.
      units: likewise.
    """
    pairs = max(scale.size, offset.size, units.size)
    scales, offsets, real = (np.broadcast_to(values, pairs).tolist() for values in (scale, offset, units))
    rows = [fixed_point(*each) for each in zip(scales, offsets, real, strict=True)]
    return {
        "pairs": pairs,
        "scale": ", ".join(map(c_float, scales)),
        "offset": ", ".join(map(c_float, offsets)),
        "unit": ", ".join(map(c_float, real)),
        "fixed_points": ", ".join(map(_initializer, rows)),
    }


def _initializer(row: FixedPoint) -> str:
    # The least int32 is written as C must read it: without overflow.
    least = f"{row.least}" if row.least > INT32_MIN else f"{INT32_MIN + 1} - 1"
    return f"{{{least}, {row.most}, {row.multiplier}u, {row.base}u, {row.shift}}}"
