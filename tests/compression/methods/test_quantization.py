import numpy as np
import pytest

from edgedqn.compression.folding import kernels_of
from edgedqn.compression.methods.clustering import Cluster
from edgedqn.compression.methods.distillation import Distillation
from edgedqn.compression.methods.pruning import Prune
from edgedqn.compression.methods.quantization import QuantizeAware
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
