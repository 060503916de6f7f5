"""Adam for networks that XLA does not compile."""

import tensorflow as tf
import tf_keras


class FusedAdam(tf_keras.optimizers.Adam):  # type: ignore[misc] # it ships no types
    """Keras' Adam with each variable's update in one kernel.

    Keras writes it as a dozen operators. XLA fuses them; without XLA, as around convolutions, each of them goes over all
    weights: 0.17 of the 1.14 ms of a gradient step of the MinAtar network (docs/decisions.md).

    Source: Kingma and Ba (2015), "Adam: a method for stochastic optimization"; TensorFlow's kernel `ResourceApplyAdam`.
    """

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable) -> None:
        """Moves one variable against its dense gradient."""
        assert not (self.amsgrad or self.adaptive_epsilon), "the kernel knows neither"
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
