"""Recipes: named, frozen, and made of stages. A new method is a value here and a stage."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

from edgedqn.agents.architecture import describe
from edgedqn.agents.errors import InputError
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.compression.distillation import median_action_gap
from edgedqn.compression.folding import InputScaling, plain_network
from edgedqn.compression.policy import CompressedPolicy, Conversion
from edgedqn.compression.stages import Distil, Lesson, Prune, QuantizeAware, ScaleInput, Stage, Student, q_values_of

AGREEMENT_STATES = 2_000


@dataclass(frozen=True)
class Recipe:
    """How a float agent becomes a policy file.

    Attributes:
      name: of the recipe, and of the file: `<name>.tflite`.
      summary: one line.
      stages: in order; none leaves the Q-network as it is.
      conversion: what the exporter does at the end.
      control: shown beside the others so that everybody sees what it costs; it may fail its gate.
    """

    name: str
    summary: str
    stages: tuple[Stage, ...]
    conversion: Conversion
    control: bool = False

    def __post_init__(self) -> None:
        quantized = any(isinstance(stage, QuantizeAware) for stage in self.stages)
        if quantized != (self.conversion == "qat-int8"):
            raise InputError(
                "Quantization-aware training and the qat-int8 conversion need each other: the converter reads the ranges that "
                f"training learned. Got stages={[s.name for s in self.stages]} and conversion={self.conversion!r}."
            )
        if quantized and not isinstance(self.stages[-1], QuantizeAware):
            raise InputError("Quantization-aware training must come last: what follows it would move the rounded weights.")


FLOAT32 = Recipe("float32", "the float Q-network as trained: the baseline", (), "float32", control=True)

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("ptq-int8", "the naive conversion: quantization after training, a control", (), "ptq-int8", True),
        Recipe(
            "qat-int8",
            "scaled inputs, clipped action gaps, quantization-aware distillation",
            (ScaleInput(), Distil(), QuantizeAware()),
            "qat-int8",
        ),
        Recipe(
            "prune-qat-int8",
            "the same with 80 % of the weights pruned to zero (ERK), and kept there",
            (ScaleInput(), Distil(), Prune(0.8), QuantizeAware()),
            "qat-int8",
        ),
    )
}
DEFAULT_RECIPES = ("qat-int8", "prune-qat-int8")


def recipe(name: str) -> Recipe:
    """Looks a recipe up.

    Raises:
      InputError: there is none of this name; the message has the choices.
    """
    if name not in RECIPES:
        raise InputError(f"Unknown recipe {name!r}. Expected one of: {', '.join(RECIPES)}.")
    return RECIPES[name]


def compress(
    agent: TrainedAgent,
    recipe: Recipe,
    env: gymnasium.Env[Any, Any],
    reset_seeds: Iterator[int],
    rng: np.random.Generator,
) -> CompressedPolicy:
    """Runs a recipe's stages on a float agent.

    Args:
      agent: the teacher; it is left as it is.
      recipe: what to do.
      env: where states are gathered, as the agent's network sees it (`environments.agent_view`); left open.
      reset_seeds: of those episodes (the `calibrate` stream), endless.
      rng: for exploration and minibatches.
    Returns:
      The policy to export, with a report per stage: what it did, its agreement with the teacher, the seconds it took.
    Raises:
      InputError: the agent cannot be compressed this way, or a fine-tuning diverged.
    """
    plain = network = plain_network(agent.network)
    scaling, pruned = InputScaling.identity(), False
    reports: list[dict[str, Any]] = []
    if recipe.stages:
        gap = median_action_gap(q_values_of(agent, agent.observations))
        lesson = Lesson(agent, env, reset_seeds, rng, gap)
        student = Student(network, scaling, agent.observations, lesson.preferences(agent.observations))
        for stage in recipe.stages:
            started = time.monotonic()
            student, report = stage.apply(student, lesson)
            agreement = _agreement(student, agent)
            seconds = round(time.monotonic() - started, 2)
            reports.append({"stage": stage.name, "agreement": agreement, "seconds": seconds, **report})
        network, scaling, pruned = student.network, student.scaling, student.pruned
    return CompressedPolicy(
        network=network,
        conversion=recipe.conversion,
        scaling=scaling,
        meaning="preferences" if recipe.stages else "q_values",
        spec=agent.spec,
        observations=agent.observations,
        recipe=recipe.name,
        reports=tuple(reports),
        layers=describe(plain),
        preserve_zeros=pruned,
    )


def _agreement(student: Student, agent: TrainedAgent) -> float:
    """The share of on-policy states in which the student, as it is in Keras, acts as its teacher does."""
    states = agent.observations[:AGREEMENT_STATES]  # [N, ...]
    outputs = [student.network(batch, training=False) for batch in student.scaling.batches(states)]
    chosen = np.concatenate(outputs).argmax(axis=1)  # [N]
    return float((chosen == q_values_of(agent, states).argmax(axis=1)).mean())
