"""Makes of the learner's network what actors play with."""

from collections import deque
from typing import Any

import numpy as np
import tf_keras
from numpy.typing import NDArray

from edgedqn.agents.architecture import describe
from edgedqn.agents.chain import ChainReader
from edgedqn.agents.playing.spec import EnvironmentSpec
from edgedqn.compression.folding import InputScaling, plain_network
from edgedqn.compression.policy import CompressedPolicy, Conversion
from edgedqn.export.config import ExportConfig
from edgedqn.export.edge_policy import RuntimeRefusedError
from edgedqn.export.tflite import exported
from edgedqn.pipeline.collection.published import FilePolicy, Published

CALIBRATION_STATES = 250  # a fourth of an export's: it is done again and again while the learner waits
RECIPE: Conversion = "ptq-int8"


class RecentObservations:
    """The last observations that were collected: what integer ranges are calibrated on."""

    def __init__(self) -> None:
        self._blocks: deque[NDArray[Any]] = deque()

    def add(self, observations: NDArray[Any]) -> None:
        """[N, *input_shape], N >= 1."""
        self._blocks.append(observations)
        while sum(map(len, self._blocks)) - len(self._blocks[0]) >= CALIBRATION_STATES:
            self._blocks.popleft()

    def __call__(self) -> NDArray[Any]:
        """[N, *input_shape], N at most 250; one block was added, or more."""
        return np.concatenate(self._blocks)[-CALIBRATION_STATES:]


def publish_float(network: tf_keras.Model) -> Published:
    """The operators of the network as it is now."""
    return ChainReader(network)(network.get_weights())


def publish_int8(network: tf_keras.Model, spec: EnvironmentSpec, observations: NDArray[Any]) -> Published | None:
    """The file that `ptq-int8` makes of the network as it is now, calibrated on observations [N, *input_shape]; None where the
    runtime does not take it, as XNNPACK some with a layer that never fires."""
    plain = plain_network(network)
    policy = CompressedPolicy(
        network=plain,
        conversion=RECIPE,
        scaling=InputScaling.identity(),
        meaning="q_values",
        spec=spec,
        observations=observations,
        recipe=RECIPE,
        reports=(),
        layers=describe(plain),
    )
    content = exported(policy, ExportConfig()).content
    try:
        FilePolicy(content)
    except RuntimeRefusedError:
        return None
    return content
