"""Keras layers that end a Q-network: the dueling merge. Folded into plain Dense layers before export."""

from typing import Any

import tensorflow as tf
import tf_keras


class DuelingMerge(tf_keras.layers.Layer):  # type: ignore[misc]
    """Joins a state's value and its actions' advantages to Q-values: Q = V + A - mean over actions of A.

    Called on [value [B, N], advantages [B, A * N]], where N is the number of quantiles, 1 without. Gives [B, A], or
    [B, A, N] where quantiles are learned.

    Source: Wang et al. (2016), "Dueling network architectures", equation 9.
    """

    def __init__(self, n_actions: int, quantiles: int = 0, **keras: Any):
        """Takes A >= 1 and the number of quantiles, 0 for plain Q-values."""
        super().__init__(**keras)
        self.n_actions = n_actions
        self.quantiles = quantiles

    def build(self, input_shape: Any) -> None:
        count = max(1, self.quantiles)
        (*_, value), (*_, advantages) = input_shape
        if (value, advantages) != (count, self.n_actions * count):
            raise ValueError(f"Expected widths of {count} and {self.n_actions * count} to merge. Got {value} and {advantages}.")
        super().build(input_shape)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        value, advantages = inputs
        advantages = tf.reshape(advantages, (-1, self.n_actions, max(1, self.quantiles)))  # [B, A, N]
        q = value[:, tf.newaxis, :] + advantages - tf.reduce_mean(advantages, axis=1, keepdims=True)  # [B, A, N]
        return q if self.quantiles else tf.squeeze(q, axis=2)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "n_actions": self.n_actions, "quantiles": self.quantiles}
