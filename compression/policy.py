"""What compression hands to the exporter."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import tf_keras
from numpy.typing import NDArray

from edgedqn.agents.architecture import rebuild
from edgedqn.agents.errors import InputError
from edgedqn.agents.files import Json, load_arrays, read_json, save_arrays, write_json
from edgedqn.agents.playing.spec import EnvironmentSpec
from edgedqn.compression.folding import InputScaling
from edgedqn.compression.report import SCHEMA, CompressionRecord, Judgement, StageReport
from edgedqn.compression.tfmot import fake_quantization

Conversion = Literal["float32", "float16", "dynamic", "ptq-int8", "qat-int8", "qat-int8-float-output", "int16x8"]
FLOAT_OUTPUT: Conversion = "qat-int8-float-output"  # and float weights of the last layer
FLOAT_INPUT = ("float32", "float16", "dynamic")
QUANTIZATION_AWARE = ("qat-int8", FLOAT_OUTPUT)  # they read the ranges that training learned
Meaning = Literal["q_values", "preferences"]


@dataclass(frozen=True, kw_only=True)
class CompressedPolicy:
    """A policy network as the exporter will convert it.

    Attributes:
      network: [B, *input_shape] -> [B, A]; fake-quantized for the conversions in `QUANTIZATION_AWARE`, else plain.
      scaling: from what the agent's network sees of the environment to this network's input.
      observations: [N, *input_shape] in the environment's dtype, as the agent's network sees them, on-policy.
      recipe: its name; `settings` is its JSON, empty where it was made by none.
      layers: the architecture without fake quantization, as `agents.architecture.describe` gives it.
      per_output: whether the fake quantization has one scale per output of a Dense kernel; None where it is TF-MOT's own.
    """

    network: tf_keras.Model
    conversion: Conversion
    scaling: InputScaling
    meaning: Meaning
    spec: EnvironmentSpec
    observations: NDArray[Any]
    recipe: str
    reports: tuple[StageReport, ...]
    layers: list[Json]
    settings: Json = field(default_factory=dict)
    per_output: bool | None = None

    def save(self, folder: Path) -> None:
        """Writes `weights.npz`, `observations.npz` and, last, `policy.json`; each complete or absent."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "policy.json").unlink(missing_ok=True)  # an old one belongs to other weights
        save_arrays(folder / "weights.npz", self.network.get_weights())
        save_arrays(folder / "observations.npz", [self.observations])
        description = {
            "schema": SCHEMA,
            "environment": self.spec.to_json(),
            "conversion": self.conversion,
            "scaling": self.scaling.to_json(),
            "meaning": self.meaning,
            "recipe": self.recipe,
            "settings": self.settings,
            "layers": self.layers,
            "per_output": self.per_output,
            "reports": [report.to_json() for report in self.reports],
        }
        write_json(folder / "policy.json", description)

    @classmethod
    def load(cls, folder: Path) -> "CompressedPolicy":
        """Reads what `save` wrote. Raises InputError where the folder holds no complete policy, or one of another schema."""
        path = folder / "policy.json"
        description = read_json(path, SCHEMA)
        weights, arrays = load_arrays(folder / "weights.npz"), load_arrays(folder / "observations.npz")
        try:
            network = rebuild(description["layers"])
            if description["conversion"] in QUANTIZATION_AWARE:
                network = fake_quantization.quantization_aware(
                    network,
                    None,
                    per_output=description.get("per_output"),
                    float_output=description["conversion"] == FLOAT_OUTPUT,
                )
            network.set_weights(weights)
            (observations,) = arrays
            record = CompressionRecord.from_json(description)
            return cls(
                network=network,
                conversion=description["conversion"],
                scaling=InputScaling.from_json(description["scaling"]),
                meaning=description["meaning"],
                spec=EnvironmentSpec.from_json(description["environment"]),
                observations=observations,
                recipe=description["recipe"],
                reports=record.reports,
                layers=description["layers"],
                settings=record.settings,
                per_output=description.get("per_output"),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} and the arrays beside it make no policy: {error!r}") from error


Judge = Callable[[CompressedPolicy], Judgement]
"""How a candidate plays as the file it would become. Handed to a recipe like a generator: `pipeline`, which can export and play
integers, gives one."""

Excess = Callable[[CompressedPolicy], str]
"""Why the file that a candidate would become does not fit a board; empty where it does. Handed to a recipe likewise."""
