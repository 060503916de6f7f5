"""Processes that answer, and end with the one that started them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from edgedqn.agents.playing.processes import WorkerDiedError, Workers

MODULE = """
import os

def square(number):
    print("said on stdout")
    return number * number, os.getpid()

class Refused(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")

def refuse(number):
    if number >= 2:
        raise Refused("no", number) if number == 3 else ValueError(f"not {number}")
    return number

def die(number):
    os._exit(7)
"""


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module that this process finds, and no other by itself."""
    (tmp_path / "called.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return "called"


@contextmanager
def started(count: int) -> Iterator[Workers]:
    workers = Workers(count)
    try:
        yield workers
    finally:
        workers.end()


def test_answers_come_in_order_from_several_processes(called: str, capfd: pytest.CaptureFixture[str]) -> None:
    module = __import__(called)
    with started(2) as workers:
        answers = list(workers.map([partial(module.square, i) for i in range(40)]))
        again = list(workers.map([partial(module.square, 5)]))
    assert [square for square, _ in answers] == [i * i for i in range(40)] and again[0][0] == 25
    answered = {process for _, process in answers}
    assert len(answered) == 2 and os.getpid() not in answered
    assert capfd.readouterr().out == ""


def test_the_first_error_in_order_is_raised_with_its_traceback(called: str) -> None:
    module = __import__(called)
    with started(2) as workers:
        with pytest.raises(ValueError, match="not 2") as caught:
            list(workers.map([partial(module.refuse, i) for i in range(6)]))
        assert "in refuse" in caught.value.__notes__[0]
    with started(1) as workers, pytest.raises(RuntimeError, match="Refused: no and 3"):  # made of two arguments
        list(workers.map([partial(module.refuse, 3)]))


def test_a_process_that_dies_is_told_with_its_exit_code(called: str) -> None:
    with started(1) as workers, pytest.raises(WorkerDiedError, match="Got exit code 7"):
        list(workers.map([partial(__import__(called).die, 0)]))


PARENT = """
import subprocess, sys, time
from functools import partial
from edgedqn.agents.playing import processes

kind = sys.argv[1]
if kind == "idle" or kind == "busy":
    workers = processes.Workers(2)
    next(workers.map([list, *[partial(time.sleep, 60 * (kind == "busy"))] * 4]))
elif kind == "unaided":  # as where the system kills nobody
    processes._WATCH = processes._WATCH.replace('"linux"', '"none"')
    subprocess.Popen(processes.python_command("time.sleep(60)"))
elif kind == "stuck":  # it holds Python's lock
    subprocess.Popen(processes.python_command("ctypes.PyDLL(None).sleep(60)"))
else:
    subprocess.Popen(processes.command_that_ends_with_this(["sleep", "60"]))
print("started", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("kind", ["idle", "busy", "unaided", "stuck", "another program"])
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP])
def test_none_outlives_the_process_that_started_it(
    kind: str, how: signal.Signals, of_session: Callable[[int], set[int]]
) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, kind], stdout=subprocess.PIPE, start_new_session=True) as parent:
        assert parent.stdout is not None and parent.stdout.readline() == b"started\n"
        assert len(of_session(parent.pid)) > 1
        parent.send_signal(how)
    assert parent.returncode == -how
    deadline = time.monotonic() + 5
    while of_session(parent.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert of_session(parent.pid) == set()
