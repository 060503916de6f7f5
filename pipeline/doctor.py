"""Say what is installed, and try whether it works."""

import json
import os
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.environments import make_environment
from edgedqn.agents.playing.spec import EnvironmentSpec
from edgedqn.export.edge_policy import EdgePolicy
from edgedqn.pipeline.cli import DONE, FAULT
from edgedqn.pipeline.native import load_tensorflow
from edgedqn.pipeline.run_folder import versions


def examine(as_json: bool) -> int:
    """Prints what it finds; returns 1 if something that is installed does not work."""
    checks = {name: _try(check) for name, check in (("play", _play), ("train and export", _export))}
    broken = [name for name, outcome in checks.items() if outcome.startswith("broken")]
    findings = {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        "versions": versions(),
        "checks": checks,
    }
    if as_json:
        print(json.dumps({"schema": 1, **findings}))
    else:
        print(f"Python {findings['python']} on {findings['machine']}")
        for name, version in versions().items():
            print(f"  {name} {version}")
        for name, outcome in checks.items():
            print(f"{name}: {outcome}")
    return FAULT if broken else DONE


def _try(check: Callable[[], None]) -> str:
    try:
        check()
    except InputError as error:
        return f"not available: {error}"
    except Exception as error:
        return f"broken: {type(error).__name__}: {error}"
    return "works"


def _play() -> None:
    env = make_environment("CartPole-v1")
    env.reset(seed=0)
    env.step(0)
    env.close()


def _export() -> None:
    """A tiny network through TF-MOT, the converter and the interpreter."""
    load_tensorflow()
    from edgedqn.agents.architecture import describe
    from edgedqn.agents.networks import mlp
    from edgedqn.compression import tfmot
    from edgedqn.compression.folding import InputScaling
    from edgedqn.compression.policy import CompressedPolicy
    from edgedqn.export.tflite import to_tflite

    spec = EnvironmentSpec(
        id="CartPole-v1",
        observation_shape=(4,),
        observation_dtype="float32",
        observation_low=(None,) * 4,
        observation_high=(None,) * 4,
        n_actions=2,
    )
    observations = np.random.default_rng(0).uniform(-1, 1, (100, 4)).astype(np.float32)
    network = mlp((4,), 2, hidden=(8,), rng=np.random.default_rng(0))
    quantized = tfmot.quantization_aware(network, (-1.0, 1.0))
    tfmot.start_ranges(quantized, network, inputs=[observations])
    scaling = InputScaling((1.0,), (0.0,), (-1.0, 1.0))
    layers = describe(network)
    policy = CompressedPolicy(
        network=quantized,
        conversion="qat-int8",
        scaling=scaling,
        meaning="preferences",
        spec=spec,
        observations=observations,
        recipe="doctor",
        reports=(),
        layers=layers,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "doctor.tflite"
        path.write_bytes(to_tflite(policy))
        action = EdgePolicy.load(path)(observations[0])
    assert action in (0, 1), action
