"""The README's policies in plain C on ten emulated cores: the rows of TFLite Micro, and what they cost.

python docs/results/cores.py                       # all of docs/results/policies; ten minutes
python docs/results/cores.py CartPole-v1 --core atmega328p

Each core gets 1,000 observations that the policy itself meets on `prove` seeds; for each feature the observations that lie on a
rounding half, and one float32 beside them; and corners of the network's input, -128, -127 and 127, all of them or 256. Whole
rows are compared: those of `policy_quantize` with NumPy's, those of `policy_infer` with TFLite Micro's. Writes
docs/results/cores.json and prints its table. Which policy a chip is too small for, the linker says, or the stack.
"""

import argparse
import itertools
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import one_line
from edgedqn.agents.files import read_json, write_json
from edgedqn.benchmarks.cores.core import CORES, Core
from edgedqn.benchmarks.cores.footprint import HEADINGS, INPUT, NETWORK, Footprint, measure
from edgedqn.benchmarks.cores.programs import TooLargeError, run_on
from edgedqn.benchmarks.report.table import markdown_table
from edgedqn.export.devices.microcontroller.bundle import write_microcontroller
from edgedqn.export.edge_policy import DeviceManifest, EdgePolicy, VerifiedFile, read_verified
from edgedqn.export.tflite_file.tflm import int8_inputs, tflm_rows
from edgedqn.pipeline.proving import states_on_prove_seeds
from edgedqn.pipeline.seeds import SeedStreams

RESULTS = Path(__file__).with_suffix(".json")
POLICIES = Path(__file__).parent / "policies"
SEED, OBSERVATIONS, MOST_CORNERS = 0, 1_000, 256
TIMEOUT_S = 600
# Tasks come in: a 1 and an observation, or a 2 and the network's input; a 0 ends them. Rows come out.
PROGRAM = """
#include "policy.h"
#include "policy_io.h"
#include "port.h"
static float observation[POLICY_INPUTS];
static int8_t input[POLICY_INPUTS], output[POLICY_OUTPUTS];
int main(void) {
  for (uint8_t task = get_byte(); task; task = get_byte()) {
    for (int i = 0; i < POLICY_INPUTS; ++i)
      if (task == 1) observation[i] = get_float();
      else input[i] = (int8_t)get_byte();
    if (task == 1 && !policy_quantize(observation, input)) return 1;
    policy_infer(input, output);
    for (int i = 0; i < POLICY_INPUTS; ++i) put_number(input[i]);
    for (int i = 0; i < POLICY_OUTPUTS; ++i) put_number(output[i]);
  }
  return 0;
}
"""


def halves(device: DeviceManifest, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Observations [774, *shape] that land on each half from -128.5 to 128.5, on the float32 below, and on the one above."""
    steps = np.arange(-129, 129, dtype=np.float32).reshape(-1, *[1] * len(shape)) + np.float32(0.5)
    scale, offset = np.array(device.scale, np.float32), np.array(device.offset, np.float32)
    on = np.broadcast_to((steps - offset) / scale, (len(steps), *shape))
    return np.concatenate([on, *(np.nextafter(on, np.float32(side)) for side in (-np.inf, np.inf))])


def corners(inputs: int) -> NDArray[np.int8]:
    """Rows [N, inputs] of -128, -127 and 127, of the extremes alone where those are too many, else 256 random ones."""
    for values in ((-128, -127, 127), (-128, 127)):
        if len(values) ** inputs <= MOST_CORNERS:
            return np.array(list(itertools.product(values, repeat=inputs)), np.int8)
    return np.random.default_rng(SEED).choice(np.array([-128, -127, 127], np.int8), (MOST_CORNERS, inputs))


def measure_policy(path: Path, cores: list[Core]) -> dict[str, Any]:
    """What is kept of a policy: an entry per core."""
    file = read_verified(path)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if NETWORK not in write_microcontroller(file, folder):
            return {core.name: {"reason": "The network has no plain C, only TensorFlow Lite Micro's."} for core in cores}
        tasks, expected = tasks_of(file)
        found: dict[str, Any] = {}
        for core in cores:
            try:
                sources = [folder / NETWORK, folder / INPUT]
                told = run_on(core, PROGRAM, sources, [folder], input_bytes=tasks, timeout_s=TIMEOUT_S)
                rows = np.array(told.split(), np.int8).reshape(len(expected), -1)
                wrong = int((rows != expected).any(axis=1).sum())
                found[core.name] = {"rows": len(rows), "wrong": wrong, **asdict(measure(core, folder))}
            except TooLargeError as error:
                found[core.name] = {"reason": one_line(error)}
            print(markdown_table([HEAD, line(path.stem, core.name, found[core.name])]).splitlines()[-1], flush=True)
    return found


def tasks_of(file: VerifiedFile) -> tuple[bytes, NDArray[np.int8]]:
    """What the program reads, and the rows it must write: the network's input, then its output."""
    assert file.path is not None
    met = states_on_prove_seeds(EdgePolicy.load(file.path), file.device.env_id, SeedStreams(SEED))[:OBSERVATIONS]
    observations = np.concatenate([met.astype(np.float32), halves(file.device, met.shape[1:])])
    given = corners(observations[0].size)
    inputs = np.concatenate([int8_inputs(file.device, observations).reshape(len(observations), -1), given])
    tasks = [b"\1" + row.astype("<f4").tobytes() for row in observations] + [b"\2" + row.tobytes() for row in given]
    return b"".join(tasks) + b"\0", np.concatenate([inputs, tflm_rows(file.content, inputs)], axis=1)


HEAD = ("policy", "core", "wrong rows", *HEADINGS, "counted")


def line(policy: str, core: str, found: dict[str, Any]) -> list[str]:
    """A line of the table."""
    if "reason" in found:
        return [policy, core, found["reason"], *["-"] * len(HEADINGS), "-"]
    figures = Footprint(**{key: value for key, value in found.items() if key not in ("rows", "wrong")})
    return [policy, core, f"{found['wrong']:,} of {found['rows']:,}", *figures.cells(), CORES[core].unit or "-"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = sorted(path.stem for path in POLICIES.glob("*.tflite"))
    parser.add_argument("policies", nargs="*", default=known, metavar="POLICY", help=f"{', '.join(known)} (all)")
    parser.add_argument(
        "--core", nargs="+", choices=CORES, default=list(CORES), metavar="NAME", help=f"{', '.join(CORES)} (all)"
    )
    arguments = parser.parse_args()
    for name in arguments.policies:
        found = measure_policy(POLICIES / f"{name}.tflite", [CORES[core] for core in arguments.core])
        results = read_json(RESULTS, 1) if RESULTS.exists() else {"schema": 1, "policies": {}}
        results["policies"].setdefault(name, {}).update(found)
        write_json(RESULTS, results)
    kept = read_json(RESULTS, 1)["policies"]
    print(markdown_table([HEAD, *(line(name, core, found) for name, each in kept.items() for core, found in each.items())]))
