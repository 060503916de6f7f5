"""Quiet C, loud Python, and every file descriptor where it was."""

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="C's stderr is a variable in glibc")

NOISE = """
import ctypes, os, sys
from edgedqn.benchmarks.native_output import quiet
libc = ctypes.CDLL(None)
def noise(text):
    libc.fputs(f'C {text}\\n'.encode(), ctypes.c_void_p.in_dll(libc, 'stderr')); libc.fflush(None)
"""


def heard(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", NOISE + code]
    return subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **environment})


def test_only_c_is_not_heard_and_only_inside() -> None:
    code = """
noise('before')
try:
    with quiet():
        noise('inside')
        print('Python inside'); print('Python error inside', file=sys.stderr, flush=True)
        os.write(1, b'descriptor 1\\n'); os.write(2, b'descriptor 2\\n')
        raise ValueError
except ValueError:
    pass
noise('after')
"""
    said = heard(code)
    assert sorted(said.stdout.splitlines()) == ["Python inside", "descriptor 1"]
    assert said.stderr == "C before\nPython error inside\ndescriptor 2\nC after\n"


def test_it_is_quiet_until_the_last_thread_is_out() -> None:
    """Two that overlap, which a context manager that restores what it found gets wrong: the second would restore silence."""
    code = """
first, second = quiet(), quiet()
first.__enter__(); second.__enter__(); first.__exit__(None, None, None)
noise('one is in')
second.__exit__(None, None, None)
noise('none is in')
"""
    assert heard(code).stderr == "C none is in\n"


def test_verbose_lets_everything_through() -> None:
    assert heard("with quiet():\n    noise('inside')", EDGEDQN_VERBOSE="1").stderr == "C inside\n"


@pytest.mark.parametrize("take", ["sys.stderr = None", "sys.stderr.close()"])
def test_progress_bars_work_in_a_service(take: str) -> None:
    code = f"from tqdm import tqdm\n{take}\nwith quiet():\n    print(len([*tqdm([1, 2], disable=None)]))"
    assert heard(code).stdout == "2\n"
