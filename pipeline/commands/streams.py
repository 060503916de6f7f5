"""The standard streams of a process that is the command line's own.

All here is for `cli.console`, before there is another thread: file descriptors belong to the whole process.
"""

import errno
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

from edgedqn.pipeline.commands import BAD_INPUT

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class Patient(io.FileIO):
    """Where results or remarks go. Work goes on where its reader has left or its disk is full; `failure` is the first error."""

    failure: OSError | None = None

    def write(self, content: "ReadableBuffer", /) -> int:
        """As of any file; after a failure the content is dropped."""
        if self.failure is None:
            try:
                return super().write(content)
            except OSError as error:
                self.failure = error
        return memoryview(content).nbytes


def take_over() -> Patient:
    """Makes `sys.stdout` and `sys.stderr` patient copies of the streams this process was given; returns that of stdout.

    What is closed is opened to nowhere, so that no other file takes its number. File descriptor 2 leads nowhere from here on,
    because TensorFlow and its converter write to it past every log level; EDGEDQN_VERBOSE=1 leaves it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
    stdout, stderr = Patient(os.dup(1), "w"), Patient(os.dup(2), "w")
    sys.stdout, sys.stderr = _text(stdout), _text(stderr)
    if os.environ.get("EDGEDQN_VERBOSE") != "1":
        _lead(2, os.open(os.devnull, os.O_WRONLY))
    return stdout


def keep_stdout_for_results() -> None:
    """Leads file descriptor 1, where an environment's own library or one of our processes may print, to the real stderr."""
    _lead(1, os.dup(sys.stderr.fileno()))


def finish(stdout: Patient, code: int) -> int:
    """The exit code, after all was written: another where results could not be. A reader who has left has what he wanted."""
    sys.stdout.flush()
    if stdout.failure is None or stdout.failure.errno == errno.EPIPE:
        return code
    print(f"edgedqn: Results cannot be written to stdout. Got: {stdout.failure.strerror}.", file=sys.stderr)
    return BAD_INPUT


def _text(stream: Patient) -> TextIO:
    return io.TextIOWrapper(io.BufferedWriter(stream), encoding="utf-8", errors="backslashreplace", line_buffering=True)


def _lead(number: int, other: int) -> None:
    os.dup2(other, number)
    os.close(other)
