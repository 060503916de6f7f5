"""A network read as a plain chain, against Keras; and what is none."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tf_keras
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedqn.agents.architecture import DuelingMerge
from edgedqn.agents.chain import ChainReader, NotAChainError
from edgedqn.agents.networks import minatar_torso, nature_torso, q_network, table_network
from edgedqn.agents.numpy_network import Conv, Dense, Flatten

layers = tf_keras.layers


def randomized(network: Any, seed: int = 0) -> Any:
    """With weights, biases too, that all matter and keep values near 1."""
    rng = np.random.default_rng(seed)
    weights = [rng.normal(0, 1 / np.sqrt(np.prod(w.shape[:-1]) or 1), w.shape) for w in network.get_weights()]
    are_variances = ["variance" in variable.name for variable in network.weights]
    network.set_weights([np.abs(w) + 0.5 if is_variance else w for w, is_variance in zip(weights, are_variances, strict=True)])
    return network


def stacked(shape: tuple[int, ...], *of_layers: Any) -> Any:
    """One layer after the other."""
    observation = x = tf_keras.Input(shape)
    for layer in of_layers:
        x = layer(x)
    return randomized(tf_keras.Model(observation, x))


def convolve(x: Any, conv: Any) -> Any:
    """A convolution by its definition: [B, H, W, in] -> [B, H', W', out]."""
    (height, width), (down, right) = conv.kernel.shape[:2], conv.strides
    if conv.padding == "same":  # TensorFlow puts the odd row or column behind
        rows, columns = -(-x.shape[1] // down), -(-x.shape[2] // right)
        pads = [
            max((n - 1) * s + k - size, 0)
            for n, s, k, size in zip((rows, columns), conv.strides, (height, width), x.shape[1:3], strict=True)
        ]
        x = np.pad(x, [(0, 0), *((pad // 2, pad - pad // 2) for pad in pads), (0, 0)])
    rows, columns = (x.shape[1] - height) // down + 1, (x.shape[2] - width) // right + 1
    out = np.empty((len(x), rows, columns, conv.kernel.shape[3]))
    for i in range(rows):
        for j in range(columns):
            patch = x[:, i * down : i * down + height, j * right : j * right + width]
            out[:, i, j] = np.einsum("bhwc,hwco->bo", patch, conv.kernel) + conv.bias
    return out


def run(operators: Any, x: Any) -> Any:
    """The chain in float64."""
    x = x.astype(np.float64)
    for operator in operators:
        if isinstance(operator, Flatten):
            x = x.reshape(len(x), -1)
            continue
        x = convolve(x, operator) if isinstance(operator, Conv) else x @ operator.kernel + operator.bias
        x = np.maximum(x, 0) if operator.relu else x
    return x


def assert_equal_to_keras(network: Any, scale: float = 1.0) -> Any:
    chain = ChainReader(network)(network.get_weights())
    observations = (scale * np.random.default_rng(1).random((8, *network.input_shape[1:]))).astype(np.float32)
    expected = network(observations).numpy()
    expected = expected.mean(axis=2) if expected.ndim == 3 else expected
    np.testing.assert_allclose(run(chain, observations), expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    return chain


@settings(max_examples=25, deadline=None)
@given(
    hidden=st.lists(st.integers(1, 12), min_size=1, max_size=3),
    dueling=st.booleans(),
    quantiles=st.sampled_from([0, 1, 5]),
    image_scale=st.sampled_from([1.0, 1 / 255]),
    seed=st.integers(0, 2**16),
)
def test_an_mlp_with_every_head_is_a_chain_of_dense_layers(
    hidden: Any, dueling: bool, quantiles: Any, image_scale: Any, seed: int
) -> None:
    network = q_network(
        (5,),
        3,
        hidden=hidden,
        rng=np.random.default_rng(0),
        torso=None,
        dueling=dueling,
        quantiles=quantiles,
        input_scale=image_scale,
    )
    chain = assert_equal_to_keras(randomized(network, seed), 1 / image_scale)
    assert [type(operator) for operator in chain] == [Dense] * (len(hidden) + 1)
    widths = [*hidden[:-1], hidden[-1] * (1 + dueling), 3]  # the two streams lie side by side
    assert [operator.kernel.shape[1] for operator in chain] == widths
    assert [operator.relu for operator in chain] == [True] * len(hidden) + [False]
    assert all(array.dtype == np.float32 for operator in chain for array in operator[:2])


@pytest.mark.parametrize("head", [{}, {"dueling": True}, {"quantiles": 4}, {"dueling": True, "quantiles": 4}], ids=str)
@pytest.mark.parametrize(("torso", "shape", "scale"), [(minatar_torso, (10, 10, 4), 1.0), (nature_torso, (84, 84, 2), 1 / 255)])
def test_so_are_the_networks_of_the_papers(torso: Any, shape: tuple[int, ...], scale: float, head: dict[str, Any]) -> None:
    network = randomized(
        q_network(shape, 3, hidden=(16,), rng=np.random.default_rng(0), torso=torso, **head, input_scale=scale)
    )
    chain = assert_equal_to_keras(network, 1 / scale)
    convolutions = 1 if torso is minatar_torso else 3
    assert [type(operator) for operator in chain] == [Conv] * convolutions + [Flatten, Dense, Dense]


@settings(max_examples=25, deadline=None)
@given(
    size=st.tuples(st.integers(5, 9), st.integers(5, 9)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.sampled_from(["valid", "same"]),
    use_bias=st.booleans(),
)
def test_convolutions_of_any_size_stride_and_padding(
    size: Any, kernel: Any, strides: Any, padding: str, use_bias: bool
) -> None:
    conv = layers.Conv2D(3, kernel, strides, padding, activation="relu", use_bias=use_bias)
    assert_equal_to_keras(stacked((*size, 2), conv, layers.Flatten(), layers.Dense(2)))


@pytest.mark.parametrize(
    "of_layers",
    [
        lambda: [layers.Dense(6), layers.ReLU(), layers.Dense(2)],
        lambda: [layers.Dense(6), layers.Activation("relu"), layers.Dense(2, use_bias=False)],
        lambda: [layers.Dropout(0.5), layers.Dense(6, "relu"), layers.Dropout(0.5), layers.Dense(2)],
        lambda: [layers.Rescaling(1 / 127.5, -1), layers.Dense(6, "relu"), layers.Dense(2)],
        lambda: [layers.Rescaling(0.5), layers.Rescaling(2, offset=3), layers.Flatten(), layers.Rescaling(3), layers.Dense(2)],
        lambda: [layers.Reshape((4,)), layers.Reshape((-1,)), layers.Dense(2)],
        lambda: [layers.Rescaling([1.0, 2.0, 3.0, 4.0], [0.0, 1.0, -1.0, 0.5]), layers.Dense(6, "relu"), layers.Dense(2)],
        lambda: [layers.Dense(6), layers.BatchNormalization(), layers.ReLU(), layers.Dense(2), layers.BatchNormalization()],
        lambda: [layers.Dense(6, "relu"), layers.BatchNormalization(scale=False), layers.Dense(2)],
        lambda: [layers.BatchNormalization(center=False), layers.Rescaling(3), layers.Dense(2)],
    ],
)
def test_what_is_folded_changes_nothing(of_layers: Callable[..., Any]) -> None:
    assert_equal_to_keras(stacked((4,), *of_layers()), scale=10)


def test_an_offset_is_folded_into_a_convolution_that_pads_nothing() -> None:
    def network(padding: str) -> Any:
        return stacked(
            (6, 6, 2), layers.Rescaling(1 / 127.5, -1), layers.Conv2D(3, 3, padding=padding), layers.Flatten(), layers.Dense(2)
        )

    assert_equal_to_keras(network("valid"), scale=255)
    with pytest.raises(NotAChainError, match=r"an offset cannot be folded into a convolution that pads with zeros\.$"):
        ChainReader(network("same"))


def test_a_normalization_of_channels_is_folded_into_the_nearest_kernel() -> None:
    def network(padding: str) -> Any:
        convolved = (layers.Conv2D(3, 3, activation="relu"), layers.BatchNormalization())
        return stacked(
            (8, 8, 2), *convolved, layers.Conv2D(4, 3, padding=padding), layers.BatchNormalization(), layers.ReLU(),
            layers.BatchNormalization(), layers.Flatten(), layers.Dense(2),
        )  # fmt: skip

    assert_equal_to_keras(network("valid"))
    with pytest.raises(NotAChainError, match=r"cannot be folded into a convolution that pads with zeros\.$"):
        ChainReader(network("same"))


def test_any_weights_of_the_network_are_read_once_its_layers_are() -> None:
    network = randomized(q_network((5,), 3, hidden=(8, 8), rng=np.random.default_rng(0), dueling=True))
    read = ChainReader(network)
    weights = network.get_weights()
    others = randomized(network, seed=7).get_weights()
    network.set_weights(weights)
    observations = np.random.default_rng(1).normal(size=(9, 5)).astype(np.float32)
    network.set_weights(others)
    np.testing.assert_allclose(run(read(others), observations), network(observations), rtol=1e-4, atol=1e-5)
    network.set_weights(weights)
    np.testing.assert_allclose(run(read(weights), observations), network(observations), rtol=1e-4, atol=1e-5)


def test_a_table_and_a_linear_network_are_chains_of_one() -> None:
    for network in (table_network(6, 3), q_network((5,), 3, hidden=(), rng=np.random.default_rng(0))):
        assert len(assert_equal_to_keras(randomized(network))) == 1


def dueling(value: Any, advantages: Any, n_actions: int = 2, merge: Any = None) -> tf_keras.Model:
    observation = x = tf_keras.Input((4,))
    x = layers.Dense(5, "relu")(x)
    streams = []
    for of_layers in (value, advantages):
        streams.append(x)
        for layer in of_layers:
            streams[-1] = layer(streams[-1])
    return tf_keras.Model(observation, (merge or DuelingMerge(n_actions))(streams))


def two_inputs() -> tf_keras.Model:
    first, second = tf_keras.Input((4,)), tf_keras.Input((4,))
    return tf_keras.Model([first, second], layers.Dense(2)(layers.Add()([first, second])))


def two_outputs() -> tf_keras.Model:
    observation = tf_keras.Input((4,))
    return tf_keras.Model(observation, [layers.Dense(2)(observation), layers.Dense(3)(observation)])


def used_twice() -> tf_keras.Model:
    observation = tf_keras.Input((4,))
    dense = layers.Dense(4)
    return tf_keras.Model(observation, layers.Dense(2)(dense(dense(observation))))


def skipping() -> tf_keras.Model:
    observation = tf_keras.Input((4,))
    return tf_keras.Model(observation, layers.Dense(2)(layers.Add()([observation, layers.Dense(4)(observation)])))


def over_images(*of_layers: Any) -> Any:
    return stacked((6, 6, 2), *of_layers, layers.Dense(2))


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (two_inputs, r"one input and one output"),
        (two_outputs, r"one input and one output"),
        (used_twice, r"'dense\w*' is used more than once"),
        (skipping, r"'add\w*' \(Add\) joins several layers"),
        (lambda: stacked((4,), layers.Dense(2, "softmax")), r"neither linear nor a plain ReLU"),
        (lambda: stacked((4,), layers.Dense(8, "tanh"), layers.Dense(2)), r"neither linear nor a plain ReLU"),
        (lambda: stacked((4,), layers.Dense(8), layers.ReLU(6.0), layers.Dense(2)), r"neither linear nor a plain ReLU"),
        (lambda: stacked((4,), layers.Dense(8), layers.ReLU(negative_slope=0.1), layers.Dense(2)), r"neither linear nor a"),
        (lambda: stacked((4,), layers.Dense(8), layers.LeakyReLU(), layers.Dense(2)), r"\(LeakyReLU\) is not one of a plain"),
        (lambda: stacked((4,), layers.LayerNormalization(), layers.Dense(2)), r"\(LayerNormalization\) is not one of a plain"),
        (lambda: stacked((4,), layers.ReLU(), layers.Dense(2)), r"\(ReLU\) is not one of a plain"),
        (lambda: over_images(layers.Conv2D(2, 3), layers.Flatten(), layers.ReLU()), r"Expected a plain ReLU aft"),
        (lambda: stacked((4,), layers.Dense(2), layers.ReLU()), r"ends in a Dense layer without activation"),
        (lambda: stacked((4,), layers.Dense(2, "relu")), r"ends in a Dense layer without activation"),
        (lambda: stacked((6, 6, 2), layers.Flatten()), r"ends in a Dense layer without activation"),
        (lambda: stacked((4,), layers.Dropout(0.1)), r"ends in a Dense layer without activation"),
        (lambda: stacked((6,), layers.Reshape((2, 3))), r"ends in a Dense layer without activation"),
        (lambda: stacked((6,), layers.Flatten(), layers.Reshape((2, 3))), r"ends in a Dense layer without activation"),
        (lambda: stacked((6,), layers.Dense(6, "relu"), layers.Reshape((2, 3))), r"ends in a Dense layer without activation"),
        (lambda: stacked((2, 3), layers.Dense(4)), r"quantile head ends in a Reshape"),
        (lambda: over_images(layers.Dense(4), layers.Flatten()), r"\(Dense\) is not one of a plain"),
        (lambda: over_images(layers.MaxPool2D(), layers.Flatten()), r"\(MaxPooling2D\) is not one of a plain"),
        (lambda: over_images(layers.DepthwiseConv2D(3), layers.Flatten()), r"\(DepthwiseConv2D\) is not one"),
        (lambda: over_images(layers.Conv2D(2, 3, dilation_rate=2), layers.Flatten()), r"without dilation only"),
        (lambda: over_images(layers.Conv2D(2, 3, groups=2), layers.Flatten()), r"in one group, without"),
        (lambda: stacked((4,), layers.Dense(2), layers.ReLU(), layers.Rescaling(-2), layers.ReLU()), r"after a Dense"),
        (lambda: over_images(layers.Flatten("channels_first")), r"\(Flatten\) is not one of a plain"),
        (lambda: over_images(layers.BatchNormalization(axis=1), layers.Flatten()), r"over the last axis only"),
        (lambda: stacked((4,), layers.Lambda(lambda x: x), layers.Dense(2)), r"\(Lambda\) is not one of a plain"),
        (lambda: dueling([layers.Dense(1)], [layers.Dense(3), layers.Dense(2)]), r"equally many in both"),
        (lambda: dueling([layers.Dense(1), layers.Rescaling(0.5)], [layers.Dense(3), layers.Dense(2)]), r"equally many"),
        (lambda: dueling([layers.Dense(3, "relu"), layers.Dense(1)], [layers.Dense(3), layers.Dense(2)]), r"same activations"),
        (lambda: dueling([layers.Dense(1)], [layers.Dense(2, "relu")]), r"and none at their ends"),
        (lambda: dueling([layers.Dense(1, "relu")], [layers.Dense(2, "relu")]), r"and none at their ends"),
        (lambda: dueling([layers.Dense(1)], [layers.Dense(3), layers.ReLU(), layers.Dense(2)]), r"must leave the same layer"),
    ],
)  # fmt: skip
def test_what_is_no_chain_is_refused_with_the_layer(network: Any, reason: str) -> None:
    with pytest.raises(NotAChainError, match=reason) as caught:
        ChainReader(network())
    assert "\n" not in str(caught.value)


def test_a_linear_activation_and_a_reshape_to_the_same_shape_change_nothing() -> None:
    x = inputs = tf_keras.Input((3,))
    for layer in (tf_keras.layers.Reshape((3,)), tf_keras.layers.Dense(2), tf_keras.layers.Activation("linear")):
        x = layer(x)
    network = tf_keras.Model(inputs, x)
    (dense,) = ChainReader(network)(network.get_weights())
    assert isinstance(dense, Dense)
    np.testing.assert_array_equal(dense.kernel, network.get_weights()[0])
    assert not dense.relu
