"""A policy that is no network of ours plays, and a network of ours is taught to do the same."""

from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import tf_keras

from edgedqn.agents.playing.environments import agent_view, make_environment
from edgedqn.agents.playing.evaluation import Policy, evaluate, gather_observations
from edgedqn.agents.playing.spec import EnvironmentSpec, observation_kind
from edgedqn.agents.playing.statistics import Interval, bootstrap_interval
from edgedqn.agents.teaching.teachers import Teacher
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.agents.training.build import build_network
from edgedqn.agents.training.config import TrainingConfig
from edgedqn.agents.training.presets import find_preset
from edgedqn.compression.compress import compress
from edgedqn.compression.folding import unfold_input_scaling
from edgedqn.compression.methods.distillation import Distil, Distillation
from edgedqn.compression.methods.initialization import ScaleInput
from edgedqn.compression.methods.streaming import Stream
from edgedqn.compression.recipe import Recipe
from edgedqn.pipeline.seeds import SeedStreams

EPISODES = 100
LEARNING = Distil(learning=Distillation(steps=10_000, final_learning_rate=1e-5), rounds=4)


@dataclass(frozen=True)
class Taught:
    """What came of it.

    Attributes:
      agent: a chain of ours, of the widths of the environment's preset, that acts as its teacher does.
      teacher: its mean return, over 100 episodes of the `select` seeds.
      student: the agent's, over the same.
      difference: student minus teacher, paired, with its 95 % interval.
    """

    agent: TrainedAgent
    teacher: float
    student: float
    difference: Interval


@dataclass(frozen=True)
class _Pupil(TrainedAgent):
    """A fresh network, in whose place its teacher acts: what a recipe takes for the agent."""

    taught_by: Teacher

    @property
    def policy(self) -> Teacher:  # type: ignore[override]
        return self.taught_by


def teach(teacher: Teacher, spec: EnvironmentSpec, *, streams: SeedStreams, states: int) -> Taught:
    """Lets a teacher play, and a network of ours learn its choices in the states that both meet.

    Args:
      teacher: of observations as `spec` has them.
      spec: of the environment.
      streams: `calibrate` for what is learned from, `select` for what is compared.
      states: the teacher's own observations that later stages are calibrated on, >= 1.
    Raises:
      InputError: the teacher failed, or ranks all actions alike.
    """
    config = find_preset(spec.id, kind=observation_kind(spec.observation_shape, spec.preprocessing), algorithm="dqn")
    assert isinstance(config, TrainingConfig)
    rng, seeds = streams.rng("calibrate", "teach"), streams.reset_seeds("calibrate")
    with closing(agent_view(make_environment(spec.source), spec)) as env:
        observations = gather_observations(teacher, env, reset_seeds=seeds, count=states)
        network = build_network(spec, replace(config, dueling=False, quantiles=0), rng)
        pupil = _Pupil(network=network, spec=spec, observations=observations, statistics={}, taught_by=teacher)
        learning = Stream() if len(spec.input_shape) == 3 else LEARNING
        recipe = Recipe("teach", "", (ScaleInput(), learning), "float32")
        learned = compress(pupil, recipe, env=env, reset_seeds=seeds, rng=rng)
        chain = tf_keras.models.clone_model(learned.network)
        chain.set_weights(unfold_input_scaling(learned.network.get_weights(), learned.scaling))
        agent = TrainedAgent(chain, spec, observations, {})

        def returns(policy: Policy) -> np.ndarray:
            return np.array(evaluate(policy, env, seeds=streams.first_reset_seeds("select", EPISODES)).returns)

        wanted, found = returns(teacher), returns(agent.policy)
    difference = bootstrap_interval(found - wanted)
    return Taught(agent=agent, teacher=float(wanted.mean()), student=float(found.mean()), difference=difference)
