"""The ladder: a policy is rounded to int8 with no more change than it needs.

Each rung starts from the agent itself, or from the rung below, and is played as a file before the next one is tried.
"""

from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass, replace
from functools import cache
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import require
from edgedqn.agents.playing.statistics import bootstrap_interval
from edgedqn.compression.comparing import MOST_ACTIONS
from edgedqn.compression.folding import kernels_of
from edgedqn.compression.methods.decisions import DecisionTuning
from edgedqn.compression.methods.distillation import Distil, Distillation
from edgedqn.compression.methods.pruning import sparsity_of
from edgedqn.compression.methods.quantization import (
    QUANTIZING,
    QuantizeAware,
    at_balanced_ranges,
    compare,
    reinforce,
    round_student,
    widen,
)
from edgedqn.compression.methods.reinforcement import TdLearning
from edgedqn.compression.policy import FLOAT_OUTPUT, Meaning
from edgedqn.compression.report import Attempt, Findings, Judgement
from edgedqn.compression.stage import CompressionContext, Stage, Student

WITHOUT_JUDGE = "the gate: there is no judge to play files, so the first was taken"
Candidate = tuple[Student, Findings]
Rung = Literal["round", "widen", "compare", "fine_tune", "distil", "reinforce"]
TUNING = DecisionTuning()
REINFORCING = TdLearning(steps=5_000, learning_rate=3e-5, evaluations=10)  # small steps: it plays already
CONFIDENCE = 0.99  # the gate's, of the paired difference in return by which a candidate must be better than the one below


