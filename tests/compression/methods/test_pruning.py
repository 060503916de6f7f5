import itertools
import math
from typing import Any

import numpy as np
import pytest
import tf_keras
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError
from edgedqn.compression.methods.distillation import Distillation
from edgedqn.compression.methods.initialization import ScaleInput
from edgedqn.compression.methods.pruning import Prune, Threshold, allocate
from edgedqn.compression.policy import CompressedPolicy
from edgedqn.compression.recipe import Recipe
from edgedqn.compression.report import Findings
from edgedqn.compression.stage import CompressionContext, Student

CARTPOLE = [(4, 256), (256, 256), (256, 2)]


def total(shapes: list[tuple[int, ...]], sparsities: tuple[float, ...]) -> float:
    sizes = np.array([math.prod(shape) for shape in shapes])
    return float((sizes * sparsities).sum() / sizes.sum())


def test_uniform_asks_the_same_of_each() -> None:
    assert allocate(CARTPOLE, 0.8, allocation="uniform") == (0.8, 0.8, 0.8)


def test_erk_by_hand_at_80_percent() -> None:
    # 67,072 weights, 13,414.4 to keep. In proportion to 260 : 512 : 258 the outer kernels would have densities of 3.3 and 6.6,
    # so they stay dense (1,024 and 512 weights) and the middle one keeps the other 11,878.4 of its 65,536.
    np.testing.assert_allclose(allocate(CARTPOLE, 0.8, allocation="erk"), [0, 1 - 11_878.4 / 65_536, 0], atol=1e-12)


def test_erk_by_hand_at_98_percent() -> None:
    # 1,341.44 to keep, shared as 260 : 512 : 258; none is full.
    share = 1_341.44 / (260 + 512 + 258)
    expected = [1 - 260 * share / 1_024, 1 - 512 * share / 65_536, 1 - 258 * share / 512]
    np.testing.assert_allclose(expected, [0.66932, 0.98983, 0.34373], atol=1e-5)
    np.testing.assert_allclose(allocate(CARTPOLE, 0.98, allocation="erk"), expected, atol=1e-12)


dense = st.tuples(st.integers(1, 600), st.integers(1, 600))
convolution = st.tuples(st.integers(1, 8), st.integers(1, 8), st.integers(1, 64), st.integers(1, 64))
shapes = st.lists(st.one_of(dense, convolution), min_size=1, max_size=6)
sparsities = st.one_of(st.floats(0, 0.9999999), st.sampled_from([0.0, 1e-12, 0.5, 0.8, 0.98, 0.99999, 1 - 1e-12]))


@settings(max_examples=300, deadline=None)
@given(shapes, sparsities)
def test_erk_fills_up_to_the_asked_total(kernels: list[tuple[int, ...]], sparsity: float) -> None:
    got = allocate(kernels, sparsity, allocation="erk")
    assert len(got) == len(kernels)
    assert all(-1e-12 <= s < 1 for s in got)
    assert total(kernels, got) == pytest.approx(sparsity, abs=1e-9)
    # The oracle: one factor for all, found by bisection, such that densities cut off at 1 keep the asked number.
    sizes = np.array([math.prod(shape) for shape in kernels], np.float64)
    raw = np.array([sum(shape) for shape in kernels]) / sizes
    low, high = 0.0, 1 / raw.min()
    for _ in range(200):
        middle = (low + high) / 2
        if (np.minimum(1, middle * raw) * sizes).sum() < (1 - sparsity) * sizes.sum():
            low = middle
        else:
            high = middle
    np.testing.assert_allclose(got, 1 - np.minimum(1, high * raw), atol=1e-7)
    # Who has fewer weights per connected unit loses no larger share of them.
    for a, b in itertools.combinations(range(len(kernels)), 2):
        if raw[a] > raw[b]:
            assert got[a] <= got[b] + 1e-12


@pytest.mark.parametrize("allocation", ["uniform", "erk"])
@pytest.mark.parametrize("sparsity", [-0.1, 1.0, 1.5, float("nan")])
def test_refuses_a_sparsity_that_is_no_share(allocation: str, sparsity: float) -> None:
    with pytest.raises(InputError, match=r"share of zeros\. Expected it in \[0, 1\)\. Got"):
        allocate(CARTPOLE, sparsity, allocation=allocation)  # type: ignore[arg-type]


