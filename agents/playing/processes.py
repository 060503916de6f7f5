"""Python in other processes that end with this one, however this one ends: killed, or its terminal closed.

They never import the script that started them, as those of `multiprocessing` do: it needs no `if __name__ == "__main__":`, and
may come from stdin, a notebook or `python -c`.
"""

import json
import os
import subprocess
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from typing import Any, TypeAlias, TypeVar

from edgedqn.agents.errors import InputError

R = TypeVar("R")
_Channel: TypeAlias = "Connection[Any, Any]"

PATIENCE_S = 5  # for a worker that is not wanted any more to finish its call, and close what it has opened

# A process whose parent has ended gets another one. Linux can also be asked to kill it at once, which works where a library
# that hangs lets no thread of Python run, and where another program has taken its place.
_WATCH = """
import ctypes, os, sys, threading, time

def end_with(parent):
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)

threading.Thread(target=end_with, args=({parent},), daemon=True).start()
if sys.platform == "linux":
    PR_SET_PDEATHSIG, SIGKILL = 1, 9
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL)
    if os.getppid() != {parent}:  # it has ended already
        os._exit(1)
"""
_WORK = """
import json, signal
signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches every process of a terminal: the parent says what happened
sys.path[:] = json.loads(sys.argv.pop())
from edgedqn.agents.playing.processes import work
work(int(sys.argv.pop()))
"""


class WorkerDiedError(InputError):
    """A process ended in the midst of a call: the environment, or the runtime of a file, ended it."""


def python_command(code: str, *arguments: str) -> list[str]:
    """The command of a Python process that runs `code`, and ends within a second after this process, or its thread, has.

    Its `sys.argv` has the arguments from the second place on. Nothing is imported from the current folder.
    """
    return [sys.executable, "-P", "-c", f"{_WATCH.format(parent=os.getpid())}{code}", *arguments]


def command_that_ends_with_this(command: Sequence[str]) -> list[str]:
    """The command of another program, which then ends like a Python process of `python_command`; on Linux alone."""
    return python_command("os.execvp(sys.argv[1], sys.argv[1:])", *command)


class Workers:
    """Processes that answer calls, with the modules that can be imported here. What they print goes nowhere."""

    def __init__(self, count: int):
        """Starts so many. OSError: the system does not let them be started."""
        self._processes: dict[_Channel, subprocess.Popen[bytes]] = {}
        try:
            for _ in range(count):
                self._start()
        except BaseException:
            self.end()
            raise

    def map(self, calls: Sequence[Callable[[], R]]) -> Iterator[R]:
        """What each call returns, in their order. After an error nothing but `end` is left to do.

        Raises:
          WorkerDiedError: a process ended in the midst of a call.
          Exception: whatever a call raises, with its traceback as a note; or why a call cannot be pickled.
        """
        waiting, answers = deque(enumerate(calls)), dict[int, tuple[R, Exception | None]]()
        idle, running = list(self._processes), dict[_Channel, int]()
        for i in range(len(calls)):
            while i not in answers:
                while idle and waiting:
                    number, call = waiting.popleft()
                    request, connection = ForkingPickler.dumps(call), idle.pop()
                    with self._alive(connection):
                        connection.send_bytes(request)
                    running[connection] = number
                wait(running)
                for connection in [each for each in running if each.poll()]:
                    with self._alive(connection):
                        answers[running.pop(connection)] = connection.recv()
                    idle.append(connection)
            answer, error = answers.pop(i)
            if error is not None:
                raise error
            yield answer

    def end(self) -> None:
        """Ends the processes; one in the midst of a call may finish it within 5 seconds."""
        for connection in self._processes:
            connection.close()
        for process in self._processes.values():
            _end_of(process)
        self._processes = {}

    def _start(self) -> None:
        ours, theirs = Pipe()
        chatter = None if os.environ.get("EDGEDQN_VERBOSE") == "1" else subprocess.DEVNULL
        with theirs:
            command = python_command(_WORK, str(theirs.fileno()), json.dumps(sys.path))
            self._processes[ours] = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=chatter, stderr=chatter
            )

    @contextmanager
    def _alive(self, connection: _Channel) -> Iterator[None]:
        try:
            yield
        except (EOFError, ConnectionError) as error:
            code = _end_of(self._processes[connection])
            died = "A process died at work, by the environment or by the runtime of a file"
            raise WorkerDiedError(f"{died}: expected an answer. Got exit code {code}.") from error


def _end_of(process: subprocess.Popen[bytes]) -> int:
    """Waits for a process that nobody speaks to any more, and returns its exit code."""
    try:
        return process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def work(descriptor: int) -> None:
    """Answers calls until nobody is left to ask; `Workers` starts it as a process."""
    connection: _Channel = Connection(descriptor)
    with suppress(EOFError, ConnectionError):
        while True:
            connection.send_bytes(_answer(connection.recv_bytes()))


def _answer(request: bytes) -> memoryview:
    """Pickled: what the call returned, and what it raised."""
    try:
        return ForkingPickler.dumps((ForkingPickler.loads(request)(), None))
    except Exception as error:
        told = "".join(traceback.format_exception(error))
        try:
            ForkingPickler.loads(ForkingPickler.dumps(error))
        except Exception:  # one that cannot be made again from its arguments
            error = RuntimeError(f"{type(error).__name__}: {error}")
        error.add_note(told)
        return ForkingPickler.dumps((None, error))
