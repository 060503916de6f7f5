"""The learner's network as actors play with it: its operators in float, or a `.tflite` in int8. Without TensorFlow."""

from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.numpy_network import Flatten, NumpyNetwork, Operator
from edgedqn.agents.playing.spec import EnvironmentSpec
from edgedqn.export.edge_policy import EdgePolicy, TfliteModel, VerifiedFile, read_device_manifest

Published: TypeAlias = bytes | list[Operator]  # the content of a file, or operators


class FilePolicy:
    """Plays a policy file, for one observation or a batch, as the agent's network sees them. The file takes one at a time."""

    def __init__(self, content: bytes):
        """RuntimeRefusedError: the runtime does not take it."""
        device = read_device_manifest(content)
        assert device is not None
        self._policy = EdgePolicy.from_file(
            VerifiedFile(path=Path("policy.tflite"), model=TfliteModel(content), device=device, evidence={})
        )

    def __call__(self, observation: NDArray[np.generic], legal: NDArray[np.bool_] | None = None, /) -> int:
        """[*input_shape] -> an action; which are legal it takes from the observation."""
        return self._policy(observation)

    def actions(self, observations: NDArray[np.generic], /) -> NDArray[np.int64]:
        """[B, *input_shape] -> actions [B]."""
        return np.array([self._policy(each) for each in observations], np.int64)


def read_published(published: Published, spec: EnvironmentSpec) -> FilePolicy | NumpyNetwork:
    """The greedy policy."""
    if isinstance(published, bytes):
        return FilePolicy(published)
    return NumpyNetwork(published, spec.input_shape, masked=spec.masked)


def published_bytes(published: Published) -> int:
    """Its size, without what Ray adds."""
    if isinstance(published, bytes):
        return len(published)
    return sum(each.kernel.nbytes + each.bias.nbytes for each in published if not isinstance(each, Flatten))
