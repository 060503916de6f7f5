"""What a student should be taught, and by which loss: return, ties and agreement of the int8 file for each.

python docs/results/distillation_ablation.py                      # hours; goes on where it stopped
python docs/results/distillation_ablation.py LunarLander-v3 --seeds 0

For each environment and training seed, the recipe `qat-int8` with one thing changed at a time: the targets, their width, or the
loss. Writes docs/results/distillation_ablation.json. Run folders are shared with docs/results/compression.py.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from each_run import each_run

from edgedqn.compression.distillation import Distillation, Loss, Targets
from edgedqn.compression.recipe import Recipe
from edgedqn.compression.stages import Distil, QuantizeAware, ScaleInput
from edgedqn.pipeline.run import run

RESULTS = Path(__file__).with_suffix(".json")
ENVIRONMENTS = ("CartPole-v1", "MountainCar-v0", "Acrobot-v1", "LunarLander-v3", "MinAtar/Breakout-v1")
KEPT = ("name", "return", "return_delta", "gate", "action_agreement", "gap_weighted_agreement", "tie_rate")


def variant(name: str, targets: Targets = Targets(), loss: Loss = "kl_and_square") -> Recipe:
    """`qat-int8` with other targets or another loss, in both of its lessons."""
    first, second = Distil(targets=targets), QuantizeAware()
    assert isinstance(second.learning, Distillation)
    stages = (
        ScaleInput(),
        replace(first, learning=replace(first.learning, loss=loss)),
        replace(second, learning=replace(second.learning, loss=loss)),
    )
    return Recipe(name, "", stages, "qat-int8")


VARIANTS = (
    variant("gaps-width-2"),
    variant("gaps-width-1", Targets(width=1.0)),
    variant("gaps-width-4", Targets(width=4.0)),
    variant("advantages", Targets("advantages")),
    variant("q-values", Targets("q_values")),
    variant("one-hot", Targets("one_hot"), "cross_entropy"),
    variant("gaps-kl", loss="kl"),
    variant("gaps-square", loss="square"),
)


def measure(env_id: str, seed: int, folder: Path) -> list[dict[str, Any]]:
    """Runs all variants, and gives what is kept of their rows."""
    return [{key: row[key] for key in KEPT} for row in run(env_id, folder, seed, VARIANTS).benchmark["rows"]]


if __name__ == "__main__":
    each_run(__doc__, ENVIRONMENTS, RESULTS, measure)
