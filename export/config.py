"""How a policy file is written, and which combinations there are. The one place that refuses the others, with the reason."""

from dataclasses import dataclass, fields, replace
from typing import Literal, get_args

from edgedqn.agents.errors import InputError
from edgedqn.compression.policy import QUANTIZATION_AWARE, Meaning

ManifestPlace = Literal["embedded", "beside"]
Output = Literal["preferences", "q_values", "action"]

INTEGER_ENDS = ("ptq-int8", *QUANTIZATION_AWARE)  # what `float_io` has something to do for


@dataclass(frozen=True)
class ExportConfig:
    """How a policy file is written. Its number format is the policy's own `conversion`.

    Attributes:
      strip: leave out what no runtime reads: names, descriptions, signatures, calibration ranges.
      manifest: `embedded`, the device part of the manifest lies in the file, too; `beside`, in `<name>.json` alone, without
        which the file is refused.
      float_io: a file with integer ends takes float observations and gives float outputs; scaling and rounding are operators
        inside it, and the integers between are the same. For browsers, and faster through Python. Other files have float ends
        anyway.
      output: `preferences`, whatever the recipe trained, of which the largest wins; `q_values`, the same, but refused where
        the recipe trained something else; `action`, the index of the largest, the lowest among equals.
      sparse: store kernels that are zero in whole blocks of inputs without those blocks. Refused, with the reason.
    """

    strip: bool = False
    manifest: ManifestPlace = "embedded"
    float_io: bool = False
    output: Output = "preferences"
    sparse: bool = False

    def __post_init__(self) -> None:
        if self.manifest not in get_args(ManifestPlace):
            raise InputError(f"Expected a manifest 'embedded' or 'beside'. Got {self.manifest!r}.")
        if self.output not in get_args(Output):
            raise InputError(f"Expected an output 'preferences', 'q_values' or 'action'. Got {self.output!r}.")
        if self.sparse:
            # Measured: TFLite's own int8 kernel was 126 of 255 steps off where a layer has 4 inputs, its blocks being 16 wide.
            raise InputError(
                "No runtime computes sparse kernels safely: XNNPACK reads past their end, TFLite's own kernel is wrong where "
                "inputs are no multiple of a block, TFLite Micro has none. Expected sparse=False. Got True."
            )

    def of_baseline(self) -> "ExportConfig":
        """For the float network that others are compared with: its output must tell how far apart its actions are."""
        return replace(self, output="preferences", sparse=False)

    def options(self) -> list[str]:
        """What asks for this on the command line; empty for the defaults."""
        words = []
        for setting in fields(self):
            value, option = getattr(self, setting.name), f"--{setting.name.replace('_', '-')}"
            if value != setting.default:
                words.append(option if value is True else f"{option} {value}")
        return words

    def check(self, meaning: Meaning) -> None:
        """Refuses, by an InputError with the reason, what cannot be written of a network whose output has this meaning."""
        if self.output == "q_values" and meaning != "q_values":
            raise InputError(
                "The recipe trained preferences, which rank actions and are no values: expected the output 'preferences' or "
                "'action', or a recipe that keeps Q-values. Got output='q_values'."
            )
