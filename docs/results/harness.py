"""How far the harness itself can be believed: the figures of docs/measured/latency.md.

python docs/results/harness.py                  # about six minutes; leave the machine alone meanwhile
python docs/results/harness.py --busy           # the repetitions again beside a process that keeps another core busy
python docs/results/harness.py --cross-check    # the same files through litert-benchmark, which comes with ai-edge-litert

Of untrained networks of five sizes, float32 and quantized after training: the harness's median of one invoke() against that of
a bare loop over the same interpreter; speed-ups of ten runs of the harness; how often the interval of a file against itself,
twice under two names, contains 1. Writes docs/results/harness.json and prints the tables.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from tqdm import tqdm

from edgedqn.agents.files import read_json, write_json
from edgedqn.benchmarks.foreign import read_foreign
from edgedqn.benchmarks.latency.full_speed import FullSpeed
from edgedqn.benchmarks.latency.interleaved import LatencyConfig, speedup, time_interleaved
from edgedqn.benchmarks.latency.pinning import Cores, pinned
from edgedqn.benchmarks.latency.timed_policies import invokes, load
from edgedqn.benchmarks.machine import describe_machine
from edgedqn.benchmarks.native_output import quiet
from edgedqn.export.edge_policy import VerifiedFile
from edgedqn.pipeline.native import load_tensorflow

RESULTS = Path(__file__).with_suffix(".json")
# observation, actions, hidden, torso; and how many times as fast int8 was in the measurements that this project began with
NETWORKS: dict[str, tuple[tuple[int, ...], int, tuple[int, ...], str | None, float]] = {
    "MLP 8-64-64-4": ((8,), 4, (64, 64), None, 1.2),
    "MLP 8-256-256-4": ((8,), 4, (256, 256), None, 2.7),
    "MLP 8-512-512-4": ((8,), 4, (512, 512), None, 4.5),
    "MinAtar CNN 16c3-128": ((10, 10, 4), 3, (128,), "minatar", 3.2),
    "Nature CNN": ((84, 84, 4), 6, (512,), "nature", 2.8),
}
CONFIG = LatencyConfig()
REPETITIONS, SELF = 10, 100
# The shortest call, and the one whose time varies most.
COMPARED_WITH_ITSELF = {"MLP 8-64-64-4": "int8", "MinAtar CNN 16c3-128": "float32"}


def files_of(name: str) -> dict[str, VerifiedFile]:
    """The network as float32 and as int8."""
    import tensorflow as tf

    from edgedqn.agents.networks import find_torso, q_network

    shape, actions, hidden, torso, _ = NETWORKS[name]
    rng = np.random.default_rng(0)
    network = q_network(shape, actions, hidden=hidden, rng=rng, torso=find_torso(torso) if torso else None)
    samples = rng.standard_normal((100, 1, *shape), np.float32)
    found = {}
    for kind in ("float32", "int8"):
        specification = tf.TensorSpec((1, *shape), tf.float32)
        function = tf.function(lambda x, network=network: network(x, training=False)).get_concrete_function(specification)
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function], network)
        if kind == "int8":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ([sample] for sample in samples)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tf.int8
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{kind}.tflite"
            path.write_bytes(converter.convert())
            found[kind] = read_foreign(path)
    return found


def inputs(file: VerifiedFile) -> Any:
    """Standard normal states, as many as a comparison takes."""
    shape = file.device.observation_shape
    return np.random.default_rng(1).standard_normal((256, *shape), np.float32)


def bare_loops_us(file: VerifiedFile, cores: Cores | None) -> dict[str, float]:
    """What somebody writes who has no harness: the time of a loop over `invoke()`, divided by its calls; the
    median of 300 loops of up to 100 calls at full speed, over ten interpreters.

    Returns:
      `one_input`: the same numbers again and again, less an empty loop. `inputs_in_turn`: other numbers set before each call,
      as in the harness and as on a device, less a loop that only sets them.
    """
    loops: dict[str, list[float]] = {"one_input": [], "inputs_in_turn": []}
    speed = FullSpeed(CONFIG.patience_s, cores)
    for _ in range(10):
        interpreter, policy = load(file, CONFIG)
        index, seen = interpreter.get_input_details()[0]["index"], []
        for observation in inputs(file):
            policy(observation)
            seen.append(interpreter.get_tensor(index))
        calls = min(100, max(10, int(5e-3 / _one_input(interpreter.invoke, 10))))
        in_turn = partial(_inputs_in_turn, interpreter.invoke, partial(interpreter.set_tensor, index), seen[:calls])
        for _ in range(30):
            loops["one_input"].append(speed.run(partial(_one_input, interpreter.invoke, calls))[0])
            loops["inputs_in_turn"].append(speed.run(in_turn)[0])
    return {kind: median(each) * 1e6 for kind, each in loops.items()}


def _one_input(invoke: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        invoke()
    full = time.perf_counter()
    for _ in range(calls):
        pass
    return (2 * full - start - time.perf_counter()) / calls


def _inputs_in_turn(invoke: Callable[[], object], set_input: Callable[[Any], object], seen: Sequence[Any]) -> float:
    start = time.perf_counter()
    for each in seen:
        set_input(each)
        invoke()
    full = time.perf_counter()
    for each in seen:
        set_input(each)
    return (2 * full - start - time.perf_counter()) / len(seen)


def harness(files: dict[str, VerifiedFile], config: LatencyConfig, seed: int) -> dict[str, Any]:
    """One run: the medians, and the second file's speed-up over the first."""
    factories = {name: invokes(file, inputs(file), config=config) for name, file in files.items()}
    with pinned(config.threads) as cores:
        speed = FullSpeed(config.patience_s, cores)
        timings, failures = time_interleaved(factories, config, rng=np.random.default_rng(seed), speed=speed)
    assert not failures, failures
    first, second = timings
    return {
        "p50_us": {name: timing.latency().p50 for name, timing in timings.items()},
        "full_speed": timings[first].full_speed,
        "speedup": speedup(timings[first], timings[second], seed=seed).to_json(),
    }


