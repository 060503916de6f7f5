"""Which rung is taken: the first that is good enough, else the best."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.gate import Verdict
from edgedqn.compression.folding import kernels_of
from edgedqn.compression.methods.decisions import DecisionTuning
from edgedqn.compression.methods.distillation import Distil, Distillation
from edgedqn.compression.methods.initialization import ScaleInput
from edgedqn.compression.methods.ladder import Quantize, _is_better, judgement_of
from edgedqn.compression.methods.pruning import Prune
from edgedqn.compression.methods.quantization import round_student
from edgedqn.compression.methods.reinforcement import TdLearning
from edgedqn.compression.policy import CompressedPolicy, Judge
from edgedqn.compression.recipe import Recipe
from edgedqn.compression.report import UNPLAYABLE, Findings, Judgement
from edgedqn.compression.stage import CompressionContext, Student
from edgedqn.compression.tfmot.fake_quantization import dense_kernels

pytestmark = pytest.mark.usefixtures("without_xla")
SHORT = Distillation(steps=50)
QUICK = Quantize(
    states=300,
    tuning=DecisionTuning(rates=(1e-5,), steps=50, patience=1, most_steps=50, batch_size=16),
    teaching=Distil(learning=SHORT, greedy_states=200, explored_states=100, rounds=0),
    quantizing=SHORT,
    attempts=2,
    reinforcing=TdLearning(steps=50, learning_starts=100, evaluations=1, evaluation_episodes=1),
)


def judgement(
    verdict: Verdict = "pass",
    *,
    agreement: float = 1.0,
    ties: float = 0.0,
    size: int = 5,
    returns: tuple[float, ...] = (1.0, 1.0),
) -> Judgement:
    return Judgement(
        verdict=verdict,
        mean_return=float(np.mean(returns)),
        loss=-float(np.mean(returns)),
        episodes=len(returns),
        env_steps=4,
        size_bytes=size,
        action_agreement=agreement,
        gap_weighted_agreement=agreement,
        tie_rate=ties,
        returns=returns,
    )


def judging(*given: Judgement) -> tuple[Judge, list[CompressedPolicy]]:
    """A judge that gives these judgements in turn, and remembers what it was shown."""
    shown: list[CompressedPolicy] = []

    def judge(policy: CompressedPolicy) -> Judgement:
        shown.append(policy)
        return given[len(shown) - 1]

    return judge, shown


def made(ladder: Quantize, student: Student, context: CompressionContext) -> dict[str, tuple[Student, Findings]]:
    """The candidates of all rungs that make one."""
    candidates = [(rung, make()) for rung, make in ladder._climb(student, context, lambda rung: rung == "widen")]
    return {rung: candidate for rung, candidate in candidates if not isinstance(candidate, str)}


@pytest.fixture
def scaled(beginning: tuple[Student, CompressionContext]) -> Iterator[tuple[Student, CompressionContext]]:
    student, context = beginning
    yield ScaleInput().apply(student, context)[0], context


BAD = judgement("fail", returns=(0.0, 0.0))


@pytest.mark.parametrize(
    ("given", "chosen", "lacking"),
    [
        ([judgement()], "round", [None]),
        ([judgement(ties=0.03), judgement()], "distil", ["ties in 3.0% of the states", None]),
        ([judgement(agreement=0.91), judgement()], "distil", ["agreement by gap in 91.0% of the states", None]),
        ([judgement(agreement=0.92), judgement()], "distil", ["agreement by gap in 92.0% of the states", None]),
        ([judgement(agreement=0.95)], "round", [None]),  # as many mistakes cost nothing
        (  # which passed already, but for its ties: another network is tried once
            [judgement(ties=0.03), BAD],
            "round",
            ["ties in 3.0% of the states", "the gate: fail, no loss on the average"],
        ),
        ([BAD, BAD, judgement()], "distil", ["the gate: fail, no loss on the average"] * 2 + [None]),
        (  # no rung is good: the best by return
            [judgement("undecided", returns=(5.0, 5.1)), BAD, BAD],
            "round",
            ["the gate: undecided, no loss on the average"] + ["the gate: fail, no loss on the average"] * 2,
        ),
    ],
)
def test_ends_at_the_first_that_is_good_enough(
    scaled: tuple[Student, CompressionContext], given: list[Judgement], chosen: str, lacking: list[str | None]
) -> None:
    student, context = scaled
    judge, shown = judging(*given)
    ladder = replace(QUICK, rungs=("round", "distil"))
    found, said = ladder.apply(student, replace(context, judge=judge, tolerates=lambda share: share < 0.07))
    assert said.rung == chosen and said.attempts is not None
    assert [attempt.lacking for attempt in said.attempts] == lacking
    assert [attempt.rung for attempt in said.attempts] == ["round", "distil", "distil"][: len(given)]
    assert said.chosen is not None and found.quantized is shown[said.chosen].network
    assert said.passed == (given[said.chosen].verdict == "pass")
    assert all(attempt.judgement.returns is None for attempt in said.attempts)  # thousands of numbers, in a report


def test_a_rung_replaces_the_one_below_only_where_it_is_better_or_equal_and_smaller_or_nearer() -> None:
    rng = np.random.default_rng(0)
    noise = tuple(rng.normal(0, 10, 200).tolist())
    below = judgement("undecided", returns=noise, size=100)
    better = judgement("undecided", returns=tuple(x + 1 for x in noise), size=200)
    assert _is_better(better, below) and not _is_better(below, better)
    other = judgement("undecided", returns=tuple(rng.normal(0.1, 10, 200).tolist()), size=100)
    assert not _is_better(other, below)
    assert _is_better(replace(other, size_bytes=99), below)
    assert not _is_better(replace(below, size_bytes=99), better)  # smaller, but worse
    nearer = replace(other, gap_weighted_agreement=1.0, tie_rate=0.01)
    assert _is_better(nearer, replace(below, gap_weighted_agreement=0.99, tie_rate=0.01))
    assert not _is_better(nearer, replace(below, gap_weighted_agreement=0.99, tie_rate=0.0))
    passed = replace(below, verdict="pass")
    assert _is_better(passed, better) and not _is_better(better, passed)
    refused = replace(below, verdict="fail", loss=UNPLAYABLE, returns=None)  # by the runtime
    assert _is_better(replace(below, verdict="fail"), refused)


def test_every_rung_can_be_climbed_and_rounds_the_student(scaled: tuple[Student, CompressionContext]) -> None:
    student, context = scaled
    weights = student.network.get_weights()
    climbed = made(QUICK, student, context)
    assert list(climbed) == ["round", "widen", "compare", "fine_tune", "distil", "reinforce"]
    for candidate, _ in climbed.values():
        assert candidate.quantized is not None and candidate.meaning == "preferences"
    rounded, _ = climbed["round"]
    assert rounded.quantized is not None
    assert len(dense_kernels(rounded.quantized)) == len(kernels_of(student.network))
    assert climbed["reinforce"][1].checkpoint is not None
    for array, kept in zip(student.network.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(array, kept)


@pytest.mark.parametrize(("below", "climbed"), [("pass", ["round"]), ("fail", ["round", "reinforce"])])
def test_another_policy_is_learned_only_where_nothing_passed(
    scaled: tuple[Student, CompressionContext], below: Verdict, climbed: list[str]
) -> None:
    student, context = scaled
    judge, _ = judging(judgement(below, agreement=0.9), judgement(agreement=0.5))  # another policy by now
    _, said = replace(QUICK, rungs=("round", "reinforce")).apply(student, replace(context, judge=judge))
    assert [attempt.rung for attempt in said.attempts or ()] == climbed
    assert said.rung == climbed[-1] and said.passed


@pytest.mark.parametrize(
    ("below", "climbed"),
    [
        (judgement(ties=0.03), ["round", "fine_tune"]),  # wider, it would have more of them
        (judgement(agreement=0.98), ["round", "widen", "fine_tune"]),
        (BAD, ["round", "widen", "fine_tune"]),
    ],
)
def test_an_output_is_widened_where_more_is_lacking_than_levels(
    scaled: tuple[Student, CompressionContext], monkeypatch: pytest.MonkeyPatch, below: Judgement, climbed: list[str]
) -> None:
    student, context = scaled

    def rounded(*given: Any, **named: Any) -> Any:
        candidate, details = round_student(*given, **named)
        return candidate, replace(details, widest=(-9.0, 9.0))

    monkeypatch.setattr("edgedqn.compression.methods.ladder.round_student", rounded)
    judge, shown = judging(below, below, judgement())
    _, said = replace(QUICK, rungs=("round", "widen", "fine_tune")).apply(student, replace(context, judge=judge))
    assert [attempt.rung for attempt in said.attempts or ()] == climbed[: len(shown)]
    if "widen" in climbed:
        narrow, wide = (kernels_of(policy.network) for policy in shown[:2])
        for kernel, same in zip(narrow, wide, strict=True):
            np.testing.assert_array_equal(kernel, same)


def test_the_better_of_round_and_widen_goes_on(
    scaled: tuple[Student, CompressionContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    student, context = scaled
    started: list[Student] = []

    def tune(_: DecisionTuning, rounded: Student, *given: Any, **named: Any) -> None:
        started.append(rounded)

    monkeypatch.setattr(DecisionTuning, "tune", tune)
    worse, better = (judgement("undecided", returns=(mean, mean + 0.1), agreement=0.98) for mean in (1.0, 5.0))
    for given in ([worse, better], [better, worse]):
        judge, shown = judging(*given)
        replace(QUICK, rungs=("round", "widen", "fine_tune")).apply(student, replace(context, judge=judge))
        assert started[-1].quantized is shown[given.index(better)].network


@pytest.mark.parametrize("per_output", [True, False])
def test_what_learns_by_playing_is_what_round_made(scaled: tuple[Student, CompressionContext], per_output: bool) -> None:
    student, context = scaled
    learned = replace(QUICK.reinforcing, learning_rate=1e-9, final_learning_rate=1e-9)  # it stays where it starts
    ladder = replace(QUICK, rungs=("round", "reinforce"), per_output=per_output, reinforcing=learned)
    (rounded, _), (reinforced, _) = made(ladder, student, context).values()
    assert rounded.quantized is not None and reinforced.quantized is not None
    assert reinforced.per_output is per_output
    for array, start in zip(reinforced.quantized.get_weights(), rounded.quantized.get_weights(), strict=True):
        np.testing.assert_allclose(array, start, atol=1e-6)


@pytest.mark.parametrize(
    ("taught", "conversion", "words"),
    [
        (True, "qat-int8", "reinforce: it was taught preferences, which are no values"),
        (False, "qat-int8-float-output", "reinforce: the output is in float"),
    ],
)
def test_what_has_no_values_cannot_learn_by_playing(
    scaled: tuple[Student, CompressionContext], taught: bool, conversion: Any, words: str
) -> None:
    student, context = scaled
    judge, _ = judging(BAD)
    student = replace(student, meaning="preferences" if taught else "q_values")
    context = replace(context, judge=judge, conversion=conversion)
    _, said = replace(QUICK, rungs=("round", "reinforce")).apply(student, context)
    assert said.skipped == (words,) and said.rung == "round"


def test_zeros_of_a_float_output_are_not_filled_in(scaled: tuple[Student, CompressionContext]) -> None:
    student, context = scaled
    judge, _ = judging(BAD)
    context = replace(context, judge=judge, conversion="qat-int8-float-output")
    _, said = replace(QUICK, rungs=("round", "fine_tune", "distil")).apply(replace(student, pruned=True), context)
    reason = "training would fill in the zeros of a float output"
    assert said.skipped == (f"fine_tune: {reason}", f"distil: {reason}") and said.rung == "round"


def test_outputs_are_compared_where_int8_has_to_tell_them_apart_and_nothing_is_lost_by_it(
    scaled: tuple[Student, CompressionContext],
) -> None:
    student, context = scaled
    ladder = replace(QUICK, rungs=("round", "compare"))
    assert "compare" in made(ladder, student, context)
    assert "compare" not in made(ladder, replace(student, pruned=True), context)
    assert "compare" not in made(ladder, student, replace(context, conversion="qat-int8-float-output"))


@pytest.mark.parametrize("conversion", ["qat-int8", "qat-int8-float-output"])
def test_a_candidate_is_judged_as_what_would_ship(scaled: tuple[Student, CompressionContext], conversion: Any) -> None:
    student, context = scaled
    judge, shown = judging(judgement())
    ladder = replace(QUICK, rungs=("round",))
    found, said = ladder.apply(student, replace(context, judge=judge, conversion=conversion))
    assert (shown[0].network, shown[0].conversion) == (found.quantized, conversion)
    assert judgement_of(said) == replace(judgement(), returns=None)
    with pytest.raises(InputError, match="Expected a judge"):
        judgement_of(ladder.apply(student, context)[1])


def test_states_that_it_was_taught_in_are_enough(scaled: tuple[Student, CompressionContext]) -> None:
    student, context = scaled
    taught = replace(student, meaning="preferences", states=student.states[:700])
    states = replace(QUICK, states=300)._states(taught, replace(context, reset_seeds=iter(())))  # no episode can begin
    np.testing.assert_array_equal(states, student.states[:700:3])
    assert len(replace(QUICK, states=300)._states(student, context)) == len(student.states) + 300


def test_nothing_trained_already_acts_as_the_teacher(scaled: tuple[Student, CompressionContext]) -> None:
    student, context = scaled
    found, said = replace(QUICK, rungs=("round",)).apply(student, context)
    states = context.teacher.observations
    agreement = (found.as_policy(context.teacher.spec).actions(states) == context.teacher.policy.actions(states)).mean()
    assert agreement > 0.95
    assert said.skipped == ("the gate: there is no judge to play files, so the first was taken",)


def test_zeros_stay_zeros(scaled: tuple[Student, CompressionContext]) -> None:
    student, context = scaled
    pruned, _ = Prune(0.6, allocation="uniform", learning=SHORT).apply(student, context)
    for rung, (candidate, findings) in made(replace(QUICK, rungs=("round", "fine_tune")), pruned, context).items():
        assert candidate.quantized is not None
        assert rung != "round" or findings.sparsity_reached is not None
        for kernel, before in zip(kernels_of(candidate.quantized), kernels_of(pruned.network), strict=True):
            assert (kernel[before == 0] == 0).all(), rung


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rungs": ()}, "Expected rungs of round, widen, compare, fine_tune, distil, reinforce, each once and in this order"),
        ({"rungs": ("distil", "round")}, "in this order"),
        ({"rungs": ("fine_tune",)}, "Expected round before them"),
        ({"rungs": ("distil", "reinforce")}, "Expected round before them"),
        ({"states": 0}, "states and attempts of 1 or more"),
        ({"least_agreement": 1.5}, r"both and most_ties in \[0, 1\]"),
        ({"least_agreement": 0.9}, "enough_agreement of at most least_agreement"),
    ],
)
def test_refuses_a_ladder_that_cannot_be_climbed(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Quantize(**settings)


def test_a_recipe_of_it_is_read_as_it_was_written() -> None:
    recipe = Recipe("mine", "", (ScaleInput(), QUICK), "qat-int8")
    assert Recipe.from_json(recipe.to_json()) == recipe
