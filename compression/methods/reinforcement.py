"""Fine-tuning by reinforcement learning, while the network is being pruned, clustered or rounded.

The learner is that of `agents`, with all it has. What is here tells it what a network in TF-MOT's wrappers computes with.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields, replace
from functools import partial
from itertools import islice
from typing import ClassVar

import numpy as np
import tensorflow as tf
import tf_keras

from edgedqn.agents.chain import ChainReader
from edgedqn.agents.errors import require
from edgedqn.agents.numpy_network import NumpyNetwork
from edgedqn.agents.playing.environments import agent_view, make_environment
from edgedqn.agents.playing.evaluation import evaluate
from edgedqn.agents.playing.spec import EnvironmentSpec
from edgedqn.agents.reader import NetworkReader, Networks
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.agents.training.build import assemble_dqn
from edgedqn.agents.training.config import TrainingConfig
from edgedqn.agents.training.interaction import interact
from edgedqn.agents.training.loop import TrainingLog, TrainingSchedule, train
from edgedqn.agents.training.selection import ALIKE, CheckpointSelection
from edgedqn.compression.folding import InputScaling, Weights
from edgedqn.compression.methods.distillation import STEPS_PER_CALL, FineTuned, Training
from edgedqn.compression.policy import Meaning
from edgedqn.compression.stage import CompressionContext, Student, StudentPolicy, scaled_policy
from edgedqn.compression.tfmot import wrappers


@dataclass(frozen=True, kw_only=True)
class TdLearning(Training):
    """Goes on learning as the agent itself was trained: the same DQN, its n-step returns, averaged weights and loss, by default
    its minibatches too. What is kept is the best of what was evaluated on the way, by the rule of that training; also the
    start, unless it is still to be pruned.

    It begins from an agent that plays already, so the learning rate is small, and before the first gradient step the replay is
    filled with play that begins at random and becomes the agent's own: one that never fails would forget what failure looks
    like. One gradient step per environment step.

    Attributes:
      from_scratch: all settings are the agent's own, those of exploration too; no other but `trainings` and `attempts` may be
        given.
      trainings: how long, in trainings of the agent, from scratch. A network that is pruned meanwhile learns more slowly, and
        only what it is after its last weights went can be chosen.
      attempts: at most, each from the same weights, and the second twice as long as the first, the third three times, unless
        from scratch: until one plays as well as the agent, within 0.2 % of its return, in the episodes by which checkpoints
        are chosen. The best is taken.
      batch_size, discount, n_step, averaging_steps, evaluation_episodes: None takes the agent's own.
      target_update_interval: gradient steps between two copies of the network to its target; rounded up to 50.
      first_epsilon: of random actions at the start; it falls to `epsilon` over the first tenth of the steps.
      epsilon: of random actions from there on.
      buffer_size: transitions that are remembered.
      learning_starts: environment steps before the first gradient step; rounded up to 50.
      evaluations: of what has been learned, at equal distances.
      evaluation_episodes: of each evaluation. The best are then played again, ten times as long.
    Source: van Hasselt et al. (2016); Graesser et al. (2022), "The state of sparse training in deep reinforcement
      learning", for pruning within it: the masks live in the online network, and its target is a copy of what it computes.
    """

    steps: int = 10_000
    batch_size: int | None = None  # type: ignore[assignment]
    learning_rate: float = 1e-4
    from_scratch: bool = False
    trainings: float = field(default=1.0, metadata={"later": True})
    attempts: int = field(default=1, metadata={"later": True})
    discount: float | None = None
    n_step: int | None = None
    averaging_steps: int | None = None
    target_update_interval: int = 500
    first_epsilon: float = 1.0
    epsilon: float = 0.05
    buffer_size: int = 50_000
    learning_starts: int = 10_000
    evaluations: int = 20
    evaluation_episodes: int | None = None
    meaning: ClassVar[Meaning] = "q_values"  # of the output after it

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = {
            name: getattr(self, name)
            for name in ("target_update_interval", "buffer_size", "n_step", "evaluations", "evaluation_episodes")
        }
        least = min(size for size in sizes.values() if size is not None)
        require(least >= 1, f"Expected {', '.join(sizes)} of 1 or more. Got {', '.join(map(str, sizes.values()))}.")
        waits = (self.learning_starts, self.averaging_steps or 0)
        require(min(waits) >= 0, f"Expected learning_starts and averaging_steps of 0 or more. Got {waits}.")
        require(
            (self.discount is None or 0 <= self.discount <= 1) and 0 <= self.epsilon <= self.first_epsilon <= 1,
            "Expected a discount in [0, 1] and 0 <= epsilon <= first_epsilon <= 1. "
            f"Got {self.discount}, {self.epsilon} and {self.first_epsilon}.",
        )
        require(self.attempts >= 1, f"Expected attempts of 1 or more. Got {self.attempts}.")
        of_scratch = self.trainings >= 1 and (self.from_scratch or self.trainings == 1)
        require(of_scratch, f"Expected trainings of 1 or more, from scratch. Got {self.trainings}.")
        others = [each for each in fields(self) if each.name not in ("from_scratch", "trainings", "attempts")]
        changed = [each.name for each in others if getattr(self, each.name) != each.default]
        require(
            not (self.from_scratch and changed),
            f"from_scratch learns as the agent was trained. Expected no other setting beside it. Got {', '.join(changed)}.",
        )

    def config(self, agent: TrainedAgent) -> TrainingConfig:
        """The settings of the learning, in the words of a training."""
        own = agent.training
        if not isinstance(own, TrainingConfig):  # it was a table
            own = TrainingConfig(steps=own.steps, discount=own.discount)
        if self.from_scratch:
            return replace(own, steps=round(self.trainings * own.steps), num_envs=1, overlap=False)
        names = ("batch_size", "discount", "n_step", "averaging_steps", "evaluation_episodes")
        given = {name: getattr(self, name) for name in names}
        waits, steps = (-(-count // STEPS_PER_CALL) * STEPS_PER_CALL for count in (self.learning_starts, self.steps))
        return replace(
            own,
            **{name: value for name, value in given.items() if value is not None},
            steps=waits + steps,
            learning_rate=self.learning_rate,
            learning_rate_decay=1 - self.final_learning_rate / self.learning_rate,
            buffer_size=self.buffer_size,
            learning_starts=waits,
            train_freq=STEPS_PER_CALL,
            gradient_steps=STEPS_PER_CALL,
            target_update_interval=-(-self.target_update_interval // STEPS_PER_CALL) * STEPS_PER_CALL,
            target_update_rate=1.0,
            exploration_fraction=0.1,
            exploration_final=self.epsilon,
            num_envs=1,
            overlap=False,  # weights are chosen by zeros of the network as it is
            evaluation_interval=max(1, steps // self.evaluations),
        )

    def planned_steps(self, agent: TrainedAgent) -> int:
        """The gradient steps it takes for an agent."""
        config = self.config(agent)
        return (config.steps // config.train_freq - config.learning_starts // config.train_freq) * config.gradient_steps

    def fine_tune(
        self, wrapped: tf_keras.Model, student: Student, *, context: CompressionContext, label: str, ready_after: int = 0
    ) -> FineTuned:
        """Goes on learning Q-values in the environment, and leaves the best weights in `wrapped`.

        Args:
          wrapped: the student's network in TF-MOT's wrappers of pruning or clustering. It changes.
          student: gives the input scaling; the target network is built like its network.
          context: the environment, and the generator.
          label: of the progress bar on stderr, which is silent where that is no terminal.
          ready_after: gradient steps before which no weights may be chosen; 0 where the start may be, too.
        Raises:
          DivergedError: the loss or a weight became NaN or infinite.
          BadTransitionError: the environment gave a NaN or an infinity.
        """
        assert student.meaning == "q_values", "a recipe refuses this: preferences are no values"
        target = tf_keras.models.clone_model(student.network)
        networks = Networks(
            QNetwork(wrapped, student.scaling, wrapped.trainable_variables),
            QNetwork(target, student.scaling, target.trainable_variables),
            _WrappedReader(wrapped, student, context.teacher.spec),
        )
        clustered, start = wrappers.is_clustered(wrapped), wrapped.get_weights()
        seeds = list(islice(context.reset_seeds, 10 * self.config(context.teacher).evaluation_episodes))
        tried: list[tuple[FineTuned, Weights]] = []
        for number in range(1, self.attempts + 1):
            wrapped.set_weights(start)
            attempt = self if self.from_scratch else replace(self, steps=number * self.steps)
            tried.append(
                attempt.learn(networks, context, label=label, seeds=seeds, ready_after=ready_after, clustered=clustered)
            )
            if self.attempts == 1 or _plays_as_well(tried[-1][0], context, seeds):
                break
        learned, weights = max(tried, key=lambda each: -np.inf if each[0].mean_return is None else each[0].mean_return)
        wrappers.set_effective_weights(wrapped, weights)
        return learned

    def learn(
        self,
        networks: Networks,
        context: CompressionContext,
        *,
        label: str,
        seeds: list[int] | None = None,
        ready_after: int = 0,
        clustered: bool = False,
    ) -> tuple[FineTuned, Weights]:
        """Learns networks of observations in the environment, as `fine_tune` does: what it came to, and the best weights.

        `seeds` are those by which checkpoints are chosen, the next ones where they are None. The average of clustered weights
        has more values than they, and XLA is slow with them, so those have neither.
        """
        config, spec, rng = self.config(context.teacher), context.teacher.spec, context.rng
        if clustered:
            config = replace(config, averaging_steps=0)
        replay_rng, exploration_rng = rng.spawn(2)
        agent = assemble_dqn(
            networks,
            spec,
            config=config,
            rngs=(replay_rng, exploration_rng),
            first_epsilon=1.0 if self.from_scratch else self.first_epsilon,
            xla=not clustered,
        )
        seeds = seeds or list(islice(context.reset_seeds, 10 * config.evaluation_episodes))
        with closing(agent_view(make_environment(spec.source), spec)) as env:
            selection = CheckpointSelection(
                env=env,
                seeds=lambda count: seeds[:count],
                episodes=config.evaluation_episodes,
                finalists=config.finalists,
                n_actions=spec.n_actions,
                seed=int(rng.integers(2**31)),
                keep_from=agent.schedule.env_steps_for(ready_after) if ready_after else 0,
            )
            if not ready_after:
                selection.consider(agent)
            report = train(
                agent,
                partial(interact, env=context.env, env_id=spec.id),
                label=label,
                schedule=TrainingSchedule(config.steps, config.evaluation_interval),
                reset_seeds=context.reset_seeds,
                selection=selection,
                checkpoints=None,
                log=TrainingLog(),
            )
        checkpoint = agent.schedule.gradient_steps_by(report.best.env_steps)
        return FineTuned(agent.last_loss, checkpoint, report.best.mean_return), report.best.weights


def _plays_as_well(learned: FineTuned, context: CompressionContext, seeds: Sequence[int]) -> bool:
    """As the agent itself on these seeds, or as good as."""
    with closing(agent_view(make_environment(context.teacher.spec.source), context.teacher.spec)) as env:
        wanted = float(np.mean(evaluate(context.teacher.policy, env, seeds=seeds).returns))
    assert learned.mean_return is not None
    return learned.mean_return >= wanted - ALIKE * abs(wanted)


class QNetwork:
    """A network as `DQN` calls it: with observations as the environment gives them, which it scales."""

    def __init__(
        self,
        network: Callable[..., tf.Tensor],
        scaling: InputScaling,
        variables: Sequence[tf.Variable],
    ):
        """Takes a network of scaled observations, [B, ...] and `training` -> Q-values [B, A], and what is learned of it."""
        self._network, self._scaling = network, scaling
        self.trainable_variables = self.variables = variables
        self.output_shape = (None, None)  # the mean of the return, no quantiles

    def __call__(self, observations: tf.Tensor, training: bool = False) -> tf.Tensor:
        return self._network(self._scaling.tensor(observations), training=training)


class _WrappedReader(NetworkReader):
    """Of a network in TF-MOT's wrappers of pruning or clustering."""

    acts_in_training = True

    def __init__(self, wrapped: tf_keras.Model, student: Student, spec: EnvironmentSpec):
        self._wrapped, self._scaling, self._shape, self.masked = wrapped, student.scaling, spec.input_shape, spec.masked
        self._chain = ChainReader(student.network)
        self.n_actions = self._chain.n_actions

    def weights(self) -> list[tf.Tensor]:
        return wrappers.effective_weights(self._wrapped)

    def admissible(self, weights: Weights) -> Weights:
        return [np.asarray(array * mask) for array, mask in zip(weights, wrappers.masks(self._wrapped), strict=True)]

    def actor(self, weights: Weights) -> StudentPolicy:
        return scaled_policy(NumpyNetwork(self._chain(weights), self._shape), self._scaling, masked=self.masked)
