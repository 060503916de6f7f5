"""What runs in place of a file with integer ends where it computes the same integers: nobody sees a difference."""

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgedqn.export.edge_policy import (
    ACTION_MASK,
    TWIN_OF,
    EdgePolicy,
    PolicyFileError,
    TfliteModel,
    VerifiedFile,
    find_twin,
    parse_step,
    read_verified,
)
from edgedqn.export.tflite_file.manifest import embed, write_policy
from edgedqn.export.tflite_file.reader import stripped
from edgedqn.export.tflite_file.rewriting import float_twin, with_action_output

README = Path("docs/results/policies").resolve()
NAMES = ("CartPole-v1", "MountainCar-v0", "Acrobot-v1", "LunarLander-v3", "MinAtar-Breakout-v1")


def twin_of(file: VerifiedFile) -> VerifiedFile:
    content, device = float_twin(file.model, file.device)
    return dataclasses.replace(file, model=TfliteModel(content), device=device, evidence={})


def pair(file: VerifiedFile) -> tuple[EdgePolicy, EdgePolicy]:
    """The file as it is, and as its twin runs it."""
    twin = twin_of(file)
    assert twin.device.source[TWIN_OF] == file.file_sha256
    return EdgePolicy.from_file(file), EdgePolicy.from_file(file, twin=twin)


def write(file: VerifiedFile, folder: Path, name: str) -> Path:
    write_policy(folder / name, file.content, device=file.device, evidence=file.evidence)
    return folder / name


def hard(file: VerifiedFile, rng: np.random.Generator) -> Iterator[NDArray[np.float32]]:
    """Observations: on and beside every half of each feature, saturated, huge, tiny, and of all sizes at random."""
    shape = EdgePolicy.from_file(file).input_shape
    scale, offset = (np.array(values, np.float32) for values in (file.device.scale, file.device.offset))
    for half in np.arange(-129.5, 129.5, 0.5, dtype=np.float32):
        x = np.broadcast_to((half - offset) / scale, shape).astype(np.float32)
        yield x
        yield np.nextafter(x, np.float32(rng.choice([-np.inf, np.inf])))
    for size in (0, 1e-45, 1e-38, 1e-10, 0.1, 1, 2, 5, 1e3, 1e18, 1e30, 3e38):
        for _ in range(20):
            yield (rng.uniform(-1, 1, shape) * size).astype(np.float32)


def same(integers: EdgePolicy, twin: EdgePolicy, observation: Any, *mask: Any) -> None:
    row, other = integers.preferences(observation, *mask), twin.preferences(observation, *mask)
    np.testing.assert_array_equal(other, row)
    assert other.dtype == row.dtype == np.int8 and other.shape == row.shape
    assert twin(observation, *mask) == integers(observation, *mask)
    assert twin.saturated == integers.saturated


@pytest.mark.parametrize("name", NAMES)
def test_the_readmes_policies_give_the_same_rows_wherever_a_number_falls(name: str) -> None:
    file = read_verified(README / f"{name}.tflite")
    integers, twin = pair(file)
    rows = set()
    for observation in hard(file, np.random.default_rng(1)):
        same(integers, twin, observation)
        rows.add(tuple(integers.preferences(observation)))
    assert len(rows) > 10
    assert twin.device is file.device and twin.n_actions == integers.n_actions


@settings(max_examples=300, deadline=None)
@given(st.lists(st.floats(width=32), min_size=4, max_size=4))
def test_any_four_numbers_give_the_same_or_the_same_refusal(numbers: list[float]) -> None:
    told: list[object] = []
    for policy in CARTPOLE:
        try:
            told.append((policy(numbers), policy.preferences(numbers).tolist(), policy.saturated))
        except ValueError as error:
            told.append(str(error))
    assert told[0] == told[1]


CARTPOLE = pair(read_verified(README / "CartPole-v1.tflite"))


def changed(file: VerifiedFile, content: bytes, **fields: Any) -> VerifiedFile:
    """The network with another manifest."""
    device = dataclasses.replace(file.device, source={}, **fields)
    whole = embed(content, device)
    return dataclasses.replace(file, model=TfliteModel(whole), device=device)


