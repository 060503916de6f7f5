import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.networks import minatar_torso, q_network
from edgedqn.compression.folding import InputScaling
from edgedqn.compression.methods.distillation import Distil, Distillation
from edgedqn.compression.methods.initialization import ScaleInput
from edgedqn.compression.methods.ladder import SMALL_STUDENT
from edgedqn.compression.methods.search import HIDDEN, LAYER_BYTES, Search, _sizes
from edgedqn.compression.methods.streaming import Stream
from edgedqn.compression.networks import widths
from edgedqn.compression.policy import CompressedPolicy
from edgedqn.compression.report import Findings, Judgement
from edgedqn.compression.stage import CompressionContext, Student

pytestmark = pytest.mark.usefixtures("without_xla")
QUICK = Search(
    teaching=Distil(learning=Distillation(steps=50), greedy_states=400, explored_states=100, rounds=0),
    quantizing=replace(SMALL_STUDENT, states=300),
)


def hidden_sizes(findings: Findings) -> list[tuple[int, ...]]:
    """The hidden layers of each network that was tried."""
    assert findings.attempts is not None
    sizes = [attempt.size for attempt in findings.attempts]
    return [size.hidden for size in sizes if size is not None]


def outcomes(findings: Findings) -> list[str]:
    """The verdict on each network that was tried."""
    assert findings.attempts is not None
    return [attempt.judgement.verdict for attempt in findings.attempts]


class Judge:
    """Passes students of some number of weights or more, and loses half of what that takes for each weight less."""

    def __init__(self, enough: int) -> None:
        self.enough = enough
        self.shown: list[CompressedPolicy] = []

    def __call__(self, policy: CompressedPolicy) -> Judgement:
        self.shown.append(policy)
        count = sum(layer["units"] for layer in policy.layers if layer["layer"] == "Dense")
        return Judgement(
            verdict="pass" if count >= self.enough else "fail",
            mean_return=1.0,
            loss=self.enough - count,
            episodes=10,
            env_steps=100,
            size_bytes=1_000,
            action_agreement=0.9,
            gap_weighted_agreement=0.9,
            tie_rate=0.0,
        )


@pytest.fixture
def start(beginning: tuple[Student, CompressionContext]) -> tuple[Student, CompressionContext]:
    student, context = beginning
    return replace(student, scaling=InputScaling.measured(student.states)), context


def test_sizes_go_from_small_to_large_and_none_is_larger_than_the_teacher(start: tuple[Student, CompressionContext]) -> None:
    student, _ = start
    sizes = _sizes(student)
    layers = [[4, *hidden, 2] for _, hidden in sizes]
    size_bytes = [sum(a * b + 4 * b + LAYER_BYTES for a, b in itertools.pairwise(layer)) for layer in layers]
    assert size_bytes == sorted(size_bytes)
    assert sizes[-1] == ((), (16, 16))  # as the teacher
    assert len(sizes) < len(HIDDEN)
    assert ((), (32,)) in sizes  # more neurons, but fewer bytes


def test_finds_the_smallest_that_passes_and_hands_it_on_as_judged(start: tuple[Student, CompressionContext]) -> None:
    student, context = start
    judge = Judge(enough=10)  # of all neurons, the two actions included: one layer of 8
    found, said = QUICK.apply(student, replace(context, judge=judge))
    assert said.size is not None
    assert (said.passed, said.size.hidden, said.stopped) == (True, (8,), "all sizes are settled")
    assert widths(found.network) == ((), (8,))
    passed = [shown for shown in judge.shown if shown.layers[1]["units"] == 8 and len(shown.layers) == 3]
    assert found.quantized is not None
    for array, judged in zip(found.quantized.get_weights(), passed[-1].network.get_weights(), strict=True):
        np.testing.assert_array_equal(array, judged)
    # By halves, and then the size below once more from another start.
    tried = hidden_sizes(said)
    assert len(tried) <= 6
    assert tried[-1] == (6,)
    assert said.chosen is not None and tried[said.chosen] == (8,)
    assert tried.count((6,)) == 2
    assert said.env_steps == 100 * len(tried)


def test_where_none_passes_the_closest_is_handed_on_and_that_is_said(start: tuple[Student, CompressionContext]) -> None:
    student, context = start
    found, said = QUICK.apply(student, replace(context, judge=Judge(enough=1_000)))
    assert said.passed is False
    assert sum(widths(found.network)[1]) == 32  # it lost least
    assert set(outcomes(said)) == {"fail"}


