"""Time this bundle's files on this machine and write the figures as JSON: `python bench_on_device.py [FILE.json]`.

The figures are named as those of `benchmark.json` on the host. Needs numpy and ai-edge-litert; Python 3.10 or newer.
"""

import argparse
import gc
import json
import os
import platform
import sys
import time
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from edge_policy import EdgePolicy, PolicyFileError, VerifiedFile, read_verified
from numpy.typing import NDArray
from run_policy import HERE, count, step_us

SCHEMA = 1
FILES = (HERE / "policy.tflite", HERE / "board" / "policy-float-io.tflite")  # the second, if made, is what a loop runs
ROUNDS = 10  # the files take turns, so that a drift of the clock rate touches all of them


@dataclass(frozen=True, kw_only=True)
class Latency:
    """What `n` calls took, in µs, net of the clock's own cost, `timer_us`."""

    p50: float
    p90: float
    p99: float
    mean: float
    n: int
    timer_us: float


@dataclass(frozen=True, kw_only=True)
class Row:
    """A file of the bundle; `latency_us` is of one invoke(), `step_latency_us` of observation to action."""

    file: str
    sha256: str
    recipe: str
    size_bytes: int
    latency_us: Latency
    step_latency_us: Latency


def main() -> int:
    """Measures and writes; ends with one line where a file is damaged."""
    parser = argparse.ArgumentParser(description="Time this bundle's files on this machine.")
    parser.add_argument("file", nargs="?", type=Path, default=Path("board.json"), help="to write (default: board.json)")
    parser.add_argument("--calls", type=count, default=1_000, metavar="N", help="of each file in each round (default: 1000)")
    arguments = parser.parse_args()
    try:
        rows = measure([read_verified(path) for path in FILES if path.exists()], arguments.calls)
    except PolicyFileError as error:
        sys.exit(f"bench_on_device.py: {error}")
    measured = {"schema": SCHEMA, "machine": _machine(), "rows": list(map(asdict, rows))}
    temporary = arguments.file.with_name(f".{arguments.file.name}.part")
    temporary.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    temporary.replace(arguments.file)
    for row in rows:
        print(f"{row.file}: invoke {row.latency_us.p50:.2f} µs, step {row.step_latency_us.p50:.2f} µs (medians)")
    print(f"Written: {arguments.file}")
    return 0


def measure(files: list[VerifiedFile], calls: int) -> list[Row]:
    """Times files of one policy in turns, `calls` calls of each in each round."""
    invokes: dict[Path, list[NDArray[np.float64]]] = {file.path: [] for file in files}
    steps: dict[Path, list[NDArray[np.float64]]] = {file.path: [] for file in files}
    clock = []
    gc.disable()  # a collection in the middle of a call would be timed as the call's
    for _ in range(ROUNDS):
        for file in files:
            invokes[file.path].append(_invoke_us(file.content, calls))
            steps[file.path].append(step_us(EdgePolicy.from_file(file), calls))
        clock.append(_clock_us(calls))
    timer_us = float(np.median(np.concatenate(clock)))
    return [
        Row(
            file=file.path.relative_to(HERE).as_posix(),
            sha256=file.file_sha256,
            recipe=file.device.recipe,
            size_bytes=len(file.content),
            latency_us=_summary(invokes[file.path], timer_us),
            step_latency_us=_summary(steps[file.path], timer_us),
        )
        for file in files
    ]


def _invoke_us(content: bytes, calls: int) -> NDArray[np.float64]:
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    for _ in range(calls // 10):
        interpreter.invoke()
    durations = np.empty(calls)
    for i in range(calls):
        start = time.perf_counter_ns()
        interpreter.invoke()
        durations[i] = time.perf_counter_ns() - start
    return durations / 1_000


def _clock_us(calls: int) -> NDArray[np.float64]:
    durations = np.empty(calls)
    for i in range(calls):
        start = time.perf_counter_ns()
        durations[i] = time.perf_counter_ns() - start
    return durations / 1_000


def _summary(rounds: list[NDArray[np.float64]], timer_us: float) -> Latency:
    durations = np.concatenate(rounds) - timer_us
    p50, p90, p99 = map(float, np.percentile(durations, [50, 90, 99]))
    return Latency(p50=p50, p90=p90, p99=p99, mean=float(durations.mean()), n=durations.size, timer_us=timer_us)


def _machine() -> dict[str, object]:
    # x86 writes "model name" once per core; a Raspberry Pi writes the board as "Model" at the end.
    lines = [line.partition(":") for line in (_read("/proc/cpuinfo") or "").splitlines()]
    known = {key.strip().lower(): value.strip() for key, _, value in reversed(lines)}
    return {
        "cpu": known.get("model name") or known.get("model") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "architecture": platform.machine(),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "os": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "ai-edge-litert": _version("ai-edge-litert"),
        "threads": 1,
    }


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
