"""The return of each file, against the baseline's on the same reset seeds, and the verdict of the gate."""

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import one_line
from edgedqn.agents.playing.gate import (
    ATARI_LOOKS,
    MANY_LOOKS,
    Gate,
    GateResult,
    NotBetterThanRandomError,
    run_gate,
    simulated_power,
)
from edgedqn.agents.playing.statistics import bootstrap_interval
from edgedqn.benchmarks.filling import FILE_FAULTS, BaselineError, Rows
from edgedqn.benchmarks.playing import Play, Players
from edgedqn.benchmarks.rows import BenchmarkRow, Return
from edgedqn.export.edge_policy import PolicyFileError, VerifiedFile

USUAL_LOOKS = (Gate().looks, MANY_LOOKS, ATARI_LOOKS)
OnGate = Callable[[str, GateResult], object]  # a file's name, and its verdict with the margin and the interval behind it


def score(rows: Rows, files: Mapping[str, VerifiedFile], *, play: Play, on_gate: OnGate, progress: bool) -> None:
    """Plays every living row's file and fills in `episode_return`, `return_delta` and `gate`.

    All files play the gate's first look; the margin comes from the baseline's and a random policy's return on it, and where the
    baseline is not better than random, no file passes or fails. Where a policy taught the baseline, that one's return stands in
    the place of the baseline's, and the baseline has to pass, too. More is played only while a verdict is open.
    `episode_return` and `return_delta` are over all episodes a file has played.

    A row without a file in `files`, by name, is not played. `play` says where and how; `progress` shows a bar on a terminal;
    `on_gate` is called for each file with a verdict.

    Raises:
      BaselineError: the baseline could not be played.
      BadTransitionError: the random policy met a NaN or an infinity.
    """
    with Players(play, progress) as players:
        contest = _Contest(rows.baseline, files, play=play, players=players, on_gate=on_gate)
        rows.each(contest.play_first_look)
        contest.set_margin()
        rows.each(contest.judge)
        rows.each(contest.score)
        rows.each(contest.compare_with_equals)


class _Contest:
    def __init__(self, baseline: str, files: Mapping[str, VerifiedFile], *, play: Play, players: Players, on_gate: OnGate):
        self._baseline, self._files, self._players, self._gate, self._on_gate = baseline, files, players, play.gate, on_gate
        with closing(play.make_environment()) as env:
            self._shape = tuple(env.observation_space.shape or ())
            self._n_actions = int(env.action_space.n)  # type: ignore[attr-defined]
        self._is_taught = play.taught_by is not None
        self._passed: dict[str, BenchmarkRow] = {}
        self._margin: float | None = None
        self._no_margin = ""

    def play_first_look(self, row: BenchmarkRow) -> BenchmarkRow:
        file = self._files.get(row.name)
        if file is None:
            return row
        made_for = file.device
        if (made_for.observation_shape, made_for.n_actions) != (self._shape, self._n_actions):
            raise PolicyFileError(
                f"The file is for another environment: expected observations {list(self._shape)} and {self._n_actions} "
                f"actions. Got {list(made_for.observation_shape)} and {made_for.n_actions}."
            )
        self._players.returns(file.path, self._gate.looks[0])
        return row

    def set_margin(self) -> None:
        at_random = partial(self._players.returns, None)
        try:
            self._margin = self._gate.margin(float_returns=self._of_baseline, random_returns=at_random)
        except NotBetterThanRandomError as error:
            self._no_margin = str(error)

    def judge(self, row: BenchmarkRow) -> BenchmarkRow:
        file = self._files.get(row.name)
        if file is None or (row.name == self._baseline and not self._is_taught):
            return row
        if self._margin is None:
            return replace(row, gate="undecided", reason=_joined(row.reason, self._no_margin))
        result = run_gate(
            self._gate,
            self._margin,
            paired_differences=lambda n: (self._players.returns(file.path, n) - self._of_baseline(n)).tolist(),
        )
        self._on_gate(row.name, result)
        loss = f"[{-result.interval.high:.4g}, {-result.interval.low:.4g}]"
        why = f"After {result.episodes} episodes the loss may be anything in {loss}. {result.margin:.4g} is allowed."
        row = replace(row, gate=result.verdict, reason=_joined(row.reason, why if result.verdict == "undecided" else None))
        if self._gate.looks in USUAL_LOOKS:
            return row
        differences = self._players.returns(file.path) - self._of_baseline(len(self._players.returns(file.path)))
        return replace(row, gate_looks=self._gate.looks, gate_power=simulated_power(self._gate, self._margin, differences))

    def score(self, row: BenchmarkRow) -> BenchmarkRow:
        if row.name not in self._files:
            return row
        returns = self._players.returns(self._files[row.name].path)
        mean = bootstrap_interval(returns)
        delta = bootstrap_interval(returns - self._of_baseline(len(returns)))
        row = replace(row, episode_return=Return(mean.mean, mean.low, mean.high, len(returns)), return_delta=delta)
        if row.gate == "pass":
            self._passed[row.name] = row
        return row

    def compare_with_equals(self, row: BenchmarkRow) -> BenchmarkRow:
        """Where several that passed are equally large, says which of them it is better than."""
        if row.name not in self._passed:
            return row
        equals = [other.name for other in self._passed.values() if other.size_bytes == row.size_bytes]
        return replace(row, better_than=tuple(name for name in equals if self._is_better(row.name, name)))

    def _is_better(self, name: str, other: str) -> bool:
        returns, others = (self._players.returns(self._files[each].path) for each in (name, other))
        played = min(len(returns), len(others))
        return bootstrap_interval(returns[:played] - others[:played]).low > 0

    def _of_baseline(self, episodes: int) -> NDArray[np.float64]:
        # It may break on a later look, in the middle of judging another file, whose fault it is not.
        try:
            return self._players.to_compare(self._files[self._baseline].path, episodes)
        except FILE_FAULTS as error:
            raise BaselineError(f"The baseline {self._baseline} cannot be played: {one_line(error)}") from error


def _joined(*reasons: str | None) -> str | None:
    return " ".join(filter(None, reasons)) or None
