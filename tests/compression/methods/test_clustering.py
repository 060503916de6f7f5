from dataclasses import replace

import numpy as np
import pytest
import tf_keras
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError
from edgedqn.compression.methods.clustering import Cluster, clusters_of
from edgedqn.compression.methods.distillation import Distillation
from edgedqn.compression.methods.pruning import Prune, sparsity_of
from edgedqn.compression.stage import CompressionContext, Student


def kernels(network: tf_keras.Model) -> list[NDArray[np.float32]]:
    return [array for array in network.get_weights() if array.ndim > 1]


def test_a_kernel_of_few_values_is_left_alone(student: Student, context: CompressionContext) -> None:
    clustered, said = Cluster(40, Distillation(steps=50)).apply(student, context)
    assert said.skipped == ("kernel 2 has 30 values already and stays as it is",)
    np.testing.assert_array_equal(kernels(clustered.network)[2], kernels(student.network)[2])
    assert said.clusters_reached is not None
    assert max(said.clusters_reached) <= 40
    # Where that is all of them nothing is learned, and what the output means stays.
    again, said = Cluster(40, Distillation(steps=50)).apply(replace(clustered, meaning="q_values"), context)
    assert said.skipped is not None
    assert (len(said.skipped), said.final_loss, again.meaning) == (3, None, "q_values")
    for array, kept in zip(again.network.get_weights(), clustered.network.get_weights(), strict=True):
        np.testing.assert_array_equal(array, kept)


def test_a_small_pruned_kernel_keeps_its_zeros_when_it_has_few_values(student: Student, context: CompressionContext) -> None:
    pruned, _ = Prune(0.8, allocation="uniform", learning=Distillation(steps=50)).apply(student, context)
    counts = [len(np.unique(kernel)) for kernel in kernels(pruned.network)]
    clusters = counts[2] + 1
    assert clusters < min(counts[:2])  # the last kernel alone has too few
    clustered, said = Cluster(clusters, Distillation(steps=50)).apply(pruned, context)
    for kernel, before in zip(kernels(clustered.network), kernels(pruned.network), strict=True):
        assert (kernel[before == 0] == 0).all()
        assert len(np.unique(kernel)) <= clusters
    assert said.sparsity_reached is not None
    assert said.sparsity_reached[2] == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize("clusters", [1, 0, -3])
def test_refuses_one_cluster(clusters: int) -> None:
    with pytest.raises(InputError, match="Expected clusters of 2 or more"):
        Cluster(clusters)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40))
def test_counts_zeros_and_values(values: list[int]) -> None:
    kernel = np.array([values], np.float32)
    assert sparsity_of([kernel]) == pytest.approx((values.count(0) / len(values),))
    assert clusters_of([kernel, kernel]) == (len(set(values)),) * 2


def test_of_filters_the_one_with_most_values_counts_where_that_is_asked_for() -> None:
    kernel = np.zeros((2, 2, 1, 2), np.float32)  # height, width, inputs, filters
    kernel[0, :, 0, 0], kernel[..., 0, 1] = [1, 2], [[3, 4], [5, 6]]
    assert clusters_of([kernel]) == (7,)
    assert clusters_of([kernel], per_filter=True) == (4,)
    assert clusters_of([kernel.reshape(4, 2)], per_filter=True) == (7,)
