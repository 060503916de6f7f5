"""Many gradient steps in one compiled call."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from edgedqn.agents.errors import DivergedError


class Learned(NamedTuple):
    """What K gradient steps came to."""

    losses: NDArray[np.float32]  # [K], before each step
    errors: NDArray[np.float32]  # [K, B], per sample, as the loss gives them
    weights: list[NDArray[np.float32]]  # after the last step: the variables, or what the network computes with


def suits_xla(variables: Sequence[tf.Variable]) -> bool:
    """Whether XLA compiles the training of these well: not where there is a convolution, on which its own are 18 times slower
    than TensorFlow's on a CPU."""
    return not any(len(variable.shape) == 4 for variable in variables)


def adam(
    learning_rate: float | tf_keras.optimizers.schedules.LearningRateSchedule,
    variables: Sequence[tf.Variable],
    *,
    epsilon: float = 1e-7,
    max_gradient_norm: float = 10.0,
    xla: bool = True,
) -> tf_keras.optimizers.Optimizer:
    """Adam in the form that is fast for these variables, and for a learner with or without XLA; gradients are clipped to a
    global norm, the rate may be a schedule."""
    kind = tf_keras.optimizers.Adam if xla and suits_xla(variables) else FusedAdam
    return kind(learning_rate, epsilon=epsilon, global_clipnorm=max_gradient_norm)


class FusedLearner:
    """Runs K gradient steps on K minibatches as one compiled loop, by XLA where that suits.

    Calling into TensorFlow once per gradient step costs more than the step itself for networks of this size: 706 µs against
    234 µs for [256, 256] at batch 64. Each new shape of the minibatches is compiled once, for 1-2 s. The weights come back
    with the losses, in one piece: fetching them one by one costs as much as a gradient step of a small network.
    """

    def __init__(
        self,
        loss: Callable[..., tuple[tf.Tensor, tf.Tensor]],
        variables: Sequence[tf.Variable],
        *,
        optimizer: tf_keras.optimizers.Optimizer,
        weights: Callable[[], Sequence[tf.Tensor]] | None = None,
        targets: Sequence[tf.Variable] = (),
        target_update_rate: float = 1.0,
        xla: bool = True,
    ):
        """Takes what to minimize and how.

        Args:
          loss: one minibatch, tensors [B, ...] in the order they are passed to `learn` -> a scalar, and an error per
            sample [B] that is passed on.
          variables: what is learned; the optimizer makes its slots for them here.
          optimizer: its learning rate may be a schedule; gradient clipping is its own.
          weights: gives what the network computes with, where that is not the variables themselves.
          targets: follow these weights, one for one; none without a target network.
          target_update_rate: below 1, each gradient step moves the targets by this share of the way to the weights; at 1
            they are copied where `learn` is called with `copy_to_target`.
          xla: compile by XLA, where it suits the variables.
        """
        optimizer.build(list(variables))
        self._optimizer = optimizer
        self._shapes = [tuple(variable.shape) for variable in targets or variables]
        sources = weights or (lambda: variables)

        def run(minibatches: tuple[tf.Tensor, ...], copy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:  # [K, B, ...]
            count, size = minibatches[0].shape[:2]
            for target, source in zip(targets, sources(), strict=bool(targets)):
                target.assign(tf.where(copy, source, target))
            losses = tf.TensorArray(tf.float32, size=count)
            errors = tf.TensorArray(tf.float32, size=count, element_shape=(size,))
            for k in tf.range(count):
                with tf.GradientTape() as tape:
                    value, error = loss(*(minibatch[k] for minibatch in minibatches))
                # TF-MOT's clustering leaves kernels in the model that nothing is computed from.
                gradients = tape.gradient(value, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
                optimizer.apply_gradients(zip(gradients, variables, strict=True))
                if target_update_rate < 1:
                    for target, source in zip(targets, sources(), strict=True):
                        target.assign_add(target_update_rate * (source - target))
                losses = losses.write(k, value)
                errors = errors.write(k, error)
            flat = tf.concat([tf.reshape(weight, [-1]) for weight in sources()], axis=0)
            return losses.stack(), errors.stack(), flat  # [K], [K, B], [P]

        self._run = tf.function(run, jit_compile=xla and suits_xla(variables))

    def set_learning_rate(self, rate: float) -> None:
        """From the next gradient step on, where the optimizer was made with a number and no schedule."""
        self._optimizer.learning_rate.assign(rate)

    def restart(self) -> None:
        """Forgets what the optimizer, an Adam, has gathered, and begins its schedule anew; the variables stay as they are."""
        for variable in (self._optimizer.iterations, *self._optimizer._momentums, *self._optimizer._velocities):
            variable.assign(tf.zeros_like(variable))

    def learn(self, *minibatches: NDArray[np.generic], copy_to_target: bool = False) -> Learned:
        """Takes K gradient steps, on arrays [K, B, ...], one per argument of the loss. `copy_to_target` first sets the targets
        to the weights.

        Raises:
          DivergedError: a loss or a weight was NaN or infinite.
        """
        tensors = tuple(tf.convert_to_tensor(m) for m in minibatches)
        losses, errors, flat = (result.numpy() for result in self._run(tensors, tf.constant(copy_to_target)))
        finite = np.isfinite(losses)
        if not finite.all():
            first = int(np.argmin(finite))
            raise DivergedError(f"The loss became {losses[first]} at gradient step {first + 1} of {losses.size}.")
        if not np.isfinite(np.vdot(flat, flat)) and not np.isfinite(flat).all():
            raise DivergedError(f"A weight became NaN or infinite within {losses.size} gradient steps.")
        ends = np.cumsum([int(np.prod(shape)) for shape in self._shapes])
        weights = [part.reshape(shape) for part, shape in zip(np.split(flat, ends[:-1]), self._shapes, strict=True)]
        return Learned(losses, errors, weights)


class FusedAdam(tf_keras.optimizers.Adam):  # type: ignore[misc] # it ships no types
    """Keras' Adam with each variable's update in one kernel, where XLA does not fuse the dozen operators that Keras writes.

    Each of them reads and writes all weights: 0.17 of the 1.14 ms of a gradient step of the MinAtar network
    (docs/decisions.md).

    Source: Kingma and Ba (2015), "Adam: a method for stochastic optimization"; TensorFlow's kernel `ResourceApplyAdam`.
    """

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable) -> None:
        """Moves one variable against its dense gradient."""
        assert not (self.amsgrad or self.adaptive_epsilon), "the kernel has neither"
        index = self._index_dict[self._var_key(variable)]
        step = tf.cast(self.iterations + 1, variable.dtype)
        beta_1, beta_2 = (tf.cast(beta, variable.dtype) for beta in (self.beta_1, self.beta_2))
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].handle,
            v=self._velocities[index].handle,
            beta1_power=tf.pow(beta_1, step),
            beta2_power=tf.pow(beta_2, step),
            lr=tf.cast(self.learning_rate, variable.dtype),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=tf.cast(self.epsilon, variable.dtype),
            grad=gradient,
        )
