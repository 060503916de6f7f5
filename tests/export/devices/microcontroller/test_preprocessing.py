"""`policy_observe` against EdgePolicy, which gymnasium's wrappers are the oracle of; its C built on this machine."""

import ctypes
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError
from edgedqn.export.devices.microcontroller.bundle import _actions as actions_in_c
from edgedqn.export.devices.microcontroller.fixed_point import Q16_16, input_macros
from edgedqn.export.devices.microcontroller.preprocessing import (
    element_in_c,
    in_order,
    input_units,
    observe_in_c,
    observe_ram_bytes,
)
from edgedqn.export.edge_policy import Actions, DeviceManifest, EdgePolicy, Feature, parse_step, shape_after

STATES, ACTIONS = 7, 3
CASES = [
    ((3,), "float32", ""),
    ((3,), "float64", "action_mask"),
    ((3,), "float32", "frame_stack:4"),
    ((3,), "float32", "action_mask frame_stack:3"),
    ((3,), "float32", "frame_stack:3 action_mask"),
    ((5, 4), "uint8", "frame_stack:1"),
    ((5, 4), "uint8", "atari frame_stack:4"),
    ((5, 4), "uint8", "frame_stack:3 flatten action_mask"),
    ((5, 4), "float32", "flatten"),
    ((5, 4, 2), "bool", ""),
    ((5, 4, 2), "bool", "flatten action_mask frame_stack:2"),
    ((5, 4, 2), "float32", "frame_stack:2"),
    ((5, 4, 2), "float32", "flatten frame_stack:2"),
    ((), "int64", "one_hot"),
    ((), "int64", "one_hot action_mask"),
]
OF_EVERY_CASE = pytest.mark.parametrize(("shape", "dtype", "steps"), CASES)


class Silent:
    """Stands where an interpreter stands, and answers action 0."""

    def __init__(self, size: int) -> None:
        self.set_tensor = lambda index, value: None
        self.invoke = lambda: None
        self.get_tensor = lambda index: np.zeros((1, ACTIONS), np.int8)
        self.get_input_details = lambda: [{"index": 0, "shape": np.array([1, size]), "dtype": np.int8}]
        self.get_output_details = lambda: [{"index": 1, "dtype": np.int8}]


def device(shape: tuple[int, ...], dtype: str, steps: str, eighths: bool = False) -> tuple[DeviceManifest, int]:
    """A manifest with its own scale for each channel, of eighths or of any size, and how many numbers its network takes."""
    parsed = tuple(map(parse_step, steps.split()))
    taken = shape_after(shape, parsed, states=STATES, actions=ACTIONS)
    rng = np.random.default_rng(1)
    channels = taken[-1] if shape else 1
    scale, offset = rng.integers(4, 40, channels) / 8, rng.integers(-100, 100, channels) / 8
    if not eighths:
        scale, offset = scale + rng.random(channels), offset + rng.random(channels)
    made = DeviceManifest(
        env_id="Test-v0",
        observation_shape=shape,
        observation_dtype=dtype,
        n_actions=ACTIONS,
        preprocessing=parsed,
        scale=tuple(scale.astype(np.float32).tolist()),
        offset=tuple(offset.astype(np.float32).tolist()),
        meaning="preferences",
        recipe="test",
    )
    return made, int(np.prod(taken))


def surroundings(of: DeviceManifest, size: int, units: list[float] | None) -> tuple[dict[str, object], dict[str, str]]:
    """What policy_settings.h says, and policy_observe.h and .c."""
    real = np.array([Q16_16]) if units is None else input_units(of, size, units)
    macros = input_macros(np.array(of.scale, np.float32), np.array(of.offset, np.float32), real)
    sources = observe_in_c(of, size, counts=units is not None, sha256="0" * 64)
    return {"inputs": size, "actions": ACTIONS, **macros}, sources


class Built:
    """`policy_observe` of a manifest."""

    def __init__(self, library: ctypes.CDLL, of: DeviceManifest, size: int) -> None:
        self.library, self._masked, self._input = library, of.masked, np.zeros(size, np.int8)

    def __call__(self, elements: NDArray[Any], mask: NDArray[Any] | None) -> NDArray[np.int8] | None:
        """The input, or None where the observation was refused."""
        legal = [] if mask is None else [np.ascontiguousarray(mask, np.uint8)]
        arrays = [np.ascontiguousarray(elements), *legal, self._input]
        taken = self.library.policy_observe(*(array.ctypes.data_as(ctypes.c_void_p) for array in arrays))
        return self._input.copy() if taken else None


