"""The network that the stages of a recipe change, and how it plays at each step."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from edgedqn.agents.architecture import describe
from edgedqn.agents.chain import ChainReader
from edgedqn.agents.numpy_network import NumpyNetwork
from edgedqn.agents.playing.spec import EnvironmentSpec
from edgedqn.compression.context import CompressionContext
from edgedqn.compression.folding import BATCH, InputScaling, Weights
from edgedqn.compression.policy import CompressedPolicy, Conversion, Meaning
from edgedqn.compression.preferences import Targets


@dataclass(frozen=True, kw_only=True)
class Student:
    """A network between two stages, and the states it is trained on.

    Attributes:
      network: plain, [B, ...] -> [B, A]; `quantized` is the same with fake quantization, once it is there.
      scaling: from what the teacher's network sees to this network's input.
      states: [N, ...] in the environment's dtype; `targets` made `preferences` [N, A] for them.
      meaning: of the output. Before any training it is the teacher's Q-values.
      pruned: its zeros must stay.
      clustered: weights that are equal must stay equal.
    """

    network: tf_keras.Model
    scaling: InputScaling
    states: NDArray[Any]
    preferences: NDArray[np.float32]
    targets: Targets = Targets()
    meaning: Meaning = "q_values"
    quantized: tf_keras.Model | None = None
    pruned: bool = False
    clustered: bool = False

    def inputs(self) -> Iterator[NDArray[np.float32]]:
        """The states as the network takes them, in batches [B, ...]."""
        return self.scaling.batches(self.states)

    def with_states(self, states: NDArray[Any], context: CompressionContext) -> "Student":
        """Adds states [N, ...], and their targets, to those it is trained on."""
        return replace(
            self,
            states=np.concatenate([self.states, states]),
            preferences=np.concatenate([self.preferences, context.preferences(states, self.targets)]),
        )

    def with_weights(self, weights: Weights) -> "Student":
        """Another network of these weights."""
        network = tf_keras.models.clone_model(self.network)
        network.set_weights(weights)
        return replace(self, network=network)

    def as_policy(self, spec: EnvironmentSpec) -> "ScaledPolicy | QuantizedPolicy":
        """Plays with its network as it is now, in float or fake-quantized."""
        if self.quantized is not None:
            return QuantizedPolicy(self.quantized, self.scaling)
        return ScaledPolicy(NumpyNetwork(ChainReader(self.network)(self.network.get_weights()), spec.input_shape), self.scaling)

    def as_compressed(
        self, spec: EnvironmentSpec, observations: NDArray[Any], *, conversion: Conversion, recipe: str
    ) -> CompressedPolicy:
        """The policy for the exporter, without reports and settings."""
        return CompressedPolicy(
            network=self.quantized or self.network,
            conversion=conversion,
            scaling=self.scaling,
            meaning=self.meaning,
            spec=spec,
            observations=observations,
            recipe=recipe,
            reports=(),
            layers=describe(self.network),
        )


@dataclass(frozen=True)
class ScaledPolicy:
    """A network behind its input scaling."""

    network: NumpyNetwork
    scaling: InputScaling

    def __call__(self, observation: NDArray[Any], /) -> int:
        """[...] as the teacher's network sees it -> an action."""
        return self.network(self.scaling(observation))

    def actions(self, observations: NDArray[Any]) -> NDArray[np.int64]:
        """[N, ...] -> [N]."""
        return np.concatenate([self.network.actions(batch) for batch in self.scaling.batches(observations)])


class QuantizedPolicy:
    """A network with fake quantization behind its input scaling. It plays, within rounding, as its file will."""

    def __init__(self, network: tf_keras.Model, scaling: InputScaling):
        """Takes a network [B, ...] -> [B, A]."""

        @tf.function  # type: ignore[untyped-decorator] # TensorFlow ships no types
        def actions(x: tf.Tensor) -> tf.Tensor:  # [B, ...] -> [B]
            return tf.argmax(network(scaling.tensor(x), training=False), axis=-1)

        self._actions = actions

    def __call__(self, observation: NDArray[Any], /) -> int:
        """[...] as the teacher's network sees it -> an action."""
        return int(self._actions(observation[None])[0])

    def actions(self, observations: NDArray[Any]) -> NDArray[np.int64]:
        """[N, ...] -> [N]."""
        starts = range(0, len(observations), BATCH)
        return np.concatenate([self._actions(observations[start : start + BATCH]) for start in starts])
