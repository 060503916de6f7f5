"""What a whole step through Python costs, observation to action, of the README's five policies: microseconds, and how many
times as fast as the float baseline's in the same run.

python docs/results/step.py                # about two minutes; leave the machine alone meanwhile
python docs/results/step.py --quick        # about a minute: whether it works

The baseline is an untrained float network of the agent's shape: how long a step takes does not depend on weights. *Loaded* is
what EdgePolicy.load() of a bundle runs, the twin with float ends; *file* is policy.tflite by itself, with integer ends;
*library* is `board/policy_native.c`, compiled, where the bundle has one and there is a compiler. Its rows are compared with the
file's in all states of 300 episodes that the file plays (stream `prove`, training seed 0). Writes docs/results/step.json.
"""

import argparse
import itertools
import shutil
import subprocess
import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgedqn.agents.files import Json, write_json
from edgedqn.agents.playing.environments import make_environment
from edgedqn.benchmarks.latency.full_speed import FullSpeed
from edgedqn.benchmarks.latency.interleaved import Block, BlockFactory, LatencyConfig, speedup, time_calls, time_interleaved
from edgedqn.benchmarks.latency.pinning import pinned
from edgedqn.benchmarks.latency.timed_policies import steps
from edgedqn.benchmarks.machine import describe_machine
from edgedqn.export.devices.board.bundle import write_board
from edgedqn.export.devices.board.native import SOURCE
from edgedqn.export.edge_policy import EdgePolicy, TfliteModel, VerifiedFile, find_twin, read_verified
from edgedqn.export.tflite_file.manifest import write_policy
from edgedqn.export.tflite_file.rewriting import float_twin
from edgedqn.pipeline.native import load_tensorflow
from edgedqn.pipeline.seeds import SeedStreams

HERE = Path(__file__).parent
ENVIRONMENTS = ("CartPole-v1", "MountainCar-v0", "Acrobot-v1", "LunarLander-v3", "MinAtar-Breakout-v1")
COMPILE = ("cc", "-O3", "-march=native", "-shared", "-fPIC")
SIDES = ("loaded", "file", "library")
EPISODES = 300


def baseline(file: VerifiedFile) -> VerifiedFile:
    """The untrained float network of the agent that this policy was made of: 256-256, or MinAtar's of one layer of 128."""
    import tensorflow as tf

    from edgedqn.agents.networks import minatar_torso, q_network

    shape, actions = file.device.observation_shape, file.device.n_actions
    is_image = len(shape) == 3
    hidden, torso = ((128,), minatar_torso) if is_image else ((256, 256), None)
    network = q_network(shape, actions, hidden=hidden, rng=np.random.default_rng(0), torso=torso)
    function = tf.function(lambda x: network(x, training=False))
    concrete = function.get_concrete_function(tf.TensorSpec((1, *shape), tf.float32))
    content = tf.lite.TFLiteConverter.from_concrete_functions([concrete], network).convert()
    device = replace(file.device, scale=(1.0,), offset=(0.0,), meaning="q_values", recipe="float32", source={})
    return replace(file, model=TfliteModel(content), device=device)


def bundle(file: VerifiedFile, folder: Path) -> VerifiedFile:
    """Writes what a board gets, and compiles the library where it can; returns the twin."""
    content, device = float_twin(file.model, file.device)
    write_board(file, folder, twin=write_policy(folder / "twin.tflite", content, device=device, evidence={}))
    if shutil.which(COMPILE[0]) and (source := folder / "board" / SOURCE).exists():
        subprocess.run([*COMPILE, "-o", folder / "policy.so", source], check=True)
    twin = find_twin(read_verified(folder / "policy.tflite"))
    assert twin is not None
    return twin


def compared(folder: Path, library: Path, env_id: str) -> Json:
    """In how many states of the proof the library gives another row than the file."""
    file, native = EdgePolicy.load(folder / "policy.tflite"), EdgePolicy.load(folder, library=library)
    states = different = 0
    with closing(make_environment(env_id)) as env:
        for seed in SeedStreams(0).first_reset_seeds("prove", EPISODES):
            observation, _ = env.reset(seed=seed)
            is_over = False
            while not is_over:
                row = file.preferences(observation)
                states, different = states + 1, different + (not np.array_equal(row, native.preferences(observation)))
                observation, _, ended, cut, _ = env.step(int(row.argmax()))
                is_over = ended or cut
    return {"states": states, "other_rows": different}


def measure(name: str, config: LatencyConfig) -> Json:
    """The medians of one policy's sides, in µs, and their ratios to the baseline's."""
    file = read_verified(HERE / "policies" / f"{name}.tflite")
    rng = np.random.default_rng(0)
    shape, dtype = file.device.observation_shape, np.dtype(file.device.observation_dtype)
    observations = rng.standard_normal((256, *shape), np.float32)
    if dtype.kind == "b":
        observations = observations > 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        twin = bundle(file, folder)
        candidates: dict[str, BlockFactory] = {
            "float32": steps(baseline(file), observations, config=config),
            "loaded": steps(file, observations, config=config, twin=twin),
            "file": steps(file, observations, config=config),
        }
        if (library := folder / "policy.so").exists():

            def native() -> Block:
                return time_calls(EdgePolicy.load(folder, library=library), itertools.cycle(observations))

            candidates["library"] = native
        with pinned(config.threads) as cores:
            speed = FullSpeed(config.patience_s, cores)
            timings, failures = time_interleaved(candidates, config, rng=rng, speed=speed)
        rows = {"rows": compared(folder, library, file.device.env_id)} if library.exists() else {}
    assert not failures, failures
    found = {side: timing.latency() for side, timing in timings.items()}
    base = timings["float32"]
    return {
        "environment": name,
        "step_us": {side: latency.p50 for side, latency in found.items()},
        "speedup": {side: speedup(base, timing).to_json() for side, timing in timings.items() if side != "float32"},
        "full_speed": base.full_speed,
        **rows,
    }


def line(row: Json) -> str:
    """A row of the table."""
    cells = [row["environment"], f"{row['step_us']['float32']:.2f}"]
    for side in SIDES:
        there = side in row["step_us"]
        cells += [f"{row['step_us'][side]:.2f}", f"{row['speedup'][side]['median']:.2f}x"] if there else ["-", "-"]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few calls; prints, and writes nothing")
    given = parser.parse_args()
    load_tensorflow()
    settings = LatencyConfig(blocks=20, invokes_per_block=200, patience_s=0) if given.quick else LatencyConfig()
    rows = [measure(name, settings) for name in ENVIRONMENTS]
    print("| environment | float32, µs | loaded, µs | | file, µs | | library, µs | |\n|---|---|---|---|---|---|---|---|")
    print("\n".join(map(line, rows)))
    print("Rows:", {row["environment"]: row["rows"] for row in rows if "rows" in row})
    print(f"At full speed: {min(row['full_speed'] for row in rows):.0%} of the rounds, at the least.")
    if not given.quick:
        write_json(
            HERE / "step.json",
            {"schema": 1, "machine": describe_machine(1).to_json(), "compiler": " ".join(COMPILE), "rows": rows},
        )
