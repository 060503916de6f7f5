"""Fine-tuning by reinforcement learning, while the network is being pruned, clustered or rounded."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray
from tqdm import tqdm

from edgedqn.agents.errors import require
from edgedqn.agents.learner import FusedLearner
from edgedqn.agents.losses import huber, q_target, select
from edgedqn.agents.n_step import Transition
from edgedqn.agents.playing.environments import check_transition
from edgedqn.agents.replay import Handle, Replay, Sampler
from edgedqn.compression.folding import InputScaling
from edgedqn.compression.methods.distillation import STEPS_PER_CALL, Training, whole_calls
from edgedqn.compression.policy import Meaning
from edgedqn.compression.stage import CompressionContext, Student


@dataclass(frozen=True, kw_only=True)
class TdLearning(Training):
    """Double DQN with a target network, one gradient step per environment step. Schedules of pruning count the gradient steps.

    Attributes:
      discount: per environment step, in [0, 1].
      target_update_interval: gradient steps between two copies of the network to its target; rounded up like `steps`.
      first_epsilon: of random actions at the start; it falls to `epsilon` over the first tenth of the steps.
      epsilon: of random actions from there on.
      buffer_size: transitions that are remembered.
    Source: van Hasselt et al. (2016); Graesser et al. (2022), "The state of sparse training in deep reinforcement
      learning", for pruning within it: the masks live in the online network, and its target is a copy of what it computes.
    """

    steps: int = 20_000
    learning_rate: float = 2e-4
    discount: float = 0.99
    target_update_interval: int = 500
    first_epsilon: float = 0.1
    epsilon: float = 0.05
    buffer_size: int = 50_000
    meaning: ClassVar[Meaning] = "q_values"  # of the output after it

    def __post_init__(self) -> None:
        super().__post_init__()
        given = f"{self.target_update_interval} and {self.buffer_size}"
        sizes = min(self.target_update_interval, self.buffer_size)
        require(sizes >= 1, f"Expected target_update_interval and buffer_size of 1 or more. Got {given}.")
        require(
            0 <= self.discount <= 1 and 0 <= self.epsilon <= self.first_epsilon <= 1,
            "Expected a discount in [0, 1] and 0 <= epsilon <= first_epsilon <= 1. "
            f"Got {self.discount}, {self.epsilon} and {self.first_epsilon}.",
        )

    def fine_tune(
        self,
        wrapped: tf_keras.Model,
        student: Student,
        *,
        context: CompressionContext,
        label: str,
        before_copy: Callable[[], None] = lambda: None,
    ) -> NDArray[np.float32]:
        """Goes on learning Q-values in the environment.

        Args:
          wrapped: the student's network in TF-MOT's wrappers; called with training=True, so that they act. It changes.
          student: gives the input scaling; the target network is built like its network.
          context: the environment, and the generator.
          label: of the progress bar on stderr, which is silent where that is no terminal.
          before_copy: brings the wrapped network's variables in line with what it computes, as pruning does with its masks. The
            target is a copy of those variables, so it holds weights from before their clustering or rounding.
        Returns:
          The loss before each gradient step, [steps].
        Raises:
          DivergedError: the loss or a weight became NaN or infinite.
          BadTransitionError: the environment gave a NaN or an infinity.
        """
        assert student.meaning == "q_values", "a recipe refuses this: preferences are no values"
        steps, rng = self.rounded_steps, context.rng
        target = tf_keras.models.clone_model(student.network)
        target.set_weights(student.network.get_weights())
        # Each wrapper has the variables of a layer in an order of its own, and more of them.
        pairs = [
            pair for name in ("kernel:0", "bias:0") for pair in zip(_named(target, name), _named(wrapped, name), strict=True)
        ]
        learner = self._learner(wrapped, target, scaling=student.scaling)
        experience = _Experience(context, self)
        act = tf.function(lambda x: tf.argmax(wrapped(student.scaling.tensor(x), training=False)[0]))
        losses = []
        with tqdm(total=steps, desc=label, unit=" steps", disable=None, mininterval=0.5) as bar:
            for step in range(1, steps + 1):
                epsilon = self.epsilon + max(0.0, 1 - 10 * step / steps) * (self.first_epsilon - self.epsilon)
                if rng.random() < epsilon:
                    action = int(rng.integers(context.teacher.spec.n_actions))
                else:
                    action = int(act(np.asarray(experience.observation)[np.newaxis]))
                experience.step(action)
                if step % STEPS_PER_CALL == 0:
                    transitions, _ = experience.replay.sample(STEPS_PER_CALL, self.batch_size)
                    losses.append(learner.learn(*transitions).losses)
                    bar.update(STEPS_PER_CALL)
                    if step % whole_calls(self.target_update_interval) == 0:
                        before_copy()
                        for copy, source in pairs:
                            copy.assign(source)
        return np.concatenate(losses)

    def _learner(self, wrapped: tf_keras.Model, target: tf_keras.Model, *, scaling: InputScaling) -> FusedLearner:
        """Takes gradient steps on `wrapped` towards double DQN's targets."""

        def loss(*transitions: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            s_tm1, a_tm1, r_t, discount_t, s_t = transitions
            q_t = target(scaling.tensor(s_t))  # [B, A]
            chosen = wrapped(scaling.tensor(s_t), training=False)  # [B, A]; calls that train count as steps of a schedule
            goal = tf.stop_gradient(q_target(r_t, discount_t, q_t=q_t, q_t_selector=chosen))  # [B]
            error = select(wrapped(scaling.tensor(s_tm1), training=True), a_tm1) - goal  # [B]
            return tf.reduce_mean(huber(error)), tf.abs(error)

        return self.learner(loss, wrapped)


class _Experience:
    """Steps through episodes of the environment and stores their transitions."""

    _handle: Handle  # of the newest observation

    def __init__(self, context: CompressionContext, config: TdLearning):
        spec = context.teacher.spec
        self.replay = Replay(
            config.buffer_size,
            spec.input_shape,
            dtype=spec.observation_dtype,
            sampler=Sampler(context.rng),
            frame_stack=spec.frame_stack,
        )
        self._context, self._discount, self._steps = context, config.discount, 0
        self._start_episode()

    def step(self, action: int) -> None:
        """Takes an action; `observation` is what the next one is chosen on."""
        self._steps += 1
        self.observation, reward, terminated, truncated, _ = self._context.env.step(action)
        check_transition(self._context.teacher.spec.id, self._steps, observation=self.observation, reward=float(reward))
        after = self.replay.store(self.observation, self._handle)
        discount_t = 0.0 if terminated else self._discount
        self.replay.add(Transition(s_tm1=self._handle, a_tm1=action, r_t=float(reward), discount_t=discount_t, s_t=after))
        self._handle = after
        if terminated or truncated:
            self._start_episode()

    def _start_episode(self) -> None:
        self.observation, _ = self._context.env.reset(seed=next(self._context.reset_seeds))
        check_transition(self._context.teacher.spec.id, self._steps, observation=self.observation, reward=0.0)
        self._handle = self.replay.store(self.observation, None)


def _named(network: tf_keras.Model, name: str) -> list[tf.Variable]:
    return [variable for variable in network.variables if variable.name.rpartition("/")[2] == name]
