"""Which distillation target, and which loss: return, ties and agreement of the int8 file for each.

python docs/results/distillation_ablation.py                      # hours; goes on where it stopped
python docs/results/distillation_ablation.py LunarLander-v3 --seeds 0

For each environment and training seed, the recipe `qat-int8` trained half as long, and one thing changed at a time: the
targets, their width, the loss, or its temperature. Writes docs/results/distillation_ablation.json. Run folders may be shared
with docs/results/compression.py.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from each_run import each_run

from edgedqn.compression.methods.distillation import Distil, Distillation, Loss
from edgedqn.compression.methods.initialization import ScaleInput
from edgedqn.compression.methods.quantization import QuantizeAware
from edgedqn.compression.preferences import Targets
from edgedqn.compression.recipe import Recipe
from edgedqn.pipeline.job import RunResult

RESULTS = Path(__file__).with_suffix(".json")
ENVIRONMENTS = ("CartPole-v1", "MountainCar-v0", "Acrobot-v1", "LunarLander-v3", "MinAtar/Breakout-v1")
TRAININGS = (Distillation(steps=1_500, final_learning_rate=1e-4), Distillation(steps=4_000, learning_rate=5e-4))
KEPT = ("name", "return", "return_delta", "gate", "action_agreement", "gap_weighted_agreement", "tie_rate")


def variant(name: str, targets: Targets = Targets(), loss: Loss = "kl_and_square", temperature: float = 0.25) -> Recipe:
    """`qat-int8` with other targets, another loss or temperature, in both of its trainings."""
    first, second = (replace(training, loss=loss, temperature=temperature) for training in TRAININGS)
    return Recipe(name, "", (ScaleInput(), Distil(learning=first, targets=targets), QuantizeAware(second)), "qat-int8")


VARIANTS = (
    variant("gaps-width-2"),
    variant("gaps-width-1", Targets(width=1.0)),
    variant("gaps-width-4", Targets(width=4.0)),
    variant("advantages", Targets("advantages")),
    variant("q-values", Targets("q_values")),
    variant("one-hot", Targets("one_hot"), "cross_entropy"),
    variant("gaps-kl", loss="kl"),
    variant("gaps-square", loss="square"),
    variant("gaps-cross-entropy", loss="cross_entropy"),
    variant("gaps-cold", temperature=0.1),
    variant("gaps-warm", temperature=1.0),
)


def summarize(result: RunResult, seed: int) -> list[dict[str, Any]]:
    """What is kept of their rows."""
    return [{key: row[key] for key in KEPT} for row in result.benchmark["rows"]]


if __name__ == "__main__":
    each_run(__doc__, dict.fromkeys(ENVIRONMENTS, VARIANTS), RESULTS, summarize)
