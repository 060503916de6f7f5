"""What a method of one's own needs, and what a recipe asks of it."""

from dataclasses import dataclass
from typing import ClassVar

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.compression.context import CompressionContext
from edgedqn.compression.methods.distillation import Distil
from edgedqn.compression.methods.initialization import Restart
from edgedqn.compression.methods.pruning import Prune
from edgedqn.compression.methods.quantization import QuantizeAware
from edgedqn.compression.recipe import Recipe
from edgedqn.compression.report import Findings
from edgedqn.compression.stage import Stage, any_named, why_no_new_network
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


def test_a_stage_that_trains_nothing_says_so() -> None:
    assert (Halve().trains, Prune(0.5).trains, Halve().misplaced((), ())) == (None, "preferences", "")


def test_looks_for_names_and_for_fixed_weights_among_stages() -> None:
    stages = (Distil(), Prune(0.5))
    assert any_named(stages, "prune", "cluster") and not any_named(stages, "cluster")
    assert why_no_new_network(Restart(), stages) == "restart makes a new network: expected no prune before."
    assert why_no_new_network(Restart(), (Distil(),)) == ""