def observations(of: DeviceManifest, rng: np.random.Generator) -> Iterator[tuple[Any, NDArray[Any] | None]]:
    """Of an episode of random length, with which actions are legal where that is asked for; some features saturate."""
    for _ in range(rng.integers(1, 8)):
        mask = np.eye(ACTIONS)[rng.integers(ACTIONS)] + rng.integers(0, 2, ACTIONS) if of.masked else None
        if not of.observation_shape:
            yield int(rng.integers(STATES)), mask
        elif of.observation_dtype.startswith("float"):
            yield rng.normal(0, 30, of.observation_shape).astype(of.observation_dtype), mask
        else:
            yield (
                rng.integers(0, 2 if of.observation_dtype == "bool" else 256, of.observation_shape).astype(
                    of.observation_dtype
                ),
                mask,
            )


def element_type(of: DeviceManifest, counts: bool) -> Any:
    if of.observation_dtype in ("bool", "uint8"):
        return np.uint8
    return np.int32 if counts or not of.observation_shape else np.float32


@OF_EVERY_CASE
def test_the_network_is_fed_what_edge_policy_feeds_it(
    build: Callable[..., ctypes.CDLL], tmp_path: Path, shape: tuple[int, ...], dtype: str, steps: str
) -> None:
    of, size = device(shape, dtype, steps)
    policy = EdgePolicy(Silent(size), of)
    observe = Built(build(tmp_path / "c", *surroundings(of, size, None)), of, size)
    rng = np.random.default_rng(2)
    saturated = set()
    for _ in range(5):
        policy.reset()
        observe.library.policy_reset()
        for observation, mask in observations(of, rng):
            policy(observation, mask)
            fed = observe(np.asarray(observation, element_type(of, False)), mask)
            np.testing.assert_array_equal(fed, policy._feed[0])
            assert observe.library.policy_saturated() == policy.saturated
            saturated.add(policy.saturated)
    assert len(saturated) > 1 or dtype in ("bool", "int64")


@OF_EVERY_CASE
@pytest.mark.parametrize("units", [None, [1.0]])
def test_the_stated_ram_is_that_of_an_observation_and_the_ring(
    write_surroundings: Callable[..., list[Path]], tmp_path: Path, shape: tuple[int, ...], dtype: str, steps: str, units: Any
) -> None:
    of, size = device(shape, dtype, steps)
    write_surroundings(tmp_path / "c", *surroundings(of, size, units))
    source, compiled = tmp_path / "c" / "policy_observe.c", tmp_path / "policy_observe.o"
    subprocess.run(["cc", "-std=c99", "-O1", "-c", "-o", compiled, source], check=True)
    told = subprocess.run(["nm", "--print-size", compiled], capture_output=True, text=True, check=True).stdout
    ring = sum(int(line.split()[1], 16) for line in told.splitlines() if line.endswith(" frames"))
    assert (ring > 0) == (of.frame_stack > 1)
    bytes_each = 1 if element_in_c(of, counts=units is not None)[0] == "uint8_t" else 4
    assert observe_ram_bytes(of, size, counts=units is not None) == ring + bytes_each * int(np.prod(shape))


@OF_EVERY_CASE
def test_counts_of_a_sensor_give_the_same_as_what_they_stand_for(
    build: Callable[..., ctypes.CDLL], tmp_path: Path, shape: tuple[int, ...], dtype: str, steps: str
) -> None:
    """With scales and units that a float multiplies exactly, so that halves, too, go the same way."""
    of, size = device(shape, dtype, steps, eighths=True)
    units = [1.0] if not shape else [0.5, -0.25, 2.0, 0.125][: shape[-1]] if len(shape) != 2 or "flatten" in steps else [0.5]
    policy = EdgePolicy(Silent(size), of)
    observe = Built(build(tmp_path / "c", *surroundings(of, size, units)), of, size)
    rng = np.random.default_rng(2)
    for _ in range(5):
        policy.reset()
        observe.library.policy_reset()
        for observation, mask in observations(of, rng):
            counts = np.asarray(observation).astype(element_type(of, True))
            policy(counts * np.array(units) if shape else observation, mask)
            np.testing.assert_array_equal(observe(counts, mask), policy._feed[0])
            assert observe.library.policy_saturated() == policy.saturated


