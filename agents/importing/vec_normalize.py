"""The statistics of Stable-Baselines3's VecNormalize, by which observations were scaled. Its pickle is not unpickled."""

import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError, one_line, require
from edgedqn.agents.importing.building import with_plain_input
from edgedqn.agents.importing.foreign_files import Network, open_archive, read_member, short
from edgedqn.agents.importing.layer_writer import LayerWriter
from edgedqn.agents.importing.plain_pickle import Opaque, read_pickle

KIND = "stable_baselines3.common.vec_env.vec_normalize.VecNormalize"
AS_NPZ = (
    "v = VecNormalize.load('vecnormalize.pkl', env); numpy.savez('vecnormalize.npz', mean=v.obs_rms.mean, var=v.obs_rms.var, "
    "clip_obs=v.clip_obs, epsilon=v.epsilon)"
)
LARGEST_ARRAY = 2**20  # bytes


@dataclass(frozen=True, kw_only=True)
class Normalization:
    """clip((observation - mean) / sqrt(variance + epsilon), -clip, clip)."""

    mean: NDArray[np.float64]  # [F]
    variance: NDArray[np.float64]  # [F]
    clip: float  # in standard deviations
    epsilon: float

    def of(self, observations: NDArray[Any]) -> NDArray[np.float64]:
        """Observations [N, F] as the network sees them."""
        return self._scaled(observations).clip(-self.clip, self.clip)

    def clips(self, observations: NDArray[Any]) -> bool:
        """Whether it clips anything in observations [N, F]."""
        return bool((np.abs(self._scaled(observations)) > self.clip).any())

    def _scaled(self, observations: NDArray[Any]) -> NDArray[np.float64]:
        return np.asarray((observations - self.mean) / np.sqrt(self.variance + self.epsilon))  # [N, F]

    def __post_init__(self) -> None:
        values = (self.mean, self.variance, np.asarray([self.clip, self.epsilon]))
        if self.mean.ndim != 1 or self.mean.shape != self.variance.shape or not self.mean.size:
            raise InputError(f"expected a mean and a variance of each feature. Got {self.mean.shape}, {self.variance.shape}.")
        if (
            not all(np.isfinite(each).all() for each in values)
            or (self.variance < 0).any()
            or self.epsilon <= 0
            or self.clip <= 0
        ):
            raise InputError("expected finite means, variances and limits of at least 0. Got others.")


def read_vec_normalize(content: bytes) -> Normalization:
    """Reads `vecnormalize.pkl`, as VecNormalize.save writes it, or an `.npz` with mean, var, clip_obs and epsilon.

    Raises:
      InputError: it is something else, or has no statistics of vectors.
    """
    if content.startswith(b"PK"):
        archive = open_archive(content)
        found: dict[str, Any] = {
            name: _npy(read_member(archive, f"{name}.npy", largest=LARGEST_ARRAY))
            for name in ("mean", "var", "clip_obs", "epsilon")
        }
        return _normalization(found)
    value = read_pickle(content)
    kind = value.kind if isinstance(value, Opaque) else type(value).__name__
    state = value.state if isinstance(value, Opaque) else None
    if kind != KIND or not isinstance(state, dict):
        raise InputError(f"expected the file that VecNormalize.save wrote. Got {short(kind)}.")
    require(state.get("norm_obs") is not False, "expected statistics of observations. Got a VecNormalize with norm_obs=False.")
    statistics = state.get("obs_rms")
    own = statistics.state if isinstance(statistics, Opaque) else None
    if not isinstance(own, dict):
        raise InputError(f"expected the statistics of one kind of observations. Got {short(statistics)}. {_advice()}")
    return _normalization({**state, **own})


def with_normalization(network: Network, normalization: Normalization, *, clips: bool = True) -> Network:
    """The network on observations as they are: scaled by these statistics first, and clipped where `clips`.

    What is scaled to 0 .. 6 is clipped by a ReLU6, and scaled back.

    Raises:
      InputError: the network does not take vectors of as many features.
    """
    layers, weights = network
    layers, count = with_plain_input(layers), normalization.mean.size
    first = layers[0]
    require(first["shape"] == [count], f"expected the statistics of {first['shape']} numbers. Got those of {count}.")
    scale = 1 / np.sqrt(normalization.variance + normalization.epsilon)  # [F]
    by, plus = (3 / normalization.clip, 3.0) if clips else (1.0, 0.0)
    writer = LayerWriter()
    writer.add("InputLayer", first["name"], shape=first["shape"])
    offset = plus - normalization.mean * scale * by
    writer.add("Rescaling", "normalization", scale=(scale * by).tolist(), offset=offset.tolist())
    if clips:
        writer.activation("relu6", "normalization/clip")
        writer.add("Rescaling", "normalization/unit", scale=1 / by, offset=-normalization.clip)
    behind = [{**each, "inputs": [writer.at if i == first["name"] else i for i in each["inputs"]]} for each in layers[1:]]
    return [*writer.layers, *behind], weights


def _normalization(found: dict[str, Any]) -> Normalization:
    try:
        mean, variance, clip, epsilon = (_numbers(found[name]) for name in ("mean", "var", "clip_obs", "epsilon"))
        return Normalization(mean=mean, variance=variance, clip=float(clip), epsilon=float(epsilon))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"expected mean, var, clip_obs and epsilon. Got {one_line(error)}. {_advice()}") from error


def _numbers(value: object) -> NDArray[np.float64]:
    """Numbers and arrays of them alone: a list of lists may hold itself again and again."""
    if not isinstance(value, np.ndarray | np.number | int | float):
        raise TypeError(f"a {type(value).__name__}")
    return np.asarray(value, np.float64)


def _advice() -> str:
    return f"To save them without a pickle: {AS_NPZ}."


def _npy(content: bytes) -> NDArray[Any]:
    """An array in NumPy's own format, whose header may not claim more than there is."""
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(content) - file.tell() or dtype.kind not in "fiu":
            raise ValueError(f"{shape} of {dtype}")
        return np.frombuffer(content[file.tell() :], dtype).reshape(shape)
    except (ValueError, TypeError, KeyError, SyntaxError, OverflowError) as error:
        raise InputError(f"expected an array of numbers. Got {one_line(error)[:200]}.") from error
