"""The recipes that come with EdgeDQN."""

from pathlib import Path

from edgedqn.agents.errors import InputError, hint
from edgedqn.compression.methods.clustering import Cluster
from edgedqn.compression.methods.distillation import Distil, Distillation, Visit
from edgedqn.compression.methods.initialization import NewStudent, ScaleInput
from edgedqn.compression.methods.ladder import Quantize
from edgedqn.compression.methods.pruning import Prune, Threshold
from edgedqn.compression.methods.quantization import QuantizeAware, RoundWeights
from edgedqn.compression.methods.reinforcement import TdLearning
from edgedqn.compression.methods.search import STUDENT, Search
from edgedqn.compression.methods.shrinking import Shrink
from edgedqn.compression.policy import Conversion
from edgedqn.compression.preferences import Targets
from edgedqn.compression.recipe import Recipe
from edgedqn.compression.recipe_list import DEFAULT_RECIPES as DEFAULT_RECIPES
from edgedqn.compression.recipe_list import RECIPE_LIST
from edgedqn.compression.stage import Stage

FLOAT32 = Recipe("float32", "the float Q-network as trained: the baseline", (), "float32", control=True)

# A gradient step with clusters takes ten times as long as one without.
QUANTIZING_CLUSTERS = Distillation(steps=1_500, learning_rate=5e-4)

# A student as large as its teacher becomes nearly as good, given time: on LunarLander-v3, 3,000 steps and 8,000 rounded ones
# agreed by gap in 92 to 93 %, these in 93 to 95. A width of 1 leaves two actions that compete twice as many levels of an int8
# output as 2.
DISTIL_LONG = Distil(
    learning=Distillation(steps=6_000, learning_rate=2e-3, final_learning_rate=1e-4), targets=Targets(width=1.0)
)
QUANTIZE_LONG = Quantize(teaching=DISTIL_LONG, quantizing=Distillation(steps=16_000, learning_rate=1e-3))

# With 2 % of the weights: they are chosen early, and then learn as fast as a small network can. 98 % zeros score -79.7 on an
# Acrobot-v1 agent with a learning rate of 2e-3 and the last zeros at 60 % of the training, -71.2 with these. It is another
# policy than its teacher's before it is rounded, so the gate alone decides: climbing on took 20 seconds and agreed no more.
DISTIL_MANY_STATES = Distil(learning=Distillation(steps=1_500, final_learning_rate=1e-4), greedy_states=40_000, rounds=4)
PRUNING_98 = Distillation(steps=15_000, batch_size=128, learning_rate=1e-2, final_learning_rate=1e-4)
QUANTIZING_98 = Distillation(steps=8_000, batch_size=128, learning_rate=2e-3)
PRUNE_98 = (
    Prune(0.98, learning=PRUNING_98, end=0.3),
    Visit(40_000),
    Quantize(quantizing=QUANTIZING_98, least_agreement=0.0, enough_agreement=0.0),
)

# Short, because each candidate is trained again.
SHORT = Distillation(steps=1_000, final_learning_rate=1e-4)
DISTIL_SHORT = Distil(learning=SHORT, greedy_states=10_000, explored_states=5_000, rounds=1, student_states=4_000)

# After reinforcement learning it is another policy than its first teacher's, so that agreement with that one says nothing.
ROUND_ITSELF = Quantize(("round", "widen", "fine_tune"), least_agreement=0.0, enough_agreement=0.0)


def _listed(name: str, stages: tuple[Stage, ...], conversion: Conversion) -> Recipe:
    """A recipe that `recipe_list` names."""
    listed = RECIPE_LIST[name]
    return Recipe(name, listed.summary, stages, conversion, control=listed.control)


RECIPES = {
    recipe.name: recipe
    for recipe in (
        _listed("ptq-int8", (), "ptq-int8"),
        _listed("dynamic", (), "dynamic"),
        _listed("float16", (), "float16"),
        _listed("threshold", (Threshold(),), "float32"),
        _listed("qat-int8", (ScaleInput(), QUANTIZE_LONG), "qat-int8"),
        _listed("prune-int8", (ScaleInput(), Distil(), Prune(0.8)), "ptq-int8"),
        _listed(
            "prune-td-int8", (ScaleInput(), Prune(0.8, learning=TdLearning(attempts=4), end=0.2), ROUND_ITSELF), "qat-int8"
        ),
        _listed("prune-qat-int8", (ScaleInput(), Distil(), Prune(0.8), Quantize()), "qat-int8"),
        _listed("prune98-qat-int8", (ScaleInput(), DISTIL_MANY_STATES, *PRUNE_98), "qat-int8"),
        _listed("cluster-qat-int8", (ScaleInput(), Distil(), Cluster(16), QuantizeAware(QUANTIZING_CLUSTERS)), "qat-int8"),
        _listed(
            "prune-cluster-qat-int8",
            (ScaleInput(), Distil(), Prune(0.8), Cluster(16), QuantizeAware(QUANTIZING_CLUSTERS)),
            "qat-int8",
        ),
        _listed("shrink-qat-int8", (ScaleInput(), DISTIL_SHORT, Shrink()), "qat-int8"),
        _listed("student-qat-int8", (ScaleInput(), NewStudent(), STUDENT, QuantizeAware()), "qat-int8"),
        _listed(
            "qat-td-int8",
            (ScaleInput(), QuantizeAware(TdLearning(steps=5_000, learning_rate=3e-5, evaluations=10))),
            "qat-int8",
        ),
        _listed("auto-int8", (ScaleInput(), Search()), "qat-int8"),
        _listed(
            "qat-float-output", (ScaleInput(), Quantize(("round", "fine_tune"), least_agreement=0.995)), "qat-int8-float-output"
        ),
        _listed("int16x8", (ScaleInput(), RoundWeights()), "int16x8"),
    )
}


def recipe(name: str) -> Recipe:
    """Looks a recipe up, or reads one of the user's own, if the name ends in `.toml`.

    Raises:
      InputError: there is none of this name, with the choices; or the file makes no recipe, or takes a name that is taken.
    """
    if name.endswith(".toml"):
        return checked(Recipe.read(Path(name)))
    if name not in RECIPES:
        expected = "Expected a file NAME.toml, or one that `edgedqn recipes` lists."
        raise InputError(f"Unknown recipe {name!r}.{hint(name, RECIPES)} {expected}")
    return RECIPES[name]


def checked(own: Recipe) -> Recipe:
    """A recipe of the user's own. Raises InputError where it has the name of one of these."""
    if own.name == FLOAT32.name or RECIPES.get(own.name, own) != own:
        raise InputError(f"A recipe of this name comes with EdgeDQN. Expected another name. Got {own.name!r}.")
    return own