def test_masks_stacks_states_and_own_actions_stay(network: Any, int8_file: Path) -> None:
    file = read_verified(int8_file)
    rng = np.random.default_rng(2)
    stacked = changed(file, network.int8, observation_shape=(2,), preprocessing=(parse_step("frame_stack:2"),))
    integers, twin = pair(stacked)
    for i in range(30):
        observation = rng.normal(0, 2, 2).astype(np.float32)
        if i % 10 == 0:
            integers.reset()
            twin.reset()
        assert twin.preferences(observation).tolist() == integers.preferences(observation).tolist()
    integers, twin = pair(changed(file, network.int8, observation_shape=(2,), preprocessing=(ACTION_MASK,)))
    for mask in ([1, 0], [0, 1], [1, 1]):
        same(integers, twin, rng.normal(0, 2, 2), mask)
    integers, twin = pair(changed(file, network.int8, observation_shape=(), preprocessing=(parse_step("one_hot"),)))
    for state in range(4):
        same(integers, twin, state)
    integers, twin = pair(changed(file, with_action_output(TfliteModel(network.int8)), meaning="action"))
    for _ in range(30):
        same(integers, twin, rng.normal(0, 2, 4))


@pytest.mark.parametrize(("kind", "exact"), [("nature", True), ("quantiles", True), ("same", False)])
def test_a_convolution_that_pads_with_its_zero_has_no_twin_of_the_same_integers(
    image_file: Callable[[str], bytes], int8_file: Path, kind: str, exact: bool
) -> None:
    model = TfliteModel(image_file(kind))
    shape = model.input.shape[1:]
    file = read_verified(int8_file)
    scales: dict[str, Any] = {"scale": (41.7,), "offset": (-3.3,)}
    images = changed(file, stripped(model), observation_shape=shape, n_actions=4, meaning="q_values", **scales)
    assert (TWIN_OF in twin_of(images).device.source) is exact
    if exact:
        integers, twin = pair(images)
        rng = np.random.default_rng(3)
        for _ in range(5):
            same(integers, twin, rng.normal(0, 2, shape).astype(np.float32))
            same(integers, twin, ((rng.integers(-140, 140, shape) + 0.5 + 3.3) / 41.7).astype(np.float32))


@pytest.mark.parametrize("place", ["board/policy-float-io.tflite", "policy-float-io.tflite"])
def test_a_folder_or_a_file_is_loaded_with_its_twin(tmp_path: Path, int8_file: Path, place: str) -> None:
    file = read_verified(int8_file)
    folder = tmp_path / "device"
    (folder / "board").mkdir(parents=True)
    write(file, folder, "policy.tflite")
    alone = EdgePolicy.load(folder)
    assert find_twin(read_verified(folder / "policy.tflite")) is None
    write(twin_of(file), folder, place)
    for path in (folder, str(folder), folder / "policy.tflite"):
        policy = EdgePolicy.load(path, threads=2)
        assert policy._feed.dtype == np.float32  # what runs
        assert policy.device == file.device
        for observation in np.random.default_rng(4).normal(0, 2, (50, 4)).astype(np.float32):
            same(alone, policy, observation)


def test_a_twin_of_another_file_is_passed_over_and_a_damaged_one_refused(tmp_path: Path, int8_file: Path) -> None:
    file = read_verified(int8_file)
    twin = twin_of(file)
    path = write(twin, tmp_path, "policy-float-io.tflite")
    path.with_suffix(".json").unlink()
    assert find_twin(file) is not None
    content = bytearray(twin.content)
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(PolicyFileError, match=r"policy-float-io\.tflite: The file was changed"):
        EdgePolicy.load(int8_file)
    shutil.copy(README / "CartPole-v1.tflite", path)  # whole, and no twin of this one
    shutil.copy(README / "CartPole-v1.json", path.with_suffix(".json"))
    assert find_twin(file) is None
    assert EdgePolicy.load(int8_file)._feed.dtype == np.int8


def test_a_twin_whose_manifest_says_something_else_is_refused(
    tmp_path: Path, int8_file: Path, network: Any, embed_unchecked: Any
) -> None:
    file = read_verified(int8_file)
    told = {**file.device.to_json(), TWIN_OF: file.file_sha256}
    (tmp_path / "policy-float-io.tflite").write_bytes(embed_unchecked(network.float32, told))
    with pytest.raises(PolicyFileError, match=r"policy-float-io\.tflite: not of policy\.tflite"):
        EdgePolicy.load(int8_file)
