"""Q-networks run in NumPy, without TensorFlow: to act."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class NumpyMlp:
    """The forward pass of an `mlp` network in NumPy, on weights it is given.

    One observation through [256, 256] takes about 15 µs, where calling the Keras model takes 600 µs; that is what makes
    acting during training affordable. A call is a policy: it returns the greedy action, the lowest index among equals.
    """

    def __init__(self, weights: Sequence[NDArray[np.float32]]):
        """Takes the weights as `network.get_weights()` gives them: kernel [in, out] and bias [out] of each layer in turn."""
        self.refresh(weights)

    def refresh(self, weights: Sequence[NDArray[np.float32]]) -> None:
        """Follows the network: takes over new weights."""
        self._hidden = [(weights[i], weights[i + 1]) for i in range(0, len(weights) - 2, 2)]
        self._kernel, self._bias = weights[-2:]

    def q_values(self, observations: NDArray[np.generic]) -> NDArray[np.float32]:
        """Float32 Q-values [..., A] of observations [..., F]."""
        x = observations.astype(np.float32, copy=False)  # [..., F]
        for kernel, bias in self._hidden:
            x = x @ kernel  # [..., width]
            x += bias
            np.maximum(x, 0, out=x)
        return x @ self._kernel + self._bias  # [..., A]

    def __call__(self, observation: NDArray[np.generic], /) -> int:
        return int(self.q_values(observation).argmax())
