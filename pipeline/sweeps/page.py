"""What the page of a sweep shows of each environment."""

import json
from collections.abc import Sequence

import numpy as np

from edgedqn.agents.playing.statistics import Interval
from edgedqn.benchmarks.report.sweep_page import SearchPart, TrialPoint
from edgedqn.pipeline.sweeps.results import Proven, SweepResult
from edgedqn.pipeline.sweeps.sweep_file import Sweep
from edgedqn.pipeline.sweeps.trials import Found, Proof, Tried


def parts_of(result: SweepResult) -> list[SearchPart]:
    """In the order of the file."""
    return [_part(result.sweep, found, result.proven[env_id]) for env_id, found in result.found.items()]


def _part(sweep: Sweep, found: Found, fronts: Sequence[Proven]) -> SearchPart:
    if found.error:
        return SearchPart(env_id=found.env_id, summary=found.error)
    proven, varied = {each.trial: each for each in fronts}, _varied(found.trials)
    return SearchPart(
        env_id=found.env_id,
        summary=_summary(found, fronts),
        trials=[
            _point(sweep, trial, proven=proven.get(trial.number), proofs=found.proofs.get(trial.number, ()), varied=varied)
            for trial in found.trials
        ],
        importances={
            objective: {_short(name, len(sweep.recipes)): share for name, share in shares.items()}
            for objective, shares in found.importances.items()
        },
    )


def _varied(trials: Sequence[Tried]) -> list[str]:
    """The settings in which trials differ."""
    names = dict.fromkeys(name for trial in trials for name in trial.settings)
    return [name for name in names if len({json.dumps(trial.settings.get(name)) for trial in trials}) > 1]


def _summary(found: Found, fronts: Sequence[Proven]) -> str:
    passed = [each for each in fronts if each.passed]
    tried = f"{len(found.trials)} trials, of which {sum(trial.passed for trial in found.trials)} passed the judge"
    if not passed:
        return f"{tried}; no file passed its gate."
    best = min(passed, key=lambda each: each.size_bytes)
    returns, floats = (sum(each) / len(each) for each in (best.returns, best.floats))
    seeds = f", the mean of {len(best.returns)} seeds" if len(best.returns) > 1 else ""
    return (
        f"{tried}. The smallest file that passed its gate takes {best.size_bytes:,.0f} bytes and returns {returns:,.1f} of "
        f"{floats:,.1f}{seeds}: trial {best.trial}."
    )


def _point(sweep: Sweep, trial: Tried, *, proven: Proven | None, proofs: Sequence[Proof], varied: Sequence[str]) -> TrialPoint:
    settings = {name: _text(trial.settings[name]) for name in varied if name in trial.settings}
    if trial.error:
        return TrialPoint(number=trial.number, outcome="could not be done", settings=settings, reason=trial.error)
    judged = "passed" if trial.passed else "did not pass"
    return TrialPoint(
        number=trial.number,
        outcome=judged if proven is None else "proven" if proven.passed else "not proven",
        settings=settings,
        values={each: trial.value(each) for each in sweep.objectives} | _time(proven),
        size_bytes=trial.value("bytes"),
        kept=trial.value("return"),
        interval=_interval(trial, proofs),
        runs=() if proven is None else proven.runs,
    )


def _time(proven: Proven | None) -> dict[str, float]:
    """Of a file that was timed."""
    return {} if proven is None or proven.latency_us is None else {"µs": round(proven.latency_us, 2)}


def _interval(trial: Tried, proofs: Sequence[Proof]) -> Interval | None:
    """What is kept on the `prove` seeds: the means over the training seeds of each one's mean and ends."""
    kept = [
        [1 + each / result.over_random for each in (row.return_delta.mean, row.return_delta.low, row.return_delta.high)]
        for proof, result in zip(proofs, trial.done, strict=False)
        if (row := proof.own_row) is not None and row.return_delta is not None and result.over_random
    ]
    return Interval(*np.mean(kept, axis=0).tolist()) if kept else None


def _short(name: str, recipes: int) -> str:
    """A parameter of Optuna's without its recipe, where there is one alone."""
    return name.rpartition("/")[2] if recipes == 1 else name


def _text(value: object) -> str:
    return value if isinstance(value, str) else f"{value:.3g}" if isinstance(value, float) else json.dumps(value)
