"""What an algorithm scores, over several trainings of it: a training seed is a sample, an episode is not."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.playing.evaluation import RESAMPLES, Interval


@dataclass(frozen=True)
class AcrossSeeds:
    """The scores of several trainings that differ in their seed alone.

    Attributes:
      means: of each seed, in reward units.
      mean: of those.
      iqm: their interquartile mean and its 95 % bootstrap interval.
    """

    means: tuple[float, ...]
    mean: float
    iqm: Interval


def across_seeds(means: Sequence[float]) -> AcrossSeeds:
    """Summarizes the mean returns [N] of N >= 1 training seeds.

    The interval is the percentile bootstrap over seeds, 10,000 resamples from a fixed seed; of one environment there is one
    stratum. With five seeds it is rough: it cannot reach beyond the best and the worst of them.

    Raises:
      ValueError: no seeds, or a mean that is no finite number.
    Source: Agarwal et al. (2021), "Deep reinforcement learning at the edge of the statistical precipice".
    """
    scores = np.asarray(means, np.float64)  # [N]
    if scores.size == 0 or not np.isfinite(scores).all():
        raise ValueError(f"Expected the mean return of at least one seed, all finite. Got {list(means)}.")
    resampled = np.random.default_rng(0).choice(scores, size=(RESAMPLES, scores.size))  # [RESAMPLES, N]
    low, high = np.quantile(interquartile_mean(resampled), [0.025, 0.975])
    iqm = Interval(float(interquartile_mean(scores)), float(low), float(high))
    return AcrossSeeds(tuple(scores.tolist()), float(scores.mean()), iqm)


def interquartile_mean(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of the middle half of [..., N], after dropping floor(N / 4) at each end; of fewer than 4 it is the mean."""
    drop = scores.shape[-1] // 4
    return np.sort(scores, axis=-1)[..., drop : scores.shape[-1] - drop].mean(axis=-1)
