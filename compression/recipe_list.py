"""The recipes that come with EdgeDQN in a line each, for who lists them without TensorFlow. `recipes` has their stages."""

from typing import NamedTuple


class ListedRecipe(NamedTuple):
    """What a recipe does, in a line, and whether it is a control, shown so that everybody sees what it costs."""

    summary: str
    control: bool = False


RECIPE_LIST = {
    "ptq-int8": ListedRecipe("the naive conversion: quantization after training, a control", control=True),
    "dynamic": ListedRecipe("int8 weights, float activations, nothing trained, a control", control=True),
    "float16": ListedRecipe("half precision, nothing trained, a control", control=True),
    "threshold": ListedRecipe("float, weights below 0.05 set to zero once, a control", control=True),
    "qat-int8": ListedRecipe(
        "rounded by as little as keeps the policy: without training, by a short fine-tuning, or taught anew"
    ),
    "prune-int8": ListedRecipe("80 % of the weights pruned (ERK), then quantized after training"),
    "prune-td-int8": ListedRecipe(
        "80 % of the weights pruned (ERK) while it goes on learning by playing, then rounded to keep what it became"
    ),
    "prune-qat-int8": ListedRecipe("80 % of the weights pruned (ERK) and kept at zero while it is rounded as in qat-int8"),
    "prune98-qat-int8": ListedRecipe("the same with 98 % pruned, trained longer and in states it visits itself"),
    "cluster-qat-int8": ListedRecipe(
        "16 distinct values per kernel, of convolutions per filter, kept in quantization-aware distillation (CQAT)"
    ),
    "prune-cluster-qat-int8": ListedRecipe(
        "80 % zeros and 16 distinct values per kernel (of convolutions per filter), both kept (PCQAT)"
    ),
    "shrink-qat-int8": ListedRecipe("neurons, filters and layers removed as long as the gate passes; a smaller dense network"),
    "student-qat-int8": ListedRecipe("a new network of 32 x 32 neurons (and a quarter of the filters), distilled from scratch"),
    "qat-td-int8": ListedRecipe(
        "rounded while it goes on learning by playing, from what rounding without training makes of it"
    ),
    "auto-int8": ListedRecipe("the smallest student that passes the gate, searched for"),
    "qat-float-output": ListedRecipe("qat-int8 with a last layer in float"),
    "int16x8": ListedRecipe("int16 activations where int8 falls short: nearly exact, but slow, and not for XNNPACK"),
}
DEFAULT_RECIPES = ("qat-int8", "prune-qat-int8", "auto-int8")  # of `edgedqn run`
