"""One measurement in a process of its own: TensorFlow's and PyTorch's thread pools must not share one.

`python -m edgedqn.benchmarks.peers.training_job JOB SETTINGS` prints one JSON object; `training_throughput` starts it.
"""

import json
import platform
import resource
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from typing import Any

from edgedqn.benchmarks.peers.training_parts import matrix_products, profile_edgedqn
from edgedqn.benchmarks.peers.training_sides import SIDES, Mark, Settings, steady_state


def measure(side: str, settings: Settings) -> dict[str, Any]:
    """Trains one side once.

    Returns:
      The fields of `SteadyState`, and `peak_memory_mb`: the largest resident size of this process so far.
    """
    marks: list[Mark] = []
    SIDES[side](settings, marks.append)
    unit_bytes = 1 if platform.system() == "Darwin" else 1024
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes
    return {**asdict(steady_state(marks, settings)), "peak_memory_mb": peak_bytes / 1e6}


def main(arguments: Sequence[str]) -> None:
    """Prints the object of one measurement: of a side, of the `matrix_products`, or of the `profile`."""
    job, text = arguments
    settings = Settings.from_json(json.loads(text))
    parts = {"matrix_products": matrix_products, "profile": profile_edgedqn}
    with redirect_stdout(sys.stderr):  # pygame greets
        result = parts[job](settings) if job in parts else measure(job, settings)
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
