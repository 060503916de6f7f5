"""One action's worth of inference in eight runtimes: the same network, the same inputs, one run, one thread.

    python -m edgedqn.benchmarks.peers.inference [--inputs 8] [--hidden 256 256] [--actions 4] [--json FILE]

Each call goes from a NumPy observation [1, F] to NumPy action values [1, A], as an agent would ask; the sides take turns, block
by block in random order. The network is untrained: how long a dense layer takes does not depend on its weights.
"""

import argparse
import importlib.util
import itertools
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edgedqn.agents.errors import InputError, require
from edgedqn.agents.files import write_json
from edgedqn.benchmarks.latency.full_speed import FullSpeed
from edgedqn.benchmarks.latency.interleaved import LatencyConfig, speedup, time_calls, time_interleaved
from edgedqn.benchmarks.latency.pinning import pinned
from edgedqn.benchmarks.machine import describe_machine

# Import name -> the extra that brings it.
NEEDED = {"tensorflow": "train", "tf_keras": "train", "torch": "peers", "onnx": "peers", "onnxruntime": "peers"}
# Few rounds, because a block of Keras' predict() takes half a second.
CONFIG = LatencyConfig(blocks=20)
BASELINE = "LiteRT float32"
Call = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def sides(inputs: int, hidden: Sequence[int], *, actions: int, samples: NDArray[np.float32]) -> dict[str, Call]:
    """The same network in each runtime, by name; integers are calibrated with `samples` [N, F] of F `inputs`."""
    import tensorflow as tf
    import torch

    from edgedqn.agents.networks import q_network

    network = q_network((inputs,), actions, hidden=hidden, rng=np.random.default_rng(0))
    function = tf.function(lambda x: network(x, training=False))
    concrete = function.get_concrete_function(tf.TensorSpec((1, inputs), tf.float32))
    weights = network.get_weights()
    torch.set_num_threads(1)
    layers: list[torch.nn.Module] = []
    for kernel, bias in zip(weights[::2], weights[1::2], strict=True):
        linear = torch.nn.Linear(*kernel.shape)
        linear.load_state_dict({"weight": torch.tensor(kernel.T), "bias": torch.tensor(bias)})
        layers += [linear, torch.nn.ReLU()]
    in_torch = torch.nn.Sequential(*layers[:-1]).eval()

    return {
        "Keras predict()": lambda x: network.predict(x, verbose=0),
        "Keras call": lambda x: network(x, training=False).numpy(),
        "tf.function": lambda x: concrete(tf.constant(x)).numpy(),
        "PyTorch": torch.inference_mode()(lambda x: in_torch(torch.from_numpy(x)).numpy()),
        **_in_onnx_runtime(weights, samples),
        BASELINE: _in_litert(concrete, network, None),
        "LiteRT int8": _in_litert(concrete, network, samples),
    }


def _in_litert(concrete: Any, network: Any, samples: NDArray[np.float32] | None) -> Call:
    """Float, or integers inside between float ends."""
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], network)
    converter.experimental_lower_to_saved_model = False
    if samples is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([sample[np.newaxis]] for sample in samples)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Statistics for quantized inputs were expected")  # they are calibrated
        content = converter.convert()
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    source, sink = (ends[0]["index"] for ends in (interpreter.get_input_details(), interpreter.get_output_details()))

    def call(x: NDArray[np.float32]) -> NDArray[np.float32]:
        interpreter.set_tensor(source, x)
        interpreter.invoke()
        found: NDArray[np.float32] = interpreter.get_tensor(sink)
        return found

    return call