@dataclass(frozen=True)
class Quantize(Stage):
    """Rounds to int8: by as little as keeps the policy.

    The rungs, in order, each judged as a file:

    - `round`: nothing is trained. What all outputs have in common is folded out of the last layer, and hidden neurons are
      scaled so that their ranges and their weights suit rounding; both are exact in float. Then the kernels are rounded so that
      the errors of their weights cancel on real states, and the output's range saturates where no decision needs it.
    - `widen`: the same weights, and an output that saturates only where no choice is lost by it. Its levels are farther apart
      then, and more actions tie whose values are nearly the same. Where nothing but ties is lacking, it is passed over.
    - `compare`: two layers in the place of the last one, which are exact in float, too: differences between outputs, which
      int8 holds finely, and the sums that choose. A student with zeros would lose them, and a float output needs none of it.
    - `fine_tune`: quantization-aware training of the best of these, towards the teacher's choices, at a small learning rate
      that it measures, for as long as states it does not learn from gain by it.
    - `distil`: the float network is trained anew, to clipped action gaps, unless an earlier stage has done so, and rounded by
      quantization-aware training.
    - `reinforce`: that one goes on learning by playing, rounded, and its best is taken. A student of an earlier stage that has
      lost its Q-values cannot, nor can a float output. It is tried where nothing passed.

    The ladder ends at the first candidate that passes the gate, with ties in at most `most_ties` and agreement by gap in at
    least `least_agreement` of the states of fresh episodes; in `enough_agreement`, where it was measured that as many mistakes
    cost the agent nothing. Where none is that good, the best is taken: a candidate replaces the one below where it alone
    passes, is better by the interval of their paired returns, or no worse and smaller, or no worse and nearer to its teacher,
    in agreement by gap and in ties.

    Attributes:
      rungs: to be tried.
      states: that weights are rounded on and tuned in, about: of those that an earlier stage taught the student in, or else
        the teacher's own and so many that it visits at epsilon 0.05.
      per_output: one scale per output of a Dense kernel; older runtimes know one for all.
      tuning: of the rung `fine_tune`.
      teaching: of the rung `distil`, in float.
      quantizing: of the rung `distil`, rounded.
      attempts: rounded students of the rung `distil` that are judged at most, each of other minibatches, until one passes;
        one, where a file of an earlier rung passed.
      reinforcing: of the rung `reinforce`.
    """

    rungs: tuple[Rung, ...] = get_args(Rung)
    _: KW_ONLY
    states: int = 40_000
    per_output: bool = True
    least_agreement: float = 0.99
    enough_agreement: float = 0.92
    most_ties: float = 0.025
    tuning: DecisionTuning = TUNING
    teaching: Distil = Distil()
    quantizing: Distillation = QUANTIZING
    attempts: int = 3
    reinforcing: TdLearning = REINFORCING
    name: ClassVar[str] = "quantize"
    rounds_to_int8: ClassVar[bool] = True
    asks_gate: ClassVar[bool] = True

    def __post_init__(self) -> None:
        known = get_args(Rung)
        in_order = tuple(rung for rung in known if rung in self.rungs)
        expected = f"Expected rungs of {', '.join(known)}, each once and in this order."
        require(bool(in_order) and self.rungs == in_order, f"{expected} Got {self.rungs}.")
        expected = "widen, compare, fine_tune and reinforce go on from round. Expected round before them."
        require("round" in self.rungs or self.rungs == ("distil",), f"{expected} Got {self.rungs}.")
        sizes = (self.states, self.attempts)
        require(min(sizes) >= 1, f"Expected states and attempts of 1 or more. Got {self.states} and {self.attempts}.")
        shares = (self.enough_agreement, self.least_agreement, self.most_ties)
        require(
            min(shares) >= 0 and max(shares) <= 1 and shares[0] <= shares[1],
            "Expected enough_agreement of at most least_agreement, and both and most_ties in [0, 1]. "
            f"Got {shares[0]}, {shares[1]} and {shares[2]}.",
        )

    @property
    def trains(self) -> Meaning | None:
        """Only where it is taught anew: `fine_tune` goes on from what there is."""
        return "preferences" if "distil" in self.rungs else None

    def apply(self, student: Student, context: CompressionContext) -> tuple[Student, Findings]:
        best: tuple[Student, Findings, Judgement] | None = None
        attempts, skipped = list[Attempt](), list[str]()

        def is_best(rung: Rung) -> bool:
            return best is not None and best[1].rung == rung

        for rung, make in self._climb(student, context, is_best):
            if best is not None and best[2].verdict == "pass":
                if rung == "reinforce":  # no other policy is needed
                    break
                if rung == "widen" and self._is_alike(best[2], context.tolerates):
                    continue
                if rung == attempts[-1].rung == "distil":  # once is enough where another file passed
                    continue
            made = make()
            if isinstance(made, str):
                skipped.append(f"{rung}: {made}")
                continue
            candidate, findings = made
            if context.judge is None:
                return candidate, replace(findings, rung=rung, skipped=(WITHOUT_JUDGE,))
            judgement = context.judge(
                candidate.as_compressed(context.teacher, conversion=context.conversion, recipe="candidate")
            )
            lacking = self._lacking(judgement, rung, context.tolerates)
            attempts.append(Attempt(judgement=judgement, rung=rung, lacking=lacking or None))
            if best is None or not lacking or _is_better(judgement, best[2]):
                best = candidate, replace(findings, rung=rung, chosen=len(attempts) - 1), judgement
            if not lacking or judgement.agent_is_no_better_than_random:
                break
            if rung == "distil" and judgement.verdict == "pass":  # the same again would be no better but by luck
                break
        assert best is not None, "round and distil always make one"
        chosen, findings, judgement = best
        told = tuple(skipped) if skipped else None
        return chosen, replace(findings, passed=judgement.verdict == "pass", attempts=tuple(attempts), skipped=told)

    def _climb(
        self, student: Student, context: CompressionContext, is_best: Callable[[Rung], bool]
    ) -> Iterator[tuple[Rung, Callable[[], Candidate | str]]]:
        """From rung to rung: what makes its candidate, or says why there is none; `is_best` of the rungs that were tried."""
        float_output = context.conversion == FLOAT_OUTPUT
        filled = "training would fill in the zeros of a float output" if float_output and student.pruned else ""
        if "round" in self.rungs:
            states = self._states(student, context)
            balanced = at_balanced_ranges(student, states, context=context)
            rounded, details = round_student(balanced, states, context=context, per_output=self.per_output)
            assert rounded.quantized is not None
            zeros = sparsity_of(kernels_of(rounded.quantized)) if student.pruned else None
            yield "round", lambda: (rounded, Findings(sparsity_reached=zeros))
        if "widen" in self.rungs:
            wide = widen(rounded, details)
            narrow = "no choice is lost by the output's range"
            yield "widen", lambda: (wide[0], Findings(sparsity_reached=zeros)) if wide else narrow
            if wide and is_best("widen"):
                rounded, details = wide
        if "compare" in self.rungs:
            compared = cache(lambda: compare(balanced, states, context=context, per_output=self.per_output))
            unfit = _unfit_to_compare(student, context)
            yield "compare", lambda: unfit or (compared(), Findings())
        if "fine_tune" in self.rungs:
            start = compared() if is_best("compare") else rounded
            yield "fine_tune", lambda: filled or self._tuned(start, states, context)
        if "distil" in self.rungs:
            # An earlier stage may have taught it, and set zeros.
            taught = cache(lambda: student if _is_taught(student) else self.teaching.apply(student, context)[0])
            rounds = QuantizeAware(self.quantizing)
            for _ in range(1 if filled else self.attempts):
                yield "distil", lambda: filled or rounds.apply(taught(), context)
        if "reinforce" in self.rungs:
            reason = "it was taught preferences, which are no values" if _is_taught(student) else ""
            reason = "the output is in float" if float_output else reason
            yield (
                "reinforce",
                lambda: reason or reinforce(self.reinforcing, balanced, rounded, details=details, context=context),
            )

    def _states(self, student: Student, context: CompressionContext) -> NDArray[Any]:
        """[N, ...], about as many as asked for."""
        if not _is_taught(student):
            return context.teacher_states(self.states)
        return student.states[:: -(-len(student.states) // self.states)]

    def _tuned(self, rounded: Student, states: NDArray[Any], context: CompressionContext) -> Candidate | str:
        tuned = self.tuning.tune(rounded, states, context=context)
        return "no learning rate gained on held-out states" if tuned is None else (tuned, Findings())

    def _lacking(self, judgement: Judgement, rung: Rung, tolerates: Callable[[float], bool]) -> str:
        """Why a candidate is not good enough to end at; empty where it is."""
        if judgement.verdict != "pass":
            loss = judgement.loss
            figure = f"{loss:,.0f}" if loss >= 9.95 else f"{loss:.2g}"
            lost = f"a loss of {figure} times what is allowed" if loss > 0 else "no loss on the average"
            return f"the gate: {judgement.verdict}, {lost}"
        if judgement.tie_rate > self.most_ties:
            return f"ties in {judgement.tie_rate:.1%} of the states"
        if rung == "reinforce" or self._is_alike(judgement, tolerates):  # that has become another policy
            return ""
        return f"agreement by gap in {judgement.gap_weighted_agreement:.1%} of the states"

    def _is_alike(self, judgement: Judgement, tolerates: Callable[[float], bool]) -> bool:
        """Whether it agrees with its teacher well enough, or its mistakes cost nothing."""
        agreement = judgement.gap_weighted_agreement
        return agreement >= self.least_agreement or (agreement >= self.enough_agreement and tolerates(1 - agreement))


# A smaller network is another policy than its teacher's, so the gate alone decides. A scale per output costs 12 bytes.
SMALL_STUDENT = Quantize(("round",), per_output=False, least_agreement=0.0, enough_agreement=0.0)


def _unfit_to_compare(student: Student, context: CompressionContext) -> str:
    """Why outputs are not compared; empty where they can be."""
    if context.conversion == FLOAT_OUTPUT:
        return "an output in float holds all differences"
    if student.pruned:
        return "differences of outputs have fewer zeros"
    n_actions = context.teacher.spec.n_actions
    return f"the pairs of {n_actions} actions are too many" if n_actions > MOST_ACTIONS else ""


def _is_taught(student: Student) -> bool:
    """Whether an earlier stage has made preferences of its Q-values."""
    return student.meaning == "preferences"


def judgement_of(findings: Findings) -> Judgement:
    """Of the candidate that a ladder returned. Raises InputError where there was no judge."""
    require(findings.attempts is not None, "A search plays its candidates as files. Expected a judge. Got none.")
    assert findings.judged is not None
    return findings.judged


def _is_better(candidate: Judgement, below: Judgement) -> bool:
    """Whether a candidate alone passed, or plays better on the same reset seeds, or no worse and is smaller, or no worse and
    nearer to its teacher in both agreement by gap and ties."""
    if (candidate.verdict == "pass") != (below.verdict == "pass"):
        return candidate.verdict == "pass"
    if not candidate.returns or not below.returns:
        return candidate.loss < below.loss
    played = min(len(candidate.returns), len(below.returns))
    difference = np.subtract(candidate.returns[:played], below.returns[:played])
    interval = bootstrap_interval(difference, CONFIDENCE)
    nearer = candidate.gap_weighted_agreement > below.gap_weighted_agreement and candidate.tie_rate <= below.tie_rate
    return interval.low > 0 or (interval.high >= 0 and (nearer or candidate.size_bytes < below.size_bytes))
