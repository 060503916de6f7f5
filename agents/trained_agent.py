"""What training leaves behind: the float network and what is known of the states it visits."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import tf_keras
from numpy.typing import NDArray

from edgedqn.agents.atomic_files import atomic_write, write_json
from edgedqn.agents.environments import EnvironmentSpec, check_transition
from edgedqn.agents.errors import InputError
from edgedqn.agents.evaluation import Policy
from edgedqn.agents.networks import NumpyMlp, hidden_widths, mlp

SCHEMA = 1


@dataclass(frozen=True)
class TrainedAgent:
    """A float Q-network and its environment.

    Attributes:
      network: [B, F] -> Q-values [B, A], from `networks.mlp`.
      spec: of the environment it was trained on.
      observations: float32 [N, F], visited by the greedy policy; what integer ranges are calibrated on.
      statistics: JSON: steps, evaluations, the checkpoint chosen.
    """

    network: tf_keras.Model
    spec: EnvironmentSpec
    observations: NDArray[np.float32]
    statistics: dict[str, Any]

    @property
    def policy(self) -> NumpyMlp:
        """The greedy policy."""
        return NumpyMlp(self.network.get_weights())

    def save(self, folder: Path) -> None:
        """Writes `weights.npz`, `observations.npz` and, last, `agent.json`; each complete or absent."""
        folder.mkdir(parents=True, exist_ok=True)
        save_arrays(folder / "weights.npz", self.network.get_weights())
        save_arrays(folder / "observations.npz", [self.observations])
        description = {
            "schema": SCHEMA,
            "environment": self.spec.to_json(),
            "network": {"kind": "mlp", "hidden": list(hidden_widths(self.network))},
            "statistics": self.statistics,
        }
        write_json(folder / "agent.json", description)

    @classmethod
    def load(cls, folder: Path) -> "TrainedAgent":
        """Reads what `save` wrote.

        Raises:
          InputError: the folder holds no complete agent, or one of a newer schema.
        """
        path = folder / "agent.json"
        try:
            description = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise InputError(f"No trained agent in {folder}: expected a readable agent.json. Got {error}.") from error
        if description.get("schema") != SCHEMA:
            raise InputError(f"{path} has another schema: expected {SCHEMA}. Got {description.get('schema')}.")
        spec = EnvironmentSpec.from_json(description["environment"])
        network = mlp(spec.observation_shape, spec.n_actions, description["network"]["hidden"], np.random.default_rng(0))
        try:
            network.set_weights(load_arrays(folder / "weights.npz"))
        except ValueError as error:
            raise InputError(f"{folder / 'weights.npz'} does not fit the network of agent.json: {error}") from error
        (observations,) = load_arrays(folder / "observations.npz")
        return cls(network, spec, observations, description["statistics"])


def save_arrays(path: Path, arrays: list[NDArray[Any]]) -> None:
    """Writes arrays in order to an `.npz`, all of it or nothing."""
    with atomic_write(path) as file:
        np.savez(file, *arrays)


def load_arrays(path: Path) -> list[NDArray[Any]]:
    """Reads what `save_arrays` wrote; never unpickles.

    Raises:
      InputError: missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return [archive[f"arr_{i}"] for i in range(len(archive.files))]
    except Exception as error:  # zipfile, zlib, struct and NumPy each have their own
        raise InputError(f"{path} cannot be read: {error}") from error


def gather_observations(
    policy: Policy,
    env: gymnasium.Env[Any, Any],
    reset_seeds: Iterator[int],
    count: int,
    epsilon: float,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """The observations a policy acts on, in the order it meets them.

    Args:
      policy: asked once per step.
      env: reset with one seed after the other; left open.
      reset_seeds: of the episodes, endless.
      count: N >= 1, how many to gather. The last episode is cut where they are reached.
      epsilon: the share of steps at which a random action is taken instead, in [0, 1].
      rng: for those.
    Returns:
      float32 [N, F].
    Raises:
      BadTransitionError: the environment gave a NaN or an infinity.
    """
    n_actions = env.action_space.n  # type: ignore[attr-defined]
    name = env.spec.id if env.spec is not None else type(env.unwrapped).__name__
    return np.stack(list(itertools.islice(_visited(policy, env, name, reset_seeds, epsilon, n_actions, rng), count)))


def _visited(
    policy: Policy,
    env: gymnasium.Env[Any, Any],
    name: str,
    reset_seeds: Iterator[int],
    epsilon: float,
    n_actions: int,
    rng: np.random.Generator,
) -> Iterator[NDArray[np.float32]]:
    step = 0
    for seed in reset_seeds:
        observation, _ = env.reset(seed=seed)
        over = False
        while not over:
            check_transition(name, step, observation, 0.0)
            yield np.array(observation, np.float32)
            action = int(rng.integers(n_actions)) if rng.random() < epsilon else policy(observation)
            observation, _, terminated, truncated, _ = env.step(action)
            step += 1
            over = terminated or truncated
