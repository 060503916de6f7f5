"""The C around a network as a library of this machine, to be called from Python."""

import ctypes
import subprocess
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from edgedqn.export.devices.microcontroller.sources import fill

STRICT = ("-Wall", "-Wextra", "-Wconversion", "-Wsign-compare", "-pedantic", "-Werror")


def write_surroundings(folder: Path, settings: Mapping[str, object], sources: Mapping[str, str]) -> list[Path]:
    """Makes `folder` with policy_io.c and `sources`, and returns its .c files. Settings that are not given are 0; none is of
    memory."""
    folder.mkdir(parents=True)
    made = {name: fill(name) for name in ("policy_io.c", "policy_io.h", "policy_flash.h")}
    made["policy_settings.h"] = fill("policy_settings.h", defaultdict(int, {"memory": "", **settings}))
    for name, text in {**made, **sources}.items():
        (folder / name).write_text(text)
    return sorted(folder.glob("*.c"))


def build_library(
    folder: Path, settings: Mapping[str, object], sources: Mapping[str, str], options: Sequence[str] = ()
) -> ctypes.CDLL:
    """The same, compiled without a warning."""
    files = write_surroundings(folder, settings, sources)
    built = folder / "policy.so"
    subprocess.run(["cc", "-std=c99", "-O1", *STRICT, "-shared", "-fPIC", *options, "-o", built, *files], check=True)
    return ctypes.CDLL(str(built))


@pytest.fixture(scope="session")
def build() -> Callable[..., ctypes.CDLL]:
    return build_library


@pytest.fixture(scope="session", name="write_surroundings")
def written() -> Callable[..., list[Path]]:
    return write_surroundings
