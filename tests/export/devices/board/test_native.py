"""A policy's step in C: the rows of the interpreter, through whichever compiler is there."""

import dataclasses
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgedqn.export.devices.board.native import MOST_WEIGHTS, SOURCE, native_c
from edgedqn.export.edge_policy import (
    ACTION_MASK,
    EdgePolicy,
    PolicyFileError,
    TfliteModel,
    VerifiedFile,
    parse_step,
    read_verified,
)
from edgedqn.export.tflite_file.manifest import embed, write_policy

README = Path("docs/results/policies").resolve()
Build = Callable[..., Path]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Compiles a file's source, as a bundle's README says and with every warning."""

    def compile_it(file: VerifiedFile, *flags: str, cc: str = "cc", change: Callable[[str], str] = str) -> Path:
        if not shutil.which(cc):
            pytest.skip(f"{cc} is not there")
        text = native_c(file)
        assert text is not None
        (tmp_path / SOURCE).write_text(change(text))
        library = tmp_path / f"{file.path.stem}.so"
        warnings = ("-std=c99", "-Wall", "-Wextra", "-Werror")
        command = [cc, "-O3", *warnings, *flags, "-shared", "-fPIC", "-o", str(library), str(tmp_path / SOURCE)]
        subprocess.run(command, check=True)
        return library

    return compile_it


def hard(file: VerifiedFile) -> NDArray[np.float32]:
    """[N, F]: every feature on and beside every half, one at a time and all at once, far outside, and anywhere."""
    rng = np.random.default_rng(1)
    scale, offset = (np.array(values, np.float32) for values in (file.device.scale, file.device.offset))
    halves = ((np.arange(-130, 130, 0.5, dtype=np.float32)[:, np.newaxis] - offset) / scale).astype(np.float32)
    beside = [np.nextafter(halves, np.float32(side)) for side in (np.inf, -np.inf)]
    mixed = [rng.permuted(each, axis=0) for each in (halves, *beside) for _ in range(3)]
    sizes = 10.0 ** rng.uniform(-44, 38, (2_000, 1))
    anywhere = (rng.uniform(-1, 1, (2_000, halves.shape[1])) * sizes).astype(np.float32)
    return np.concatenate([halves, *beside, *mixed, anywhere])


@pytest.mark.parametrize("flags", [("cc",), ("cc", "-march=native", "-ffp-contract=fast"), ("clang", "-march=native")])
@pytest.mark.parametrize("name", ["CartPole-v1", "MountainCar-v0", "Acrobot-v1", "LunarLander-v3"])
def test_whole_rows_equal_the_interpreters(build: Build, name: str, flags: tuple[str, ...]) -> None:
    file = read_verified(README / f"{name}.tflite")
    library = build(file, *flags[1:], cc=flags[0])
    policy, native = EdgePolicy.load(file.path), EdgePolicy.load(file.path, library=library)
    rows = set()
    for x in hard(file):
        row = policy.preferences(x)
        found = native.preferences(x)
        np.testing.assert_array_equal(found, row)
        assert found.dtype == np.int8 and native.saturated == policy.saturated
        assert native(x) == policy(x) == int(row.argmax())
        rows.add(tuple(row))
    assert len(rows) > 20


def test_what_is_not_finite_is_refused_and_changes_nothing(build: Build) -> None:
    file = read_verified(README / "CartPole-v1.tflite")
    native = EdgePolicy.load(file.path, library=build(file))
    native([1e9, 0, 0, 0])
    assert native.saturated == 1
    for bad in (np.nan, np.inf, -np.inf):
        for ask in (native, native.preferences):
            with pytest.raises(ValueError, match=r"expected finite numbers\. Got -?(nan|inf) at index 2"):
                ask([0, 0, bad, 0])
    assert native.saturated == 1
    with pytest.raises(ValueError, match=r"Wrong observation shape: expected \[4\]"):
        native(np.zeros(3, np.float32))


def test_masks_stacks_and_states_stay(build: Build, tmp_path: Path, network: Any, int8_file: Path) -> None:
    file, rng = read_verified(int8_file), np.random.default_rng(2)
    kinds: list[tuple[tuple[int, ...], str]] = [((2,), "frame_stack:2"), ((2,), str(ACTION_MASK)), ((), "one_hot")]
    for shape, step in kinds:
        device = dataclasses.replace(file.device, source={}, observation_shape=shape, preprocessing=(parse_step(step),))
        other = write_policy(tmp_path / f"{shape}{step[0]}.tflite", embed(network.int8, device), device=device, evidence={})
        policy, native = EdgePolicy.load(other.path), EdgePolicy.load(other.path, library=build(other))
        for i in range(40):
            observation = rng.normal(0, 2, shape) if shape else int(rng.integers(4))
            masks = [rng.permutation([1, i % 2])] if step == str(ACTION_MASK) else []
            assert native.preferences(observation, *masks).tolist() == policy.preferences(observation, *masks).tolist()
            assert native(observation, *masks) == policy(observation, *masks)


def test_another_policys_library_and_one_of_other_rows_are_refused(build: Build, tmp_path: Path) -> None:
    files = [read_verified(README / f"{name}.tflite") for name in ("CartPole-v1", "MountainCar-v0")]
    library = build(files[0])
    with pytest.raises(PolicyFileError, match=r"CartPole-v1\.so is of another file: expected "):
        EdgePolicy.load(files[1].path, library=library)
    wrong = build(files[1], change=lambda text: text.replace("sum + bias[o]", "sum - bias[o]"))
    with pytest.raises(PolicyFileError, match=r"MountainCar-v0\.so gives another row than the interpreter: expected \["):
        EdgePolicy.load(files[1].path, library=wrong)
    for content in (None, b"no library"):
        if content:
            (tmp_path / "none.so").write_bytes(content)
        with pytest.raises(PolicyFileError, match=r"none\.so cannot be loaded: expected what cc made of policy_native\.c"):
            EdgePolicy.load(files[0].path, library=tmp_path / "none.so")


def test_what_the_interpreter_does_faster_has_no_source(
    image_file: Callable[[str], bytes], network: Any, int8_file: Path, float_policy: bytes
) -> None:
    file = read_verified(int8_file)
    assert native_c(file) == native_c(file) is not None
    assert native_c(dataclasses.replace(file, model=TfliteModel(float_policy))) is None
    assert native_c(read_verified(README / "MinAtar-Breakout-v1.tflite")) is None  # a convolution
    assert MOST_WEIGHTS < 256 * 256
