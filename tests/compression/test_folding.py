import itertools
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgedqn.agents.networks import q_network
from edgedqn.agents.numpy_network import Dense, NumpyNetwork
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.playing.spec import EnvironmentSpec, Flatten, FrameStack, OneHot, Step
from edgedqn.compression.folding import BATCH, InputScaling, Weights, fold_input_scaling, in_batches, unfold_input_scaling

CARTPOLE_RANGE = np.array([2.4, 3.0, 0.21, 3.5])


def random_weights(widths: list[int], rng: np.random.Generator) -> Weights:
    """He-normal kernels and biases that are not zero."""
    weights: Weights = []
    for n_in, n_out in itertools.pairwise(widths):
        weights += [
            rng.normal(0, np.sqrt(2 / n_in), (n_in, n_out)).astype(np.float32),
            rng.normal(0, 0.3, n_out).astype(np.float32),
        ]
    return weights


def run(weights: Weights, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Dense layers with ReLU between them."""
    layers = list(zip(weights[::2], weights[1::2], strict=True))
    chain = [Dense(kernel, bias, relu=kernel is not weights[-2]) for kernel, bias in layers]
    return NumpyNetwork(chain, inputs.shape[1:]).q_values(inputs)


def largest_error(weights: Weights, scaling: InputScaling, observations: NDArray[np.float32]) -> float:
    """Of the folded network behind the scaling against the plain one, as a share of the largest |Q|."""
    expected = run(weights, observations)
    folded = run(fold_input_scaling(weights, scaling), scaling(observations))
    return float(np.abs(folded - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("hidden", [(256, 256), (64, 64), (16,), ()])
def test_folding_changes_nothing_on_10_000_states(hidden: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    weights = random_weights([4, *hidden, 2], rng)
    observations = rng.uniform(-CARTPOLE_RANGE, CARTPOLE_RANGE, (10_000, 4)).astype(np.float32)
    scaling = InputScaling.measured(observations, tail=0)
    assert np.abs(scaling(observations)).max() < 1  # nothing is clamped, so nothing may change
    assert len(set(scaling.scale)) == 4
    assert largest_error(weights, scaling, observations) < 1e-5


def test_folding_changes_nothing_in_keras() -> None:
    rng = np.random.default_rng(1)
    network = q_network((4,), 2, hidden=(256, 256), rng=rng)
    observations = rng.uniform(-CARTPOLE_RANGE, CARTPOLE_RANGE, (10_000, 4)).astype(np.float32)
    expected = network(observations).numpy()
    scaling = InputScaling.measured(observations, tail=0)
    network.set_weights(fold_input_scaling(network.get_weights(), scaling))
    np.testing.assert_allclose(network(scaling(observations)).numpy(), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.floats(-4, 4), st.floats(-5, 5)), min_size=1, max_size=9),
    st.lists(st.integers(1, 48), max_size=3),
    st.integers(0, 2**32 - 1),
)
def test_folding_is_exact_whatever_the_units(features: list[tuple[float, float]], hidden: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    spread = 10.0 ** np.array([exponent for exponent, _ in features])
    center = spread * np.array([shift for _, shift in features])
    weights = random_weights([len(features), *hidden, 3], rng)
    weights[0] /= spread[:, None].astype(np.float32)  # a network that was trained on these units looks at all of them
    observations = (center + rng.uniform(-1, 1, (500, len(features))) * spread).astype(np.float32)
    scaling = InputScaling.measured(observations, tail=0)
    assert largest_error(weights, scaling, observations) < 1e-5


def test_folding_leaves_its_argument_and_all_later_layers_alone() -> None:
    weights = random_weights([4, 8, 8, 2], np.random.default_rng(2))
    before = [array.copy() for array in weights]
    folded = fold_input_scaling(weights, InputScaling((2.0, 3.0, 4.0, 5.0), (1.0, 0.0, -1.0, 0.5)))
    for array, kept in zip(weights, before, strict=True):
        np.testing.assert_array_equal(array, kept)
    for array, kept in zip(folded[2:], before[2:], strict=True):
        np.testing.assert_array_equal(array, kept)
    assert [array.dtype for array in folded] == [np.float32] * 6


def test_the_identity_changes_not_a_bit() -> None:
    rng = np.random.default_rng(3)
    observations = rng.normal(size=(50, 4)).astype(np.float32)
    identity = InputScaling.identity()
    np.testing.assert_array_equal(identity(observations * 1e6), observations * np.float32(1e6))
    weights = random_weights([4, 8, 2], rng)
    for array, folded in zip(weights, fold_input_scaling(weights, identity), strict=True):
        np.testing.assert_array_equal(array, folded)


@pytest.mark.parametrize(("tail", "headroom"), [(1e-3, 0.1), (0.05, 0.0), (0.0, 0.25)])
def test_measured_ranges_are_the_quantiles_with_headroom(tail: float, headroom: float) -> None:
    rng = np.random.default_rng(4)
    observations = (rng.standard_t(3, (20_001, 3)) * [1e-3, 1, 1e3] + [5, -2, 0]).astype(np.float32)
    scaling = InputScaling.measured(observations, tail=tail, headroom=headroom)
    low, high = np.quantile(observations.astype(np.float64), [tail, 1 - tail], axis=0)
    edge = 1 / (1 + 2 * headroom)  # the measured range lies that far from the middle on both sides
    np.testing.assert_allclose(low * scaling.scale + scaling.offset, -edge, rtol=1e-9)
    np.testing.assert_allclose(high * scaling.scale + scaling.offset, edge, rtol=1e-9)
    assert scaling.limits == (-1.0, 1.0)
    scaled = scaling(observations)
    assert scaled.dtype == np.float32
    assert np.abs(scaled).max() <= 1
    assert (np.abs(scaled) >= 1).mean(axis=0).max() <= 2 * tail + 2e-4  # the two observations on the edge


def test_one_outlier_costs_the_others_no_resolution() -> None:
    observations = np.random.default_rng(5).uniform(-1, 1, (10_000, 2)).astype(np.float32)
    before = InputScaling.measured(observations).scale
    observations[17, 0] = 1e9
    np.testing.assert_allclose(InputScaling.measured(observations).scale, before, rtol=1e-2)


@pytest.mark.parametrize("constant", [0.0, 1.0, -3.0, 1e-9, 1e6, -1e30])
@pytest.mark.parametrize("count", [1, 1_000])
def test_a_feature_that_does_not_move_does_no_harm(constant: float, count: int) -> None:
    observations = np.random.default_rng(6).normal(size=(count, 2)).astype(np.float32)
    observations[:, 0] = constant
    scaling = InputScaling.measured(observations)
    assert np.isfinite(scaling.scale).all()
    assert np.isfinite(scaling.offset).all()
    assert min(scaling.scale) > 0
    assert max(abs(offset) for offset in scaling.offset[:1]) <= 1  # no huge numbers that cancel on the device in float32
    np.testing.assert_allclose(scaling(observations)[:, 0], 0, atol=1e-6)
    weights = random_weights([2, 8, 2], np.random.default_rng(7))
    assert np.isfinite(np.concatenate([array.ravel() for array in fold_input_scaling(weights, scaling)])).all()


def test_the_clamp_is_at_the_limits_and_only_where_there_is_one() -> None:
    far = np.array([[1e9, -1e9], [0.25, -0.25]], np.float32)
    np.testing.assert_array_equal(InputScaling((2.0, 2.0), (0.0, 0.0), (-1.0, 1.0))(far), [[1, -1], [0.5, -0.5]])
    np.testing.assert_array_equal(InputScaling((2.0, 2.0), (0.0, 0.0), (0.0, 3.0))(far), [[3, 0], [0.5, 0]])
    np.testing.assert_array_equal(InputScaling((2.0, 2.0), (0.0, 0.0))(far), [[2e9, -2e9], [0.5, -0.5]])


@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 5, 3)])
def test_scales_the_last_axis_of_any_shape(shape: tuple[int, ...]) -> None:
    scaling = InputScaling((1.0, 10.0, 100.0), (0.0, 1.0, 2.0))
    x = np.random.default_rng(8).normal(size=shape)
    np.testing.assert_allclose(scaling(x), x * [1, 10, 100] + [0, 1, 2], rtol=1e-6)


@pytest.mark.parametrize(
    "scaling",
    [
        InputScaling.identity(),
        InputScaling.measured(np.random.default_rng(9).normal(size=(100, 4)).astype(np.float32)),
        InputScaling((1 / 3,), (-1e-300,), (-0.1, 0.2)),
    ],
)
def test_round_trips_through_json(scaling: InputScaling) -> None:
    value: dict[str, Any] = json.loads(json.dumps(scaling.to_json()))
    assert InputScaling.from_json(value) == scaling


# --- what images and states of a number get ---------------------------------------------------------------------------------


def spec(shape: tuple[int, ...], dtype: str, *preprocessing: Step) -> EnvironmentSpec:
    return EnvironmentSpec(
        source=EnvironmentSource("Test-v0"),
        observation_shape=shape,
        observation_dtype=dtype,
        observation_low=(0.0,),
        observation_high=(255.0,),
        n_actions=3,
        preprocessing=preprocessing,
    )


@pytest.mark.parametrize(
    ("environment", "size"),
    [
        (spec((), "int64", OneHot()), 1.0),
        (spec((5, 5, 2), "bool"), 1.0),
        (spec((5, 5), "bool", FrameStack(2), Flatten()), 1.0),
        (spec((5, 5), "uint8", FrameStack(2)), 255.0),
        (spec((5, 5, 2), "uint8", Flatten()), 255.0),
    ],
)
@pytest.mark.parametrize("pads", [False, True])
def test_what_has_few_values_has_them_all_whatever_was_visited(environment: EnvironmentSpec, size: float, pads: bool) -> None:
    never = np.zeros((3, *environment.input_shape), environment.observation_dtype)
    scaling = InputScaling.fitting(environment, never, pads=pads)
    assert scaling == InputScaling((1 / size,), (0.0,), (0.0, 1.0))
    values = np.arange(size + 1)
    levels = scaling(values).astype(np.float64) * 255 - 128  # as an int8 input of [0, 1] stores them
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-4)
    assert len(np.unique(np.rint(levels))) == size + 1


@pytest.mark.parametrize(("pads", "offsets"), [(False, True), (True, False)])
def test_other_images_are_measured_per_channel_and_centred_where_nothing_is_padded(pads: bool, offsets: bool) -> None:
    rng = np.random.default_rng(20)
    images = (rng.uniform(-1, 1, (500, 6, 5, 3)) * [0.1, 1, 20] + [0.5, 0, -3]).astype(np.float32)
    scaling = InputScaling.fitting(spec((6, 5, 3), "float32"), images, pads=pads)
    assert len(scaling.scale) == len(scaling.offset) == 3
    assert any(offset != 0 for offset in scaling.offset) == offsets
    scaled = scaling(images)
    assert 0.7 < np.abs(scaled).max(axis=(0, 1, 2)).min() < 1
    assert scaling.limits == (-1, 1)


def test_vectors_of_any_type_are_measured_per_feature() -> None:
    values = np.random.default_rng(21).integers(0, 9, (300, 4)).astype(np.uint8)
    assert InputScaling.fitting(spec((4,), "uint8"), values, pads=False) == InputScaling.measured(values)
    stacked = InputScaling.fitting(spec((2,), "float32", FrameStack(2)), values.astype(np.float32), pads=False)
    assert len(stacked.scale) == 4


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float32", "float64"])
def test_scales_the_same_in_tensorflow_and_in_batches(dtype: str) -> None:
    values = np.random.default_rng(22).integers(0, 200, (BATCH + 7, 3, 2)).astype(dtype)
    scaling = InputScaling((0.013, 2.0), (-1.0, 0.25), (-0.9, 0.9))
    expected = scaling(values)
    assert expected.dtype == np.float32
    np.testing.assert_allclose(scaling.tensor(values), expected, atol=1e-6)
    batches = list(map(scaling, in_batches(values)))
    assert [len(batch) for batch in batches] == [BATCH, 7]
    np.testing.assert_array_equal(np.concatenate(batches), expected)


def test_counts_what_is_clipped() -> None:
    values = np.array([[-3, 0.2], [-1, 1], [0, 1.5], [2, 0]], np.float32)
    assert InputScaling((1.0,), (0.0,), (-1.0, 1.0)).clipped_fraction(values) == 3 / 8
    assert InputScaling((1.0,), (0.0,), (0.0, 1.0)).clipped_fraction(values) == 4 / 8
    assert InputScaling.identity().clipped_fraction(values) == 0


def test_unfolding_is_the_inverse_of_folding() -> None:
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=shape).astype(np.float32) for shape in ((4, 8), (8,), (8, 2), (2,))]
    scaling = InputScaling((2.0, 3.0, 0.1, 5.0), (1.0, 0.0, -1.0, 0.5), (-1.0, 1.0))
    for array, again in zip(weights, unfold_input_scaling(fold_input_scaling(weights, scaling), scaling), strict=True):
        np.testing.assert_allclose(again, array, rtol=1e-5, atol=1e-5)
