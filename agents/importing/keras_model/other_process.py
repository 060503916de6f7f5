"""Readers of formats that were not made for damage, in a process of their own: what dies or hangs there is bad input here."""

import subprocess
from pathlib import Path

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.processes import python_command


def read_elsewhere(code: str, argument: str, *, what: str, time_limit: float, content: bytes = b"") -> bytes:
    """What a Python process writes to stdout.

    Args:
      code: that it runs.
      argument: its `sys.argv[1]`.
      what: is read, as messages call it.
      time_limit: in seconds.
      content: of its stdin.
    Raises:
      InputError: it failed, died, or took longer.
    """
    try:
        reader = subprocess.run(
            python_command(code, argument), input=content, capture_output=True, timeout=time_limit, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(f"{what} is damaged: reading it took more than {time_limit} seconds.") from error
    if reader.returncode < 0:
        raise InputError(f"{what} cannot be read: its reader ended with {reader.returncode}")
    if reader.returncode:
        reason = reader.stderr.decode(errors="replace").strip().splitlines() or [f"its reader ended with {reader.returncode}"]
        raise InputError(f"{what} cannot be read: {reason[-1][:200]}")
    return reader.stdout


def limit_memory(additional: int) -> None:
    """Limits this process to so many bytes beside what it has now, where the system reports that (Linux)."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        import resource

        now = int(statm.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + additional, now + additional))
