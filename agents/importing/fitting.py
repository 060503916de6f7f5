"""A model from elsewhere in the environment it was trained for: how it sees that, and what it makes of it."""

import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np

from edgedqn.agents.errors import InputError
from edgedqn.agents.importing.agents import ForeignModel
from edgedqn.agents.playing.environments import agent_view, make_environment
from edgedqn.agents.playing.evaluation import gather_observations
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.playing.spec import EnvironmentSpec, is_beyond_images, spec_of
from edgedqn.agents.trained_agent import TrainedAgent


def as_agent(model: ForeignModel, source: EnvironmentSource, *, reset_seeds: Iterator[int], count: int) -> TrainedAgent:
    """Makes an agent of a model by playing it in the environment it was trained for; it gathers `count` observations there.

    Raises:
      InputError: the model does not fit the environment.
    """
    with closing(make_environment(source)) as env:
        spec = fit(model, env, source=source)
        statistics = {"source": model.source, "source_sha256": model.source_sha256, "kind": model.kind}
        agent = TrainedAgent(model.network, spec, np.zeros((0, *spec.input_shape), np.float32), statistics)
        return replace(
            agent, observations=gather_observations(agent.policy, agent_view(env, spec), reset_seeds=reset_seeds, count=count)
        )


def fit(model: ForeignModel, env: gymnasium.Env[Any, Any], *, source: EnvironmentSource) -> EnvironmentSpec:
    """The environment as the model sees it: how many observations are stacked, and whether an array is flattened.

    Raises:
      InputError: the model takes other observations or ranks another number of actions.
    """
    spec = spec_of(env, source, flatten=is_beyond_images(env))
    wanted, n_actions = model.network.input_shape[1:], model.network.output_shape[1:2]
    what = f"{model.source} does not fit {source.id}"
    if n_actions != (spec.n_actions,):
        got = "one output, the value of a state, which ranks no actions" if n_actions == (1,) else f"an output of {n_actions}"
        raise InputError(f"{what}: expected Q-values of {spec.n_actions} actions. Got {got}.")
    if model.observation_dtype not in (None, spec.observation_dtype):
        raise InputError(
            f"{what}: expected observations of {spec.observation_dtype}. Got a model for {model.observation_dtype}."
        )
    for fitting in _views(spec, wanted, env):
        if fitting.input_shape == wanted:
            return fitting
    raise InputError(
        f"{what}: expected an input of {spec.input_shape}, or of several of them stacked. Got an input of {wanted}."
    )


def _views(spec: EnvironmentSpec, wanted: tuple[int, ...], env: gymnasium.Env[Any, Any]) -> Iterator[EnvironmentSpec]:
    """The ways to see the environment that may be meant."""
    yield spec
    shape = spec.observation_shape
    if not shape:
        return
    frames, rest = divmod(wanted[-1], shape[-1] if len(shape) != 2 else 1)
    if frames > 1 and not rest and not is_beyond_images(env):
        yield spec_of(env, spec.source, frame_stack=frames)
    flattened, rest = divmod(wanted[-1], math.prod(shape))
    if flattened and not rest:
        yield spec_of(env, spec.source, frame_stack=flattened, flatten=True)
