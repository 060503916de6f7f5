"""Temporal-difference targets, errors and losses, in TensorFlow. B is the batch, A the number of actions, N of quantiles."""

from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf
import tf_keras


@dataclass(frozen=True, kw_only=True)
class TemporalDifference:
    """What is minimized: the difference between a prediction and the return of some steps with the value of what follows."""

    n_step: int  # environment steps that a transition spans
    discount: float  # per step, in [0, 1]
    double: bool  # Double DQN's target: the online network chooses the action, the target network values it
    square: bool  # half the squared error in place of Huber's
    masked: bool = False  # the last features of an observation say which actions are legal: only of these one is chosen

    def __call__(
        self,
        network: tf_keras.Model,
        target_network: tf_keras.Model,
        transitions: Sequence[tf.Tensor],
        *,
        training: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The loss and the absolute temporal-difference error of each sample, both [B], of the fields of `replay.Transitions`.

        Both networks give [B, A], or [B, A, N] to learn the quantiles of the return. `training` is told to the network's
        layers where it predicts, once per loss, and not where it chooses an action.
        """
        s_tm1, a_tm1, r_t, discount_t, s_t = transitions
        s_tm1, s_t = tf.cast(s_tm1, tf.float32), tf.cast(s_t, tf.float32)
        q_t = target_network(s_t)  # [B, A] or [B, A, N]
        selector = network(s_t) if self.double else q_t
        if len(network.output_shape) == 3:
            selector = self._legal(tf.reduce_mean(selector, axis=2), s_t)  # [B, A]
            targets = q_target(r_t[:, tf.newaxis], discount_t[:, tf.newaxis], q_t=q_t, q_t_selector=selector)
            targets = tf.stop_gradient(targets)  # [B, N]
            quantiles = select(network(s_tm1, training=training), a_tm1)  # [B, N]
            error = tf.reduce_mean(quantiles, axis=1) - tf.reduce_mean(targets, axis=1)  # [B]
            return quantile_huber(quantiles, targets), tf.abs(error)
        target = tf.stop_gradient(q_target(r_t, discount_t, q_t=q_t, q_t_selector=self._legal(selector, s_t)))  # [B]
        error = select(network(s_tm1, training=training), a_tm1) - target  # [B]
        return (half_square if self.square else huber)(error), tf.abs(error)

    def _legal(self, selector: tf.Tensor, s_t: tf.Tensor) -> tf.Tensor:
        """[B, A], the lowest number there is where an action is not legal in s_t."""
        if not self.masked:
            return selector
        return tf.where(tf.cast(s_t[:, -selector.shape[1] :], tf.bool), selector, selector.dtype.min)


def q_target(r_t: tf.Tensor, discount_t: tf.Tensor, *, q_t: tf.Tensor, q_t_selector: tf.Tensor) -> tf.Tensor:
    """r_t + discount_t q_t[argmax_a q_t_selector]: [B], [B], [B, A], [B, A] -> [B]. With the quantiles of each action's return:
    [B, 1], [B, 1], [B, A, N], [B, A] -> [B, N].

    The target network values the action. It also chooses it in DQN (`q_t_selector` is `q_t`); in Double DQN, the online network
    does.

    Source: Mnih et al. (2015), "Human-level control through deep reinforcement learning"; van Hasselt et al. (2016), "Deep
      reinforcement learning with double Q-learning"; Dabney et al. (2018), "Distributional reinforcement learning with
      quantile regression", algorithm 1.
    """
    return r_t + discount_t * select(q_t, tf.argmax(q_t_selector, axis=-1, output_type=tf.int32))  # [B] or [B, N]


def select(q: tf.Tensor, actions: tf.Tensor) -> tf.Tensor:
    """q[b, actions[b]]: [B, A] or [B, A, N], and [B] -> [B] or [B, N].

    By one-hot product: a gather's gradient is a scatter, slow under XLA on CPUs.
    """
    chosen = tf.one_hot(actions, q.shape[1])  # [B, A]
    return tf.reduce_sum(q * (chosen if len(q.shape) == 2 else chosen[..., tf.newaxis]), axis=1)  # [B] or [B, N]


def huber(error: tf.Tensor) -> tf.Tensor:
    """Half the square of an error up to 1, then linear: any shape -> the same shape.

    Source: Huber (1964); DQN's "error clipping" (Mnih et al. 2015) is its gradient.
    """
    size = tf.abs(error)
    return tf.where(size <= 1.0, 0.5 * tf.square(error), size - 0.5)


def half_square(error: tf.Tensor) -> tf.Tensor:
    """Half the square of an error: any shape -> the same shape. Its gradient is the error itself."""
    return 0.5 * tf.square(error)


def quantile_huber(quantiles: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """The quantile Huber loss of each sample, summed over the N predicted quantiles, which lie at the midpoints (i + 1/2) / N,
    averaged over the N' targets: [B, N], [B, N'] -> [B].

    Source: Dabney et al. (2018), equations 9 and 10, kappa = 1.
    """
    count = quantiles.shape[1]
    midpoints = (tf.range(count, dtype=tf.float32) + 0.5) / count  # [N]
    error = target[:, tf.newaxis, :] - quantiles[:, :, tf.newaxis]  # [B, N, N']
    asymmetry = tf.abs(midpoints[:, tf.newaxis] - tf.cast(error < 0, tf.float32))  # [B, N, N']
    return tf.reduce_sum(tf.reduce_mean(asymmetry * huber(error), axis=2), axis=1)  # [B]
