"""Networks for images in plain C: whole rows of policy.c against those of TFLite Micro's interpreter.

python docs/results/plain_c.py [--states 1000]

MinAtar Breakout's policy of docs/results/policies, on states of its own episodes, a tenth of the actions at random; and the
Nature network, untrained, as `ptq-int8`, on images of random bytes: built for this machine, and Nature's for an emulated
Cortex-M4F, too, with ten images (docs/results/cores.py has MinAtar's there). Needs a C compiler, `cc`, and what the core needs.
TFLite Micro takes up to a tenth of a second for an image. Writes docs/results/plain_c.json and prints a line of Markdown for
each: rows that differ, how many different rows there are, bytes of constants and of RAM; then the core's.
"""

import argparse
import ctypes
import re
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.architecture import describe
from edgedqn.agents.files import write_json
from edgedqn.agents.networks import nature_torso, q_network
from edgedqn.agents.playing.environments import make_environment
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.playing.spec import EnvironmentSpec
from edgedqn.benchmarks.cores.core import CORES, Core
from edgedqn.benchmarks.cores.stepping import Task, build_stepping
from edgedqn.benchmarks.cores.trials import Trial, expected_rows
from edgedqn.benchmarks.report.table import markdown_table
from edgedqn.compression.folding import InputScaling, plain_network
from edgedqn.compression.policy import CompressedPolicy
from edgedqn.export.devices.microcontroller.bundle import write_microcontroller
from edgedqn.export.devices.microcontroller.plain_c import plain_c
from edgedqn.export.edge_policy import EdgePolicy, TfliteModel, read_verified
from edgedqn.export.tflite import to_tflite
from edgedqn.export.tflite_file.integer_network import read_integer_network
from edgedqn.export.tflite_file.tflm import int8_inputs, tflm_rows

ON_CORE, TIMEOUT_S = 10, 600
MINATAR = Path(__file__).parent / "policies" / "MinAtar-Breakout-v1.tflite"


def states(policy: EdgePolicy, count: int) -> NDArray[Any]:
    """[N, ...] of episodes that the policy plays, a tenth of its actions at random."""
    rng, met = np.random.default_rng(5), []
    with closing(make_environment(policy.device.env_id)) as env:
        observation, _ = env.reset(seed=31)
        while len(met) < count:
            met.append(observation)
            action = policy(observation) if rng.random() > 0.1 else int(rng.integers(policy.n_actions))
            observation, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                observation, _ = env.reset()
    return np.array(met)


def nature() -> bytes:
    """The `ptq-int8` file of an untrained Nature network: 84x84x4 bytes, 4 actions."""
    rng = np.random.default_rng(5)
    shape = (84, 84, 4)
    network = plain_network(q_network(shape, 4, hidden=(512,), rng=rng, torso=nature_torso, input_scale=1 / 255))
    spec = EnvironmentSpec(
        source=EnvironmentSource("Nature-v0"),
        observation_shape=shape,
        observation_dtype="uint8",
        observation_low=(0.0,),
        observation_high=(255.0,),
        n_actions=4,
    )
    policy = CompressedPolicy(
        network=network,
        conversion="ptq-int8",
        scaling=InputScaling.identity(),
        meaning="q_values",
        spec=spec,
        observations=rng.integers(0, 256, (50, *shape)).astype(np.uint8),
        recipe="ptq-int8",
        reports=(),
        layers=describe(network),
    )
    return to_tflite(policy)


def compare(content: bytes, inputs: NDArray[np.int8]) -> dict[str, int]:
    """What is kept of a network, in the order of the table."""
    layers = read_integer_network(TfliteModel(content))
    rows = np.zeros((len(inputs), layers[-1].outputs), np.int8)
    with tempfile.TemporaryDirectory() as folder:
        sources = plain_c(layers, "0")
        for file, text in sources.items():
            (Path(folder) / file).write_text(text)
        library = Path(folder) / "policy.so"
        subprocess.run(["cc", "-std=c99", "-O2", "-shared", "-fPIC", "-o", library, Path(folder) / "policy.c"], check=True)
        infer = ctypes.CDLL(str(library)).policy_infer
        for given, row in zip(np.ascontiguousarray(inputs), rows, strict=True):
            infer(ctypes.c_void_p(given.ctypes.data), ctypes.c_void_p(row.ctypes.data))
    wrong = int((rows != tflm_rows(content, inputs)).any(1).sum())
    stated = dict(re.findall(r"#define POLICY_(\w+) (\d+)", sources["policy.h"]))
    return {
        "wrong": wrong,
        "rows": len(inputs),
        "different_rows": len(np.unique(rows, axis=0)),
        "constant_bytes": int(stated["CONSTANT_BYTES"]),
        "ram_bytes": int(stated["RAM_BYTES"]),
    }


def compare_on(core: Core, content: bytes, inputs: NDArray[np.int8]) -> int:
    """How many rows of a core are wrong."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "policy.tflite").write_bytes(content)
        write_microcontroller(read_verified(folder / "policy.tflite"), folder)
        trial = Trial(tuple(map(Task.INPUT.written, inputs)), expected_rows(content, inputs), inputs.shape[1])
        return trial.wrong(core, build_stepping(core, folder, folder), timeout_s=TIMEOUT_S)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--states", type=int, default=1_000)
    count = parser.parse_args().states
    minatar, content = EdgePolicy.load(MINATAR), nature()
    images = np.random.default_rng(7).integers(-128, 128, (count, 84 * 84 * 4)).astype(np.int8)
    found = {
        "MinAtar/Breakout-v1": compare(MINATAR.read_bytes(), int8_inputs(minatar.device, states(minatar, count))),
        "Nature, untrained": compare(content, images),
    }
    wrong = compare_on(CORES["cortex-m4f"], content, images[:ON_CORE])
    on_core = {"network": "Nature, untrained", "core": "cortex-m4f", "wrong": wrong, "rows": ON_CORE}
    write_json(Path(__file__).with_suffix(".json"), {"schema": 1, "here": found, "on_core": on_core})
    lines = [["network", "wrong rows", "of", "different rows", "constants", "RAM"]]
    lines += [[name, *(f"{each:,}" for each in figures.values())] for name, figures in found.items()]
    print(f"{markdown_table(lines)}\n\nNature, untrained, on a Cortex-M4F: {wrong} of {ON_CORE} rows are wrong.")
