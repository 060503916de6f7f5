"""The seeds and states on which `benchmarks` plays files to prove them, which nothing earlier has seen. Needs no TensorFlow."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError, require
from edgedqn.agents.playing.environments import agent_view, make_environment
from edgedqn.agents.playing.evaluation import gather_observations
from edgedqn.agents.playing.gate import Gate
from edgedqn.agents.playing.spec import EnvironmentSpec, format_steps, spec_of
from edgedqn.benchmarks.machine import usable_cores
from edgedqn.benchmarks.playing import Play
from edgedqn.benchmarks.rows import Benchmark
from edgedqn.benchmarks.stress import measure_stress
from edgedqn.export.edge_policy import FLATTEN, EdgePolicy
from edgedqn.pipeline.seeds import SeedStreams

STATES = 10_000
SENSED = 2_000  # observations, whose spread is what sensor noise is measured by
STRESS_EPISODES = 300


def states_on_prove_seeds(policy: EdgePolicy, env_id: str, streams: SeedStreams) -> NDArray[Any]:
    """The states that a policy, the float file's, visits on the `prove` seeds, for agreement, ties and timing.

    Returns:
      [10,000, *input_shape] in the environment's dtype, as the network sees them: each complete in itself, frames stacked.
    Raises:
      InputError: the environment is not installed, or not the one the file was made for.
    """
    with closing(make_environment(env_id)) as device_env:
        env = agent_view(device_env, spec_for(policy, device_env, env_id=env_id))
        return gather_observations(policy, env, reset_seeds=streams.reset_seeds("prove"), count=STATES)


def play_on_seeds(env_id: str, streams: SeedStreams, gate: Gate, *, stream: str = "prove") -> Play:
    """How files are played for the verdict: on the seeds of a stream, with a process for each usable core."""
    return Play(
        make_environment=partial(make_environment, env_id),
        seeds=streams.first_reset_seeds(stream, gate.looks[-1]),
        gate=gate,
        random_seed=int(streams.rng(stream, "random policy").integers(2**31)),
        workers=usable_cores(),
    )


def with_stress(benchmark: Benchmark, files: Mapping[str, Path], *, env_id: str, streams: SeedStreams) -> Benchmark:
    """Plays the files of a benchmark, by name, that were played before, under stress: on the first of the `prove` seeds.

    Raises:
      InputError: none was played.
    """
    played = {row.name: files[row.name] for row in benchmark.rows if row.episode_return is not None}
    require(benchmark.baseline in played, f"Stress is for what can be played: expected {benchmark.baseline} to be. It was not.")
    with closing(make_environment(env_id)) as env:
        baseline = EdgePolicy.load(played[benchmark.baseline])
        seeds = streams.reset_seeds("prove")
        observations = gather_observations(baseline, env, reset_seeds=seeds, count=SENSED)
    play = play_on_seeds(env_id, streams, Gate(looks=(STRESS_EPISODES,)))
    return replace(benchmark, stress=measure_stress(played, benchmark.baseline, observations=observations, play=play))


def spec_for(policy: EdgePolicy, env: gymnasium.Env[Any, Any], *, env_id: str) -> EnvironmentSpec:
    """The spec of an environment, with a file's preprocessing. InputError: the file was made for another environment."""
    made_for = policy.device
    spec = spec_of(env, env_id, frame_stack=made_for.frame_stack, flatten=FLATTEN in made_for.preprocessing)
    expected, got = format_steps(spec.preprocessing), list(map(str, made_for.preprocessing))
    if (spec.observation_shape, expected) != (made_for.observation_shape, got):
        raise InputError(
            f"The file is for another environment than {env_id}: expected observations {list(spec.observation_shape)} and the "
            f"steps {expected}. Got {list(made_for.observation_shape)} and {got}."
        )
    return spec
