"""The agent that a configuration describes."""

from dataclasses import dataclass, fields, replace

import numpy as np
import tf_keras

from edgedqn.agents.dqn import DQN, LearningSchedule
from edgedqn.agents.errors import InputError
from edgedqn.agents.learner import adam
from edgedqn.agents.losses import TemporalDifference
from edgedqn.agents.networks import find_torso, q_network
from edgedqn.agents.playing.spec import EnvironmentSpec, OneHot
from edgedqn.agents.prioritized import Prioritized
from edgedqn.agents.q_learning import QLearning
from edgedqn.agents.reader import Networks, PlainReader
from edgedqn.agents.replay import Replay, Sampler
from edgedqn.agents.training.config import QLearningConfig, TrainingConfig
from edgedqn.agents.training.exploration import EpsilonGreedyExploration

LARGEST_TABLE = 10_000_000  # values; some 400 MB as Python floats, and as a device's file far too large


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


def build_dqn(spec: EnvironmentSpec, config: TrainingConfig, *, rng: np.random.Generator) -> DQN:
    """Builds the agent that `config` describes, for `spec`; all its randomness is spawned from `rng`.

    Raises:
      InputError: the network does not fit the observations, or the replay does not fit in memory.
    """
    weights_rng, replay_rng, exploration_rng = rng.spawn(3)
    network, target_network = (build_network(spec, config, weights_rng) for _ in range(2))
    networks = Networks(network, target_network, PlainReader(network, masked=spec.masked))
    return assemble_dqn(networks, spec, config=config, rngs=(replay_rng, exploration_rng))


def assemble_dqn(
    networks: Networks,
    spec: EnvironmentSpec,
    *,
    config: TrainingConfig,
    rngs: tuple[np.random.Generator, np.random.Generator],
    first_epsilon: float = 1.0,
    xla: bool = True,
) -> DQN:
    """The agent that learns these networks as `config` says; what that says of networks is not looked at.

    Args:
      networks: of observations as the environment gives them.
      spec: of the environment.
      config: all else.
      rngs: of the replay and of exploration.
      first_epsilon: of random actions at the start.
      xla: compile the learning by XLA, where that suits the variables.
    Raises:
      InputError: the replay does not fit in memory.
    """
    variables = networks.network.trainable_variables
    replay_rng, exploration_rng = rngs
    updates = max(1, (config.steps - config.learning_starts) // config.train_freq)
    minibatches = updates * config.gradient_steps
    rate: float | tf_keras.optimizers.schedules.LearningRateSchedule = config.learning_rate
    if config.learning_rate_decay:
        rate = tf_keras.optimizers.schedules.PolynomialDecay(rate, minibatches, rate * (1 - config.learning_rate_decay))
    same = {each.name: getattr(config, each.name) for each in fields(LearningSchedule) if each.name != "averaging"}
    averaging = max(0.0, 1 - config.train_freq / config.averaging_steps) if config.averaging_steps else 0.0
    schedule = LearningSchedule(**same, averaging=averaging)
    sampler: Sampler = Sampler(replay_rng)
    if config.prioritized:
        sampler = Prioritized(
            config.buffer_size,
            replay_rng,
            alpha=config.priority_exponent,
            beta=config.importance_exponent,
            anneal_minibatches=minibatches,
        )
    return DQN(
        networks,
        optimizer=adam(rate, variables, epsilon=config.adam_epsilon, max_gradient_norm=config.max_gradient_norm, xla=xla),
        replay=Replay(
            config.buffer_size, spec.input_shape, dtype=spec.observation_dtype, sampler=sampler, frame_stack=spec.frame_stack
        ),
        exploration=_explorer(config, spec, exploration_rng, first_epsilon),
        schedule=schedule,
        loss=TemporalDifference(
            n_step=config.n_step,
            discount=config.discount,
            double=config.double,
            square=config.loss == "mse",
            masked=spec.masked,
        ),
        overlap=config.overlap,
        xla=xla,
    )


def build_q_learning(spec: EnvironmentSpec, config: QLearningConfig, *, rng: np.random.Generator) -> QLearning:
    """Builds the agent that `config` describes, for `spec`; all its randomness is drawn from `rng`.

    Raises:
      InputError: the observations are not the number of a state, or there are too many states for a table.
    """
    if OneHot() not in spec.preprocessing:
        raise InputError(
            f"A Q-table takes the number of a state: expected Discrete observations. Got {spec.id} with observations of shape "
            f"{spec.observation_shape}; those are for a Q-network."
        )
    n_states = replace(spec, preprocessing=(OneHot(),)).input_shape[0]
    if n_states * spec.n_actions > LARGEST_TABLE:
        raise InputError(
            f"The Q-table would not fit: expected at most {LARGEST_TABLE:,} values. Got {spec.id} with {n_states:,} states and "
            f"{spec.n_actions} actions."
        )
    return QLearning(
        n_states,
        spec.n_actions,
        exploration=_exploration(config),
        learning_rate=LinearDecay(config.learning_rate, config.learning_rate_final, config.steps),
        discount=config.discount,
        initial_value=config.initial_value,
        rng=rng,
        masked=spec.masked,
    )


def _exploration(config: TrainingConfig | QLearningConfig, first: float = 1.0) -> LinearDecay:
    return LinearDecay(first, config.exploration_final, max(1, round(config.exploration_fraction * config.steps)))


def _explorer(
    config: TrainingConfig, spec: EnvironmentSpec, rng: np.random.Generator, first_epsilon: float
) -> EpsilonGreedyExploration:
    return EpsilonGreedyExploration(
        _exploration(config, first_epsilon),
        n_actions=spec.n_actions,
        rng=rng,
        duration=config.exploration_duration,
        masked=spec.masked,
    )


def build_network(spec: EnvironmentSpec, config: TrainingConfig, rng: np.random.Generator) -> tf_keras.Model:
    """The network that `config` describes, with fresh weights. Raises InputError where it does not fit the observations."""
    torso = find_torso(config.network_for(spec.input_shape))
    try:
        return q_network(
            spec.input_shape,
            spec.n_actions,
            hidden=config.hidden,
            rng=rng,
            torso=torso,
            dueling=config.dueling,
            quantiles=config.quantiles,
            input_scale=spec.input_scale[0] if len(spec.input_scale) == 1 else list(spec.input_scale),
        )
    except InputError:
        raise  # says what is wrong already
    except (TypeError, ValueError) as error:  # a torso of one's own may have another signature, or expect other shapes
        raise InputError(f"The network does not fit observations of {spec.input_shape}: {error}") from error
