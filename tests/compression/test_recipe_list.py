"""What is listed without TensorFlow is what there is."""

from edgedqn.compression.recipe_list import RECIPE_LIST
from edgedqn.compression.recipes import RECIPES


def test_every_recipe_is_listed_as_it_is() -> None:
    assert {name: (recipe.summary, recipe.control) for name, recipe in RECIPES.items()} == RECIPE_LIST
