"""What a method of one's own needs, and what a recipe asks of it."""

from dataclasses import dataclass
from typing import ClassVar

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.compression.context import CompressionContext
from edgedqn.compression.methods.distillation import Distil, Visit
from edgedqn.compression.methods.initialization import Restart
from edgedqn.compression.methods.pruning import Prune
from edgedqn.compression.methods.quantization import QuantizeAware
from edgedqn.compression.methods.reinforcement import TdLearning
from edgedqn.compression.methods.search import Search
from edgedqn.compression.methods.shrinking import Shrink
from edgedqn.compression.recipe import Recipe
from edgedqn.compression.report import Findings
from edgedqn.compression.stage import Stage
from edgedqn.compression.student import Student


@dataclass(frozen=True)
class Halve(Stage):
    """Halves all weights; of a ReLU network, that keeps the order of the actions where there are no biases."""

    name: ClassVar[str] = "halve"
    fixes_weights: ClassVar[bool] = True

    def apply(self, student: Student, context: CompressionContext) -> tuple[Student, Findings]:
        return student.with_weights([array / 2 for array in student.network.get_weights()]), Findings()


def test_a_stage_of_ones_own_goes_into_a_recipe_and_others_heed_what_it_says_of_itself() -> None:
    assert Recipe("mine", "", (Distil(), Halve(), QuantizeAware()), "qat-int8").asks_gate is False
    with pytest.raises(InputError, match="restart makes a new network: expected no halve before"):
        Recipe("mine", "", (Halve(), Restart(), Prune(0.5)), "float32")
    with pytest.raises(InputError, match="Distillation moves all weights"):
        Recipe("mine", "", (Halve(), Distil()), "float32")


def test_what_it_trains_is_what_its_settings_say() -> None:
    assert (Halve().trains, Prune(0.5).trains, Prune(0.5, learning=TdLearning()).trains) == (None, "preferences", "q_values")
    assert (Distil().trains, Search().trains, Shrink().trains, Visit().trains) == (*("preferences",) * 3, None)
