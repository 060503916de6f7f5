"""What `doctor` tries of training and exporting."""

import tempfile
from pathlib import Path

import numpy as np

from edgedqn.agents.architecture import describe
from edgedqn.agents.networks import q_network
from edgedqn.agents.playing.spec import EnvironmentSpec
from edgedqn.compression import tfmot
from edgedqn.compression.folding import InputScaling
from edgedqn.compression.policy import CompressedPolicy
from edgedqn.export.edge_policy import EdgePolicy
from edgedqn.export.tflite import to_tflite


def export_tiny_policy() -> None:
    """Takes a tiny network through TF-MOT, the converter and the interpreter."""
    spec = EnvironmentSpec(
        id="CartPole-v1",
        observation_shape=(4,),
        observation_dtype="float32",
        observation_low=(None,) * 4,
        observation_high=(None,) * 4,
        n_actions=2,
    )
    observations = np.random.default_rng(0).uniform(-1, 1, (100, 4)).astype(np.float32)
    network = q_network((4,), 2, hidden=(8,), rng=np.random.default_rng(0))
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
