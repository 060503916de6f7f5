"""Means and medians with their bootstrap intervals: of episodes, of rounds of timings, of training seeds.

Source: Efron (1979), "Bootstrap methods: another look at the jackknife". In percentile form: BCa breaks on equal values.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.files import Json, JsonValue

RESAMPLES = 10_000
AT_ONCE = 500  # resamples, which bounds the memory


class Bounded(JsonValue):
    """Base of a value with fields `low` and `high`, an interval's ends, which in JSON are the pair `ci95`."""

    KEYS: ClassVar[Mapping[str, str]] = {"low": "ci95"}

    def to_json(self) -> Json:
        """As it stands in `benchmark.json`."""
        found = super().to_json()
        return found | {"ci95": [found["ci95"], found.pop("high")]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The reverse of `to_json`."""
        low, high = value["ci95"]
        return super().from_json({**value, "ci95": low, "high": high})


@dataclass(frozen=True)
class Interval(Bounded):
    """A mean, of all or of the middle half, and the interval around it."""

    mean: float
    low: float
    high: float


def percentile_bootstrap(
    values: NDArray[np.float64],
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    *,
    quantiles: tuple[float, float] = (0.025, 0.975),
    seed: int = 0,
) -> tuple[float, float]:
    """The percentile bootstrap interval of a statistic ([R, N] -> [R], of each row) of finite values [N], N >= 1.

    The 10,000 resamples are drawn from `seed`, so the same values give the same interval.
    """
    rng = np.random.default_rng(seed)
    resampled = (values[rng.integers(values.size, size=(AT_ONCE, values.size))] for _ in range(RESAMPLES // AT_ONCE))
    found = np.concatenate([statistic(rows) for rows in resampled])  # [RESAMPLES]
    low, high = np.quantile(found, quantiles)
    return float(low), float(high)


def bootstrap_interval(values: Sequence[float] | NDArray[np.float64], confidence: float = 0.95) -> Interval:
    """The mean of `values` [N] and its two-sided interval, see `percentile_bootstrap`. Equal values v give [v, v].

    Raises:
      ValueError: no values, or one that is no finite number.
    """
    array = np.asarray(values, np.float64)  # [N]
    if array.size == 0 or not np.isfinite(array).all():
        raise ValueError(f"Expected at least one value, all finite. Got {array.size} values: {array[:5]}.")
    mean = float(array.mean())
    if array.min() == array.max():
        return Interval(mean, mean, mean)
    tail = (1 - confidence) / 2
    return Interval(mean, *percentile_bootstrap(array, lambda rows: rows.mean(axis=1), quantiles=(tail, 1 - tail)))


def across_seeds(means: Sequence[float]) -> Interval:
    """The interquartile mean of the mean returns [N] of N >= 1 training seeds, and its 95 % bootstrap interval: a seed is a
    sample, an episode is not.

    The interval is over seeds; of one environment there is one stratum. With five seeds it is rough: it cannot reach beyond the
    best and the worst of them.

    Raises:
      ValueError: no seeds, or a mean that is no finite number.
    Source: Agarwal et al. (2021), "Deep reinforcement learning at the edge of the statistical precipice".
    """
    scores = np.asarray(means, np.float64)  # [N]
    if scores.size == 0 or not np.isfinite(scores).all():
        raise ValueError(f"Expected the mean return of at least one seed, all finite. Got {list(means)}.")
    return Interval(float(interquartile_mean(scores)), *percentile_bootstrap(scores, interquartile_mean))


def interquartile_mean(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of the middle half of [..., N], after dropping floor(N / 4) at each end; of fewer than 4 it is the mean."""
    drop = scores.shape[-1] // 4
    return np.sort(scores, axis=-1)[..., drop : scores.shape[-1] - drop].mean(axis=-1)
