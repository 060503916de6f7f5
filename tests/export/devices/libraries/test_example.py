import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgedqn.export.devices.libraries.example import observation_header
from edgedqn.export.edge_policy import VerifiedFile, read_verified
from edgedqn.export.tflite_file.integer_network import read_integer_network

Rows = Callable[..., NDArray[np.int8]]


def parsed(header: str) -> tuple[NDArray[np.float64], NDArray[np.float64] | None, int]:
    """The observation, the legal actions, and the action."""
    arrays = [
        np.array([float(each.strip().rstrip("f")) for each in text.split(",")])
        for text in re.findall(r"{(.*?)}", header, re.DOTALL)
    ]
    return arrays[0], arrays[1] if len(arrays) > 1 else None, int(header.partition("_ACTION ")[2][0])


def row(file: VerifiedFile, taken: NDArray[np.float64], run_integer_network: Rows) -> NDArray[np.int8]:
    """The output for what has been through the preprocessing, by TFLite Micro's arithmetic written out."""
    real = taken.astype(np.float32) * np.array(file.device.scale, np.float32) + np.array(file.device.offset, np.float32)
    return run_integer_network(read_integer_network(file.model), np.rint(np.clip(real, -128, 127)).astype(np.int8)[None])[0]


@pytest.mark.parametrize("unit", [None, 0.001, -0.25])
def test_the_expected_action_is_tflite_micros_and_not_the_one_of_a_device_that_does_nothing(
    policy: Path, run_integer_network: Rows, unit: float | None
) -> None:
    file = read_verified(policy)
    units = None if unit is None else [unit]
    header = observation_header(file, units)
    observation, _, action = parsed(header)
    assert action == row(file, observation * (unit or 1), run_integer_network).argmax() != 0
    assert unit is None or observation.tolist() == np.rint(observation).tolist()
    assert header == observation_header(file, units)


@pytest.mark.parametrize("dtype", ["uint8", "bool", "int64"])
def test_integers_stay_what_their_dtype_holds(seen_as: Callable[..., VerifiedFile], dtype: str) -> None:
    observation, _, _ = parsed(observation_header(seen_as((2, 2), dtype, "flatten")))
    assert observation.tolist() == np.rint(observation).tolist() and (dtype == "int64" or (observation >= 0).all())
    assert observation.max() <= {"uint8": 255, "bool": 1}.get(dtype, np.inf)


def test_a_frame_fills_the_stack(seen_as: Callable[..., VerifiedFile], run_integer_network: Rows) -> None:
    file = seen_as((2,), "float32", "frame_stack:2")
    observation, _, action = parsed(observation_header(file))
    assert action == row(file, np.tile(observation, 2), run_integer_network).argmax()


@pytest.mark.parametrize("units", [None, [1.0]])
def test_a_state_is_drawn_and_some_action_legal(
    seen_as: Callable[..., VerifiedFile], run_integer_network: Rows, units: list[float] | None
) -> None:
    file = seen_as((), "int64", "one_hot", "action_mask")
    (state,), legal, action = parsed(observation_header(file, units))
    assert state in (0, 1) and legal is not None and legal[action] == 1
    output = row(file, np.concatenate([np.arange(2) == state, legal]), run_integer_network)
    assert action == np.where(legal == 1, output.astype(int), -129).argmax()
