"""Agents from elsewhere: a file of Keras, PyTorch, ONNX or SB3 becomes a Q-network of known layers. Runs nothing of theirs."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import tf_keras
from numpy.typing import NDArray

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
from edgedqn.agents.importing.onnx_model.running import run_onnx
from edgedqn.agents.importing.other_files import READABLE, refuse_other_jobs, what_it_is
from edgedqn.agents.importing.sb3 import DATA, read_sb3_archive
from edgedqn.agents.importing.sb3 import WEIGHTS as SB3_WEIGHTS
from edgedqn.agents.importing.torch_files import read_state_dict
from edgedqn.agents.importing.vec_normalize import Normalization, read_vec_normalize, with_normalization
from edgedqn.agents.teaching.teachers import Answer

Compute: TypeAlias = Callable[[NDArray[np.float32]], tuple[str, NDArray[np.generic]]]
"""The name of a file's own library, and what that makes of observations [B, *shape]: Q-values [B, A], or chosen actions [B]."""


@dataclass(frozen=True, kw_only=True)
class ForeignModel:
    """A Q-network that somebody else trained."""

    network: tf_keras.Model  # [B, *shape] -> Q-values [B, A]
    kind: str  # "keras", "tensorflow", "stable-baselines3", "pytorch" or "onnx"
    source: str  # the file's name
    source_sha256: str  # of its content
    observation_dtype: str | None = None  # of the environment it was trained on, where that is known
    assumed: tuple[str, ...] = ()  # what the file does not say, in words
    not_a_chain: str | None = None  # why it is none of ours, but can teach one
    input_dtype: str = "float32"  # of what the file's own network takes
    compute: Compute | None = None  # where the file can be run
    normalization: Normalization | None = None  # by which the network scales observations first, and clips them
    unclipped: "ForeignModel | None" = None  # the same but for that clip, which makes a chain as long as nothing is clipped


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """What a file does not say of its network, and its user does.

    Attributes:
      activation: of hidden layers, where a file holds tensors alone; a ReLU if not options.
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
    gives: Answer | None = None

    def words(self) -> tuple[str, ...]:
        """What gives these on the command line."""
        words = list[str]()
        for name, value in vars(self).items():
            if value is not None:
                words += [f"--{name.replace('_', '-')}", *map(str, value if isinstance(value, tuple) else (value,))]
        return tuple(words)


DEFAULTS = ModelOptions()


def read_model(path: Path, options: ModelOptions = DEFAULTS) -> ForeignModel:
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
        found = _read(content, path, options)
        unused = [name for name, value in vars(options).items() if value is not None and name not in _USED[found.kind]]
        require(not unused, f"expected no {', '.join(unused)} beside a file of {found.kind}.")
        normalization = None if options.normalize is None else read_vec_normalize(read_file(options.normalize))
        network = build(*found.network) if normalization is None else build(*with_normalization(found.network, normalization))
        model = ForeignModel(
            network=network,
            kind=found.kind,
            source=path.name,
            source_sha256=hashlib.sha256(content).hexdigest(),
            observation_dtype=found.dtype,
            assumed=found.assumed,
            not_a_chain=_why_no_chain(network),
            input_dtype=found.input_dtype,
            compute=found.compute,
        )
        return model if normalization is None else _normalized(model, found.network, normalization)
    except InputError as error:
        raise InputError(f"{path} cannot be imported: {error}") from error


def _normalized(model: ForeignModel, layers: Network, normalization: Normalization) -> ForeignModel:
    """The model with what it is without the clip, where that is a chain."""
    compute = model.compute
    if compute is not None:
        model = replace(model, compute=lambda observations: compute(normalization.of(observations).astype(np.float32)))
    network = build(*with_normalization(layers, normalization, clips=False))
    unclipped = replace(model, network=network, not_a_chain=None) if _why_no_chain(network) is None else None
    return replace(model, normalization=normalization, unclipped=unclipped)


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
    input_dtype: str = "float32"
    compute: Compute | None = None


def _read(content: bytes, path: Path, options: ModelOptions) -> _Found:
    if content.startswith(MAGIC):
        network, assumed = _read_hdf5(content, options)
        return _Found("keras", network, None, assumed)
    if path.suffix == ".index" and content.endswith(CHECKPOINT):
        network, assumed = read_checkpoint(
            path,
            part=options.part,
            hidden=options.hidden,
            activation=options.activation or "relu",
            model_json=_model_json(options),
        )
        return _Found("tensorflow", network, None, assumed)
    if path.suffix == ".onnx":
        model = read_onnx(content, path.parent, part=options.part)
        return _Found("onnx", model.network, input_dtype=model.dtype, compute=partial(run_onnx, path, model))
    names = open_archive(content).namelist() if content.startswith(b"PK") else []
    if {CONFIG, KERAS_WEIGHTS} <= set(names):
        is_told = options.activation or options.hidden or options.model_json
        require(not is_told, "expected nothing told of a .keras file: it says itself what its layers are.")
        return _Found("keras", read_keras_archive(content))
    if {DATA, SB3_WEIGHTS} <= set(names):
        layers, weights, dtype = read_sb3_archive(content)
        return _Found("stable-baselines3", (layers, weights), dtype)
    if any(name.endswith(("/data.pkl", "/constants.pkl")) for name in names):
        state = read_state_dict(content, activation=options.activation or "relu", part=options.part, strides=options.strides)
        return _Found("pytorch", state.network, state.dtype, state.assumed)
    raise InputError(f"expected {READABLE}. Got {what_it_is(content, path.name, names)}.")


def _read_hdf5(content: bytes, options: ModelOptions) -> tuple[Network, tuple[str, ...]]:
    text = _model_json(options)
    if options.hidden is None and text is None:
        require(options.activation is None, "expected an activation beside hidden= only: a whole model says it itself.")
        return read_keras_hdf5(content), ()
    return read_keras_weights(content, hidden=options.hidden, activation=options.activation or "relu", model_json=text)


def _model_json(options: ModelOptions) -> str | None:
    return None if options.model_json is None else read_file(options.model_json).decode(errors="replace")