@contextmanager
def neighbour(busy: bool) -> Iterator[None]:
    """A process of one thread that multiplies matrices meanwhile, or none."""
    if not busy:
        yield
        return
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # read by NumPy as it is imported, in the new process
    process = multiprocessing.get_context("spawn").Process(target=_keep_busy, daemon=True)
    process.start()
    time.sleep(2)
    try:
        yield
    finally:
        process.kill()


def _keep_busy() -> None:
    matrix = np.ones((300, 300))
    while True:
        matrix @ matrix


def measure(busy: bool) -> dict[str, Any]:
    """All of it, network by network."""
    found = {}
    for name in tqdm(NETWORKS, unit="network", disable=None):
        files = files_of(name)
        with neighbour(busy):
            runs = [harness(files, CONFIG, seed) for seed in range(REPETITIONS)]
            row: dict[str, Any] = {"runs": runs}
            if not busy:
                with pinned(1) as cores:
                    row["bare_us"] = {kind: bare_loops_us(file, cores) for kind, file in files.items()}
            if kind := COMPARED_WITH_ITSELF.get(name):
                twice = {"one": files[kind], "other": files[kind]}
                intervals = [harness(twice, CONFIG, seed)["speedup"]["ci95"] for seed in range(SELF)]
                row["itself"] = {"contain_1": sum(low <= 1 <= high for low, high in intervals), "of": SELF}
        found[name] = row
    return found


def cross_check() -> dict[str, dict[str, list[float]]]:
    """The medians, in ms, that litert-benchmark prints in ten runs on one thread and one core: two decimals, at any speed."""
    found: dict[str, dict[str, list[float]]] = {}
    tool = Path(sys.executable).with_name("litert-benchmark")
    for name in tqdm(NETWORKS, unit="network", disable=None):
        found[name] = {}
        for kind, file in files_of(name).items():
            with tempfile.TemporaryDirectory() as folder, pinned(1):
                model, result = Path(folder) / "model.tflite", Path(folder) / "result.json"
                model.write_bytes(file.content)
                command = [tool, "--model", model, "--num_runs", "5000", "--num_threads", "1", "--result_json", result]
                found[name][kind] = []
                for _ in range(REPETITIONS):
                    subprocess.run(command, check=True, capture_output=True)
                    found[name][kind].append(json.loads(result.read_text())["latency"]["median_ms"])
    return found


def table(found: dict[str, Any]) -> str:
    """Lines of Markdown."""
    lines = []
    for name, row in found.items():
        ratios = [run["speedup"]["median"] for run in row["runs"]]
        middle = median(ratios)
        cells = [name]
        for kind in ("float32", "int8"):
            p50 = median(run["p50_us"][kind] for run in row["runs"])
            bare = row.get("bare_us", {}).get(kind, {})
            cells += [f"{p50:.2f}", *(f"{each:.2f} ({p50 / each - 1:+.1%})" for each in bare.values())]
        furthest = max(abs(each / middle - 1) for each in ratios)
        cells += [f"{middle:.2f}x", f"{min(ratios):.2f} to {max(ratios):.2f}", f"{furthest:.1%}", f"{NETWORKS[name][4]}x"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--busy", action="store_true", help="beside a busy process")
    which.add_argument("--cross-check", action="store_true", help="litert-benchmark's medians")
    arguments = parser.parse_args()
    results = read_json(RESULTS, 1) if RESULTS.exists() else {"schema": 1}
    with quiet():
        load_tensorflow()
        if arguments.cross_check:
            medians_ms = cross_check()
            write_json(RESULTS, {**results, "litert_benchmark_ms": medians_ms})
        else:
            measured = measure(arguments.busy)
            key = "busy" if arguments.busy else "quiet"
            write_json(RESULTS, {**results, key: {"machine": describe_machine(1).to_json(), "networks": measured}})
    if arguments.cross_check:
        print(medians_ms)
    else:
        print(table(measured))
        print({name: row["itself"] for name, row in measured.items() if "itself" in row})
