"""Whether a network computes here what it computed where it comes from."""

from dataclasses import replace

import numpy as np
import tf_keras
from numpy.typing import NDArray

from edgedqn.agents.architecture import describe
from edgedqn.agents.chain import ChainReader
from edgedqn.agents.errors import InputError
from edgedqn.agents.importing.agents import ForeignModel
from edgedqn.agents.numpy_network import NumpyNetwork
from edgedqn.agents.teaching.graph import NumpyGraph

TOLERANCE = 1e-5  # of the largest Q-value, or of 1
COUNT = 64  # random observations


def random_observations(model: ForeignModel) -> NDArray[np.float32]:
    """[64, *shape]: of a model of floats one half standard normal and one half bytes; of integers, some of these."""
    rng, shape = np.random.default_rng(0), (COUNT, *model.network.input_shape[1:])
    if model.input_dtype.startswith("float"):
        is_normal = np.arange(COUNT).reshape(-1, *[1] * (len(shape) - 1)) % 2 == 0
        return np.where(is_normal, rng.normal(size=shape), rng.integers(256, size=shape)).astype(np.float32)
    return rng.integers(2 if model.input_dtype == "bool" else 128, size=shape).astype(np.float32)


def compare(model: ForeignModel, observations: NDArray[np.float32]) -> tuple[ForeignModel, str]:
    """Compares the network in TensorFlow, in NumPy, which plays, and in the file's own library, where the file can be run.

    Args:
      model: as `read_model` read it.
      observations: [N, *shape], as its network takes them.
    Returns:
      The model, one whose layers cannot be folded into a chain within `TOLERANCE` being none; and what was found, in words.
    Raises:
      InputError: the network differs by more than 1e-5, or that share of the largest Q-value.
    """
    expected = _q_values(model.network, observations)
    largest = float(np.abs(expected).max())
    graph = NumpyGraph(describe(model.network), model.network.get_weights())
    found, why_not = {"NumPy": _difference(graph.q_values(observations), expected)}, ""
    if model.compute is None:
        why_not = "; the file holds no code to compare with" if model.kind in ("pytorch", "stable-baselines3") else ""
    else:
        try:
            library, values = model.compute(observations)
            found[library] = _difference(values, expected)
        except InputError as error:
            why_not = f"; the file itself cannot be run: {error}"
    for library, difference in found.items():
        if not difference <= TOLERANCE * max(1.0, largest):
            raise InputError(
                f"{model.source} gives other Q-values in {library} than here: expected a difference of at most {TOLERANCE:g} "
                f"of the largest, {largest:.3g}. Got {difference:.3g}."
            )
    differences = ", ".join(f"{library} by at most {difference:.1g}" for library, difference in found.items())
    said = f"on {len(observations)} observations Q-values up to {largest:.3g} differ in {differences}{why_not}"
    chain = model.unclipped or model
    if chain.not_a_chain is None and not _folds(chain.network, observations):
        why = f"Its scalings are so far apart that, folded into its kernels, they change it by more than {TOLERANCE:g}."
        model = replace(model, unclipped=None, not_a_chain=model.not_a_chain or why)
    return model, said


def _folds(network: tf_keras.Model, observations: NDArray[np.float32]) -> bool:
    """Whether the chain that is read of a network computes the same."""
    chain = NumpyNetwork(ChainReader(network)(network.get_weights()), network.input_shape[1:])
    expected = _q_values(network, observations)
    return _difference(chain.q_values(observations), expected) <= TOLERANCE * max(1.0, float(np.abs(expected).max()))


def _q_values(network: tf_keras.Model, observations: NDArray[np.float32]) -> NDArray[np.float32]:
    """[N, A], of quantiles the mean."""
    values = network(observations).numpy()
    return np.asarray(values.mean(axis=2) if values.ndim == 3 else values)


def _difference(values: NDArray[np.generic], expected: NDArray[np.float32]) -> float:
    """The largest difference between Q-values [N, A]; of chosen actions [N, 1], by how much another one is better."""
    if values.dtype.kind in "iu":
        return float((expected.max(axis=1) - np.take_along_axis(expected, values.astype(np.int64), axis=1)[:, 0]).max())
    return float(np.abs(values.astype(np.float64).reshape(expected.shape) - expected).max())
