import itertools
import json
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest

from edgedqn.agents.architecture import describe
from edgedqn.agents.errors import InputError
from edgedqn.agents.networks import q_network
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.compression.compress import compress
from edgedqn.compression.folding import InputScaling, plain_network
from edgedqn.compression.methods.distillation import Distil, Distillation
from edgedqn.compression.methods.initialization import ScaleInput
from edgedqn.compression.methods.ladder import Quantize
from edgedqn.compression.methods.pruning import Prune, Threshold
from edgedqn.compression.methods.reinforcement import TdLearning
from edgedqn.compression.methods.search import Search
from edgedqn.compression.policy import CompressedPolicy
from edgedqn.compression.recipe import Recipe
from edgedqn.compression.recipes import FLOAT32, RECIPES
from edgedqn.compression.report import UNPLAYABLE, Findings, Judgement
from edgedqn.compression.stage import CompressionContext, Stage, Student

SHORT = Distillation(steps=50)
QUICK = Distil(learning=SHORT, greedy_states=500, explored_states=200, rounds=0)


def test_the_same_seeds_make_the_same_policy_and_leave_the_teacher_alone(
    teacher: TrainedAgent, env: gymnasium.Env[Any, Any], policies: dict[str, CompressedPolicy], recipes: dict[str, Recipe]
) -> None:
    before = teacher.network.get_weights()
    first = policies["tiny-pruned"]
    again = compress(teacher, recipes["tiny-pruned"], env=env, reset_seeds=itertools.count(1_000), rng=np.random.default_rng(5))
    assert again.network is not first.network
    for array, repeated in zip(first.network.get_weights(), again.network.get_weights(), strict=True):
        np.testing.assert_array_equal(array, repeated)
    for one, other in zip(first.reports, again.reports, strict=True):
        assert replace(one, seconds=0) == replace(other, seconds=0)
    for array, kept in zip(teacher.network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(array, kept)


def test_no_compression_so_far_has_touched_the_teacher(teacher: TrainedAgent, policies: dict[str, CompressedPolicy]) -> None:
    """Its observations were gathered with the weights it was made with, so it must still act as it did then."""
    assert policies
    for observation, following in itertools.pairwise(teacher.observations[:200]):
        # The cart is pushed to the right by action 1 and to the left by action 0.
        assert teacher.policy(observation) == int(following[1] > observation[1])


@pytest.mark.parametrize("name", ["float32", "ptq-int8"])
def test_without_stages_the_network_computes_what_it_did(
    teacher: TrainedAgent, policies: dict[str, CompressedPolicy], name: str
) -> None:
    policy = policies[name]
    assert policy.network is not teacher.network
    np.testing.assert_array_equal(policy.network(teacher.observations), teacher.network(teacher.observations))
    assert (policy.reports, policy.scaling) == ((), InputScaling.identity())
    assert (policy.meaning, policy.conversion, policy.recipe) == ("q_values", name, name)


@pytest.mark.parametrize("name", ["tiny-qat", "tiny-pruned"])
def test_what_a_recipe_hands_on(
    teacher: TrainedAgent, policies: dict[str, CompressedPolicy], recipes: dict[str, Recipe], name: str
) -> None:
    policy = policies[name]
    assert (policy.meaning, policy.conversion, policy.recipe) == ("preferences", "qat-int8", name)
    assert policy.spec == teacher.spec
    assert policy.layers == describe(plain_network(teacher.network))
    np.testing.assert_array_equal(policy.observations, teacher.observations)
    assert [r.stage for r in policy.reports] == [stage.name for stage in recipes[name].stages]
    json.dumps([r.to_json() for r in policy.reports], allow_nan=False)


def test_the_reported_agreement_is_with_the_teacher(teacher: TrainedAgent, policies: dict[str, CompressedPolicy]) -> None:
    policy = policies["tiny-pruned"]
    chosen = policy.network(policy.scaling(teacher.observations), training=False).numpy().argmax(axis=1)
    expected = np.mean([teacher.policy(o) == a for o, a in zip(teacher.observations, chosen, strict=True)])
    assert policy.reports[-1].agreement == pytest.approx(expected)


def test_refuses_a_teacher_that_has_nothing_to_teach(teacher: TrainedAgent, env: gymnasium.Env[Any, Any]) -> None:
    network = q_network((4,), 2, hidden=(16, 16), rng=np.random.default_rng(0))
    network.set_weights([*network.get_weights()[:-2], np.zeros((16, 2)), np.ones(2)])
    indifferent = replace(teacher, network=network)
    with pytest.raises(InputError, match="all actions are equal"):
        compress(indifferent, RECIPES["qat-int8"], env=env, reset_seeds=itertools.count(), rng=np.random.default_rng(0))
    assert compress(indifferent, FLOAT32, env=env, reset_seeds=itertools.count(), rng=np.random.default_rng(0)).reports == ()


def test_a_stages_return_is_what_its_student_scores(policies: dict[str, CompressedPolicy]) -> None:
    """The agent balances by design, and what was taught from it does, too, rounded or not."""
    returns = [report.mean_return for report in policies["tiny-pruned"].reports]
    assert returns == [500.0, *[pytest.approx(500.0, abs=50)] * 3]


@pytest.mark.parametrize(("loss", "expected"), [(0.5, 432.1), (UNPLAYABLE, 500.0)])
def test_what_a_judge_has_played_is_not_played_once_more(
    teacher: TrainedAgent, env: gymnasium.Env[Any, Any], loss: float, expected: float
) -> None:
    said = Judgement(
        verdict="pass",
        mean_return=432.1,
        loss=loss,
        episodes=100,
        env_steps=50_000,
        size_bytes=1_000,
        action_agreement=1.0,
        gap_weighted_agreement=1.0,
        tie_rate=0.0,
    )
    rounded = Recipe("x", "", (ScaleInput(), Quantize(("round",), states=300)), "qat-int8")
    rng = np.random.default_rng(0)
    policy = compress(teacher, rounded, env=env, reset_seeds=itertools.count(), rng=rng, judge=lambda _: said)
    assert [report.mean_return for report in policy.reports] == [500.0, pytest.approx(expected, abs=5)]


def test_a_search_without_a_judge_is_refused(teacher: TrainedAgent, env: gymnasium.Env[Any, Any]) -> None:
    search = Recipe("x", "", (ScaleInput(), Search(teaching=QUICK, quantizing=Quantize(("round",), states=300))), "qat-int8")
    with pytest.raises(InputError, match="Expected a judge"):
        compress(teacher, search, env=env, reset_seeds=itertools.count(), rng=np.random.default_rng(0))


def test_a_teacher_no_better_than_chance_is_warned_of_by_name(teacher: TrainedAgent, env: gymnasium.Env[Any, Any]) -> None:
    network = plain_network(teacher.network)
    weights = network.get_weights()
    network.set_weights([*weights[:-2], -weights[-2], -weights[-1]])  # pushes the wrong way
    poor = replace(teacher, network=network)
    stages = Recipe("x", "", (Threshold(0.0),), "float32")
    with pytest.warns(UserWarning, match=r"The agent for CartPole-v1 is no better than a random policy.*Got (8|9)\."):
        compress(poor, stages, env=env, reset_seeds=itertools.count(), rng=np.random.default_rng(0))


@dataclass(frozen=True)
class Look(Stage):
    """Changes nothing and keeps what it was given."""

    seen: list[tuple[Student, CompressionContext]]
    name: ClassVar[str] = "look"

    def apply(self, student: Student, context: CompressionContext) -> tuple[Student, Findings]:
        self.seen.append((student, context))
        return student, Findings()


@pytest.mark.usefixtures("without_xla")
def test_what_learned_by_itself_is_the_teacher_of_what_follows(teacher: TrainedAgent, env: gymnasium.Env[Any, Any]) -> None:
    look = Look([])
    learning = TdLearning(steps=100, learning_starts=100, evaluations=1, evaluation_episodes=1)
    stages = (ScaleInput(), look, Prune(0.5, learning=learning), look)
    recipe = Recipe("td", "", stages, "float32")
    policy = compress(teacher, recipe, env=env, reset_seeds=itertools.count(1_000), rng=np.random.default_rng(5))
    (_, before), (student, after) = look.seen
    assert before.teacher is teacher
    inside = after.teacher.observations[:500]
    inside = inside[np.abs(student.scaling(inside)).max(axis=1) < 1]  # nothing is clamped
    values = student.network(student.scaling(inside)).numpy()
    np.testing.assert_allclose(after.teacher.policy.q_values(inside), values, rtol=1e-3, atol=1e-3)
    assert (student.as_policy(teacher.spec).actions(inside) == after.teacher.policy.actions(inside)).mean() > 0.99
    assert policy.observations is after.teacher.observations
    # The report compares with the agent that was given.
    ours = student.as_policy(teacher.spec).actions(teacher.observations)
    assert policy.reports[-1].agreement == pytest.approx((ours == teacher.policy.actions(teacher.observations)).mean())


def report(policy: CompressedPolicy, stage: str) -> Findings:
    (found,) = [r for r in policy.reports if r.stage == stage]
    return found.findings


def test_each_stage_reports_what_it_did(policies: dict[str, CompressedPolicy]) -> None:
    reports = policies["tiny-pruned"].reports
    assert [r.stage for r in reports] == ["scale_input", "distil", "prune", "quantize_aware"]
    assert report(policies["tiny-pruned"], "distil").states == 2_000 + 1_000 + 500  # the agent's own first
    for r in reports:
        assert 0.8 < r.agreement <= 1
        assert r.seconds >= 0
    assert all(0 < (r.findings.final_loss or 0) < 1 for r in reports[1:])
    assert reports[-1].findings.keep_zeros is True
    after, before = reports[-1].findings.sparsity_reached, reports[-2].findings.sparsity_reached
    assert after is not None and before is not None
    for reached, pruned in zip(after, before, strict=True):
        assert reached >= pruned  # of what will be rounded, the zeros are still there
    assert report(policies["tiny-qat"], "quantize_aware").keep_zeros is False


def test_quantization_starts_from_the_pruned_student_with_its_input_range(policies: dict[str, CompressedPolicy]) -> None:
    for name in ("tiny-qat", "tiny-pruned"):
        policy = policies[name]
        entrance = {v.name.rpartition("_")[2]: float(v.numpy()) for v in policy.network.layers[1].weights[:2]}
        assert entrance == {"min:0": -1.0, "max:0": 1.0}
        assert policy.scaling.limits == (-1.0, 1.0)
