"""What is asked of whoever knows a network: which weights it computes with, and how it acts.

A network may compute with other weights than it learns: pruned, clustered or rounded ones. `DQN` knows of none of that.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from edgedqn.agents.chain import ChainReader
from edgedqn.agents.errors import InputError
from edgedqn.agents.numpy_network import NumpyNetwork
from edgedqn.agents.training.checkpoints import Weights


class Actor(Protocol):
    """A greedy policy, for one observation or a batch."""

    def __call__(self, observation: NDArray[np.generic], legal: NDArray[np.bool_] | None = None, /) -> int:
        """[*observation_shape] -> an action."""

    def actions(self, observations: NDArray[np.generic], /) -> NDArray[np.int64]:
        """[B, *observation_shape] -> actions [B]."""


class NetworkReader(Protocol):
    """Knows one network, and what its weights mean.

    Attributes:
      n_actions: how many it chooses among.
      masked: the last features of its observations say which of them are legal.
      acts_in_training: whether its layers do something of their own while it learns, and are to be told.
    """

    n_actions: int
    masked: bool
    acts_in_training: bool

    def weights(self) -> Sequence[tf.Tensor]:
        """What the network computes with at this moment, in the order and shapes of the target network's variables. Called
        eagerly and within a compiled function."""

    def admissible(self, weights: Weights) -> Weights:
        """A copy of an average of such weights, as the network could have them: what is pruned by now is zero."""

    def actor(self, weights: Weights) -> Actor:
        """The greedy policy of such weights."""


class Networks(NamedTuple):
    """What an agent learns. Both networks give [B, *observation_shape] -> Q-values [B, A] or their quantiles [B, A, N], of
    observations as the environment gives them."""

    network: tf_keras.Model
    target_network: tf_keras.Model  # its trainable variables follow what the network computes with
    reader: NetworkReader  # of the network


class PlainReader:
    """Of a network that computes with the very weights that it learns."""

    acts_in_training = False

    def __init__(self, network: tf_keras.Model, *, masked: bool = False):
        """Takes a chain of layers, as `chain` reads it; `masked` as of `NumpyNetwork`.

        Raises:
          NotAChainError: the network cannot be read as a plain chain of layers.
          InputError: it has weights that are not trainable.
        """
        self._chain = ChainReader(network)
        self._network = network
        self.masked = masked
        self.n_actions = self._chain.n_actions
        if len(network.trainable_weights) < len(network.weights):
            raise InputError("Every layer of a Q-network is learned. Got one that is not trainable.")

    def weights(self) -> Sequence[tf.Tensor]:
        variables: Sequence[tf.Tensor] = self._network.trainable_variables
        return variables

    def admissible(self, weights: Weights) -> Weights:
        return [array.copy() for array in weights]

    def actor(self, weights: Weights) -> NumpyNetwork:
        return NumpyNetwork(self._chain(weights), tuple(self._network.input_shape[1:]), masked=self.masked)
