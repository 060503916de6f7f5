"""What native libraries write past every log level, of no use to anybody: not heard. Needs no TensorFlow."""

import ctypes
import os
import platform
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

_lock = threading.Lock()
_inside, _real = 0, None  # how many are in `quiet`, and where C's stderr went before the first of them


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps what C code writes to its `stderr` from being heard while any thread is in here; also as a decorator.

    TensorFlow writes six lines there while it is imported, XNNPACK one for each interpreter. With glibc, `stderr` is a variable
    and is pointed to nowhere for that long; elsewhere the lines are heard. No file descriptor is redirected, so what Python
    prints arrives, in every thread and from every child process. One line is written to the descriptor itself and is heard: the
    converter's `fully_quantize: ...`, for each calibrated conversion. EDGEDQN_VERBOSE=1 lets all through.

    A service has no `sys.stderr`, or a closed one: progress bars then get one that leads nowhere.
    """
    if sys.stderr is None or getattr(sys.stderr, "closed", False):
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
    if os.environ.get("EDGEDQN_VERBOSE") == "1" or platform.libc_ver()[0] != "glibc":
        yield
        return
    _step(+1)
    try:
        yield
    finally:
        _step(-1)


def _step(change: int) -> None:
    """Into `quiet` or out of it: the first one in points `stderr` to nowhere, the last one out back."""
    global _inside, _real
    stderr, nowhere = _c_streams()
    with _lock:
        if change > 0 and _inside == 0:
            _real, stderr.value = stderr.value, nowhere
        _inside += change
        if _inside == 0:
            stderr.value = _real


@cache
def _c_streams() -> tuple[ctypes.c_void_p, int]:
    """C's variable `stderr`, and a stream that leads nowhere. It stays open: another thread may just be writing to it."""
    libc = ctypes.CDLL(None)
    libc.fopen.restype = ctypes.c_void_p
    return ctypes.c_void_p.in_dll(libc, "stderr"), libc.fopen(os.devnull.encode(), b"we")
