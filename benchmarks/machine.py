"""What the figures were measured on: enough to judge them by, nothing that names a person or a place."""

import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import ClassVar

from edgedqn.agents.files import JsonValue

GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
CPU_INFO = Path("/proc/cpuinfo")
CLEAR_REFS, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


@dataclass(frozen=True, kw_only=True)
class Machine(JsonValue):
    """The `machine` object of `benchmark.json`; None is what cannot be read, or what an earlier version did not write.

    Attributes:
      threads: each interpreter ran on.
      xnnpack: whether the interpreters had its kernels.
      pinned_cores: to which what was timed kept; None where it kept to none.
    """

    KEYS: ClassVar[Mapping[str, str]] = {"ai_edge_litert": "ai-edge-litert"}

    cpu: str | None
    cores: int | None = None
    architecture: str | None = None
    governor: str | None = None
    os: str | None = None
    python: str | None = None
    numpy: str | None = None
    gymnasium: str | None = None
    ai_edge_litert: str | None = None
    xnnpack: bool | None = None
    threads: int | None = None
    pinned_cores: tuple[int, ...] | None = None


def describe_machine(threads: int, xnnpack: bool = True, *, pinned_cores: tuple[int, ...] | None = None) -> Machine:
    """This machine; arguments as the attributes of `Machine`."""
    return Machine(
        cpu=cpu(),
        cores=os.cpu_count(),
        architecture=platform.machine(),
        governor=_read(GOVERNOR),
        # The kernel's version, without what a distributor or a cloud appends to name its own builds.
        os=f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        python=platform.python_version(),
        numpy=_version("numpy"),
        gymnasium=_version("gymnasium"),
        ai_edge_litert=_version("ai-edge-litert"),
        xnnpack=xnnpack,
        threads=threads,
        pinned_cores=pinned_cores,
    )


def cpu() -> str | None:
    """The processor's name, or the board's; None where neither can be read."""
    # x86 writes "model name" once per core; a Raspberry Pi writes the board as "Model" at the end.
    lines = [line.partition(":") for line in (_read(CPU_INFO) or "").splitlines()]
    known = {key.strip().lower(): value.strip() for key, _, value in reversed(lines)}
    return known.get("model name") or known.get("model") or platform.processor() or None


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except OSError:
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def forget_peak_memory() -> bool:
    """Has `peak_memory_mb` count from now on; whether the system allows it.

    Source: Linux, Documentation/filesystems/proc.rst, `clear_refs`.
    """
    try:
        CLEAR_REFS.write_text("5")
    except OSError:
        return False
    return True


def peak_memory_mb() -> int | None:
    """The largest resident size of this process, in megabytes; None where the system does not say."""
    lines = (_read(STATUS) or "").splitlines()
    return next((round(1024 * int(line.split()[1]) / 1e6) for line in lines if line.startswith("VmHWM:")), None)


def usable_cores() -> int:
    """How many cores this process may use, at least 1: those it is kept to, and no more than its control group's quota, or
    EDGEDQN_CORES, allows.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst, `cpu.max`.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):  # no quota, or an older kind of control groups
        quota, period = map(int, CPU_MAX.read_text().split())
        cores = min(cores, max(1, quota // period))
    with suppress(KeyError, ValueError):
        cores = min(cores, max(1, int(os.environ["EDGEDQN_CORES"])))
    return cores
