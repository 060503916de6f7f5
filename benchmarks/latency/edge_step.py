"""What a policy takes of a device through `EdgePolicy`: a step, the import, and the memory of a process that does nothing else.

    python -m edgedqn.benchmarks.latency.edge_step runs/demo/device/policy.tflite runs/demo/device/board/policy-float-io.tflite

Each figure is of fresh processes that have `edge_policy.py` alone, as a bundle has it: with NumPy and ai-edge-litert, and
nothing of ours. They keep to one core: a process that the system moves to and fro takes half as long again for a step.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from statistics import median

from edgedqn.agents.errors import InputError
from edgedqn.benchmarks.machine import describe_machine
from edgedqn.export import edge_policy
from edgedqn.export.edge_policy import PolicyFileError, read_verified

SCHEMA = 1
PROCESSES = 5  # of which medians are taken; one more before them warms the system's cache of files
CALLS = 20_000
TIMEOUT_S = 120

# Memory is the kernel's high-water mark of this very process: getrusage() begins with that of the process which started it. It
# is read before there is anything to time with; NumPy's random numbers alone would be 3 MB of it.
_CHILD = """
import os, sys, time
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
start = time.perf_counter()
from edge_policy import EdgePolicy
imported = time.perf_counter() - start
import gc, json, numpy as np
policy, calls = EdgePolicy.load(sys.argv[1]), int(sys.argv[2])
shape = policy.input_shape
observations = [np.sin(np.arange(np.prod(shape), dtype=np.float32) + i).reshape(shape) for i in range(64)]
for i in range(calls // 10):
    policy(observations[i % 64])
with open("/proc/self/status") as status:
    resident = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
steps, clock = np.empty(calls), np.empty(calls)
gc.disable()
for i in range(calls):
    observation = observations[i % 64]
    start = time.perf_counter_ns()
    policy(observation)
    steps[i] = time.perf_counter_ns() - start
    start = time.perf_counter_ns()
    clock[i] = time.perf_counter_ns() - start
p50, p90, p99 = ((np.percentile(steps, [50, 90, 99]) - np.median(clock)) / 1000).tolist()
step_us = {"p50_us": p50, "p90_us": p90, "p99_us": p99}
print(json.dumps({**step_us, "import_s": imported, "resident_bytes": resident * 1024}))
"""


@dataclass(frozen=True, kw_only=True)
class EdgeFootprint:
    """What one policy file takes, in a process or as medians over several.

    Attributes:
      file: its name.
      p50_us: of a step, observation to action, input checks included, net of the clock; in microseconds.
      p90_us: likewise.
      p99_us: likewise.
      import_s: of `edge_policy`, with NumPy and the interpreter, in seconds.
      resident_bytes: the most memory that the process held at once.
    """

    file: str
    p50_us: float
    p90_us: float
    p99_us: float
    import_s: float
    resident_bytes: int


def measure_edge(policy_file: Path, *, calls: int = CALLS, processes: int = PROCESSES) -> EdgeFootprint:
    """The medians over several processes, each of which times so many calls.

    The inputs are made up, shaped as the policy's network takes them; how long a step takes does not depend on them.

    Raises:
      PolicyFileError: the file is damaged.
      InputError: this is no Linux, or the policy failed.
    """
    read_verified(policy_file)
    found = [_in_a_process(policy_file, calls) for _ in range(processes + 1)][1:]
    figures = [each.name for each in fields(EdgeFootprint) if each.name != "file"]
    return replace(found[0], **{figure: median(getattr(each, figure) for each in found) for figure in figures})


def resident_bytes(policy_file: Path) -> int | None:
    """The most memory that a process held which did nothing but run the policy; None where that cannot be measured: no Linux, a
    sandbox, or a process that did not end in time."""
    if sys.platform != "linux":
        return None
    try:
        return _in_a_process(policy_file, 100).resident_bytes
    except (InputError, subprocess.TimeoutExpired):
        return None


def _in_a_process(policy_file: Path, calls: int) -> EdgeFootprint:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copyfile(edge_policy.__file__, Path(folder) / "edge_policy.py")
        command = [sys.executable, "-c", _CHILD, str(policy_file.resolve()), str(calls)]
        environment = {**os.environ, "PYTHONSAFEPATH": ""}  # edge_policy.py lies in that folder
        run = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    if run.returncode:
        said = " ".join(run.stderr.split())[-300:]
        raise InputError(f"{policy_file} cannot be measured: expected a policy that runs, on Linux. Got: {said}")
    return EdgeFootprint(file=policy_file.name, **json.loads(run.stdout))


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a line for each file, or JSON."""
    parser = argparse.ArgumentParser(description="Step, import and memory of policies through EdgePolicy alone.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help=".tflite files with their manifests")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout and nothing else")
    given = parser.parse_args(arguments)
    try:
        found = [measure_edge(path) for path in given.files]
    except (InputError, PolicyFileError) as error:
        parser.exit(2, f"edge_step: {error}\n")
    if given.json:
        rows = [asdict(each) for each in found]
        print(json.dumps({"schema": SCHEMA, "machine": describe_machine(1).to_json(), "rows": rows}))
        return
    for each in found:
        print(
            f"{each.file}: step {each.p50_us:.2f} µs (p90 {each.p90_us:.2f}, p99 {each.p99_us:.2f}), "
            f"import {each.import_s:.2f} s, resident {each.resident_bytes / 1e6:.1f} MB"
        )


if __name__ == "__main__":
    main()
