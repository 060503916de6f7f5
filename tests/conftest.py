"""What all tests share."""

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("TQDM_DISABLE", "1")  # commands say nothing of progress, but where a test asks for it

from edgedqn.agents import errors
from edgedqn.benchmarks.latency import full_speed
from edgedqn.benchmarks.native_output import quiet
from edgedqn.pipeline.native import load_tensorflow
from edgedqn.pipeline.viewing.serving import address, server

# As in every run: one thread, decided before anything uses TensorFlow, which cannot change it afterwards.
with quiet():
    load_tensorflow(threads=1)


@pytest.fixture(autouse=True)
def nothing_told_yet() -> None:
    """Each test may hear what an earlier one was told."""
    errors._told.clear()


@pytest.fixture(autouse=True, scope="session")
def memory_of_full_speed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What benchmarks remember of the processor is kept apart from what the developer's own remember."""
    with pytest.MonkeyPatch.context() as patched:
        kept = tmp_path_factory.mktemp("memory") / "full_speed.json"
        patched.setattr(full_speed, "reference_file", lambda: kept)
        yield


@pytest.fixture
def without_xla(monkeypatch: pytest.MonkeyPatch) -> None:
    """For trainings of a hundred steps: XLA computes the same, and takes seconds to compile each network."""
    monkeypatch.setattr("edgedqn.agents.learner.suits_xla", lambda variables: False)


@pytest.fixture
def of_session() -> Callable[[int], set[int]]:
    """The processes, zombies aside, of the session that a process began with `start_new_session`: itself and all it started."""

    def living(session: int) -> set[int]:
        command = ["ps", "-eo", "pid=,sess=,stat="]
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        rows = (line.split() for line in listed)
        return {int(pid) for pid, of, stat in rows if int(of) == session and not stat.startswith("Z")}

    return living


@pytest.fixture
def serve() -> Iterator[Callable[[Path], str]]:
    """Serves folders while the test runs; folder -> address."""
    with ExitStack() as stack:
        yield lambda folder: stack.enter_context(_serving(folder))


@contextmanager
def _serving(folder: Path) -> Iterator[str]:
    with server(folder) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.05,))
        thread.start()
        yield address(listening)
        listening.shutdown()
        thread.join()
