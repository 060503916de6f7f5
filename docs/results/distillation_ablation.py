"""What a student should be taught, and by which loss: return, ties and agreement of the int8 file for each.

python docs/results/distillation_ablation.py                      # hours; goes on where it stopped
python docs/results/distillation_ablation.py LunarLander-v3 --seeds 0

For each environment and training seed, the recipe `qat-int8` with one thing changed at a time: the targets, their width, or the
loss. Writes docs/results/distillation_ablation.json. Run folders are shared with docs/results/compression.py.
"""

import argparse
import itertools
from dataclasses import replace
from pathlib import Path

from edgedqn.agents.atomic_files import read_json, write_json
from edgedqn.compression.distillation import Distillation, Loss, Targets
from edgedqn.compression.recipe import Recipe
from edgedqn.compression.stages import Distil, QuantizeAware, ScaleInput
from edgedqn.pipeline.run import run

RESULTS = Path(__file__).with_suffix(".json")
ENVIRONMENTS = ("CartPole-v1", "MountainCar-v0", "Acrobot-v1", "LunarLander-v3", "MinAtar/Breakout-v1")
KEPT = ("return", "return_delta", "gate", "action_agreement", "gap_weighted_agreement", "tie_rate")


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("env_ids", nargs="*", default=list(ENVIRONMENTS), metavar="ENV_ID", help="(all)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="of the trainings (0 1 2)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where run folders go (runs)")
    arguments = parser.parse_args()
    for seed, env_id in itertools.product(arguments.seeds, arguments.env_ids):
        results = read_json(RESULTS, 1) if RESULTS.exists() else {"schema": 1, "environments": {}}
        of_env = results["environments"].setdefault(env_id, {})
        if str(seed) in of_env:
            continue
        folder = arguments.runs / f"{env_id.replace('/', '-')}-seed{seed}"
        rows = run(env_id, folder, seed, VARIANTS).benchmark["rows"]
        of_env[str(seed)] = {row["name"]: {key: row[key] for key in KEPT} for row in rows}
        write_json(RESULTS, results)
        for row in rows:
            agreement, ties = row["gap_weighted_agreement"], row["tie_rate"]
            print(f"{env_id} {seed} {row['name']}: {row['return']['mean']:.2f} {row['gate']} {agreement:.1%} ties {ties:.1%}")


if __name__ == "__main__":
    main()
