"""`policy_quantize_q` against exact arithmetic and against the float path, its C built on this machine."""

import ctypes
import math
import platform
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgedqn.export.devices.microcontroller.fixed_point import Q16_16, FixedPoint, fixed_point, input_macros

Build = Callable[..., ctypes.CDLL]
EPSILON = Fraction(1, 2**24)  # of float32: half of a last bit, of what is between 1 and 2
COUNTS = (-(2**31), 2**31 - 1)


def library(
    build: Build, folder: Path, scale: NDArray[np.float32], offset: NDArray[np.float32], units: NDArray[np.float64]
) -> ctypes.CDLL:
    """policy_io.c of so many features, each with its own numbers."""
    return build(folder, {"inputs": scale.size, "actions": 2, **input_macros(scale, offset, units)}, {})


def quantized(policy: ctypes.CDLL, observation: NDArray[np.generic]) -> tuple[NDArray[np.int8], int]:
    """The input [F], and how many features were saturated."""
    assert observation.dtype in (np.float32, np.int32)
    row = np.zeros(observation.size, np.int8)
    pointers = observation.ctypes.data_as(ctypes.c_void_p), row.ctypes.data_as(ctypes.c_void_p)
    if observation.dtype == np.float32:
        assert policy.policy_quantize(*pointers) == 1
    else:
        policy.policy_quantize_q(*pointers)
    return row, policy.policy_saturated()


def exact(count: int, scale: float, offset: float, unit: float) -> Fraction:
    """What is rounded, in steps."""
    return count * Fraction(unit) * Fraction(scale) + Fraction(offset)


def clamped(rounded: int) -> int:
    return min(max(rounded, -128), 127)


def features(rng: np.random.Generator, size: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]:
    """Scales, offsets and units of features whose range is anything from a part of a count to more than int32 holds."""
    per_count = np.exp2(rng.uniform(-34, 9, size)) * rng.choice([-1, 1], size)
    units = np.where(rng.random(size) < 0.5, Q16_16, np.exp2(rng.uniform(-60, 60, size)) * rng.choice([-1, 1], size))
    scale = (per_count / units).astype(np.float32)
    scale[rng.random(size) < 0.02] = 0
    offset = (rng.choice([1, 100, 10_000], size) * rng.uniform(-1, 1, size)).astype(np.float32)
    return scale, offset, units


def counts_near_halves(rng: np.random.Generator, scale: float, offset: float, unit: float) -> int:
    """The count whose input is nearest to a half between -140 and 140, or the one beside it, or any."""
    per_count = Fraction(scale) * Fraction(unit)
    if per_count == 0 or rng.random() < 0.1:
        return int(rng.integers(COUNTS[0], COUNTS[1] + 1))
    half = Fraction(int(rng.integers(-140, 140))) + Fraction(1, 2)
    count = round((half - Fraction(offset)) / per_count) + int(rng.integers(-1, 2))
    return min(max(count, COUNTS[0]), COUNTS[1])


def test_integers_give_what_floats_give_but_within_their_rounding_of_a_half(build: Build, tmp_path: Path) -> None:
    """The condition that policy_io.h states, on counts that are as near to halves as there are."""
    rng = np.random.default_rng(3)
    scale, offset, units = features(rng, 2_000)
    policy = library(build, tmp_path / "c", scale, offset, units)
    given_by = list(zip(scale.tolist(), offset.tolist(), units.tolist(), strict=True))
    numbers = [fixed_point(*each) for each in given_by]
    out_of_reach = np.array([each.least == each.most and each.least in COUNTS for each in numbers])
    assert 0 < np.mean(out_of_reach) < 0.2  # of every count
    differing = nearest = 0
    for _ in range(5):
        counts = np.array([counts_near_halves(rng, *each) for each in given_by], np.int32)
        by_integers, saturated = quantized(policy, counts)
        reals = [exact(count, *each) for count, each in zip(counts.tolist(), given_by, strict=True)]
        observation = np.array(
            [float(count * Fraction(unit)) for count, unit in zip(counts.tolist(), units.tolist(), strict=True)], np.float32
        )
        by_floats, _ = quantized(policy, observation)
        away = np.array([float(abs(real - (math.floor(real) + Fraction(1, 2))) / EPSILON) for real in reals])
        clear = away > 386 + 3 * np.abs(offset)
        expected = np.array([clamped(round(real)) for real in reals])
        np.testing.assert_array_equal(by_integers[clear], by_floats[clear])
        np.testing.assert_array_equal(by_integers[away > 6], expected[away > 6])
        outside = sum(not -128 <= round(real) <= 127 for real in reals)
        assert abs(saturated - outside) <= np.sum((away <= 6) | out_of_reach)
        differing += int(np.sum(by_integers != by_floats))
        nearest += int(np.sum(~clear))
    assert 0 < differing < nearest < 5_000


