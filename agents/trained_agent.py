"""What training leaves behind: the float network and what is known of the states it visits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tf_keras
from numpy.typing import NDArray

from edgedqn.agents.architecture import describe, rebuild
from edgedqn.agents.chain import ChainReader
from edgedqn.agents.errors import InputError
from edgedqn.agents.files import Json, load_arrays, read_json, save_arrays, write_json
from edgedqn.agents.numpy_network import NumpyNetwork
from edgedqn.agents.playing.spec import EnvironmentSpec, observation_kind
from edgedqn.agents.training.config import Config, config_from_json
from edgedqn.agents.training.presets import find_preset

SCHEMA = 2
TEACHER = "teacher.npz"


@dataclass(frozen=True)
class TrainedAgent:
    """A float Q-network and the environment it was trained on."""

    network: tf_keras.Model  # [B, *input_shape] -> Q-values [B, A], or their quantiles [B, A, N]; a chain as `chain` reads it
    spec: EnvironmentSpec
    # [N, *input_shape] in the environment's dtype, as the network sees them, visited by the greedy policy: what integer ranges
    # are calibrated on.
    observations: NDArray[Any]
    statistics: Json  # steps, evaluations, the checkpoint chosen, and the `training` configuration
    # How the policy played that taught it, if one did: [N] returns on N reset seeds in a row, by the first of them.
    taught_by: Mapping[int, NDArray[np.float64]] = field(default_factory=dict)

    @property
    def policy(self) -> NumpyNetwork:
        """The greedy policy, on observations as `environments.agent_view` gives them."""
        return NumpyNetwork(
            ChainReader(self.network)(self.network.get_weights()), self.spec.input_shape, masked=self.spec.masked
        )

    @property
    def training(self) -> Config:
        """How it was trained. Where that is not known, as of an imported agent: the preset of its environment."""
        if "training" in self.statistics:
            return config_from_json(self.statistics["training"])
        kind = observation_kind(self.spec.observation_shape, self.spec.preprocessing)
        return find_preset(self.spec.id, kind=kind)

    def save(self, folder: Path) -> None:
        """Writes `weights.npz`, `observations.npz`, `teacher.npz` where it was taught, and, last, `agent.json`.

        Each is complete or absent.
        """
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "agent.json").unlink(missing_ok=True)  # or an old one would describe weights that are not its own
        save_arrays(folder / "weights.npz", self.network.get_weights())
        save_arrays(folder / "observations.npz", [self.observations])
        if self.taught_by:
            save_arrays(folder / TEACHER, [np.array([*self.taught_by]), *self.taught_by.values()])
        description = {
            "schema": SCHEMA,
            "environment": self.spec.to_json(),
            "network": describe(self.network),
            "statistics": self.statistics,
        }
        write_json(folder / "agent.json", description)

    @classmethod
    def load(cls, folder: Path) -> "TrainedAgent":
        """Reads what `save` wrote. Raises InputError where the folder holds no complete agent, or one of another schema."""
        path = folder / "agent.json"
        description = read_json(path, SCHEMA)
        try:
            spec = EnvironmentSpec.from_json(description["environment"])
            statistics = description["statistics"]
            network = rebuild(description["network"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} describes no agent: {error!r}") from error
        weights, observations = load_arrays(folder / "weights.npz"), load_arrays(folder / "observations.npz")
        if [w.shape for w in weights] != [w.shape for w in network.get_weights()]:
            raise InputError(f"{folder / 'weights.npz'} does not fit the network of agent.json.")
        if [o.shape[1:] for o in observations] != [spec.input_shape]:
            raise InputError(f"{folder / 'observations.npz'} does not fit the environment of agent.json.")
        network.set_weights(weights)
        return cls(network, spec, observations[0], statistics, taught_by=read_taught_by(folder))


def read_taught_by(folder: Path) -> dict[int, NDArray[np.float64]]:
    """What `save` wrote of `taught_by`; nothing where there is no such file. InputError: it is damaged."""
    path = folder / TEACHER
    if not path.exists():
        return {}
    firsts, *returns = load_arrays(path)
    if firsts.shape != (len(returns),) or any(each.ndim != 1 or not len(each) for each in returns):
        raise InputError(f"{path} is damaged: expected a list of returns for each of its seeds.")
    return dict(zip(firsts.tolist(), returns, strict=True))