@pytest.mark.parametrize(
    ("budget", "stopped"),
    [
        ({"attempts": 2}, "after 2 attempts"),
        ({"env_steps": 250}, "after 300 environment steps"),
        ({"minutes": 1e-9}, "after 1e-09 minutes"),
    ],
)
def test_stops_at_its_budget_with_the_best_so_far(
    start: tuple[Student, CompressionContext], budget: dict[str, Any], stopped: str
) -> None:
    student, context = start
    judge = Judge(enough=10)
    found, said = replace(QUICK, **budget).apply(student, replace(context, judge=judge))
    assert said.stopped == stopped
    assert len(judge.shown) == {"attempts": 2, "env_steps": 3, "minutes": 1}[next(iter(budget))]
    assert said.passed is ("pass" in outcomes(said))
    assert found.quantized is not None


def test_images_are_taught_from_a_stream_within_the_minutes_that_are_left() -> None:
    rng = np.random.default_rng(0)
    image = q_network((10, 10, 4), 3, hidden=(8,), rng=rng, torso=minatar_torso)
    search = Search(minutes=10)
    assert search._teaching(q_network((4,), 2, hidden=(8,), rng=rng), seconds=60) == search.teaching
    assert search._teaching(image, seconds=60) == Stream(minutes=9.0)
    assert replace(search, streaming=Stream(minutes=2.0))._teaching(image, seconds=60) == Stream(minutes=2.0)
    assert replace(search, minutes=0.0)._teaching(image, seconds=60) == Stream()


def test_of_images_what_is_undecided_is_taught_on_once(frames: Any, start_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    student, context = start_of(frames)
    student = ScaleInput().apply(student, context)[0]
    given: list[list[Any]] = []

    def train(_: Stream, student: Student, context: CompressionContext, *, label: str) -> tuple[Student, Findings]:
        given.append(student.network.get_weights())
        return student.with_weights([array + 1 for array in given[-1]]), Findings()

    def undecided(policy: CompressedPolicy) -> Judgement:
        return replace(Judge(enough=1_000)(policy), verdict="undecided")

    monkeypatch.setattr(Stream, "train", train)
    said = replace(QUICK, attempts=3).apply(student, replace(context, judge=undecided))[1]
    assert said.attempts is not None
    assert said.attempts[0].size == said.attempts[1].size != said.attempts[2].size
    for array, taught in zip(given[0], given[1], strict=True):
        np.testing.assert_array_equal(array + 1, taught)


def test_a_float_output_asks_for_a_layer_that_is_rounded(start: tuple[Student, CompressionContext]) -> None:
    student, context = start
    _, said = QUICK.apply(student, replace(context, judge=Judge(enough=0), conversion="qat-int8-float-output"))
    assert said.size is not None and len(said.size.hidden) == 1
    assert () not in hidden_sizes(said)


def neurons(policy: CompressedPolicy) -> int:
    """Of all layers, the two actions included."""
    return sum(layer["units"] for layer in policy.layers if layer["layer"] == "Dense")


def test_for_a_board_only_sizes_that_fit_it_are_tried_and_the_smallest_that_passes_is_found(
    start: tuple[Student, CompressionContext],
) -> None:
    student, context = start
    judge = Judge(enough=6)
    limited = replace(context, judge=judge, excess=lambda policy: "flash" if neurons(policy) > 10 else "")
    _, said = QUICK.apply(student, limited)
    assert said.passed and said.size is not None and said.size.hidden == (4,)
    assert all(sum(hidden) <= 8 for hidden in hidden_sizes(said))
    free = Judge(enough=6)
    QUICK.apply(student, replace(context, judge=free))
    assert max(map(neurons, free.shown)) > 10


def test_a_file_that_passes_and_does_not_fit_as_it_is_is_not_taken(start: tuple[Student, CompressionContext]) -> None:
    student, context = start
    judge = Judge(enough=0)
    limited = replace(context, judge=judge, excess=lambda policy: "cycles" if judge.shown else "")  # untrained, all fit
    _, said = QUICK.apply(student, limited)
    assert said.passed is False and said.attempts is not None
    assert {attempt.lacking for attempt in said.attempts} == {"cycles"}


def test_where_no_size_fits_that_is_said_with_the_reason(start: tuple[Student, CompressionContext]) -> None:
    student, context = start
    with pytest.raises(InputError, match=r"No network fits the board.*RAM: 9 of 8 bytes"):
        QUICK.apply(student, replace(context, judge=Judge(enough=0), excess=lambda policy: "RAM: 9 of 8 bytes"))


@pytest.mark.parametrize("settings", [{"attempts": 0}, {"minutes": -1.0}, {"env_steps": -1}])
def test_refuses_budgets_of_nothing(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="Expected attempts of 1 or more"):
        Search(**settings)
