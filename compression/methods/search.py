"""The search for the smallest new network that plays as well as the agent."""

import time
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import tf_keras

from edgedqn.agents.errors import InputError, require
from edgedqn.compression.methods.distillation import Distil, Distillation
from edgedqn.compression.methods.ladder import SMALL_STUDENT, Quantize, judgement_of
from edgedqn.compression.methods.streaming import Stream
from edgedqn.compression.networks import fresh, resized, size_of, widths
from edgedqn.compression.policy import FLOAT_OUTPUT, Meaning
from edgedqn.compression.report import Attempt, Findings, Judgement
from edgedqn.compression.stage import CompressionContext, Stage, Student

LAYER_BYTES = 330  # of tensors, quantization and an operator: the difference between files with a layer more and less
PROBED = 100  # states that an untrained network is rounded on
Widths = tuple[tuple[int, ...], tuple[int, ...]]  # filters, hidden

ONE_LAYER: tuple[tuple[int, ...], ...] = ((), (2,), (3,), (4,), (6,), (8,), (12,), (16,), (24,), (32,))
HIDDEN = (*ONE_LAYER, *((width, width) for width in (8, 12, 16, 24, 32, 48, 64)))
STUDENT = Distil(learning=Distillation(steps=4_000, batch_size=128, learning_rate=5e-3, final_learning_rate=1e-4), rounds=2)
STREAM = Stream()


@dataclass(frozen=True, kw_only=True)
class Search(Stage):
    """Looks for the smallest network that passes the gate as int8, by bisection; then tries the size below it once more.

    Where it is for a board, only sizes are tried whose untrained files fit, and one that passes must fit as it is.

    Attributes:
      attempts: networks tried at most.
      minutes: none is begun after them, and a stream ends; 0 sets no limit. With a limit, two machines may find different
        networks.
      env_steps: none is begun after the judge has played this many; 0 sets no limit.
      teaching: of each network; the teacher's states are gathered once ...
      streaming: ... or, where observations are images, in fresh ones: a fixed number of these is soon learned by heart.
      quantizing: of each network; the best one is returned as it was judged.
    """

    attempts: int = 12
    minutes: float = 20.0
    env_steps: int = 0
    teaching: Distil = STUDENT
    streaming: Stream = STREAM
    quantizing: Quantize = SMALL_STUDENT
    name: ClassVar[str] = "search"
    meaning: ClassVar[Meaning] = "preferences"  # of the output after it
    rounds_to_int8: ClassVar[bool] = True
    asks_gate: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require(
            not (self.attempts < 1 or self.minutes < 0 or self.env_steps < 0),
            "Expected attempts of 1 or more, minutes and env_steps of 0 or more. "
            f"Got {self.attempts}, {self.minutes} and {self.env_steps}.",
        )

    def apply(self, student: Student, context: CompressionContext) -> tuple[Student, Findings]:
        started = time.monotonic()
        if not widths(student.network)[0]:
            student = self.teaching.gather(student, context)
        trials = _Trials(self, student, context, started=started)
        sizes = [size for size in _sizes(student) if any(size) or context.conversion != FLOAT_OUTPUT]
        require(bool(sizes), "A float output leaves nothing to round of a network of one layer. Expected a larger agent.")
        if context.excess is not None:
            sizes = self._within(sizes, student, context)
        bisection = _Bisection(passing=len(sizes))
        while not trials.stopped and (index := bisection.next()) is not None:
            bisection.record(index, passed=trials.judge(sizes[index]) == "pass")
        chosen, passed = trials.smallest()
        found = trials.rounded[chosen]
        return found, Findings(
            passed=passed,
            chosen=chosen,
            size=size_of(found.network),
            stopped=trials.stopped or "all sizes are settled",
            env_steps=_played(trials.attempts),
            attempts=tuple(trials.attempts),
        )

    def _within(self, sizes: list[Widths], student: Student, context: CompressionContext) -> list[Widths]:
        """The sizes that fit, of which the untrained files are measured. Of those with equal filters and as many layers, all up
        to the largest that fits do, and it is found by bisection.

        Raises:
          InputError: none fits.
        """
        few = replace(student, states=student.states[:PROBED], preferences=student.preferences[:PROBED], meaning=self.meaning)
        unjudged, rng = replace(context, judge=None), np.random.default_rng(0)

        def over(size: Widths) -> str:
            network = fresh(resized(student.network, filters=size[0], hidden=size[1]), rng)
            rounded, _ = self.quantizing.apply(replace(few, network=network), unjudged)
            return _excess(rounded, context)

        chains: dict[tuple[tuple[int, ...], int], list[Widths]] = {}
        for size in sizes:
            chains.setdefault((size[0], len(size[1])), []).append(size)
        largest = ((chain, bisect_left(chain, True, key=lambda size: bool(over(size)))) for chain in chains.values())
        fits = {size for chain, count in largest for size in chain[:count]}
        if not fits:
            raise InputError(f"No network fits the board: expected one of {len(sizes)} sizes to. Got {over(sizes[0])}.")
        return [size for size in sizes if size in fits]

    def _teaching(self, network: tf_keras.Model, *, seconds: float) -> Distil | Stream:
        """What teaches a network, within the minutes that are left after so many seconds."""
        if not widths(network)[0]:
            return self.teaching
        limits = [self.minutes - seconds / 60] if self.minutes else []
        limits += [self.streaming.minutes] if self.streaming.minutes else []
        return replace(self.streaming, minutes=max(0.01, min(limits)) if limits else 0.0)

    def _spent(self, attempts: Sequence[Attempt], seconds: float) -> str:
        """Which part of the budget is spent, if one is."""
        if len(attempts) >= self.attempts:
            return f"after {len(attempts)} attempts"
        if self.minutes and seconds > 60 * self.minutes:
            return f"after {self.minutes:g} minutes"
        if self.env_steps and _played(attempts) >= self.env_steps:
            return f"after {_played(attempts):,} environment steps"
        return ""


