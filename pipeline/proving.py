"""The seeds and states on which `benchmarks` plays files to prove them, which nothing earlier has seen. Needs no TensorFlow."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError, require
from edgedqn.agents.playing.actions import ActionLevels
from edgedqn.agents.playing.environments import agent_view, make_environment
from edgedqn.agents.playing.evaluation import gather_observations
from edgedqn.agents.playing.gate import Gate
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.playing.spec import EnvironmentSpec, format_steps, spec_of
from edgedqn.benchmarks.machine import usable_cores
from edgedqn.benchmarks.playing import Play, load_policy
from edgedqn.benchmarks.rows import Benchmark
from edgedqn.benchmarks.stress import measure_stress
from edgedqn.export.edge_policy import FLATTEN, Actions, DeviceManifest, EdgePolicy, VerifiedFile
from edgedqn.export.edge_policy import Feature as DeviceFeature
from edgedqn.pipeline.seeds import SeedStreams

STATES = 10_000
SENSED = 2_000  # observations, whose spread is what sensor noise is measured by
STRESS_EPISODES = 300


def states_on_prove_seeds(policy: EdgePolicy, source: EnvironmentSource, streams: SeedStreams) -> NDArray[Any]:
    """The states that a policy, the float file's, visits on the `prove` seeds, for agreement, ties and timing.

    Returns:
      [10,000, *input_shape] in the environment's dtype, as the network sees them: each complete in itself, frames stacked.
    Raises:
      InputError: the environment is not installed, or not the one the file was made for.
    """
    with closing(make_environment(source)) as device_env:
        env = agent_view(device_env, spec_for(policy, device_env, source=source))
        return gather_observations(policy, env, reset_seeds=streams.reset_seeds("prove"), count=STATES)


def play_on_seeds(
    source: EnvironmentSource,
    streams: SeedStreams,
    gate: Gate,
    *,
    stream: str = "prove",
    taught_by: NDArray[np.float64] | None = None,
) -> Play:
    """How files are played for the verdict: on the seeds of a stream, with a process for each usable core.

    `taught_by` is as in `Play`; the gate looks no further than it goes.
    """
    gate = gate if taught_by is None else gate.within(len(taught_by))
    return Play(
        make_environment=partial(make_environment, source),
        seeds=streams.first_reset_seeds(stream, gate.looks[-1]),
        gate=gate,
        random_seed=int(streams.rng(stream, "random policy").integers(2**31)),
        workers=usable_cores(),
        taught_by=taught_by,
    )


def with_stress(
    benchmark: Benchmark,
    files: Mapping[str, Path],
    *,
    source: EnvironmentSource,
    streams: SeedStreams,
    fed: Mapping[Path, DeviceManifest] | None = None,
) -> Benchmark:
    """Plays the files of a benchmark, by name, that were played before, under stress: on the first of the `prove` seeds.

    `fed` is as in `Play`.

    Raises:
      InputError: none was played.
    """
    played = {row.name: files[row.name] for row in benchmark.rows if row.episode_return is not None}
    require(benchmark.baseline in played, f"Stress is for what can be played: expected {benchmark.baseline} to be. It was not.")
    with closing(make_environment(source)) as env:
        path, fed = played[benchmark.baseline], fed or {}
        baseline = load_policy(path, fed.get(path))
        seeds = streams.reset_seeds("prove")
        observations = gather_observations(baseline, env, reset_seeds=seeds, count=SENSED)
    play = replace(play_on_seeds(source, streams, Gate(looks=(STRESS_EPISODES,))), fed=fed)
    return replace(benchmark, stress=measure_stress(played, benchmark.baseline, observations=observations, play=play))


def source_of(file: VerifiedFile, env_id: str | None = None) -> EnvironmentSource:
    """How the environment of a file is made: as its sidecar says, or else by its id alone; by `env_id` where another is named.

    Raises:
      InputError: the sidecar is damaged, or the environment was wrapped: a file, which anybody may have made, brings no module
        of wrappers along.
    """
    made_for, recorded = file.device, file.evidence.get("environment", {})
    actions, levels = made_for.actions, None
    if actions is not None and np.dtype(actions.dtype).kind == "f":
        levels = max(map(len, actions.levels))
    source = EnvironmentSource(env_id or made_for.env_id, action_levels=levels)
    if isinstance(recorded, dict) and recorded.get("id") == source.id:
        try:
            source = EnvironmentSource.from_json(recorded)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{file.path.with_suffix('.json')} is damaged: expected how {source.id} is made. Got {error!r}."
            ) from error
        wrapped = ", ".join(map(str, source.wrappers))
        require(
            not wrapped,
            f"{source.id} was wrapped in {wrapped}: expected the run's folder. Got {file.path}, which brings no wrappers.",
        )
    return replace(source, action_mask=made_for.masked or None)


def _levels(actions: ActionLevels | Actions | None) -> tuple[tuple[float, ...], ...]:
    return () if actions is None else actions.levels


def spec_for(policy: EdgePolicy, env: gymnasium.Env[Any, Any], *, source: EnvironmentSource) -> EnvironmentSpec:
    """The spec of an environment, with a file's preprocessing. InputError: the file was made for another environment."""
    made_for = policy.device
    spec = spec_of(env, source, frame_stack=made_for.frame_stack, flatten=FLATTEN in made_for.preprocessing)
    expected, got = format_steps(spec.preprocessing), list(map(str, made_for.preprocessing))
    if (spec.observation_shape, expected) != (made_for.observation_shape, got):
        raise InputError(
            f"The file is for another environment than {source.id}: expected observations {list(spec.observation_shape)} and "
            f"the steps {expected}. Got {list(made_for.observation_shape)} and {got}."
        )
    if (spec.n_actions, _levels(spec.actions)) != (made_for.n_actions, _levels(made_for.actions)):
        raise InputError(
            f"The file is for another environment than {source.id}: expected {spec.n_actions} actions, its own. "
            f"Got {made_for.n_actions}, or other ones."
        )
    features = tuple(DeviceFeature(each.key, each.size, each.one_hot, each.first) for each in spec.features)
    if made_for.features not in ((), features):
        named, others = (", ".join(map(str, each)) for each in (features, made_for.features))
        raise InputError(
            f"The file is for another environment than {source.id}: expected observations of {named or 'no keys'}. Got {others}"
            f"{', of other categories' if others == named else ''}."
        )
    return spec
