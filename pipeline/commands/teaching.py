"""A policy that is no network of ours plays, and a network of ours is taught to do the same."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import gymnasium
import numpy as np
import tf_keras
from numpy.typing import NDArray
from tqdm import tqdm

from edgedqn.agents.playing.environments import agent_view, make_environment
from edgedqn.agents.playing.evaluation import evaluate, gather_observations
from edgedqn.agents.playing.gate import Gate
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
ENOUGH_STEPS = 200_000  # of the environment, on each stream: the gate looks at no more episodes than these make
LEARNING = Distil(learning=Distillation(steps=10_000, final_learning_rate=1e-5), rounds=4)


@dataclass(frozen=True)
class Taught:
    """What came of it.

    Attributes:
      agent: a chain of ours, of the widths of the environment's preset, that acts as its teacher does. `taught_by` has the
        teacher's returns on the seeds of `select` and `prove`, with which the gate compares the agent's files.
      teacher: its mean return, over the first 100 episodes of `select`, or fewer where the gate looks no further.
      difference: the agent's return minus this, paired, with its 95 % interval.
    """

    agent: TrainedAgent
    teacher: float
    difference: Interval


@dataclass(frozen=True, kw_only=True)
class _Pupil(TrainedAgent):
    """A fresh network, in whose place its teacher acts: what a recipe takes for the agent."""

    teacher: Teacher

    @property
    def policy(self) -> Teacher:  # type: ignore[override]
        return self.teacher


def teach(teacher: Teacher, spec: EnvironmentSpec, *, streams: SeedStreams, states: int, gate: Gate) -> Taught:
    """Lets a teacher play, and a network of ours learn its choices in the states that both meet.

    Args:
      teacher: of observations as `spec` has them.
      spec: of the environment.
      streams: `calibrate` for what is learned from, `select` and `prove` for what files are compared with.
      states: the teacher's own observations that later stages are calibrated on, >= 1.
      gate: the teacher plays as many episodes as this looks at, up to the look at which it has made 200,000 steps.
    Raises:
      InputError: the teacher failed, or ranks all actions alike.
    """
    config = find_preset(spec.id, kind=observation_kind(spec.observation_shape, spec.preprocessing), algorithm="dqn")
    assert isinstance(config, TrainingConfig)
    rng, seeds = streams.rng("calibrate", "teach"), streams.reset_seeds("calibrate")
    with closing(agent_view(make_environment(spec.source), spec)) as env:
        observations = gather_observations(teacher, env, reset_seeds=seeds, count=states)
        network = build_network(spec, replace(config, dueling=False, quantiles=0), rng)
        pupil = _Pupil(network=network, spec=spec, observations=observations, statistics={}, teacher=teacher)
        learning = Stream() if len(spec.input_shape) == 3 else LEARNING
        recipe = Recipe("teach", "", (ScaleInput(), learning), "float32")
        learned = compress(pupil, recipe, env=env, reset_seeds=seeds, rng=rng)
        chain = tf_keras.models.clone_model(learned.network)
        chain.set_weights(unfold_input_scaling(learned.network.get_weights(), learned.scaling))
        taught_by = {
            streams.first_reset_seed(stream): _returns(teacher, env, streams.reset_seeds(stream), gate)
            for stream in ("select", "prove")
        }
        agent = TrainedAgent(chain, spec, observations, {}, taught_by=taught_by)
        wanted = taught_by[streams.first_reset_seed("select")][:EPISODES]
        found = np.array(evaluate(agent.policy, env, seeds=streams.first_reset_seeds("select", len(wanted))).returns)
    difference = bootstrap_interval(found - wanted)
    return Taught(agent=agent, teacher=float(wanted.mean()), difference=difference)


def _returns(teacher: Teacher, env: gymnasium.Env[Any, Any], reset_seeds: Iterator[int], gate: Gate) -> NDArray[np.float64]:
    """[N] of the first N seeds, N one of the gate's looks."""
    returns, env_steps = list[float](), 0
    for look in gate.looks:
        seeds = tqdm(
            list(islice(reset_seeds, look - len(returns))), "the teacher plays", unit="episode", disable=None, leave=False
        )
        played = evaluate(teacher, env, seeds=seeds)
        returns += played.returns
        env_steps += played.env_steps
        if env_steps >= ENOUGH_STEPS:
            break
    return np.array(returns)