class _Trials:
    """The networks tried so far."""

    def __init__(self, search: Search, student: Student, context: CompressionContext, *, started: float):
        self._search, self._student, self._context, self._started = search, student, context, started
        self.attempts: list[Attempt] = []
        self.stopped = ""  # why no more may be tried
        self.rounded: list[Student] = []

    def judge(self, size: Widths) -> str:
        """Teaches a fresh network of this size and has it played: the verdict. One that sees images and is undecided loses
        about what is allowed, so it is taught on, and judged once more."""
        filters, hidden = size
        network = fresh(resized(self._student.network, filters=filters, hidden=hidden), self._context.rng)
        for _ in range(2 if filters else 1):
            network, judgement = self._judge(network)
            if judgement.verdict != "undecided" or self.stopped:
                break
        return judgement.verdict

    def smallest(self) -> tuple[int, bool]:
        """The attempt that passed and fits, and True; where none does, that which lost least, and False."""
        passing = [i for i, each in enumerate(self.attempts) if each.judgement.verdict == "pass" and not each.lacking]
        if passing:  # each smaller than before
            return passing[-1], True
        return int(np.argmin([attempt.judgement.loss for attempt in self.attempts])), False

    def _judge(self, network: tf_keras.Model) -> tuple[tf_keras.Model, Judgement]:
        """A network that is taught on from these weights, in float, and what it came to as a file."""
        search, student, context, began = self._search, self._student, self._context, time.monotonic()
        label = f"try {' x '.join(map(str, sum(widths(network), ())))}"
        teaching = search._teaching(network, seconds=began - self._started)
        taught, _ = teaching.train(replace(student, network=network), context, label=label)
        judged, findings = search.quantizing.apply(taught, context)
        network = taught.network
        del taught  # its states fill the memory
        judgement = judgement_of(findings)
        judged = replace(judged, states=student.states[:0], preferences=student.preferences[:0])
        excess = _excess(judged, context) if judgement.verdict == "pass" else ""
        self.attempts.append(Attempt(judgement=judgement, size=size_of(network), lacking=excess or None))
        self.rounded.append(judged)
        seconds = time.monotonic() - self._started
        self.stopped = judgement.reason if judgement.agent_is_no_better_than_random else search._spent(self.attempts, seconds)
        return network, judgement


@dataclass
class _Bisection:
    """Over sizes in ascending order, by index."""

    passing: int  # the smallest that passed
    failing: int = -1  # the largest that failed
    retries: int = field(default=1, init=False)  # of the largest that failed: other initial weights may pass

    def next(self) -> int | None:
        """The size to try next; None where all are settled."""
        if self.failing + 1 < self.passing:
            return (self.failing + self.passing) // 2
        if self.failing >= 0 and self.retries:
            self.retries -= 1
            return self.failing
        return None

    def record(self, index: int, *, passed: bool) -> None:
        """Narrows the range by what a size came to."""
        if passed:
            self.passing, self.failing, self.retries = index, min(self.failing, index - 1), 1
        else:
            self.failing = max(self.failing, index)


def _excess(student: Student, context: CompressionContext) -> str:
    """Why a rounded student does not fit its board; empty where it does, or is for none."""
    if context.excess is None:
        return ""
    return context.excess(student.as_compressed(context.teacher, conversion=context.conversion, recipe="candidate"))


def _played(attempts: Sequence[Attempt]) -> int:
    """Environment steps."""
    return sum(attempt.judgement.env_steps for attempt in attempts)


def _sizes(student: Student) -> list[Widths]:
    """From small to large by their bytes, none larger than the teacher."""
    filters, _ = widths(student.network)
    scaled = {tuple(max(1, round(share * count)) for count in filters) for share in (1 / 8, 1 / 4, 1 / 2, 1)}

    def size_bytes(size: Widths) -> int:
        return _int8_bytes(resized(student.network, filters=size[0], hidden=size[1]))

    largest = _int8_bytes(student.network)
    sizes = sorted(((each, hidden) for each in scaled for hidden in HIDDEN), key=size_bytes)
    return [size for size in sizes if size_bytes(size) <= largest] or sizes[:1]


def _int8_bytes(network: tf_keras.Model) -> int:
    """About what it takes as a stripped file: a byte per weight, four per bias, and what describes a layer."""
    weights = network.get_weights()
    return sum(array.size * (1 if array.ndim > 1 else 4) + LAYER_BYTES * (array.ndim == 1) for array in weights)
