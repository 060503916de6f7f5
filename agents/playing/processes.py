"""Python in other processes that end with this one, however this one ends: killed, or its terminal closed.

They never import the script that started them, as those of `multiprocessing` do: it needs no `if __name__ == "__main__":`, and
may come from stdin, a notebook or `python -c`.
"""

import json
import os
import subprocess
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from typing import Any, TypeAlias, TypeVar, cast

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
        self._count = count
        self._processes: dict[_Channel, subprocess.Popen[bytes]] = {}
        self._waiting: deque[tuple[int, Callable[[], object]]] = deque()
        self._running: dict[_Channel, int] = {}
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
        answers: dict[int, object] = {}
        for number, call in enumerate(calls):
            self.submit(number, call)
        for i in range(len(calls)):
            while i not in answers:
                number, answers[number] = self.next()
            answer = answers.pop(i)
            if isinstance(answer, Exception):
                raise answer
            yield cast(R, answer)

    def submit(self, number: int, call: Callable[[], object]) -> None:
        """Lets a process answer a call when it has time; a number tells calls apart."""
        self._waiting.append((number, call))

    def next(self) -> tuple[int, object]:
        """The number of a call that was submitted, the first that is answered, and what it returned; or the exception that it
        raised, with its traceback as a note. A WorkerDiedError where its process ended: another one takes that one's place.
        """
        while self._waiting and (connection := self._idle()) is not None:
            number, call = self._waiting[0]
            request = ForkingPickler.dumps(call)
            self._waiting.popleft()
            self._running[connection] = number
            with suppress(ConnectionError):  # it has ended, and the answer says so
                connection.send_bytes(request)
        wait(self._running)
        connection = next(each for each in self._running if each.poll())
        number = self._running.pop(connection)
        try:
            answer, error = connection.recv()
        except (EOFError, ConnectionError):
            return number, self._died(connection)
        return number, answer if error is None else error

    def _idle(self) -> "_Channel | None":
        if len(self._processes) < self._count:
            self._start()
        return next((each for each in reversed(self._processes) if each not in self._running), None)

    def end(self) -> None:
        """Ends the processes; those in the midst of a call may finish it within 5 seconds."""
        for connection in self._processes:
            connection.close()
        until = time.monotonic() + PATIENCE_S
        for process in self._processes.values():
            _end_of(process, until - time.monotonic())
        self._processes = {}

    def _start(self) -> None:
        ours, theirs = Pipe()
        chatter = None if os.environ.get("EDGEDQN_VERBOSE") == "1" else subprocess.DEVNULL
        with theirs:
            command = python_command(_WORK, str(theirs.fileno()), json.dumps(sys.path))
            self._processes[ours] = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=chatter, stderr=chatter
            )

    def _died(self, connection: _Channel) -> WorkerDiedError:
        connection.close()
        code = _end_of(self._processes.pop(connection))
        died = "A process died at work, by the environment or by the runtime of a file"
        return WorkerDiedError(f"{died}: expected an answer. Got exit code {code}.")


def _end_of(process: subprocess.Popen[bytes], patience_s: float = PATIENCE_S) -> int:
    """Waits for a process that nobody speaks to any more, and returns its exit code."""
    try:
        return process.wait(max(0.0, patience_s))
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
