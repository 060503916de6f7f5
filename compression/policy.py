"""What compression hands to the exporter."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tf_keras
from numpy.typing import NDArray

from edgedqn.agents.atomic_files import load_arrays, read_json, save_arrays, write_json
from edgedqn.agents.environments import EnvironmentSpec
from edgedqn.agents.errors import InputError
from edgedqn.agents.networks import mlp
from edgedqn.compression import tfmot
from edgedqn.compression.folding import InputScaling

SCHEMA = 1
Conversion = Literal["float32", "ptq-int8", "qat-int8"]
Meaning = Literal["q_values", "preferences"]


@dataclass(frozen=True)
class CompressedPolicy:
    """A policy network as the exporter will convert it.

    Attributes:
      network: [B, F] -> [B, A], plain (`float32`, `ptq-int8`) or fake-quantized (`qat-int8`).
      conversion: what the exporter must do with it.
      scaling: from the environment's observation to the network's input.
      meaning: of the network's output.
      spec: of the environment.
      observations: float32 [N, F] as the environment gives them, on-policy.
      recipe: its name.
      reports: JSON, one object per stage.
      hidden: the widths of its hidden layers.
      preserve_zeros: whether fake quantization keeps zeros at zero (PQAT).
    """

    network: tf_keras.Model
    conversion: Conversion
    scaling: InputScaling
    meaning: Meaning
    spec: EnvironmentSpec
    observations: NDArray[np.float32]
    recipe: str
    reports: tuple[dict[str, Any], ...]
    hidden: tuple[int, ...]
    preserve_zeros: bool = False

    def save(self, folder: Path) -> None:
        """Writes `weights.npz`, `observations.npz` and, last, `policy.json`; each complete or absent."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "policy.json").unlink(missing_ok=True)  # or an old one would vouch for weights that are not its own
        save_arrays(folder / "weights.npz", self.network.get_weights())
        save_arrays(folder / "observations.npz", [self.observations])
        description = {
            "schema": SCHEMA,
            "environment": self.spec.to_json(),
            "conversion": self.conversion,
            "scaling": asdict(self.scaling),
            "meaning": self.meaning,
            "recipe": self.recipe,
            "hidden": list(self.hidden),
            "preserve_zeros": self.preserve_zeros,
            "reports": list(self.reports),
        }
        write_json(folder / "policy.json", description)

    @classmethod
    def load(cls, folder: Path) -> "CompressedPolicy":
        """Reads what `save` wrote.

        Raises:
          InputError: the folder holds no complete policy, or one of another schema.
        """
        path = folder / "policy.json"
        description = read_json(path, SCHEMA)
        weights, arrays = load_arrays(folder / "weights.npz"), load_arrays(folder / "observations.npz")
        try:
            spec = EnvironmentSpec.from_json(description["environment"])
            scaling = InputScaling.from_json(description["scaling"])
            network = mlp(spec.observation_shape, spec.n_actions, description["hidden"], np.random.default_rng(0))
            if description["conversion"] == "qat-int8":
                # PQAT takes its masks from the kernels it wraps, so they come first. All else QAT keeps is scalars.
                network.set_weights([array for array in weights if array.ndim])
                network = tfmot.quantization_aware(network, description["preserve_zeros"], scaling.limit)
            network.set_weights(weights)
            (observations,) = arrays
            return cls(
                network,
                description["conversion"],
                scaling,
                description["meaning"],
                spec,
                observations,
                description["recipe"],
                tuple(description["reports"]),
                tuple(description["hidden"]),
                description["preserve_zeros"],
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} and the arrays beside it make no policy: {error!r}") from error