def test_every_half_of_q16_16_goes_to_the_even_integer_and_what_lies_outside_is_counted(build: Build, tmp_path: Path) -> None:
    halves = np.arange(-140, 140) + 0.5  # [280]
    one, none = np.ones(halves.size, np.float32), np.zeros(halves.size, np.float32)
    for sign in (1, -1):
        policy = library(build, tmp_path / str(sign), sign * one, none, np.array([Q16_16]))
        for counts_away in (-1, 0, 1):
            counts = (halves * 65536).astype(np.int32) + counts_away
            row, saturated = quantized(policy, counts)
            expected = np.rint(sign * counts / 65536)
            np.testing.assert_array_equal(row, np.clip(expected, -128, 127))
            assert saturated == np.sum((expected < -128) | (expected > 127))
            float_row, float_saturated = quantized(policy, (counts / 65536).astype(np.float32))
            np.testing.assert_array_equal(float_row, row)
            assert float_saturated == saturated


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="no x87 here")
@pytest.mark.parametrize("standard", ["c99", "gnu99"])
def test_an_fpu_that_keeps_more_digits_rounds_as_numpy_does(build: Build, tmp_path: Path, standard: str) -> None:
    """An x87 does, and with its extensions GCC lets it, unless a number is stored."""
    rng = np.random.default_rng(4)
    scale = rng.uniform(1, 40, 2_000).astype(np.float32)
    offset = rng.uniform(-100, 100, 2_000).astype(np.float32)
    x87 = (f"-std={standard}", "-O2", "-mfpmath=387")
    policy = build(tmp_path / "c", {"inputs": 2_000, "actions": 2, **input_macros(scale, offset, np.array([Q16_16]))}, {}, x87)
    for _ in range(4):
        on = ((rng.integers(-128, 128, 2_000).astype(np.float32) + np.float32(0.5) - offset) / scale).astype(np.float32)
        for x in (on, np.nextafter(on, np.float32(np.inf)), np.nextafter(on, np.float32(-np.inf))):
            row, _ = quantized(policy, x)
            np.testing.assert_array_equal(row, np.rint(x * scale + offset).clip(-128, 127))


FLOATS = st.floats(-(2.0**60), 2.0**60, width=32, allow_subnormal=False)
UNITS = st.floats(2.0**-96, 2.0**96) | st.floats(-(2.0**96), -(2.0**-96)) | st.just(Q16_16)


def arithmetic(numbers: FixedPoint, count: int) -> int:
    """What policy_feature_q does, with integers that cannot overflow, and none that must be wider than it says."""
    shift, count = (~numbers.shift, ~count) if numbers.shift < 0 else (numbers.shift, count)
    if count < numbers.least:
        return -128
    if count > numbers.most:
        return 127
    distance = (count - numbers.least) << shift
    assert 0 <= distance < 2**32
    above = (distance * numbers.multiplier >> 32) + numbers.base
    assert 0 <= above < 2**31
    whole = above >> 23
    return whole - (whole % 2 == 1 and above % 2**23 == 0) - 128


@given(FLOATS, FLOATS | st.floats(-200, 200, width=32, allow_subnormal=False), UNITS, st.integers(*COUNTS), st.integers(-3, 3))
def test_no_numbers_leave_their_32_bits(scale: float, offset: float, unit: float, count: int, beside: int) -> None:
    """Whatever a manifest may hold; on any count and on those beside the first and the last that are not clamped."""
    numbers = fixed_point(scale, offset, unit)
    assert 0 <= numbers.multiplier < 2**32 and 0 <= numbers.base < 2**31 and -32 <= numbers.shift < 32
    edges = [~edge if numbers.shift < 0 else edge for edge in (numbers.least, numbers.most)]
    for near in (count, *(min(max(edge + beside, COUNTS[0]), COUNTS[1]) for edge in edges)):
        real = exact(near, scale, offset, unit)
        if abs(real - (math.floor(real) + Fraction(1, 2))) > 6 * EPSILON:
            assert arithmetic(numbers, near) == clamped(round(real))


def test_one_number_stands_for_all_features() -> None:
    one, two = np.ones(1, np.float32), np.ones(2, np.float32)
    assert input_macros(one, one, np.ones(1))["pairs"] == 1
    assert input_macros(one, two, np.ones(1))["scale"] == "1.0f, 1.0f"
    assert input_macros(one, one, np.array([0.5, 0.25]))["unit"] == "0.5f, 0.25f"
