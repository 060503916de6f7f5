"""Where an int8 output may saturate, and which choices rounding loses. N is the states, A the actions."""

import itertools
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

Range = tuple[float, float]

# Of the largest outputs and below them, in median gaps: where an output may saturate.
TAILS, WIDTHS = (0, 1e-4, 3e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2), (0.0, 0.5, 1.0, 2.0)
MOST_TIES = 0.02  # some more are in states that it was not chosen on


class OutputRanges(NamedTuple):
    """Ranges in which outputs choose most like wanted ones, by gap.

    Attributes:
      few_ties: with ties in 2 % of the states.
      any_ties: with as many as that makes.
      lost: by the first, as a share of the gaps, and of the states where ties are more.
    """

    few_ties: Range
    any_ties: Range
    lost: float


def output_ranges(
    outputs: NDArray[np.float32], wanted: NDArray[np.float32], legal: NDArray[np.bool_] | None = None
) -> OutputRanges:
    """Where outputs [N, A] may saturate, to choose like wanted ones [N, A].

    What lies below the best action by more than some gaps may as well be lower; int8 clips it for nothing.
    """
    outputs, wanted = legal_at_most(outputs, legal), legal_at_most(wanted, legal)
    gap = median_gap(wanted)
    second, largest = np.sort(outputs, axis=1)[:, -2:].T  # [N], [N]
    lowest = min(0.0, float(outputs.min()))
    whole = lowest, max(lowest + gap, float(outputs.max()))  # where no action is better than another
    few_ties, any_ties = (np.inf, whole), (np.inf, whole)
    for top, bottom, width in itertools.product(TAILS, TAILS, WIDTHS):
        low = min(0.0, float(np.quantile(largest, bottom)) - width * gap)
        high = max(0.0, float(np.quantile(second, 1 - top)) + width * gap)
        if high - low >= gap:
            wrong, ties = lost_choices(fake_quantized(outputs, (low, high)).numpy(), wanted)
            few_ties = min(few_ties, (wrong + max(0.0, ties - MOST_TIES), (low, high)), key=lambda each: each[0])
            any_ties = min(any_ties, (wrong, (low, high)), key=lambda each: each[0])
    return OutputRanges(few_ties[1], any_ties[1], few_ties[0])


def legal_at_most(outputs: NDArray[np.float32], legal: NDArray[np.bool_] | None) -> NDArray[np.float32]:
    """Outputs [N, A], of which those that are not legal are as the worst that is."""
    return outputs if legal is None else np.where(legal, outputs, np.where(legal, outputs, np.inf).min(axis=1, keepdims=True))


def gaps_of(outputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """By how much the largest of outputs [N, A] exceeds the second: [N]."""
    ordered = np.sort(outputs, axis=1)
    return ordered[:, -1] - ordered[:, -2]


def median_gap(outputs: NDArray[np.float32]) -> float:
    """Of outputs [N, A] where one is the largest; 1 where none is."""
    gaps = gaps_of(outputs)
    return float(np.median(gaps[gaps > 0])) if gaps.any() else 1.0


def lost_choices(outputs: NDArray[np.float32], wanted: NDArray[np.float32]) -> tuple[float, float]:
    """The share of the gaps between wanted outputs [N, A] in states where others [N, A] choose otherwise, and that of ties."""
    gaps = gaps_of(wanted)
    ties = ((outputs == outputs.max(axis=1, keepdims=True)).sum(axis=1) > 1).mean()
    return float(gaps[outputs.argmax(axis=1) != wanted.argmax(axis=1)].sum() / (gaps.sum() or 1.0)), float(ties)


def fake_quantized(values: NDArray[np.float32] | tf.Tensor, limits: Range) -> tf.Tensor:
    """As an int8 tensor of this range holds them; 0 is exact."""
    return tf.quantization.fake_quant_with_min_max_args(values, *limits, num_bits=8)
