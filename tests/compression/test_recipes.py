import re
from pathlib import Path

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.compression.methods.ladder import Quantize
from edgedqn.compression.methods.pruning import Prune
from edgedqn.compression.recipe import Recipe
from edgedqn.compression.recipes import DEFAULT_RECIPES, FLOAT32, RECIPES, checked, recipe

PROMISED = (
    "threshold", "ptq-int8", "dynamic", "float16", "qat-int8", "prune-int8", "prune-qat-int8", "cluster-qat-int8",
    "prune-cluster-qat-int8", "shrink-qat-int8", "student-qat-int8", "auto-int8",
)  # fmt: skip


def test_looks_recipes_up_and_names_the_choices() -> None:
    for name, value in RECIPES.items():
        assert recipe(name) is value
        assert value.name == name
    expected = "Expected a file NAME.toml, or one that `edgedqn recipes` lists."
    for name, near in (("nope", ""), ("qat8", " Nearest: qat-int8, qat-td-int8, ptq-int8.")):
        with pytest.raises(InputError, match="^" + re.escape(f"Unknown recipe '{name}'.{near} {expected}") + "$"):
            recipe(name)


def test_all_recipes_that_are_promised_are_there_with_a_line_each() -> None:
    assert set(PROMISED) <= set(RECIPES)
    for each in RECIPES.values():
        assert 10 < len(each.summary) < 110
        assert "\n" not in each.summary


def test_the_controls_are_the_naive_ones() -> None:
    assert (FLOAT32.stages, FLOAT32.conversion, FLOAT32.control) == ((), "float32", True)
    assert [name for name, value in RECIPES.items() if value.control] == ["ptq-int8", "dynamic", "float16", "threshold"]
    assert all(RECIPES[name].stages == () and RECIPES[name].conversion == name for name in ("ptq-int8", "dynamic", "float16"))
    assert not set(DEFAULT_RECIPES) & {name for name, value in RECIPES.items() if value.control}
    assert all(name in RECIPES for name in DEFAULT_RECIPES)


@pytest.mark.parametrize(("name", "sparsity"), [("prune-qat-int8", 0.8), ("prune98-qat-int8", 0.98), ("prune-int8", 0.8)])
def test_the_pruning_recipes_prune_what_they_say(name: str, sparsity: float) -> None:
    (prune,) = [stage for stage in RECIPES[name].stages if isinstance(stage, Prune)]
    assert (prune.sparsity, prune.allocation) == (sparsity, "erk")
    assert f"{sparsity:.0%}".rstrip("%") in RECIPES[name].summary


def test_what_98_percent_were_pruned_of_ends_where_its_file_passes() -> None:
    last = RECIPES["prune98-qat-int8"].stages[-1]
    assert isinstance(last, Quantize) and (last.least_agreement, last.enough_agreement) == (0.0, 0.0)


def test_reads_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('conversion = "ptq-int8"\nstages = ["scale_input", "distil"]\n')
    assert recipe(str(path)).name == "mine"


@pytest.mark.parametrize("name", ["float32", "qat-int8"])
def test_a_recipe_of_ones_own_cannot_pass_for_another(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{name}.toml"
    path.write_text('conversion = "ptq-int8"\n')
    with pytest.raises(InputError, match=f"comes with EdgeDQN. Expected another name. Got '{name}'"):
        recipe(str(path))
    with pytest.raises(InputError, match="comes with EdgeDQN"):
        checked(Recipe(name, "", (), "ptq-int8"))
    assert checked(RECIPES["qat-int8"]) is RECIPES["qat-int8"]
