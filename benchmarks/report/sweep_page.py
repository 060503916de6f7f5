"""The page of a sweep: what was tried in each environment, the front, and what mattered."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edgedqn.agents.playing.statistics import Interval
from edgedqn.benchmarks.report.templates import render_page
from edgedqn.benchmarks.report.vega import VegaLite, fill_template

COLOURS = {"proven": "#2f9e5b", "passed": "#2f7ed8", "did not pass": "#7d8794", "not proven": "#d1495b"}


@dataclass(frozen=True, kw_only=True)
class TrialPoint:
    """A trial.

    Attributes:
      number: of the trial.
      outcome: `proven`, which passed its gate, or `not proven`; of those that were not put to it `passed`, the judge's verdict,
        `did not pass`, or `could not be done`.
      settings: what varied, by name, as texts.
      values: what is searched for, by name.
      size_bytes, kept: of the file, the mean over seeds; None where it could not be done.
      interval: what was kept where it was proven, at 95 %.
      runs: where its run folders are, relative to the page; of the front.
      reason: why it could not be done.
    """

    number: int
    outcome: str
    settings: Mapping[str, str]
    values: Mapping[str, float] = field(default_factory=dict)
    size_bytes: float | None = None
    kept: float | None = None
    interval: Interval | None = None
    runs: Sequence[str] = ()
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class SearchPart:
    """The part of one environment.

    Attributes:
      env_id: of it.
      summary: in a sentence.
      trials: all of them.
      importances: of each objective, how much each setting matters, 0 to 1.
    """

    env_id: str
    summary: str
    trials: Sequence[TrialPoint] = ()
    importances: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        """Of the table."""
        return ["trial", "outcome", *self._objectives, *self._settings, "runs"]

    @property
    def lines(self) -> list[tuple[TrialPoint, list[tuple[str, float | str]]]]:
        """Of the table: of each trial the cells between its outcome and its runs, each with what it is sorted by."""
        return [
            (
                trial,
                [(_digits(trial.values.get(each)), trial.values.get(each, "")) for each in self._objectives]
                + [(trial.settings.get(each, "-"), trial.settings.get(each, "")) for each in self._settings],
            )
            for trial in self.trials
        ]

    @property
    def _objectives(self) -> list[str]:
        return list(dict.fromkeys(name for trial in self.trials for name in trial.values))

    @property
    def _settings(self) -> list[str]:
        return list(dict.fromkeys(name for trial in self.trials for name in trial.settings))


def render_sweep(searches: Sequence[SearchPart]) -> str:
    """HTML that asks for nothing outside itself but the run folders beside it. The same searches give the same text.

    Raises:
      InputError: Jinja2, or vl-convert-python, which brings Vega-Lite along, is not installed.
    """
    charts: dict[str, VegaLite] = {}
    for i, search in enumerate(searches, 1):
        drawn = {"front": front_chart(search), "importance": importance_chart(search), "parallel": parallel_chart(search)}
        charts |= {f"{name}-{i}": chart for name, chart in drawn.items() if chart is not None}
    return render_page("sweep", charts, searches=searches)


def front_chart(search: SearchPart) -> VegaLite | None:
    """What files keep against what they take; None where nothing could be done."""
    line = {trial.number for trial in _running_best(search.trials)}
    points = [
        {
            "trial": trial.number,
            "line": trial.number in line,
            "KB": trial.size_bytes / 1_000,
            "kept": trial.kept if trial.interval is None else trial.interval.mean,
            "outcome": trial.outcome,
            "settings": ", ".join(f"{name}={value}" for name, value in trial.settings.items()),
            **({} if trial.interval is None else {"low": trial.interval.low, "high": trial.interval.high}),
        }
        for trial in sorted(search.trials, key=lambda trial: trial.outcome == "proven")  # in front of the others
        if trial.size_bytes is not None and trial.kept is not None
    ]
    if not points:
        return None
    proven = [trial for trial in search.trials if trial.outcome == "proven"]
    told = ", ".join(f"trial {each.number} takes {each.size_bytes:,.0f} bytes" for each in proven) or "none"
    return fill_template(
        "front",
        description=f"Return kept against size, {search.env_id}. Proven: {told}.",
        trials=points,
        outcomes=list(COLOURS),
        colours=list(COLOURS.values()),
    )


def _running_best(trials: Sequence[TrialPoint]) -> list[TrialPoint]:
    """Of what was proven, from small to large: what keeps more than all that is smaller."""
    best: list[TrialPoint] = []
    proven = [trial for trial in trials if trial.outcome == "proven" and trial.interval is not None]
    for trial in sorted(proven, key=lambda each: each.size_bytes or 0.0):
        if not best or trial.interval.mean > best[-1].interval.mean:  # type: ignore[union-attr]
            best.append(trial)
    return best


def importance_chart(search: SearchPart) -> VegaLite | None:
    """How much each setting matters; None where nothing can be said."""
    bars = [
        {"setting": setting, "objective": objective, "share": share}
        for objective, shares in search.importances.items()
        for setting, share in shares.items()
    ]
    if not bars:
        return None
    told = "; ".join(f"{bar['setting']} for {bar['objective']} {bar['share']:.0%}" for bar in bars)
    height = 22 * len({bar["setting"] for bar in bars}) * len(search.importances)
    return fill_template("importance", description=f"How much each setting matters: {told}.", bars=bars, height=height)


def parallel_chart(search: SearchPart) -> VegaLite | None:
    """Each trial through its settings and values; None where nothing varied."""
    done = [trial for trial in search.trials if trial.values]
    tried = {
        name: [trial.settings.get(name, "-") for trial in done] for name in dict.fromkeys(n for t in done for n in t.settings)
    }
    columns: dict[str, list[float | str]] = {name: list(values) for name, values in tried.items() if len(set(values)) > 1}
    shared = [name for name in (done[0].values if done else ()) if all(name in trial.values for trial in done)]
    columns |= {name: [trial.values[name] for trial in done] for name in shared}
    if len(columns) < 3:
        return None
    places = []
    for axis, values in columns.items():
        numbers = _as_numbers(values)
        low, span = min(numbers), (max(numbers) - min(numbers)) or 1.0
        places += [
            {"trial": t.number, "axis": axis, "place": (n - low) / span, "value": str(v), "outcome": t.outcome}
            for t, n, v in zip(done, numbers, values, strict=True)
        ]
    return fill_template(
        "parallel",
        description=f"{len(done)} trials of {search.env_id} through {', '.join(columns)}.",
        places=places,
        axes=list(columns),
        outcomes=list(COLOURS),
        colours=list(COLOURS.values()),
    )


def _as_numbers(values: Sequence[float | str]) -> list[float]:
    """Themselves, or their places in the order of what they say."""
    with_numbers = [
        json.loads(value) if isinstance(value, str) and value != "-" and _is_json(value) else value for value in values
    ]
    if all(isinstance(value, int | float) for value in with_numbers):
        return [float(value) for value in with_numbers]
    order = {
        key: float(i) for i, key in enumerate(sorted({str(value) for value in values}, key=lambda text: (len(text), text)))
    }
    return [order[str(value)] for value in values]


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _digits(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4g}"
