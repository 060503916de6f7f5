"""Deep Q-learning: acting, remembering, learning."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from edgedqn.agents.errors import DivergedError
from edgedqn.agents.files import Json
from edgedqn.agents.learner import FusedLearner, Learned
from edgedqn.agents.losses import TemporalDifference
from edgedqn.agents.n_step import NStepTransitions
from edgedqn.agents.reader import Actor, Networks
from edgedqn.agents.replay import Draw, Handle, Replay
from edgedqn.agents.training.checkpoints import State, Weights, prefixed, under
from edgedqn.agents.training.exploration import EpsilonGreedyExploration
from edgedqn.agents.training.interaction import Step


@dataclass(frozen=True, kw_only=True)
class LearningSchedule:
    """When the agent learns, counted in environment steps."""

    learning_starts: int  # no learning before this many steps
    train_freq: int  # an update follows after each so many steps ...
    gradient_steps: int  # ... and takes this many gradient steps, in one compiled call
    batch_size: int  # transitions in a minibatch
    # The online network is copied to the target network after this many steps; it takes effect at the next update, so every
    # interval up to `train_freq` means the same.
    target_update_interval: int
    target_update_rate: float = 1.0  # below 1, the target network instead moves this share of the way at each gradient step
    averaging: float = 0.0  # the share of the running average of the weights that each update keeps, in [0, 1)

    def __post_init__(self) -> None:
        for name in ("train_freq", "gradient_steps", "batch_size", "target_update_interval"):
            if getattr(self, name) < 1:
                raise ValueError(f"Expected {name} of 1 or more. Got {name}={getattr(self, name)}.")

    def gradient_steps_by(self, env_steps: int) -> int:
        """How many gradient steps have been taken after so many environment steps."""
        updates = env_steps // self.train_freq - self.learning_starts // self.train_freq
        return max(0, updates) * self.gradient_steps

    def env_steps_for(self, gradient_steps: int) -> int:
        """After how many environment steps so many gradient steps have been taken."""
        updates = -(-gradient_steps // self.gradient_steps)
        return (self.learning_starts // self.train_freq + updates) * self.train_freq


class DQN:
    """A deep Q-network agent. Dueling heads and quantiles are the network's, priorities the replay's, Double DQN the loss's,
    multi-step returns the transitions': each composes with all others.

    Differences from Mnih et al. (2015): Adam and gradient clipping as the optimizer is built; several gradient steps after
    several environment steps, as Stable-Baselines3 does it.
    """

    def __init__(
        self,
        networks: Networks,
        *,
        optimizer: tf_keras.optimizers.Optimizer,
        replay: Replay,
        exploration: EpsilonGreedyExploration,
        schedule: LearningSchedule,
        loss: TemporalDifference,
        overlap: bool = False,
        xla: bool = True,
    ):
        """Takes built objects.

        The target network starts as a copy of what the network computes with. With `overlap`, an update is learned in a thread
        of its own while the agent plays on by the weights before it, up to the next update or the end of the episodes: always
        at the same steps, so that the same seed comes to the same weights. `xla` compiles the learning by XLA, where it suits
        the variables.
        """
        self.network, self._target_network, reader = networks
        self.env_steps = 0
        self.gradient_steps = 0
        self.last_loss = float("nan")
        self._learned = 0  # calls of the learner
        self._optimizer = optimizer
        self.learning_rate = float(optimizer.learning_rate)  # of the last step that was taken over
        self._replay = replay
        self._exploration = exploration
        self.schedule = schedule
        self._loss = loss
        self._episodes: dict[int, tuple[NStepTransitions[Handle], Handle]] = {}  # in progress, by env_index
        self._largest_reward = 0.0
        self._first_error = 0.0
        self._reader = reader
        self._average: Weights = self._weights()
        self._actor = reader.actor(self._average)
        self._target_is_due = True
        self._thread = ThreadPoolExecutor(1) if overlap else None
        self._update: tuple[Callable[[], Learned], Draw] | None = None  # in progress
        self._learner = FusedLearner(
            self._minibatch_loss,
            self.network.trainable_variables,
            optimizer=optimizer,
            weights=reader.weights,
            targets=self._target_network.trainable_variables,
            target_update_rate=schedule.target_update_rate,
            xla=xla,
        )

    @property
    def epsilon(self) -> float:
        """The probability that the next action is random."""
        return self._exploration.epsilon(self.env_steps)

    def averaged_weights(self) -> Weights:
        """A copy of the running average of the network's weights: what is scored, kept and deployed.

        A DQN's last weights jump about; their average is a better policy, and one that survives small errors, which is what
        rounding to integers makes (measured in docs/decisions.md).

        Source: Polyak and Juditsky (1992), "Acceleration of stochastic approximation by averaging".
        """
        return self._reader.admissible(self._average)

    def policy(self, weights: Weights) -> Actor:
        """The greedy policy of weights of this network."""
        return self._reader.actor(weights)

    def act(self, observation: NDArray[np.generic], legal: NDArray[np.bool_] | None = None, /) -> int:
        """Epsilon-greedy: [*observation_shape] -> an action. Which are legal it takes from the observation."""
        return self._exploration.act(observation, self.env_steps, lambda: self._actor(observation))

    def act_in_all(self, observations: NDArray[np.generic]) -> NDArray[np.int64]:
        """Epsilon-greedy: [L, *observation_shape] -> actions [L]."""
        return self._exploration.act_in_all(observations, self.env_steps, lambda: self._actor.actions(observations))

    def observe(self, step: Step) -> None:
        """Remembers one step of an environment, and learns when it is time. `step.s_tm1` is stored at the start of an episode
        only; later it is the s_t of the step before.

        Raises:
          DivergedError: the loss became NaN or infinite, or errors grew beyond what the rewards allow.
        """
        if step.env_index in self._episodes:
            transitions, before = self._episodes.pop(step.env_index)
        else:
            transitions, before = NStepTransitions(self._loss.n_step, self._loss.discount), self._replay.store(step.s_tm1, None)
        after = self._replay.store(step.s_t, before)
        for transition in transitions.step(
            before, step.a_tm1, r_t=step.r_t, terminated=step.terminated, truncated=step.truncated, s_t=after
        ):
            self._replay.add(transition)
        if not (step.terminated or step.truncated):
            self._episodes[step.env_index] = (transitions, after)
        else:
            self._exploration.forget(step.env_index)
        self._largest_reward = max(self._largest_reward, abs(step.r_t))
        self.env_steps += 1
        schedule = self.schedule
        if self.env_steps % schedule.target_update_interval == 0:
            self._target_is_due = True
        is_time = self.env_steps > schedule.learning_starts and self.env_steps % schedule.train_freq == 0
        if is_time and len(self._replay) > 0:  # the first transition may take several steps
            self._learn()

    def cut_episodes(self, env_index: int | None = None) -> None:
        """Ends the episodes in progress, or that of one environment, as if they had been truncated here, so that nothing is
        pending: at a checkpoint, or where that environment is gone."""
        self._finish_update()
        for cut in [*self._episodes] if env_index is None else {env_index} & self._episodes.keys():
            transitions, last = self._episodes.pop(cut)
            for transition in transitions.cut(last):
                self._replay.add(transition)
        self._exploration.forget(env_index)

    @property
    def state_bytes(self) -> int:
        """About how large `state` becomes, when the replay is full."""
        variables = sum(variable.numpy().nbytes for group in self._variables().values() for variable in group)
        return self._replay.nbytes + variables + sum(array.nbytes for array in self._average)

    def state(self) -> State:
        """All that decides the future, as arrays and JSON for `restore`. No episode may be in progress.

        The arrays are views; write them before the agent goes on.
        """
        assert not self._episodes, "episodes are cut before a state is taken"
        replay_arrays, replay = self._replay.state()
        arrays = prefixed("replay", replay_arrays)
        for name, group in self._variables().items():
            arrays |= {f"{name}_{i}": variable.numpy() for i, variable in enumerate(group)}
        arrays |= {f"average_{i}": array for i, array in enumerate(self._average)}
        values = {name: getattr(self, name) for name in _COUNTERS}
        return arrays, {**values, "rng": self._exploration.rng.bit_generator.state, "replay": replay}

    def restore(self, arrays: Mapping[str, NDArray[Any]], values: Json) -> None:
        """Goes on exactly where `state` was taken. Raises KeyError or ValueError where the agent was built otherwise."""
        for name, group in self._variables().items():
            for i, variable in enumerate(group):
                variable.assign(np.array(arrays[f"{name}_{i}"]))
        self._average = [np.array(arrays[f"average_{i}"]) for i in range(len(self._average))]
        self._replay.restore(under("replay", arrays), values["replay"])
        for name in _COUNTERS:
            setattr(self, name, values[name])
        self.learning_rate = float(self._optimizer.learning_rate)
        self._exploration.rng.bit_generator.state = values["rng"]
        self._actor = self._reader.actor(self._weights())

    def _minibatch_loss(self, *minibatch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The mean loss of a minibatch, its samples weighted where the replay gives weights, and the error of each."""
        training = self._reader.acts_in_training
        losses, errors = self._loss(self.network, self._target_network, minibatch[:5], training=training)  # [B], [B]
        return tf.reduce_mean(losses * minibatch[5] if len(minibatch) > 5 else losses), errors

    def _learn(self) -> None:
        self._finish_update()
        schedule = self.schedule
        transitions, draw = self._replay.sample(schedule.gradient_steps, schedule.batch_size)
        weights = () if draw.weights is None else (draw.weights,)
        copy = (self._target_is_due and schedule.target_update_rate == 1) or self._learned == 0
        self._target_is_due = False
        self._learned += 1
        learn = partial(self._learner.learn, *transitions, *weights, copy_to_target=copy)
        self._update = (self._thread.submit(learn).result if self._thread else learn, draw)
        if self._thread is None:
            self._finish_update()

    def _finish_update(self) -> None:
        """Takes over what the update in progress comes to; there may be none."""
        if self._update is None:
            return
        (result, draw), self._update = self._update, None
        try:
            learned = result()
        except DivergedError as error:
            raise DivergedError(f"Learning diverged at environment step {self.env_steps}. {error}") from error
        self._first_error = self._first_error or float(learned.errors[0].max())
        self._check_size(float(learned.errors.max()))
        self._replay.sampler.learned(draw.slots, learned.errors)
        self.last_loss = float(learned.losses.mean())
        self.learning_rate = float(self._optimizer.learning_rate)
        self.gradient_steps += learned.losses.size
        self._actor = self._reader.actor(learned.weights)
        # A shorter memory while there is little to remember, so that the initial weights are soon forgotten.
        keep = np.float32(min(self.schedule.averaging, self._learned / (self._learned + 5)))
        self._average = [keep * old + (1 - keep) * new for old, new in zip(self._average, learned.weights, strict=True)]

    def _weights(self) -> Weights:
        return [np.asarray(tensor).copy() for tensor in self._reader.weights()]

    def _check_size(self, error: float) -> None:
        """No value can be larger than the largest reward, paid for ever. An error a hundred times that is no longer noise, nor
        left over from the initial weights, where observations are large."""
        discount = self._loss.discount
        possible = self._largest_reward * (min(1 / (1 - discount), 1e5) if discount < 1 else 1e5)
        if error > 100 * max(possible, self._first_error, 1.0):
            raise DivergedError(
                f"Values exploded at environment step {self.env_steps}: rewards of at most {self._largest_reward:.4g} allow "
                f"values of {possible:.4g}. Got an error of {error:.4g}. A smaller learning rate may help."
            )

    def _variables(self) -> dict[str, list[tf.Variable]]:
        return {
            "online": self.network.variables,
            "target": self._target_network.variables,
            "optimizer": self._optimizer.variables,
            "learning_rate": [self._optimizer.learning_rate],  # of a schedule it is no variable of the optimizer's
        }


_COUNTERS = ("env_steps", "gradient_steps", "last_loss", "_learned", "_target_is_due", "_largest_reward", "_first_error")
