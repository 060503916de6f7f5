import numpy as np
import pytest
import tf_keras
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError
from edgedqn.compression.context import CompressionContext
from edgedqn.compression.methods.threshold import Threshold
from edgedqn.compression.student import Student


def kernels(network: tf_keras.Model) -> list[NDArray[np.float32]]:
    return [array for array in network.get_weights() if array.ndim > 1]


def test_a_threshold_takes_the_small_weights_and_no_bias(student: Student, context: CompressionContext) -> None:
    thinned, said = Threshold(0.1).apply(student, context)
    for before, after in zip(student.network.get_weights(), thinned.network.get_weights(), strict=True):
        expected = np.where(np.abs(before) < 0.1, 0, before) if before.ndim > 1 else before
        np.testing.assert_array_equal(after, expected)
    assert said.sparsity_reached == tuple((kernel == 0).mean() for kernel in kernels(thinned.network))
    assert (thinned.meaning, thinned.pruned) == ("q_values", True)


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_refuses_thresholds_that_are_no_magnitude(value: float) -> None:
    with pytest.raises(InputError, match="A threshold is a magnitude"):
        Threshold(value)
