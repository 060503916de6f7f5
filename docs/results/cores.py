"""The README's policies in plain C on ten emulated cores: the rows of TFLite Micro, and what they cost.

python docs/results/cores.py                       # all of docs/results/policies; ten minutes
python docs/results/cores.py CartPole-v1 --core atmega328p
python docs/results/cores.py --costs               # what they cost anew, and the rows as they were compared before

Each core gets 1,000 observations that the policy itself meets on `prove` seeds, as floats and in Q16.16; for each feature the
observations that lie on a rounding half, and one float32 beside them; and of the network's input random ones and corners, -128,
-127 and 127, all of them or 256. Of images an AVR gets one in 30 of all these, and where it has no room for an image of floats,
no halves and nothing in Q16.16. Whole rows are compared: those of policy_io.c with NumPy's, those of policy.c with TFLite
Micro's. Writes docs/results/cores.json and prints its table. Which policy a chip is too small for, policy_settings.h says, or
the linker, or the stack.
"""

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgedqn.agents.errors import one_line
from edgedqn.agents.files import read_json, write_json
from edgedqn.benchmarks.cores.core import CORES, Core
from edgedqn.benchmarks.cores.footprint import HEADINGS, Footprint, measure, too_small
from edgedqn.benchmarks.cores.programs import TooLargeError
from edgedqn.benchmarks.cores.stepping import build_stepping, known_tasks
from edgedqn.benchmarks.cores.trials import Trial, trial_of
from edgedqn.benchmarks.report.table import markdown_table
from edgedqn.export.devices.microcontroller.bundle import write_microcontroller
from edgedqn.export.edge_policy import EdgePolicy, read_verified
from edgedqn.pipeline.proving import states_on_prove_seeds
from edgedqn.pipeline.seeds import SeedStreams

RESULTS = Path(__file__).with_suffix(".json")
POLICIES = Path(__file__).parent / "policies"
SEED, OBSERVATIONS, TIMEOUT_S = 0, 1_000, 600
# An 8-bit core takes a tenth of a second for an image, emulated.
IMAGE, ONE_IN = 100, 30


def cost_of_policy(path: Path, kept: dict[str, Any]) -> dict[str, Any]:
    """The entries of a policy with the costs measured anew."""
    with tempfile.TemporaryDirectory() as name:
        write_microcontroller(read_verified(path), Path(name))
        return {core: each | asdict(measure(CORES[core], Path(name))) for core, each in kept.items() if "reason" not in each}


def measure_policy(path: Path, cores: list[Core]) -> dict[str, Any]:
    """What is kept of a policy: an entry per core."""
    file = read_verified(path)
    met = states_on_prove_seeds(EdgePolicy.load(path), file.device.env_id, SeedStreams(SEED))[:OBSERVATIONS]
    trial = trial_of(file, met)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_microcontroller(file, folder)
        for core in cores:
            taken = trial.of(known_tasks(core, folder))
            slow = core.is_avr and trial.inputs >= IMAGE
            found[core.name] = measured_on(core, folder, taken.every(ONE_IN) if slow else taken)
            print(markdown_table([HEAD, line(path.stem, core.name, found[core.name])]).splitlines()[-1], flush=True)
    return found


def measured_on(core: Core, folder: Path, trial: Trial) -> dict[str, Any]:
    """The entry of a core: rows that are wrong, and the policy's cost; or why there is none."""
    if reason := too_small(core, folder):
        return {"reason": reason}
    try:
        with tempfile.TemporaryDirectory() as name:
            wrong = trial.wrong(core, build_stepping(core, folder, Path(name)), timeout_s=TIMEOUT_S)
        return {"rows": len(trial.tasks), "wrong": wrong, **asdict(measure(core, folder))}
    except TooLargeError as error:
        return {"reason": one_line(error)}


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
    parser.add_argument("--costs", action="store_true", help="measure only what they cost, of what was measured before")
    arguments = parser.parse_args()
    for name in arguments.policies:
        path = POLICIES / f"{name}.tflite"
        results = read_json(RESULTS, 1) if RESULTS.exists() else {"schema": 1, "policies": {}}
        kept = results["policies"].setdefault(name, {})
        cores = [core for core in arguments.core if core in kept or not arguments.costs]
        if arguments.costs:
            kept |= cost_of_policy(path, {core: kept[core] for core in cores})
        else:
            kept |= measure_policy(path, [CORES[core] for core in cores])
        write_json(RESULTS, results)
    kept = read_json(RESULTS, 1)["policies"]
    print(markdown_table([HEAD, *(line(name, core, found) for name, each in kept.items() for core, found in each.items())]))
