from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgedqn.export.devices.libraries.example import observation_header
from edgedqn.export.edge_policy import VerifiedFile, read_verified
from edgedqn.export.tflite_file.integer_network import read_integer_network

Rows = Callable[..., NDArray[np.int8]]


def parsed(header: str) -> tuple[NDArray[np.float32], int]:
    numbers = header.partition("{")[2].partition("}")[0].split(",")
    return np.array([float(each.strip().rstrip("f")) for each in numbers], np.float32), int(header.partition("_ACTION ")[2][0])


def row(file: VerifiedFile, observation: NDArray[np.float32], run_integer_network: Rows) -> NDArray[np.int8]:
    """The output, by TFLite Micro's arithmetic written out."""
    real = observation * np.array(file.device.scale, np.float32) + np.array(file.device.offset, np.float32)
    return run_integer_network(read_integer_network(file.model), np.rint(np.clip(real, -128, 127)).astype(np.int8)[None])[0]


def test_the_expected_action_is_tflite_micros_and_not_the_one_of_a_device_that_does_nothing(
    policy: Path, run_integer_network: Rows
) -> None:
    file = read_verified(policy)
    header = observation_header(file)
    observation, action = parsed(header)
    assert action == row(file, observation, run_integer_network).argmax() != 0
    assert header == observation_header(file)


@pytest.mark.parametrize("dtype", ["uint8", "bool"])
def test_integers_stay_integers(seen_as: Callable[..., VerifiedFile], dtype: str) -> None:
    observation, _ = parsed(observation_header(seen_as((2, 2), dtype, "flatten")))
    assert observation.tolist() == np.rint(observation).tolist()


def test_a_state_is_one_hot_and_some_action_legal(seen_as: Callable[..., VerifiedFile], run_integer_network: Rows) -> None:
    file = seen_as((), "int64", "one_hot", "action_mask")
    observation, action = parsed(observation_header(file))
    states, legal = observation[:2], observation[2:]
    assert sorted(states) == [0, 1] and set(legal) <= {0, 1} and legal[action] == 1
    assert action == np.where(legal == 1, row(file, observation, run_integer_network).astype(int), -129).argmax()
