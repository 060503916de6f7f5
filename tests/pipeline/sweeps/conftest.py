import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# A float agent of a second, and students of a few more: what they play is not the point.
TINY: dict[str, Any] = {
    "environments": ["CartPole-v1"],
    "seeds": [0],
    "trials": 4,
    "batch": 2,
    "latency": False,
    "teacher": {
        "settings": {
            "steps": 3_000,
            "hidden": [16, 16],
            "learning_starts": 200,
            "evaluation_interval": 1_000,
            "evaluation_episodes": 3,
        }
    },
    "recipes": [
        {
            "recipe": "student-qat-int8",
            "settings": {
                "new_student.hidden": {"choice": [[2], [4], [8]]},
                "distil.learning.steps": 200,
                "distil.rounds": 0,
                "distil.greedy_states": 500,
                "distil.explored_states": 200,
            },
        }
    ],
}


@pytest.fixture
def tiny() -> dict[str, Any]:
    return TINY


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny sweep, done by one process."""
    from edgedqn.pipeline.sweeps.experiment import run_experiment

    folder = tmp_path_factory.mktemp("sweep") / "tiny"
    run_experiment(TINY, out=str(folder), workers=1)
    return folder


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a database of a server that is started for the tests, reached by its socket alone."""
    pytest.importorskip("psycopg")
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs:
        pytest.skip("PostgreSQL's server is not installed")
    bin_folder, folder = programs[-1].parent, Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # a socket's path is short
    # The server refuses to be root's.
    as_user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    if as_user:
        shutil.chown(folder, "postgres")

    def do(program: str, *arguments: str) -> None:
        command = [*as_user, str(bin_folder / program), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")

    data = str(folder / "data")
    do("initdb", "-D", data, "-A", "trust", "-U", "edgedqn", "--no-sync")
    do("pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", f"-k {folder} -c listen_addresses=''", "start")
    try:
        yield f"postgresql+psycopg://edgedqn@/postgres?host={folder}"
    finally:
        do("pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder)
