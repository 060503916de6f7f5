"""Deep Q-learning: acting, remembering, learning."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from edgedqn.agents.environments import EnvironmentSpec
from edgedqn.agents.learner import FusedLearner
from edgedqn.agents.losses import double_q_target, huber, q_learning_target, select
from edgedqn.agents.n_step import NStepTransitions
from edgedqn.agents.networks import mlp
from edgedqn.agents.numpy_network import NumpyMlp
from edgedqn.agents.presets import TrainingConfig
from edgedqn.agents.replay import UniformReplay


@dataclass(frozen=True)
class LinearDecay:
    """Falls from `start` to `end` over the first `steps` steps, then stays."""

    start: float
    end: float
    steps: int

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"A decay takes at least one step. Got steps={self.steps}.")

    def __call__(self, step: int) -> float:
        """The value at `step`, counted from 0."""
        return self.start + (self.end - self.start) * min(step / self.steps, 1.0)


@dataclass(frozen=True)
class LearningSchedule:
    """When the agent learns, counted in environment steps.

    Attributes:
      learning_starts: no learning before this many steps.
      train_freq: learn after each `train_freq` steps ...
      gradient_steps: ... this many minibatches, in one compiled call.
      batch_size: transitions in a minibatch.
      target_update_interval: copy the online network to the target network after this many steps; it takes effect at the
        next time of learning, so every interval up to `train_freq` means the same.
    """

    learning_starts: int
    train_freq: int
    gradient_steps: int
    batch_size: int
    target_update_interval: int

    def __post_init__(self) -> None:
        for name in ("train_freq", "gradient_steps", "batch_size", "target_update_interval"):
            if getattr(self, name) < 1:
                raise ValueError(f"Expected {name} of 1 or more. Got {name}={getattr(self, name)}.")


class DQN:
    """A deep Q-network agent; Double DQN, multi-step returns and averaged weights as options.

    Differences from Mnih et al. (2015): Adam and gradient clipping as the optimizer is built; several gradient steps after
    several environment steps, as Stable-Baselines3 does it.
    """

    def __init__(
        self,
        network: tf_keras.Model,
        target_network: tf_keras.Model,
        optimizer: tf_keras.optimizers.Optimizer,
        replay: UniformReplay,
        exploration: LinearDecay,
        schedule: LearningSchedule,
        rng: np.random.Generator,
        n_step: NStepTransitions,
        double: bool = False,
        averaging: float = 0.0,
    ):
        """Takes built objects; the target network starts as a copy of the network.

        Args:
          network: [B, F] -> Q-values [B, A], from `networks.mlp`.
          target_network: of the same architecture.
          optimizer: for the network's weights.
          replay: where transitions go and minibatches come from.
          exploration: environment step -> the probability of a random action.
          schedule: when to learn.
          rng: for exploration.
          n_step: joins steps to transitions, and discounts them.
          double: Double DQN's target.
          averaging: the share of the running average of the weights that each time of learning keeps, in [0, 1).
        """
        self.network = network
        self.env_steps = 0
        self.gradient_steps = 0
        self.last_loss = float("nan")
        self._learned = 0
        self._target_network = target_network
        self._replay = replay
        self._exploration = exploration
        self._schedule = schedule
        self._rng = rng
        self._n_step = n_step
        self._n_actions = network.output_shape[-1]
        self._actor = NumpyMlp(network.get_weights())
        self._averaging = averaging
        self._average = network.get_weights()
        self._copy_to_target()

        def loss(s_tm1: tf.Tensor, a_tm1: tf.Tensor, r_t: tf.Tensor, discount_t: tf.Tensor, s_t: tf.Tensor) -> tf.Tensor:
            q_t = target_network(s_t)  # [B, A]
            target = double_q_target(r_t, discount_t, q_t, network(s_t)) if double else q_learning_target(r_t, discount_t, q_t)
            q_a_tm1 = select(network(s_tm1), a_tm1)  # [B]
            return tf.reduce_mean(huber(q_a_tm1 - tf.stop_gradient(target)))

        self._learner = FusedLearner(loss, network.trainable_variables, optimizer)

    @property
    def epsilon(self) -> float:
        """The probability that the next action is random."""
        return self._exploration(self.env_steps)

    def averaged_weights(self) -> list[NDArray[np.float32]]:
        """A copy of the running average of the network's weights: what is scored, kept and deployed.

        A DQN's last weights jump about; their average is a better policy, and one that survives small errors, which is what
        rounding to integers makes (measured in docs/decisions.md).

        Source: Polyak and Juditsky (1992), "Acceleration of stochastic approximation by averaging".
        """
        return [weights.copy() for weights in self._average]

    def act(self, observation: NDArray[np.generic]) -> int:
        """Epsilon-greedy: [F] -> an action."""
        if self._rng.random() < self.epsilon:
            return int(self._rng.integers(self._n_actions))
        return self._actor(observation)

    def observe(
        self, s_tm1: NDArray[np.generic], a_tm1: int, r_t: float, terminated: bool, truncated: bool, s_t: NDArray[np.generic]
    ) -> None:
        """Remembers one step of the environment, and learns when it is time.

        Raises:
          NonFiniteLossError: the loss became NaN or infinite.
        """
        for transition in self._n_step.step(s_tm1, a_tm1, r_t, terminated, truncated, s_t):
            self._replay.add(*transition)
        self.env_steps += 1
        schedule = self._schedule
        if self.env_steps % schedule.target_update_interval == 0:
            self._target_is_due = True
        is_time = self.env_steps > schedule.learning_starts and self.env_steps % schedule.train_freq == 0
        if is_time and len(self._replay) > 0:  # the first transition may take several steps
            self._learn()

    def _learn(self) -> None:
        if self._target_is_due:
            self._copy_to_target()
        losses = self._learner.learn(*self._replay.sample(self._schedule.gradient_steps, self._schedule.batch_size))
        self.last_loss = float(losses.mean())
        self.gradient_steps += losses.size
        weights = self.network.get_weights()
        self._actor.refresh(weights)
        # A shorter memory while there is little to remember, so that the initial weights are soon forgotten.
        self._learned += 1
        keep = np.float32(min(self._averaging, self._learned / (self._learned + 5)))
        self._average = [keep * old + (1 - keep) * new for old, new in zip(self._average, weights, strict=True)]

    def _copy_to_target(self) -> None:
        for target, source in zip(self._target_network.variables, self.network.variables, strict=True):
            target.assign(source)
        self._target_is_due = False


def build_dqn(spec: EnvironmentSpec, config: TrainingConfig, rng: np.random.Generator) -> DQN:
    """Builds the agent that `config` describes, for `spec`; all its randomness is spawned from `rng`."""
    weights_rng, replay_rng, exploration_rng = rng.spawn(3)
    schedule = LearningSchedule(
        config.learning_starts,
        config.train_freq,
        config.gradient_steps,
        config.batch_size,
        config.target_update_interval,
    )
    optimizer = tf_keras.optimizers.Adam(config.learning_rate, global_clipnorm=config.max_gradient_norm)
    return DQN(
        mlp(spec.observation_shape, spec.n_actions, config.hidden, weights_rng),
        mlp(spec.observation_shape, spec.n_actions, config.hidden, weights_rng),
        optimizer,
        UniformReplay(config.buffer_size, spec.observation_shape, replay_rng),
        LinearDecay(1.0, config.exploration_final, max(1, round(config.exploration_fraction * config.steps))),
        schedule,
        exploration_rng,
        NStepTransitions(config.n_step, config.discount),
        config.double,
        max(0.0, 1 - config.train_freq / config.averaging_steps) if config.averaging_steps else 0.0,
    )
