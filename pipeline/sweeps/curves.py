"""Learning curves of several trainings: what they have come to by when."""

import itertools
import statistics
from collections.abc import Mapping, Sequence

Curve = Sequence[tuple[int, float]]  # mean returns on the way, with the environment steps they were taken after


def mean_curve(curves: Sequence[Curve]) -> dict[int, float]:
    """The best so far, the mean over the curves, by environment steps; only where all of them have been."""
    best = [dict(zip(_steps(curve), itertools.accumulate((score for _, score in curve), max), strict=True)) for curve in curves]
    shared = [steps for steps in (best[0] if best else {}) if all(steps in each for each in best)]
    return {steps: statistics.fmean(each[steps] for each in best) for steps in shared}


def median_curve(curves: Sequence[Mapping[int, float]]) -> tuple[tuple[int, float], ...]:
    """What half of them had come to by then, by environment steps; of those that had been there.

    Source: Optuna's MedianPruner, which compares with whatever trials are finished, here with those of earlier batches.
    """
    steps = sorted({each for curve in curves for each in curve})
    return tuple((each, statistics.median(curve[each] for curve in curves if each in curve)) for each in steps)


def _steps(curve: Curve) -> list[int]:
    return [steps for steps, _ in curve]
