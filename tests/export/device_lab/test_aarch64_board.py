"""The bundle on an emulated Raspberry-Pi-class board: the actions of this machine, every one. Its speed says nothing."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from edgedqn.export.board import TWIN, write_board
from edgedqn.export.edge_policy import EdgePolicy

LAB = Path(__file__).parents[3] / "build" / "aarch64"
OBSERVATIONS = 1_000
ASK = """
import json, platform, sys
import numpy as np
from edge_policy import EdgePolicy
policy = EdgePolicy.load(sys.argv[1])
rows = [policy.preferences(x).tolist() for x in np.load("observations.npy")]
actions = [policy(x) for x in np.load("observations.npy")]
print(json.dumps({"machine": platform.machine(), "actions": actions, "rows": rows}))
"""


@pytest.fixture
def board(tmp_path: Path, cartpole_files: tuple[Path, Path], absent: Callable[[str], NoReturn]) -> Path:
    """A bundle in a folder of its own."""
    if shutil.which("qemu-aarch64-static") is None or not (LAB / ".unpacked").exists():
        absent("needs qemu-aarch64-static, and an aarch64 Python as `make test-edge` unpacks it")
    (tmp_path / "device").mkdir()
    write_board(cartpole_files[0], tmp_path / "device", cartpole_files[1])
    return tmp_path / "device"


def python(folder: Path, *arguments: str) -> str:
    """Stdout of the board's Python, in `folder`."""
    rootfs = LAB / "rootfs"
    command = ["qemu-aarch64-static", "-cpu", "cortex-a72", "-L", rootfs, rootfs / "usr" / "bin" / "python3.11", *arguments]
    environment = {"PYTHONHOME": str(rootfs / "usr"), "PYTHONPATH": str(LAB / "site"), "PATH": os.environ["PATH"]}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["policy.tflite", f"board/{TWIN}"])
def test_computes_the_actions_of_this_machine(board: Path, name: str) -> None:
    # Wide and narrow ones: the clamp at the ends of int8, and the levels round zero.
    widths = np.repeat([0.1, 1.0, 10.0, 1_000.0], OBSERVATIONS // 4)[:, np.newaxis]
    observations = (np.random.default_rng(17).normal(size=(OBSERVATIONS, 4)) * widths).astype(np.float32)
    np.save(board / "observations.npy", observations)
    policy = EdgePolicy.load(board / name)
    (board / "ask.py").write_text(ASK)
    answer: dict[str, Any] = json.loads(python(board, "ask.py", name))
    assert answer["machine"] == "aarch64"
    actions = [policy(x) for x in observations]
    assert set(actions) == {0, 1}  # else any board would pass
    assert answer["actions"] == actions
    assert answer["rows"] == [policy.preferences(x).tolist() for x in observations]


def test_runs_the_scripts_of_the_bundle(board: Path) -> None:
    told = python(board, "run_policy.py", "--steps", "10", "--hertz", "1000").splitlines()
    assert "Taking" in told[0]
    assert len(told[-1].split()) == 10
    python(board, "bench_on_device.py", "board.json", "--calls", "20")
    measured = json.loads((board / "board.json").read_text())
    assert measured["machine"]["architecture"] == "aarch64"
    assert [row["file"] for row in measured["rows"]] == ["policy.tflite", f"board/{TWIN}"]
