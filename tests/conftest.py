"""What all tests share."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

os.environ.setdefault("MPLBACKEND", "Agg")

from edgedqn.pipeline.native import load_tensorflow, quiet
from edgedqn.pipeline.serving import address, server

# As in every run: one thread, decided before anything uses TensorFlow, which cannot change it afterwards.
with quiet():
    load_tensorflow(threads=1)


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
