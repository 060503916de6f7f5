"""Which recipes docs/compression.md compares, in which environments."""

from dataclasses import replace

from edgedqn.compression.methods.initialization import ScaleInput
from edgedqn.compression.methods.quantization import QuantizeAware
from edgedqn.compression.preferences import Targets
from edgedqn.compression.recipe import Recipe
from edgedqn.compression.recipes import DISTIL_LONG, DISTIL_MANY_STATES, FLOAT32, PRUNE_98, PRUNING_98, QUANTIZE_LONG, RECIPES

# Trained as `qat-int8` is, but for what each step of the ladder is about; only the last one asks the gate.
DISTIL, ROUND = replace(DISTIL_LONG, targets=Targets("q_values")), QuantizeAware(QUANTIZE_LONG.quantizing)
LADDER = (
    Recipe("qat-q-values", "quantization-aware, Q-values", (DISTIL, ROUND), "qat-int8"),
    Recipe("qat-scaled-q-values", "the same with scaled inputs", (ScaleInput(), DISTIL, ROUND), "qat-int8"),
)
PRUNE, *HEAL = PRUNE_98
# At the learning rate that suits ERK best, the first and last kernels of 2 % die.
UNIFORMLY = replace(PRUNE, allocation="uniform", learning=replace(PRUNING_98, learning_rate=2e-3))
UNIFORM = Recipe(
    "prune98-uniform",
    "98 % of the weights of each kernel",
    (ScaleInput(), DISTIL_MANY_STATES, UNIFORMLY, *HEAL),
    "qat-int8",
)
SMALL = ("qat-int8", "shrink-qat-int8", "auto-int8")
CLUSTERED = ("cluster-qat-int8", "prune-qat-int8", "prune-cluster-qat-int8")
PRUNED = ("prune-int8", "prune-td-int8")
CLASSIC = (
    *LADDER,
    "qat-int8",
    *PRUNED,
    "prune98-qat-int8",
    UNIFORM,
    *CLUSTERED,
    "shrink-qat-int8",
    "student-qat-int8",
    "auto-int8",
)
RUNS: dict[str, tuple[str | Recipe, ...]] = {
    "CartPole-v1": CLASSIC,
    "MountainCar-v0": CLASSIC,
    "Acrobot-v1": CLASSIC,
    "LunarLander-v3": CLASSIC,
    "MinAtar/Breakout-v1": SMALL,
}
COMPARED = RECIPES | {each.name: each for each in (FLOAT32, *LADDER, UNIFORM)}
"""All of them by name."""
