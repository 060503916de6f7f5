"""How a file's choices compare with the float network's, on the same states."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgedqn.benchmarks.rows import OutputRange
from edgedqn.export.edge_policy import EdgePolicy


@dataclass(frozen=True)
class Agreement:
    """Shares of the states, 0 to 1.

    Attributes:
      action_agreement: both choose the same action.
      gap_weighted_agreement: the same, each state weighted by the float network's gap between its best and its second-best
        action. 1.0 where every gap is 0: then no choice costs anything.
      tie_rate: the file's largest output is not unique, so that the lowest index decides.
    """

    action_agreement: float
    gap_weighted_agreement: float
    tie_rate: float


def preferences_of(policy: EdgePolicy, observations: NDArray[np.generic]) -> NDArray[np.float64]:
    """The output rows [N, A] of a file on N states [N, *input_shape], as the network sees them, frames already stacked.

    Raises:
      ValueError: the states are of another shape, or an output is NaN or infinite.
    """
    rows = np.array([policy.preferences(observation) for observation in observations], np.float64)
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        raise ValueError(f"The network gave a number that is not finite: expected finite outputs. Got {rows[finite.argmin()]}.")
    return rows


def agreement(
    baseline: NDArray[np.float64], candidate: NDArray[np.float64], *, legal: NDArray[np.bool_] | None = None
) -> Agreement:
    """Compares two files' output rows.

    Args:
      baseline: [N, A], the float network's Q-values on N on-policy states.
      candidate: [N, A], on the same states, in any unit that ranks actions.
      legal: [N, A], which actions are; None where all are.
    Raises:
      ValueError: the shapes differ, or there are no states.
    """
    if baseline.shape != candidate.shape or baseline.size == 0:
        raise ValueError(f"Expected outputs for the same states and actions, {baseline.shape}. Got {candidate.shape}.")
    gaps = _gaps(baseline, legal)  # [N]
    if legal is not None:
        baseline, candidate = (np.where(legal, rows, -np.inf) for rows in (baseline, candidate))
    same = baseline.argmax(axis=1) == candidate.argmax(axis=1)  # [N]; argmax takes the lowest index, as the device does
    ties = (candidate == candidate.max(axis=1, keepdims=True)).sum(axis=1) > 1  # [N]
    return Agreement(
        action_agreement=float(same.mean()),
        gap_weighted_agreement=float(gaps[same].sum() / gaps.sum()) if gaps.any() else 1.0,
        tie_rate=float(ties.mean()),
    )


def output_range(rows: NDArray[np.float64]) -> OutputRange:
    """What a file's outputs [N, A] span, and the median over the states of the gap between the best and the second-best."""
    return OutputRange(float(rows.min()), float(rows.max()), float(np.median(_gaps(rows))))


def legal_in(policy: EdgePolicy, observations: NDArray[np.generic]) -> NDArray[np.bool_] | None:
    """Which actions are legal in states [N, *input_shape], as the network of a file sees them: [N, A]; None where all are."""
    return observations[:, -policy.n_actions :].astype(bool) if policy.device.masked else None


def _gaps(rows: NDArray[np.float64], legal: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """[N, A] -> [N], from the best to the second-best legal action; 0 where there is but one."""
    if rows.shape[1] == 1:
        return np.zeros(len(rows))
    if legal is not None:
        rows = np.where(legal, rows, np.where(legal, rows, np.inf).min(axis=1, keepdims=True))
    ordered = np.sort(rows, axis=1)  # [N, A]
    gaps: NDArray[np.float64] = ordered[:, -1] - ordered[:, -2]
    return gaps