def test_what_edge_policy_refuses_is_refused_and_changes_nothing(build: Callable[..., ctypes.CDLL], tmp_path: Path) -> None:
    of, size = device((3,), "float32", "action_mask frame_stack:2")
    observe = Built(build(tmp_path / "vector", *surroundings(of, size, None)), of, size)
    legal, good = np.array([0, 1, 0]), np.array([1, 2, 100], np.float32)
    expected = observe(good, legal)
    saturated = observe.library.policy_saturated()
    assert saturated > 0
    for bad, mask in ((np.nan, legal), (np.inf, legal), (-np.inf, legal), (0, np.zeros(3))):
        assert observe(np.array([1, bad, 3], np.float32), mask) is None
        assert observe.library.policy_saturated() == saturated
    np.testing.assert_array_equal(observe(good, legal), expected)
    of, size = device((), "int64", "one_hot")
    observe = Built(build(tmp_path / "state", *surroundings(of, size, None)), of, size)
    taken = [observe(np.array([state], np.int32), None) is not None for state in (-(2**31), -1, 0, STATES - 1, STATES)]
    assert taken == [False, False, True, True, False]


LANGUAGES = ["-std=c99", "-xc++ -std=c++11"]
COMPILERS = [(tool, how) for tool in ("gcc", "clang", "avr-gcc -mmcu=atmega2560") for how in LANGUAGES] + [
    ("tcc", LANGUAGES[0])
]


@pytest.mark.parametrize(("tool", "language"), COMPILERS)
def test_no_compiler_warns(write_surroundings: Callable[..., list[Path]], tmp_path: Path, tool: str, language: str) -> None:
    """Of every preprocessing, with real numbers and with counts; an AVR's int has 16 bits."""
    command, *more = tool.split()
    if shutil.which(command) is None:
        pytest.skip(f"{command} is not installed")
    only = "-c" if command == "tcc" else "-fsyntax-only"
    strict = [only, "-Wall", "-Wextra", "-Wconversion", "-Wsign-compare", "-pedantic", "-Werror"]
    actions = actions_in_c(Actions(((-1.0, 0.25, 2.0),), (), "float32"), "0" * 64)
    files = []
    for index, case in enumerate(CASES):
        settings, sources = surroundings(*device(*case), [1.0] if index % 2 else None)
        written = write_surroundings(tmp_path / str(index), settings, {**actions, **sources})
        files += [file for file in written if index < 2 or file.name == "policy_observe.c"]
    call: list[str | Path] = [command, *more, *language.split(), *strict, *files]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("case", "units", "expected"),
    [
        (((3,), "float32", ""), [0.5], [0.5]),
        (((3,), "float32", ""), [1.0, 2.0, 3.0], [1, 2, 3]),
        (((3,), "float32", "action_mask frame_stack:2"), [1.0, 2.0, 3.0], [1, 2, 3, 1, 1, 1] * 2),
        (((5, 4, 2), "float32", "frame_stack:2"), [1.0, 2.0], [1, 2, 1, 2]),
        (((2, 2), "float32", "flatten"), [1.0, 2.0], [1, 2, 1, 2]),
        (((), "int64", "one_hot action_mask"), [1.0], [1]),
        (((3,), "float32", ""), [1.0, 2.0], "number of sensor units: expected 1 or 3. Got 2."),
        (((5, 4), "uint8", "frame_stack:2"), [1.0] * 4, "number of sensor units: expected 1. Got 4."),
        (((3,), "float32", ""), [0.0], "Impossible sensor unit: expected the real value of one count"),
        (((3,), "float32", ""), [np.nan], "Impossible sensor unit"),
        (((), "int64", "one_hot"), [0.5], "expected 1 for states. Got 0.5."),
    ],
)
def test_units_go_where_their_features_go(case: Any, units: list[float], expected: Any) -> None:
    of, size = device(*case)
    if isinstance(expected, str):
        with pytest.raises(InputError, match=expected):
            input_units(of, size, units)
    else:
        assert input_units(of, size, units).tolist() == expected


def test_the_order_of_a_vector_stands_in_a_comment_that_nothing_ends() -> None:
    plain, size = device((5,), "float32", "")
    named = replace(plain, features=(Feature("*/x", 1), Feature("mode", 2, (2,)), Feature("speed", 2)))
    header = observe_in_c(named, size, counts=False, sha256="ab")["policy_observe.h"]
    lines = "\n   0: _/x\n   1 .. 2: mode (2 numbers: one-hot of 0 .. 1)\n   3 .. 4: speed (2 numbers). */\n"
    assert f"/* An observation: one vector, in this order{lines}" in header
    assert in_order(named) == "_/x, mode (2 numbers: one-hot of 0 .. 1), speed (2 numbers)"
    assert "in this order" not in observe_in_c(plain, size, counts=False, sha256="ab")["policy_observe.h"]
