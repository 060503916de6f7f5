"""Temporal-difference targets and errors, in TensorFlow. B is the batch, A the number of actions."""

import tensorflow as tf


def q_learning_target(r_t: tf.Tensor, discount_t: tf.Tensor, q_t: tf.Tensor) -> tf.Tensor:
    """r_t + discount_t max_a q_t: [B], [B], [B, A] -> [B].

    Source: Mnih et al. (2015), "Human-level control through deep reinforcement learning".
    """
    return r_t + discount_t * tf.reduce_max(q_t, axis=-1)  # [B]


def double_q_target(r_t: tf.Tensor, discount_t: tf.Tensor, q_t: tf.Tensor, q_t_selector: tf.Tensor) -> tf.Tensor:
    """r_t + discount_t q_t[argmax_a q_t_selector]: the online network chooses, the target network values. -> [B].

    Source: van Hasselt et al. (2016), "Deep reinforcement learning with double Q-learning".
    """
    return r_t + discount_t * select(q_t, tf.argmax(q_t_selector, axis=-1, output_type=tf.int32))  # [B]


def select(q: tf.Tensor, actions: tf.Tensor) -> tf.Tensor:
    """q[b, actions[b]]: [B, A], [B] -> [B]. By one-hot product: a gather's gradient is a scatter, slow under XLA on CPUs."""
    return tf.reduce_sum(q * tf.one_hot(actions, q.shape[-1]), axis=-1)  # [B]


def huber(error: tf.Tensor) -> tf.Tensor:
    """Half the square of an error up to 1, then linear: any shape -> the same shape.

    Source: Huber (1964); DQN's "error clipping" (Mnih et al. 2015) is its gradient.
    """
    size = tf.abs(error)
    return tf.where(size <= 1.0, 0.5 * tf.square(error), size - 0.5)
