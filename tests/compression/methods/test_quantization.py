from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from edgedqn.compression.folding import InputScaling, fold_input_scaling, kernels_of
from edgedqn.compression.methods.clustering import Cluster
from edgedqn.compression.methods.distillation import Distillation
from edgedqn.compression.methods.pruning import Prune
from edgedqn.compression.methods.quantization import SHARES, QuantizeAware, at_balanced_ranges, round_student
from edgedqn.compression.rewriting import with_balanced_ranges
from edgedqn.compression.saturation import lost_choices
from edgedqn.compression.stage import CompressionContext, Student


@pytest.mark.parametrize("pruned", [False, True])
def test_clusters_stay_few_and_zeros_stay_zeros_through_quantization(
    beginning: tuple[Student, CompressionContext], pruned: bool
) -> None:
    student, context = beginning
    if pruned:
        student, _ = Prune(0.6, allocation="uniform", learning=Distillation(steps=50)).apply(student, context)
    clustered, said = Cluster(4, Distillation(steps=50)).apply(student, context)
    assert said.clusters_reached == tuple(len(np.unique(kernel)) for kernel in kernels_of(clustered.network))
    assert max(said.clusters_reached) <= 4
    rounded, said = QuantizeAware(Distillation(steps=50)).apply(clustered, context)
    assert (said.keep_zeros, said.keep_clusters) == (pruned, True)
    assert rounded.quantized is not None
    for kernel, before in zip(kernels_of(rounded.quantized), kernels_of(student.network), strict=True):
        assert len(np.unique(kernel)) <= 4
        if pruned:
            assert (kernel[before == 0] == 0).mean() > 0.99


@pytest.mark.parametrize("apart", [1, 1_000])
def test_hidden_neurons_are_balanced_by_what_keeps_most_choices(
    beginning: tuple[Student, CompressionContext], apart: float
) -> None:
    student, context = beginning
    *rest, kernel, bias = student.network.get_weights()
    split = np.geomspace(1, apart, len(kernel))[:, np.newaxis]  # some neurons say much by little, others little by much
    student = replace(student.with_weights([*rest, kernel * split, bias]), scaling=InputScaling.measured(student.states))
    student = student.with_weights(fold_input_scaling(student.network.get_weights(), student.scaling))
    states = context.teacher_states(3_000)
    wanted = student.network(student.scaling(states)).numpy()

    def lost(candidate: Student) -> tuple[float, float]:
        rounded, _ = round_student(candidate, states, context=context)
        assert rounded.quantized is not None
        return lost_choices(rounded.quantized(student.scaling(states), training=False).numpy(), wanted)

    def batches() -> Iterator[NDArray[np.float32]]:
        yield student.scaling(states)

    each = [lost(student.with_weights(with_balanced_ranges(student.network, batches, share=share))) for share in SHARES]
    balanced = at_balanced_ranges(student, states, context=context)
    np.testing.assert_allclose(balanced.network(student.scaling(states)).numpy(), wanted, atol=1e-3 * np.ptp(wanted))
    assert lost(balanced)[0] <= min(each)[0] + 0.003
