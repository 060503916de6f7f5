"""A policy that is no network of ours plays, and a network of ours is taught to do the same."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import gymnasium
import numpy as np
import tf_keras
from numpy.typing import NDArray

from edgedqn.agents.playing.environments import agent_view, make_environment
from edgedqn.agents.playing.evaluation import Policy, evaluate, gather_observations
from edgedqn.agents.playing.gate import Gate
from edgedqn.agents.playing.spec import EnvironmentSpec, observation_kind
from edgedqn.agents.teaching.teachers import Teacher
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.agents.training.bars import tqdm
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

ENOUGH_STEPS = 200_000  # of the environment, on each stream: the gate looks at no more episodes than these make
LEARNING = Distil(learning=Distillation(steps=10_000, final_learning_rate=1e-5), rounds=4)


@dataclass(frozen=True, kw_only=True)
class _UntrainedStudent(TrainedAgent):
    """A fresh network, in whose place its teacher acts: what a recipe takes for the agent."""

    teacher: Teacher

    @property
    def policy(self) -> Teacher:  # type: ignore[override]
        return self.teacher


def teach(teacher: Teacher, spec: EnvironmentSpec, *, streams: SeedStreams, states: int, gate: Gate) -> TrainedAgent:
    """Lets a teacher play, and a network of ours learn its choices in the states that both meet.

    Args:
      teacher: of observations as `spec` has them.
      spec: of the environment.
      streams: `calibrate` for what is learned from, `select` and `prove` for what files are compared with.
      states: the teacher's own observations that later stages are calibrated on, >= 1.
      gate: the teacher plays as many episodes as this looks at, up to the look at which it has made 200,000 steps.
    Returns:
      A chain of ours, of the widths of the environment's preset, that acts as its teacher does. `taught_by` has the teacher's
      returns on the seeds of `select` and `prove`, with which the gate compares the agent's files.
    Raises:
      InputError: the teacher failed, or ranks all actions alike.
    """
    config = find_preset(spec.id, kind=observation_kind(spec.observation_shape, spec.preprocessing), algorithm="dqn")
    assert isinstance(config, TrainingConfig)
    rng, seeds = streams.rng("calibrate", "teach"), streams.reset_seeds("calibrate")
    with closing(agent_view(make_environment(spec.source), spec)) as env:
        observations = gather_observations(teacher, env, reset_seeds=seeds, count=states)
        network = build_network(spec, replace(config, dueling=False, quantiles=0), rng)
        student = _UntrainedStudent(network=network, spec=spec, observations=observations, statistics={}, teacher=teacher)
        learning = Stream() if len(spec.input_shape) == 3 else LEARNING
        recipe = Recipe("teach", "", (ScaleInput(), learning), "float32")
        learned = compress(student, recipe, env=env, reset_seeds=seeds, rng=rng)
        chain = tf_keras.models.clone_model(learned.network)
        chain.set_weights(unfold_input_scaling(learned.network.get_weights(), learned.scaling))
        taught_by = {
            streams.first_reset_seed(stream): play_until(
                teacher,
                env,
                reset_seeds=streams.reset_seeds(stream),
                counts=gate.looks,
                enough_steps=ENOUGH_STEPS,
                label="the teacher plays",
            )
            for stream in ("select", "prove")
        }
    return TrainedAgent(chain, spec, observations, {}, taught_by=taught_by)


def play_until(
    policy: Policy,
    env: gymnasium.Env[Any, Any],
    *,
    reset_seeds: Iterator[int],
    counts: Sequence[int],
    enough_steps: int,
    label: str,
) -> NDArray[np.float64]:
    """The returns [N] on the first N reset seeds: N is the first of `counts`, which ascend, by which so many environment steps
    were made, or else the last. `label` is of the progress bar."""
    returns, env_steps = list[float](), 0
    for seed in tqdm(islice(reset_seeds, counts[-1]), label, counts[-1], unit="episode", disable=None, leave=False):
        played = evaluate(policy, env, seeds=[seed])
        returns += played.returns
        env_steps += played.env_steps
        if env_steps >= enough_steps and len(returns) in counts:
            break
    return np.array(returns)
