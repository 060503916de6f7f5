import itertools
import json
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest

from edgedqn.agents.architecture import describe
from edgedqn.agents.errors import InputError
from edgedqn.agents.networks import mlp
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.compression.compress import compress
from edgedqn.compression.folding import InputScaling, plain_network
from edgedqn.compression.methods.distillation import Distillation
from edgedqn.compression.methods.search import Search
from edgedqn.compression.methods.stages import Distil, Threshold
from edgedqn.compression.policy import CompressedPolicy
from edgedqn.compression.recipe import Recipe
from edgedqn.compression.recipes import FLOAT32, RECIPES

SHORT = Distillation(steps=50)
QUICK = Distil(SHORT, 500, 200, rounds=0)


def test_the_same_seeds_make_the_same_policy_and_leave_the_teacher_alone(
    teacher: TrainedAgent, env: gymnasium.Env[Any, Any], policies: dict[str, CompressedPolicy], recipes: dict[str, Recipe]
) -> None:
    before = teacher.network.get_weights()
    first = policies["tiny-pruned"]
    again = compress(teacher, recipes["tiny-pruned"], env, itertools.count(1_000), np.random.default_rng(5))
    assert again.network is not first.network
    for array, repeated in zip(first.network.get_weights(), again.network.get_weights(), strict=True):
        np.testing.assert_array_equal(array, repeated)
    for one, other in zip(first.reports, again.reports, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}
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
    assert [r["stage"] for r in policy.reports] == [stage.name for stage in recipes[name].stages]
    json.dumps(policy.reports, allow_nan=False)


def test_the_reported_agreement_is_with_the_teacher(teacher: TrainedAgent, policies: dict[str, CompressedPolicy]) -> None:
    policy = policies["tiny-pruned"]
    chosen = policy.network(policy.scaling(teacher.observations), training=False).numpy().argmax(axis=1)
    expected = np.mean([teacher.policy(o) == a for o, a in zip(teacher.observations, chosen, strict=True)])
    assert policy.reports[-1]["agreement"] == pytest.approx(expected)


def test_refuses_a_teacher_that_has_nothing_to_teach(teacher: TrainedAgent, env: gymnasium.Env[Any, Any]) -> None:
    network = mlp((4,), 2, hidden=(16, 16), rng=np.random.default_rng(0))
    network.set_weights([*network.get_weights()[:-2], np.zeros((16, 2)), np.ones(2)])
    indifferent = replace(teacher, network=network)
    with pytest.raises(InputError, match="all actions are equal"):
        compress(indifferent, RECIPES["qat-int8"], env, itertools.count(), np.random.default_rng(0))
    assert compress(indifferent, FLOAT32, env, itertools.count(), np.random.default_rng(0)).reports == ()


def test_a_stages_return_is_what_its_student_scores(policies: dict[str, CompressedPolicy]) -> None:
    """The agent balances by design, and what was taught from it does, too, rounded or not."""
    returns = [report["return"] for report in policies["tiny-pruned"].reports]
    assert returns == [500.0, *[pytest.approx(500.0, abs=50)] * 3]


def test_a_search_without_a_judge_is_refused(teacher: TrainedAgent, env: gymnasium.Env[Any, Any]) -> None:
    search = Recipe("x", "", (Search(teaching=QUICK, quantizing=SHORT),), "qat-int8")
    with pytest.raises(InputError, match="Expected a judge"):
        compress(teacher, search, env, itertools.count(), np.random.default_rng(0))


def test_a_teacher_no_better_than_chance_is_warned_of_by_name(teacher: TrainedAgent, env: gymnasium.Env[Any, Any]) -> None:
    network = plain_network(teacher.network)
    weights = network.get_weights()
    network.set_weights([*weights[:-2], -weights[-2], -weights[-1]])  # pushes the wrong way
    poor = replace(teacher, network=network)
    stages = Recipe("x", "", (Threshold(0.0),), "float32")
    with pytest.warns(UserWarning, match=r"The agent for CartPole-v1 is no better than a random policy.*Got (8|9)\."):
        compress(poor, stages, env, itertools.count(), np.random.default_rng(0))
