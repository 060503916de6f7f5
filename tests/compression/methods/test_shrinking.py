from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tf_keras

from edgedqn.agents.errors import InputError
from edgedqn.agents.networks import minatar_torso, q_network
from edgedqn.compression.folding import plain_network
from edgedqn.compression.methods.distillation import Distil, Distillation
from edgedqn.compression.methods.initialization import ScaleInput
from edgedqn.compression.methods.ladder import SMALL_STUDENT
from edgedqn.compression.methods.shrinking import Shrink, _keeping, _saliency, _useless, _without_a_layer
from edgedqn.compression.networks import widths
from edgedqn.compression.policy import CompressedPolicy
from edgedqn.compression.report import Findings, Judgement
from edgedqn.compression.stage import CompressionContext, Student

pytestmark = pytest.mark.usefixtures("without_xla")
QUICK = Shrink(teaching=Distil(learning=Distillation(steps=50), rounds=0), quantizing=replace(SMALL_STUDENT, states=300))


def hidden_sizes(findings: Findings) -> list[tuple[int, ...]]:
    """The hidden layers of each network that was tried."""
    assert findings.attempts is not None
    sizes = [attempt.size for attempt in findings.attempts]
    return [size.hidden for size in sizes if size is not None]


def outcomes(findings: Findings) -> list[str]:
    """The verdict on each network that was tried."""
    assert findings.attempts is not None
    return [attempt.judgement.verdict for attempt in findings.attempts]


def verdicts(*given: str) -> Any:
    """A judge that says these in turn, the last one for ever, and remembers what it was shown."""
    shown: list[CompressedPolicy] = []

    def judge(policy: CompressedPolicy) -> Judgement:
        verdict: Any = given[min(len(shown), len(given) - 1)]
        shown.append(policy)
        return Judgement(
            verdict=verdict,
            mean_return=1.0,
            loss=0.0,
            episodes=10,
            env_steps=100,
            size_bytes=1_000,
            action_agreement=0.9,
            gap_weighted_agreement=0.9,
            tie_rate=0.0,
        )

    return judge, shown


@pytest.fixture
def student(beginning: tuple[Student, CompressionContext]) -> tuple[Student, CompressionContext]:
    student, context = beginning
    return replace(ScaleInput().apply(student, context)[0], meaning="preferences"), context


def test_looks_between_what_passed_and_what_failed_and_hands_on_the_last_that_passed(
    student: tuple[Student, CompressionContext],
) -> None:
    start, context = student
    judge, shown = verdicts("pass", "fail", "pass", "fail")
    shrunk, said = QUICK.apply(start, replace(context, judge=judge))
    sizes = [sum(hidden) for hidden in hidden_sizes(said)]
    # 32 may fall to 4: sqrt(32 x 3) pass, sqrt(10 x 3) fail, sqrt(10 x 5) pass; then 6, and a layer less.
    assert sizes[:4] == [10, 5, 7, 6]
    assert outcomes(said) == ["pass", "fail", "pass", "fail", "fail"]
    assert said.chosen == 2
    assert len(hidden_sizes(said)[-1]) == 1
    assert said.size is not None
    assert widths(shrunk.network)[1] == hidden_sizes(said)[2] == said.size.hidden
    # As it was judged, to the bit.
    assert shrunk.quantized is not None
    for array, judged in zip(shrunk.quantized.get_weights(), shown[2].network.get_weights(), strict=True):
        np.testing.assert_array_equal(array, judged)
    assert (said.neurons_before, said.neurons_after) == (32, 7)
    assert said.neurons_removed == 1 - 7 / 32


def test_where_nothing_can_go_the_student_stays_and_is_rounded(student: tuple[Student, CompressionContext]) -> None:
    start, context = student
    judge, _ = verdicts("fail")
    shrunk, said = QUICK.apply(start, replace(context, judge=judge))
    assert said.neurons_removed == 0
    assert widths(shrunk.network) == ((), (16, 16))
    assert shrunk.quantized is not None
    assert [sum(hidden) for hidden in hidden_sizes(said)] == [10, 18, 24, 28, 16]  # the last is a layer less


def test_never_asks_more_often_than_it_may_and_leaves_each_layer_its_least(student: tuple[Student, CompressionContext]) -> None:
    start, context = student
    judge, shown = verdicts("pass")
    _, said = replace(QUICK, attempts=2).apply(start, replace(context, judge=judge))
    assert len(shown) == len(hidden_sizes(said)) == 2
    shrunk, said = replace(QUICK, least=3, remove_layers=False).apply(start, replace(context, judge=judge))
    assert widths(shrunk.network)[1] == (3, 3)


def test_who_stays_undecided_is_taught_once_more(student: tuple[Student, CompressionContext]) -> None:
    start, context = student
    judge, _ = verdicts("undecided", "pass", "undecided", "undecided", "fail")
    _, said = replace(QUICK, precision=1.5, remove_layers=False).apply(start, replace(context, judge=judge))
    # 10 passes at its second try; 5 does not, nor 7, and 10 is within 1.5 of that.
    assert [sum(hidden) for hidden in hidden_sizes(said)] == [10, 10, 5, 5, 7]
    judge, _ = verdicts("undecided")
    _, said = replace(QUICK, attempts=1).apply(start, replace(context, judge=judge))
    assert len(hidden_sizes(said)) == 1


