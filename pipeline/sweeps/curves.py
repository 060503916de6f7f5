"""Learning curves of several trainings: what they have come to by when, and which are given up."""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgedqn.agents.errors import InputError
from edgedqn.agents.training.log import FileLog
from edgedqn.agents.training.loop import EpisodeRecord

Curve = Sequence[tuple[int, float]]  # mean returns on the way, with the environment steps they were taken after


class HopelessError(InputError):
    """A training has come to less than others had by then."""


class PatientLog(FileLog):
    """Keeps the mean returns on the way, those before an interruption, too, and ends a training whose best is too little."""

    def __init__(self, folder: Path, hopeless: Sequence[tuple[int, float]]):
        super().__init__(folder)
        self.curve: list[tuple[int, float]] = []
        self._hopeless = hopeless

    def resume(self, env_steps: int, records: Sequence[EpisodeRecord], evaluations: Sequence[tuple[int, float]] = ()) -> None:
        super().resume(env_steps, records)
        self.curve += evaluations

    def evaluation(self, env_steps: int, mean_return: float) -> None:
        super().evaluation(env_steps, mean_return)
        self.curve.append((env_steps, mean_return))
        asked = [least for steps, least in self._hopeless if steps <= env_steps]
        if asked and max(score for _, score in self.curve) < asked[-1]:
            raise HopelessError(f"Its best is below {asked[-1]:g} after {env_steps:,} steps.")


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
