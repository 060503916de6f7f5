"""What a reader does in its own process is an answer or bad input."""

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.importing.keras_model.other_process import read_elsewhere


def read(code: str, content: bytes = b"") -> bytes:
    return read_elsewhere(code, "told", what="it", time_limit=60, content=content)


def test_an_answer() -> None:
    code = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read() + sys.argv[1].encode())"
    assert read(code, b"\x00data ") == b"\x00data told"


def test_failures_are_bad_input() -> None:
    with pytest.raises(InputError, match=r"^it cannot be read: ValueError: no\.$"):
        read("raise ValueError('no.')")
    with pytest.raises(InputError, match=r"^it cannot be read: its reader ended with -6$"):
        read("import os, sys; print('a trace', file=sys.stderr, flush=True); os.abort()")
    with pytest.raises(InputError, match=r"^it is damaged: reading it took more than 0\.0001 seconds\.$"):
        read_elsewhere("", "told", what="it", time_limit=1e-4)
