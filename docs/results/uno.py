"""An Arduino Uno plays: README's policies in simavr, the environment on this machine, a pipe between them.

python docs/results/uno.py [--episodes 20]

Whole episodes of CartPole-v1 and LunarLander-v3 on `prove` seeds. Of each step: whether rows and action are those of TFLite
Micro's interpreter; whether `EdgePolicy`, which rounds as XNNPACK does, acts otherwise on the same observation; and cycles from
the observation in memory to the action (an Uno makes 16 million a second). RAM is what the linked policy has, its stack, and
the arrays of an observation, the network's input and its output. Writes docs/results/uno.json and prints its table.
"""

import argparse
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from edgedqn.agents.files import write_json
from edgedqn.agents.playing.environments import make_environment
from edgedqn.benchmarks.cores.core import CORES
from edgedqn.benchmarks.cores.footprint import measure
from edgedqn.benchmarks.cores.playing import play_on
from edgedqn.benchmarks.cores.stepping import build_stepping
from edgedqn.benchmarks.report.table import markdown_table
from edgedqn.export.devices.microcontroller.bundle import write_microcontroller
from edgedqn.export.edge_policy import read_verified
from edgedqn.pipeline.seeds import SeedStreams

RESULTS = Path(__file__).with_suffix(".json")
POLICIES = Path(__file__).parent / "policies"
NAMES = ("CartPole-v1", "LunarLander-v3")
UNO, HZ, SEED, FLOAT_BYTES = CORES["atmega328p"], 16_000_000, 0, 4
HEAD = ("policy", "episodes", "mean return", "steps", "other than TFLite Micro", "`EdgePolicy` acts otherwise")
HEAD += ("cycles a step, median", "most", "ms, most", "flash", "RAM")


def measured(name: str, episodes: int) -> dict[str, Any]:
    """What is kept of a policy."""
    file = read_verified(POLICIES / f"{name}.tflite")
    with (
        tempfile.TemporaryDirectory() as sources,
        tempfile.TemporaryDirectory() as built,
        closing(make_environment(name)) as env,
    ):
        folder = Path(sources)
        write_microcontroller(file, folder)
        program = build_stepping(UNO, folder, Path(built))
        played = play_on(UNO, program, file=file, env=env, seeds=SeedStreams(SEED).first_reset_seeds("prove", episodes))
        cost = measure(UNO, folder)
    steps = played.steps
    arrays = (FLOAT_BYTES + 1) * steps.inputs.shape[1] + steps.outputs.shape[1]
    return {
        "sha256": file.file_sha256,
        "returns": played.scored.returns,
        "steps": len(steps.actions),
        "wrong": played.wrong,
        "edge_policy_acts_otherwise": played.rounded_otherwise,
        "cycles": {"median": int(sorted(steps.units)[len(steps.units) // 2]), "most": int(steps.units.max())},
        "flash_bytes": cost.flash_bytes,
        "ram_bytes": cost.ram_bytes + cost.stack_bytes + arrays,
    }


def line(name: str, found: dict[str, Any]) -> list[str]:
    """A line of the table."""
    returns, most = found["returns"], found["cycles"]["most"]
    counts = [found[key] for key in ("steps", "wrong", "edge_policy_acts_otherwise")]
    numbers = [*counts, found["cycles"]["median"], most]
    sizes = [f"{found[key]:,}" for key in ("flash_bytes", "ram_bytes")]
    mean = f"{sum(returns) / len(returns):.1f}"
    return [name, f"{len(returns)}", mean, *(f"{each:,}" for each in numbers), f"{1_000 * most / HZ:.2f}", *sizes]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=20)
    episodes = parser.parse_args().episodes
    found = {name: measured(name, episodes) for name in NAMES}
    write_json(RESULTS, {"schema": 1, "policies": found})
    print(markdown_table([HEAD, *(line(name, each) for name, each in found.items())]))
