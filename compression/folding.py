"""Rewrites of a network that change no decision in float, and that make rounding to integers hurt less."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Weights = list[NDArray[np.float32]]  # kernel [in, out] and bias [out] of each Dense layer in turn


@dataclass(frozen=True)
class InputScaling:
    """x -> x * scale + offset, feature by feature, so that every feature uses the whole range [-1, 1].

    An int8 input has one scale for all features; without this a feature that is small beside the others is rounded away.

    Attributes:
      scale: [F], finite, > 0.
      offset: [F], finite.
      limit: scaled features are clamped to [-limit, limit], as the integer input of the device is; None clamps nothing.
    """

    scale: tuple[float, ...]
    offset: tuple[float, ...]
    limit: float | None = None

    @classmethod
    def identity(cls, features: int) -> "InputScaling":
        """Changes nothing."""
        return cls((1.0,) * features, (0.0,) * features)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "InputScaling":
        """Reads what `dataclasses.asdict` wrote."""
        return cls(tuple(value["scale"]), tuple(value["offset"]), value["limit"])

    @classmethod
    def measured(cls, observations: NDArray[np.float32], tail: float = 1e-3, headroom: float = 0.1) -> "InputScaling":
        """Centres and scales each feature by the range it has on-policy.

        Args:
          observations: [N, F], on-policy, N >= 1.
          tail: the share of observations that may lie beyond the measured range at each end, so that one outlier does not
            cost all others their resolution.
          headroom: how much wider than measured the range is made, as a share of its width at each end.
        """
        x = observations.astype(np.float64)  # [N, F]
        low, high = np.quantile(x, tail, axis=0), np.quantile(x, 1 - tail, axis=0)  # [F], [F]
        center = (low + high) / 2
        half = (high - low) / 2 * (1 + 2 * headroom)
        # A feature that does not move carries nothing; any width will do that keeps the numbers small.
        half = np.where(half > 1e-6 * np.maximum(np.abs(center), 1e-6), half, np.maximum(np.abs(center), 1.0))
        return cls(tuple((1 / half).tolist()), tuple((-center / half).tolist()), 1.0)

    def __call__(self, observations: NDArray[np.generic]) -> NDArray[np.float32]:
        """[..., F] -> float32 [..., F]."""
        scaled = (observations * np.asarray(self.scale) + np.asarray(self.offset)).astype(np.float32)
        return scaled if self.limit is None else np.clip(scaled, -self.limit, self.limit)


def fold_input_scaling(weights: Weights, scaling: InputScaling) -> Weights:
    """Moves the inverse of `scaling` into the first layer: network'(x * scale + offset) == network(x), exact in float."""
    kernel, bias, *rest = weights  # [F, H], [H]
    scale, offset = np.asarray(scaling.scale), np.asarray(scaling.offset)  # [F], [F]
    folded = kernel.astype(np.float64) / scale[:, None]  # [F, H]
    return [folded.astype(np.float32), (bias - offset @ folded).astype(np.float32), *rest]
