"""The bundle on an emulated Raspberry-Pi-class board: the actions of this machine, every one. Its speed says nothing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedqn.export.devices.board.bundle import TWIN, write_board
from edgedqn.export.edge_policy import EdgePolicy, read_verified

OBSERVATIONS = 1_000

BoardPython = Callable[..., str]


@pytest.fixture
def board(tmp_path: Path, cartpole_files: tuple[Path, Path]) -> Path:
    """A bundle in a folder of its own."""
    (tmp_path / "device").mkdir()
    write_board(read_verified(cartpole_files[0]), tmp_path / "device", twin=read_verified(cartpole_files[1]))
    return tmp_path / "device"


@pytest.mark.parametrize("name", ["policy.tflite", f"board/{TWIN}"])
def test_computes_the_actions_of_this_machine(board: Path, board_python: BoardPython, ask_board: str, name: str) -> None:
    # Wide and narrow ones: the clamp at the ends of int8, and the levels round zero.
    widths = np.repeat([0.1, 1.0, 10.0, 1_000.0], OBSERVATIONS // 4)[:, np.newaxis]
    observations = (np.random.default_rng(17).normal(size=(OBSERVATIONS, 4)) * widths).astype(np.float32)
    np.save(board / "observations.npy", observations)
    policy = EdgePolicy.load(board / name)
    (board / "ask.py").write_text(ask_board)
    answer: dict[str, Any] = json.loads(board_python(board, "ask.py", name))
    assert answer["machine"] == "aarch64"
    actions = [policy(x) for x in observations]
    assert set(actions) == {0, 1}  # else any board would pass
    assert answer["actions"] == actions
    assert answer["rows"] == [policy.preferences(x).tolist() for x in observations]


def test_runs_the_scripts_of_the_bundle(board: Path, board_python: BoardPython) -> None:
    told = board_python(board, "run_policy.py", "--steps", "10", "--hertz", "1000").splitlines()
    assert told[0].startswith("Observation to action: ")
    assert len(told[-1].split()) == 10
    board_python(board, "bench_on_device.py", "board.json", "--calls", "20")
    measured = json.loads((board / "board.json").read_text())
    assert measured["machine"]["architecture"] == "aarch64"
    assert [row["file"] for row in measured["rows"]] == ["policy.tflite", f"board/{TWIN}"]
