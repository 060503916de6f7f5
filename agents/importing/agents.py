"""Agents from elsewhere: a model of Keras, PyTorch, ONNX or SB3 becomes a `TrainedAgent`. Runs nothing of theirs."""

import hashlib
import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import tf_keras

from edgedqn.agents.chain import ChainReader, NotAChainError
from edgedqn.agents.errors import InputError, require
from edgedqn.agents.importing.building import build
from edgedqn.agents.importing.foreign_files import Network, open_archive, read_file
from edgedqn.agents.importing.keras_model.hdf5_reader import MAGIC
from edgedqn.agents.importing.keras_model.keras_files import CONFIG, read_keras_archive, read_keras_hdf5
from edgedqn.agents.importing.keras_model.keras_files import WEIGHTS as KERAS_WEIGHTS
from edgedqn.agents.importing.keras_model.keras_weights import read_keras_weights
from edgedqn.agents.importing.keras_model.tf_checkpoints import MAGIC as CHECKPOINT
from edgedqn.agents.importing.keras_model.tf_checkpoints import index_of, read_checkpoint
from edgedqn.agents.importing.onnx_model.files import read_onnx
from edgedqn.agents.importing.other_files import READABLE, refuse_other_jobs, what_it_is
from edgedqn.agents.importing.sb3 import DATA, read_sb3_archive
from edgedqn.agents.importing.sb3 import WEIGHTS as SB3_WEIGHTS
from edgedqn.agents.importing.torch_files import read_state_dict
from edgedqn.agents.importing.vec_normalize import read_vec_normalize, with_normalization
from edgedqn.agents.playing.environments import agent_view, make_environment
from edgedqn.agents.playing.evaluation import gather_observations
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.playing.spec import EnvironmentSpec, is_beyond_images, spec_of
from edgedqn.agents.teaching.teachers import Gives
from edgedqn.agents.trained_agent import TrainedAgent


@dataclass(frozen=True, kw_only=True)
class ForeignModel:
    """A Q-network that somebody else trained."""

    network: tf_keras.Model  # [B, *shape] -> Q-values [B, A]
    kind: str  # "keras", "tensorflow", "stable-baselines3", "pytorch" or "onnx"
    source: str  # the file's name
    source_sha256: str  # of its content
    observation_dtype: str | None = None  # of the environment it was trained on, where that is known
    assumed: tuple[str, ...] = ()  # what the file does not say, in words
    clip: float | None = None  # where VecNormalize clipped what the network sees, in standard deviations; not done here
    not_a_chain: str | None = None  # why it is none of ours, but can teach one


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """What a file does not say of its network, and its user does.

    Attributes:
      activation: of hidden layers, where a file holds tensors alone; a ReLU if not told.
      part: which of several networks of a state dict or a checkpoint, or of several outputs of an ONNX model.
      strides: of each convolution of a state dict.
      hidden: widths of the hidden layers of Keras' weights alone.
      model_json: in their place a file with the text that model.to_json() gives.
      normalize: VecNormalize's `vecnormalize.pkl`, or an `.npz` of its statistics.
      gives: what a function gives, see `FunctionTeacher`.
    """

    activation: str | None = None
    part: str | None = None
    strides: tuple[int, ...] | None = None
    hidden: tuple[int, ...] | None = None
    model_json: Path | None = None
    normalize: Path | None = None
    gives: Gives | None = None

    def words(self) -> tuple[str, ...]:
        """What gives these on the command line."""
        words = list[str]()
        for name, value in vars(self).items():
            if value is not None:
                words += [f"--{name.replace('_', '-')}", *map(str, value if isinstance(value, tuple) else (value,))]
        return tuple(words)


NOTHING = ModelOptions()


