"""A bundle for a board, and its scripts run as a user runs them: from its own folder, with nothing of ours on the path."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgedqn.export.devices.board.bundle import write_board
from edgedqn.export.edge_policy import read_verified

Files = tuple[Path, Path]


def _run(folder: Path, script: str, *arguments: str, without: str = "tensorflow") -> str:
    """Stdout of a script of the bundle, where neither we nor `without` can be imported."""
    code = (
        f"import runpy, sys\nsys.modules['edgedqn'] = sys.modules[{without!r}] = None\n"
        f"sys.argv = sys.argv[1:]\nsys.path.insert(0, '.')\nrunpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [sys.executable, "-c", code, script, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout if done.returncode == 0 else f"{done.stdout}exit {done.returncode}: {done.stderr.strip()}"


@pytest.fixture
def on_the_board() -> Callable[..., str]:
    """Runs a script of a bundle, see `_run`."""
    return _run


@pytest.fixture
def bundle(tmp_path: Path, cartpole_files: Files) -> Path:
    (tmp_path / "device").mkdir()
    write_board(read_verified(cartpole_files[0]), tmp_path / "device", twin=read_verified(cartpole_files[1]))
    return tmp_path / "device"