def _in_onnx_runtime(weights: Sequence[NDArray[np.float32]], samples: NDArray[np.float32]) -> dict[str, Call]:
    import onnx
    import onnxruntime
    from onnxruntime.quantization import quantize_static

    lines, last, layers = [], "observation", len(weights) // 2
    for at in range(layers):
        lines += [f"sum_{at} = Gemm({last}, kernel_{at}, bias_{at})", f"hidden_{at} = Relu(sum_{at})"]
        last = f"hidden_{at}"
    ends = f"(float[1,{len(weights[0])}] observation) => (float[1,{len(weights[-1])}] sum_{layers - 1})"
    body = " ".join(lines[:-1])  # no activation behind the last layer
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> policy {ends} {{ {body} }}')
    names = [f"{kind}_{at}" for at in range(layers) for kind in ("kernel", "bias")]
    model.graph.initializer.extend(map(onnx.numpy_helper.from_array, weights, names))
    inputs = ({"observation": sample[np.newaxis]} for sample in samples)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    found: dict[str, Call] = {}
    with tempfile.TemporaryDirectory() as folder:
        paths = {"ONNX Runtime float32": Path(folder) / "float32.onnx", "ONNX Runtime int8": Path(folder) / "int8.onnx"}
        onnx.save(model, paths["ONNX Runtime float32"])
        logging.disable(logging.WARNING)  # it recommends a preparation that a chain of dense layers does not need
        quantize_static(*paths.values(), SimpleNamespace(get_next=partial(next, inputs, None)))
        logging.disable(logging.NOTSET)
        for name, path in paths.items():
            session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            found[name] = partial(lambda session, x: session.run(None, {"observation": x})[0], session)
    return found


def compare(inputs: int, hidden: Sequence[int], *, actions: int, config: LatencyConfig = CONFIG) -> dict[str, Any]:
    """Times all sides. InputError: a runtime is not installed.

    Returns:
      A JSON object; `rows` by side: the percentiles of a call in µs, and how many times as fast as LiteRT's float32 it is.
    """
    missing = sorted({extra for name, extra in NEEDED.items() if importlib.util.find_spec(name) is None})
    require(not missing, f"Something to compare is missing: expected the extras {', '.join(missing)}.")
    import tensorflow as tf

    with suppress(RuntimeError):  # it has begun with more; idle threads of a pool spin on the core that is timed
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    samples = np.random.default_rng(1).standard_normal((256, inputs), np.float32)
    calls = sides(inputs, hidden, actions=actions, samples=samples)
    rng = np.random.default_rng(0)
    with pinned(1) as cores, tqdm(total=config.blocks // 2, unit="round", disable=None, leave=False) as bar:
        factories = {name: partial(time_calls, call, itertools.cycle(samples[:, np.newaxis])) for name, call in calls.items()}
        speed = FullSpeed(config.patience_s, cores)
        timings, failures = time_interleaved(factories, config, rng=rng, on_round=bar.update, speed=speed)
    require(not failures, f"Expected every runtime to run. Got: {failures}.")
    rows = {
        name: {**each.latency().to_json(), "speedup": speedup(timings[BASELINE], each).to_json()}
        for name, each in timings.items()
    }
    versions = {name: version(name) for name in ("tensorflow", "torch", "onnxruntime", "ai-edge-litert")}
    machine = describe_machine(1, True, pinned_cores=tuple(cores.used) if cores else None).to_json()
    network = {"inputs": inputs, "hidden": list(hidden), "actions": actions}
    return {"schema": 1, "machine": machine, "versions": versions, "network": network, "rows": rows}


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a line for each side, and writes JSON where it is asked to."""
    parser = argparse.ArgumentParser(description="One inference in eight runtimes, from NumPy to NumPy.")
    parser.add_argument("--inputs", type=int, default=8, metavar="F", help="features of an observation (default: 8)")
    parser.add_argument("--hidden", type=int, nargs="+", default=[256, 256], metavar="N", help="widths (default: 256 256)")
    parser.add_argument("--actions", type=int, default=4, metavar="A", help="(default: 4)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the object goes, too")
    given = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        found = compare(given.inputs, given.hidden, actions=given.actions)
    except InputError as error:
        parser.exit(2, f"inference: {error}\n")
    for name, row in sorted(found["rows"].items(), key=lambda item: item[1]["p50"]):
        print(f"{name:<22} {row['p50']:>10.2f} µs  p99 {row['p99']:>10.2f}  {row['speedup']['median']:>7.3f}x")
    if given.json:
        write_json(given.json, found)


if __name__ == "__main__":
    main()