def test_nothing_asked_leaves_all_dense() -> None:
    for allocation in ("uniform", "erk"):
        assert allocate(CARTPOLE, 0.0, allocation=allocation) == (0.0, 0.0, 0.0)


def test_erk_counts_the_window_of_a_convolution() -> None:
    # MinAtar's network with 4 channels: 576 + 131,072 + 384 weights, 10 % of which stay.
    kernels = [(3, 3, 4, 16), (1024, 128), (128, 3)]
    kept = 0.1 * (576 + 131_072 + 384)
    share = kept / ((3 + 3 + 4 + 16) + (1024 + 128) + (128 + 3))
    assert 26 * share < 576  # the convolution is not full ...
    assert 131 * share > 384  # ... but the output is
    share = (kept - 384) / (26 + 1152)
    np.testing.assert_allclose(
        allocate(kernels, 0.9, allocation="erk"), [1 - 26 * share / 576, 1 - 1152 * share / 131_072, 0], atol=1e-12
    )
    assert total(kernels, allocate(kernels, 0.9, allocation="erk")) == pytest.approx(0.9)
    assert allocate(kernels, 0.9, allocation="uniform") == (0.9,) * 3


SHAPES = [(4, 16), (16, 16), (16, 2)]


def kernels(network: tf_keras.Model) -> list[NDArray[np.float32]]:
    return [array for array in network.get_weights() if array.ndim > 1]


def report(policy: CompressedPolicy, stage: str) -> Findings:
    (found,) = [r for r in policy.reports if r.stage == stage]
    return found.findings