def read_model(path: Path, told: ModelOptions = NOTHING) -> ForeignModel:
    """Reads somebody else's model.

    Keras' `.keras`, `.h5` and weights alone (Keras 1 to 3), checkpoints of TensorFlow (`.index`), `.onnx`, state dicts of
    PyTorch (`.pt`, `.pth`, `.cleanrl_model`) and archives of SB3's DQN or SB3-Contrib's QR-DQN (`.zip`).

    Raises:
      InputError: it is none of these, is damaged, or has a part that is not understood, with the part; or something is told
        that such a file says itself.
    """
    try:
        path = index_of(path)
        refuse_other_jobs(path)
        content = read_file(path)
        found = _read(content, path, told)
        unused = [name for name, value in vars(told).items() if value is not None and name not in _USED[found.kind]]
        require(not unused, f"expected no {', '.join(unused)} beside a file of {found.kind}.")
        layers, clip = found.network, None
        if told.normalize is not None:
            normalization = read_vec_normalize(read_file(told.normalize))
            layers, clip = with_normalization(layers, normalization), normalization.clip
        network = build(*layers)
    except InputError as error:
        raise InputError(f"{path} cannot be imported: {error}") from error
    return ForeignModel(
        network=network,
        kind=found.kind,
        source=path.name,
        source_sha256=hashlib.sha256(content).hexdigest(),
        observation_dtype=found.dtype,
        assumed=found.assumed,
        clip=clip,
        not_a_chain=_why_no_chain(network),
    )


def _why_no_chain(network: tf_keras.Model) -> str | None:
    try:
        ChainReader(network)
    except NotAChainError as error:
        return str(error)
    return None


_USED = {
    "keras": ("activation", "hidden", "model_json", "normalize"),
    "tensorflow": ("activation", "hidden", "model_json", "part", "normalize"),
    "onnx": ("part", "normalize"),
    "pytorch": ("activation", "part", "strides", "normalize"),
    "stable-baselines3": ("normalize",),
}


class _Found(NamedTuple):
    """What a file holds."""

    kind: str
    network: Network
    dtype: str | None = None
    assumed: tuple[str, ...] = ()


def _read(content: bytes, path: Path, told: ModelOptions) -> _Found:
    if content.startswith(MAGIC):
        return _Found("keras", _read_hdf5(content, told))
    if path.suffix == ".index" and content.endswith(CHECKPOINT):
        network, assumed = read_checkpoint(
            path, part=told.part, hidden=told.hidden, activation=told.activation or "relu", model_json=_model_json(told)
        )
        return _Found("tensorflow", network, None, assumed)
    if path.suffix == ".onnx":
        return _Found("onnx", read_onnx(content, path.parent, part=told.part))
    names = open_archive(content).namelist() if content.startswith(b"PK") else []
    if {CONFIG, KERAS_WEIGHTS} <= set(names):
        is_told = told.activation or told.hidden or told.model_json
        require(not is_told, "expected nothing told of a .keras file: it says itself what its layers are.")
        return _Found("keras", read_keras_archive(content))
    if {DATA, SB3_WEIGHTS} <= set(names):
        layers, weights, dtype = read_sb3_archive(content)
        return _Found("stable-baselines3", (layers, weights), dtype)
    if any(name.endswith(("/data.pkl", "/constants.pkl")) for name in names):
        state = read_state_dict(content, activation=told.activation or "relu", part=told.part, strides=told.strides)
        return _Found("pytorch", state.network, state.dtype, state.assumed)
    raise InputError(f"expected {READABLE}. Got {what_it_is(content, path.name, names)}.")


def _read_hdf5(content: bytes, told: ModelOptions) -> Network:
    text = _model_json(told)
    if told.hidden is None and text is None:
        require(told.activation is None, "expected an activation beside hidden= only: a whole model says it itself.")
        return read_keras_hdf5(content)
    return read_keras_weights(content, hidden=told.hidden, activation=told.activation or "relu", model_json=text)


def _model_json(told: ModelOptions) -> str | None:
    return None if told.model_json is None else read_file(told.model_json).decode(errors="replace")


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
