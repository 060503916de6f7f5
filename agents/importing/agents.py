"""Agents from elsewhere: a Keras model or a Stable-Baselines3 DQN archive becomes a `TrainedAgent`. Runs nothing of theirs."""

import hashlib
import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import tf_keras

from edgedqn.agents.architecture import check, rebuild
from edgedqn.agents.chain import ChainReader
from edgedqn.agents.errors import InputError, require
from edgedqn.agents.files import Json
from edgedqn.agents.importing.foreign_files import Array, open_archive, read_file
from edgedqn.agents.importing.hdf5_reader import MAGIC
from edgedqn.agents.importing.keras_files import CONFIG, read_keras_archive, read_keras_hdf5
from edgedqn.agents.importing.keras_files import WEIGHTS as KERAS_WEIGHTS
from edgedqn.agents.importing.sb3 import DATA, read_sb3_archive
from edgedqn.agents.importing.sb3 import WEIGHTS as SB3_WEIGHTS
from edgedqn.agents.playing.environments import agent_view, make_environment
from edgedqn.agents.playing.evaluation import gather_observations
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.playing.spec import EnvironmentSpec, is_beyond_images, spec_of
from edgedqn.agents.trained_agent import TrainedAgent

LARGEST_ACTIVATION = 2**24  # numbers between two layers


@dataclass(frozen=True, kw_only=True)
class ForeignModel:
    """A Q-network that somebody else trained."""

    network: tf_keras.Model  # [B, *shape] -> Q-values [B, A]
    kind: str  # "keras" or "stable-baselines3"
    source: str  # the file's name
    source_sha256: str  # of its content
    observation_dtype: str | None = None  # of the environment it was trained on, where that is known


def read_model(path: Path) -> ForeignModel:
    """Reads a Keras model (`.keras`, or `.h5` as model.save writes it; Keras 2 or 3) or an SB3 DQN archive (`.zip`).

    A Keras model is a chain of the layers in `keras_config.LAYERS`; of SB3, MlpPolicy and CnnPolicy with ReLU are read.

    Raises:
      InputError: it is neither, is damaged, or has a part that is not understood; with the part.
    """
    try:
        content = read_file(path)
        dtype = None
        if content.startswith(MAGIC):
            kind, (layers, weights) = "keras", read_keras_hdf5(content)
        else:
            names = set(open_archive(content).namelist()) if content.startswith(b"PK") else set()
            if {CONFIG, KERAS_WEIGHTS} <= names:
                kind, (layers, weights) = "keras", read_keras_archive(content)
            elif {DATA, SB3_WEIGHTS} <= names:
                kind, (layers, weights, dtype) = "stable-baselines3", read_sb3_archive(content)
            else:
                raise InputError("expected a .keras, an .h5 or an SB3 .zip. Got something else.")
        network = _build(layers, weights)
        ChainReader(network)
    except InputError as error:
        raise InputError(f"{path} cannot be imported: {error}") from error
    return ForeignModel(
        network=network, kind=kind, source=path.name, source_sha256=hashlib.sha256(content).hexdigest(), observation_dtype=dtype
    )


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
    wanted, n_actions = model.network.input_shape[1:], model.network.output_shape[1:]
    what = f"{model.source} does not fit {source.id}"
    if n_actions != (spec.n_actions,):
        raise InputError(f"{what}: expected Q-values of {spec.n_actions} actions. Got an output of {n_actions}.")
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


def _build(layers: list[Json], weights: dict[str, list[Array]]) -> tf_keras.Model:
    """The network, if its weights have the shapes that its layers ask for: nothing is allocated before that is known."""
    check(layers)
    if len(layers[0].get("shape", ())) == 2:  # agents see a matrix as an image of one channel; behind a Flatten it is all one
        layers[0] = {**layers[0], "shape": [*layers[0]["shape"], 1]}
    shape: tuple[int, ...] = ()
    ordered: list[Array] = []
    for layer in layers:
        shape, expected = _after(layer, shape)
        name = layer["name"]
        if min(shape, default=1) < 1 or math.prod(shape) > LARGEST_ACTIVATION:
            raise InputError(f"layer {name!r} gives {shape}: expected 1 to {LARGEST_ACTIVATION:,} numbers.")
        own = weights.get(name, [])
        if (got := [array.shape for array in own]) != expected:
            raise InputError(f"layer {name!r} has weights {got}: expected {expected}.")
        finite = all(np.isfinite(array).all() for array in own)
        require(finite, f"layer {name!r} has a weight that is no finite number.")
        ordered += own
    require(len(shape) == 1, f"it gives {shape}: expected one Q-value per action.")
    network = rebuild(layers)
    network.set_weights(ordered)
    return network


def _after(layer: Json, shape: tuple[int, ...]) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """The shape behind a layer, without the batch, and the shapes of its weights."""
    kind, name = layer["layer"], layer["name"]
    if kind == "InputLayer":
        return tuple(layer["shape"]), []
    if kind == "Flatten":
        return (math.prod(shape),), []
    if kind == "Reshape":
        return tuple(layer["target_shape"]), []
    if kind == "Dense":
        units = layer["units"]
        require(len(shape) == 1, f"layer {name!r} (Dense) takes {shape}: expected a vector. A Flatten before it is missing.")
        return (units,), [(shape[0], units)] + ([(units,)] if layer["use_bias"] else [])
    if kind == "Conv2D":
        require(len(shape) == 3, f"layer {name!r} (Conv2D) takes {shape}: expected an image of height, width and channels.")
        filters, size = layer["filters"], layer["kernel_size"]
        if any(window > 2 * side for side, window in zip(shape, size, strict=False)):
            raise InputError(f"layer {name!r} (Conv2D) looks at {size} of {shape[:2]}: expected at most twice the image.")
        sides = tuple(
            (side - window) // stride + 1 if layer["padding"] == "valid" else -(-side // stride)
            for side, window, stride in zip(shape, size, layer["strides"], strict=False)
        )
        return (*sides, filters), [(*size, shape[2], filters)] + ([(filters,)] if layer["use_bias"] else [])
    return shape, []