def test_is_content_with_the_precision_it_was_asked_for(student: tuple[Student, CompressionContext]) -> None:
    start, context = student
    judge, _ = verdicts("pass", "fail")
    _, said = replace(QUICK, precision=2.0, remove_layers=False).apply(start, replace(context, judge=judge))
    assert [sum(hidden) for hidden in hidden_sizes(said)] == [10, 5]


def test_a_layer_goes_where_a_linear_map_replaces_it(student: tuple[Student, CompressionContext]) -> None:
    """The second hidden layer of a network whose first never goes below zero is linear on all states."""
    start, _ = student
    network = q_network((4,), 2, hidden=(8, 8), rng=np.random.default_rng(0))
    weights = network.get_weights()
    weights[3] = weights[3] + np.float32(100)
    network.set_weights(weights)
    plain = plain_network(network)
    smaller = _without_a_layer(replace(start, network=plain))
    assert widths(smaller)[1] == (8,)
    states = start.states[:500]
    expected = plain(states).numpy()
    np.testing.assert_allclose(smaller(states).numpy(), expected, atol=0.02 * np.ptp(expected))


def test_what_never_moves_costs_nothing() -> None:
    """Dead neurons have no saliency, and without them the network computes what it did."""
    network = plain_network(q_network((4,), 2, hidden=(8, 6), rng=np.random.default_rng(1)))
    weights = network.get_weights()
    weights[1][[2, 5]] = -100  # dead
    weights[3][1] = -100
    network.set_weights(weights)
    x = np.random.default_rng(2).uniform(-1, 1, (1_000, 4)).astype(np.float32)
    first, second = _saliency(network, x)
    assert np.flatnonzero(first == 0).tolist() == [2, 5]
    assert np.flatnonzero(second == 0).tolist() == [1]
    assert first.sum() == pytest.approx(1)
    gone = _useless([first, second], [4 + 6, 8 + 2], neurons=14, least=2)
    assert gone == [{2, 5}, {1}]
    fewer = _useless([first, second], [4 + 6, 8 + 2], neurons=5, least=2)
    assert 14 - sum(map(len, fewer)) == 5 and fewer[0] > {2, 5} and fewer[1] >= {1}
    smaller = _keeping(network, [sorted(set(range(8)) - gone[0]), sorted(set(range(6)) - gone[1])], x)
    assert widths(smaller)[1] == (6, 5)
    expected = network(x).numpy()
    np.testing.assert_allclose(smaller(x).numpy(), expected, atol=1e-2 * np.ptp(expected))


def test_those_that_stay_make_up_for_those_that_go() -> None:
    """Two neurons that say the same: without one, the other takes its part."""
    network = plain_network(q_network((4,), 2, hidden=(6,), rng=np.random.default_rng(3)))
    weights = network.get_weights()
    weights[0][:, 1] = weights[0][:, 0]
    network.set_weights(weights)
    x = np.random.default_rng(4).uniform(-1, 1, (1_000, 4)).astype(np.float32)
    smaller = _keeping(network, [[0, 2, 3, 4, 5]], x)
    expected = network(x).numpy()
    np.testing.assert_allclose(smaller(x).numpy(), expected, atol=1e-2 * np.ptp(expected))


def test_filters_go_with_all_that_looks_at_them() -> None:
    network = plain_network(q_network((10, 10, 4), 3, hidden=(12,), rng=np.random.default_rng(5), torso=minatar_torso))
    weights = network.get_weights()
    weights[0][..., [3, 7]] = 0  # two filters that see nothing, one of which always says the same
    weights[1][[3, 7]] = [0, 0.7]
    network.set_weights(weights)
    images = (np.random.default_rng(6).random((300, 10, 10, 4)) < 0.3).astype(np.float32)
    (filters, hidden) = _saliency(network, images)
    assert np.flatnonzero(filters == 0).tolist() == [3, 7]
    smaller = _keeping(network, [[i for i in range(16) if i not in (3, 7)], list(range(len(hidden)))], images)
    assert widths(smaller) == ((14,), (12,))
    expected = network(images).numpy()
    np.testing.assert_allclose(smaller(images).numpy(), expected, atol=1e-2 * np.ptp(expected))


def test_understands_relu_alone(student: tuple[Student, CompressionContext]) -> None:
    start, context = student
    network = tf_keras.models.clone_model(start.network)
    network.layers[1].activation = tf_keras.activations.linear
    with pytest.raises(InputError, match="hidden layers with ReLU alone"):
        QUICK.apply(replace(start, network=network), context)


@pytest.mark.parametrize("settings", [{"precision": 1.0}, {"precision": float("nan")}, {"least": 0}, {"attempts": 0}])
def test_refuses_settings_that_shrink_nothing_or_all(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="Got"):
        Shrink(**settings)


def test_needs_preferences_and_a_judge(student: tuple[Student, CompressionContext]) -> None:
    start, context = student
    with pytest.raises(InputError, match="Expected a distil stage before shrink"):
        QUICK.apply(replace(start, meaning="q_values"), context)
    with pytest.raises(InputError, match="Expected a judge"):
        QUICK.apply(start, context)