def test_even_the_shortest_pruning_arrives(student: Student, context: CompressionContext) -> None:
    before = student.network.get_weights()
    pruned, said = Prune(0.7, allocation="uniform", learning=Distillation(steps=1)).apply(student, context)
    assert pruned.pruned
    assert (said.allocation, said.sparsity_asked) == ("uniform", (0.7,) * 3)
    assert said.sparsity_reached is not None
    for kernel, reached in zip(kernels(pruned.network), said.sparsity_reached, strict=True):
        assert reached == pytest.approx((kernel == 0).mean())
        assert abs(reached - 0.7) <= 0.5 / kernel.size + 1e-9
    for array, kept in zip(student.network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(array, kept)


@pytest.mark.parametrize("sparsity", [-0.1, 0.0, 1.0, float("nan")])
def test_refuses_a_sparsity_that_prunes_nothing_or_all(sparsity: float) -> None:
    with pytest.raises(InputError, match=r"Expected it in \(0, 1\)\. Got"):
        Prune(sparsity)


def test_pruned_zeros_are_in_the_final_network(policies: dict[str, CompressedPolicy]) -> None:
    said = report(policies["tiny-pruned"], "prune")
    assert said.allocation == "erk"
    assert said.sparsity_asked == allocate(SHAPES, 0.8, allocation="erk")
    final = kernels(policies["tiny-pruned"].network)
    assert said.sparsity_asked is not None and said.sparsity_reached is not None
    for kernel, asked, reached in zip(final, said.sparsity_asked, said.sparsity_reached, strict=True):
        assert reached >= asked - 0.5 / kernel.size - 1e-6  # to the nearest weight
        assert (kernel == 0).mean() >= reached - 1e-6
    assert not any((kernel == 0).any() for kernel in kernels(policies["tiny-qat"].network))


def test_convolutions_are_pruned_as_dense_layers_are(frames: Any, start_of: Any) -> None:
    student, context = start_of(frames)
    student, _ = ScaleInput().apply(student, context)
    pruned, said = Prune(0.6, allocation="erk", learning=Distillation(steps=50)).apply(student, context)
    shapes = [(3, 3, 4, 6), (120, 32), (32, 3)]
    assert [kernel.shape for kernel in kernels(pruned.network)] == shapes
    assert said.sparsity_asked == allocate(shapes, 0.6, allocation="erk")
    assert said.sparsity_reached is not None
    for reached, asked, shape in zip(said.sparsity_reached, said.sparsity_asked, shapes, strict=True):
        assert reached == pytest.approx(asked, abs=0.5 / np.prod(shape) + 1e-6)


def test_two_of_four_neighbours_along_the_inputs_go(student: Student, context: CompressionContext) -> None:
    pruned, said = Prune(
        0.5, allocation="uniform", learning=Distillation(steps=50), structure="2:4", schedule="constant"
    ).apply(student, context)
    assert said.sparsity_reached == (0.5,) * 3
    for kernel in kernels(pruned.network):  # [in, out]
        assert ((kernel.reshape(-1, 4, kernel.shape[1]) == 0).sum(axis=1) == 2).all()


def test_blocks_along_the_inputs_go_as_a_whole(student: Student, context: CompressionContext) -> None:
    pruned, said = Prune(0.5, allocation="uniform", learning=Distillation(steps=50), structure=(1, 8)).apply(student, context)
    assert said.skipped == ("kernel 0, 4 x 16: 4 inputs and 16 outputs are no multiples of 8 and 1",)
    assert said.sparsity_asked == (0.0, 0.5, 0.5)
    for kernel in kernels(pruned.network)[1:]:
        zeros = (kernel == 0).reshape(-1, 8, kernel.shape[1]).sum(axis=1)
        assert set(np.unique(zeros)) == {0, 8}
        assert (zeros == 8).mean() == pytest.approx(0.5, abs=0.05)


def test_an_allocation_can_be_given(student: Student, context: CompressionContext) -> None:
    _, said = Prune(0.5, allocation=(0.0, 0.75, 0.25), learning=Distillation(steps=50)).apply(student, context)
    assert said.sparsity_reached == pytest.approx([0.0, 0.75, 0.25], abs=0.02)
    with pytest.raises(InputError, match=r"Expected an allocation of 3 shares, one per kernel\. Got 2"):
        Prune(0.5, allocation=(0.5, 0.5), learning=Distillation(steps=50)).apply(student, context)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"structure": "2:4", "sparsity": 0.6, "allocation": "uniform"}, "2:4 keeps two of any four"),
        ({"structure": "2:4"}, r"Expected sparsity=0\.5, allocation='uniform'.*Got \(0\.5, 'erk'"),
        ({"structure": (0, 4)}, r"A block is \(outputs, inputs\), each 1 or more"),
        ({"structure": (1, 2, 3)}, r"A block is \(outputs, inputs\), each 1 or more"),
        ({"allocation": [0.5, 0.9]}, r"Expected an allocation by name, or a tuple of shares\. Got \[0\.5, 0\.9\]"),
        ({"allocation": (0.5, 1.0)}, r"shares in \[0, 1\)"),
        ({"begin": 0.7, "end": 0.6}, r"Pruning must begin before it ends.*Got begin=0\.7 and end=0\.6"),
    ],
)
def test_refuses_pruning_that_makes_no_sense(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Prune(**{"sparsity": 0.5, **settings})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"structure": "4:8"},
            r"Expected 'unstructured', '2:4' or a list of 2 whole numbers for structure of prune\. Got '4:8'",
        ),
        ({"allocation": "guess"}, r"Expected 'erk', 'uniform' or a list of numbers for allocation of prune\. Got 'guess'"),
        ({"schedule": "linear"}, r"Expected 'polynomial', 'constant' for schedule of prune\. Got 'linear'"),
    ],
)
def test_a_recipe_refuses_pruning_of_an_unknown_kind(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Recipe("mine", "", (Prune(0.5, **settings),), "float32")


@pytest.mark.usefixtures("without_xla")
@pytest.mark.parametrize(("begin", "end"), [(0.0, 0.6), (0.8, 1.0), (0.98, 1.0), (0.0, 0.001)])
def test_any_schedule_ends_within_the_learning(student: Student, context: CompressionContext, begin: float, end: float) -> None:
    for steps in (50, 100, 150):
        _, said = Prune(0.5, allocation="uniform", learning=Distillation(steps=steps), begin=begin, end=end).apply(
            student, context
        )
        assert said.sparsity_reached == pytest.approx([0.5] * 3, abs=0.02)


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
