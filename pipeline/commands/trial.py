"""What `doctor` tries of training and exporting."""

import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np

from edgedqn.agents.networks import q_network
from edgedqn.agents.playing.environments import make_environment
from edgedqn.agents.playing.spec import spec_of
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.compression.folding import InputScaling
from edgedqn.compression.stage import Student
from edgedqn.compression.tfmot import fake_quantization
from edgedqn.export.edge_policy import EdgePolicy
from edgedqn.export.tflite import to_tflite


def export_tiny_policy() -> None:
    """Takes a tiny network through TF-MOT, the converter and the interpreter."""
    with closing(make_environment("CartPole-v1")) as env:
        spec = spec_of(env, "CartPole-v1")
    observations = np.random.default_rng(0).uniform(-1, 1, (100, 4)).astype(np.float32)
    network = q_network((4,), 2, hidden=(8,), rng=np.random.default_rng(0))
    quantized = fake_quantization.quantization_aware(network, (-1.0, 1.0))
    fake_quantization.start_ranges(quantized, network, inputs=[observations])
    student = Student(
        network=network,
        quantized=quantized,
        scaling=InputScaling((1.0,), (0.0,), (-1.0, 1.0)),
        states=observations,
        preferences=np.empty((0, 2), np.float32),
        meaning="preferences",
    )
    agent = TrainedAgent(network, spec, observations, {})
    policy = student.as_compressed(agent, conversion="qat-int8", recipe="doctor")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "doctor.tflite"
        path.write_bytes(to_tflite(policy))
        action = EdgePolicy.load(path)(observations[0])
    assert action in (0, 1), action
