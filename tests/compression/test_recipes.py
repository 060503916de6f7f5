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
from edgedqn.compression.folding import InputScaling, plain_network
from edgedqn.compression.policy import CompressedPolicy
from edgedqn.compression.recipes import DEFAULT_RECIPES, FLOAT32, RECIPES, Recipe, compress, recipe
from edgedqn.compression.stages import Distil, Prune, QuantizeAware, ScaleInput


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
    assert not policy.preserve_zeros


@pytest.mark.parametrize("name", ["tiny-qat", "tiny-pruned"])
def test_what_a_recipe_hands_on(
    teacher: TrainedAgent, policies: dict[str, CompressedPolicy], recipes: dict[str, Recipe], name: str
) -> None:
    policy = policies[name]
    assert (policy.meaning, policy.conversion, policy.recipe) == ("preferences", "qat-int8", name)
    assert policy.spec == teacher.spec
    assert policy.layers == describe(plain_network(teacher.network))
    assert policy.preserve_zeros == (name == "tiny-pruned")
    np.testing.assert_array_equal(policy.observations, teacher.observations)
    assert [r["stage"] for r in policy.reports] == [stage.name for stage in recipes[name].stages]
    json.dumps(policy.reports, allow_nan=False)


def test_the_reported_agreement_is_with_the_teacher(teacher: TrainedAgent, policies: dict[str, CompressedPolicy]) -> None:
    policy = policies["tiny-pruned"]
    chosen = policy.network(policy.scaling(teacher.observations), training=False).numpy().argmax(axis=1)
    expected = np.mean([teacher.policy(o) == a for o, a in zip(teacher.observations, chosen, strict=True)])
    assert policy.reports[-1]["agreement"] == pytest.approx(expected)


def test_refuses_a_teacher_that_has_nothing_to_teach(teacher: TrainedAgent, env: gymnasium.Env[Any, Any]) -> None:
    network = mlp((4,), 2, (16, 16), np.random.default_rng(0))
    network.set_weights([*network.get_weights()[:-2], np.zeros((16, 2)), np.ones(2)])
    indifferent = replace(teacher, network=network)
    with pytest.raises(InputError, match="all actions are equal"):
        compress(indifferent, RECIPES["qat-int8"], env, itertools.count(), np.random.default_rng(0))
    assert compress(indifferent, FLOAT32, env, itertools.count(), np.random.default_rng(0)).reports == ()


@pytest.mark.parametrize(
    ("stages", "conversion", "words"),
    [
        ((), "qat-int8", r"need each other: the converter reads.*Got stages=\[\] and conversion='qat-int8'"),
        ((ScaleInput(), Distil()), "qat-int8", r"Got stages=\['scale_input', 'distil'\]"),
        ((QuantizeAware(),), "float32", r"need each other.*conversion='float32'"),
        ((QuantizeAware(),), "ptq-int8", r"need each other.*conversion='ptq-int8'"),
        ((QuantizeAware(), Prune(0.5)), "qat-int8", r"must come last: what follows it would move the rounded weights"),
    ],
)
def test_refuses_stages_that_do_not_go_together(stages: Any, conversion: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Recipe("bad", "", stages, conversion)


def test_looks_recipes_up_and_names_the_choices() -> None:
    for name, value in RECIPES.items():
        assert recipe(name) is value
        assert value.name == name
    with pytest.raises(InputError, match=r"^Unknown recipe 'nope'\. Expected one of: ptq-int8, qat-int8, prune-qat-int8\.$"):
        recipe("nope")


def test_the_controls_are_the_naive_ones() -> None:
    assert (FLOAT32.stages, FLOAT32.conversion, FLOAT32.control) == ((), "float32", True)
    assert (RECIPES["ptq-int8"].stages, RECIPES["ptq-int8"].conversion) == ((), "ptq-int8")
    assert [name for name, value in RECIPES.items() if value.control] == ["ptq-int8"]
    assert not set(DEFAULT_RECIPES) & {"ptq-int8", "float32"}
    assert all(name in RECIPES for name in DEFAULT_RECIPES)
    (prune,) = [stage for stage in RECIPES["prune-qat-int8"].stages if isinstance(stage, Prune)]
    assert (prune.sparsity, prune.allocation) == (0.8, "erk")
