"""Models that people write with Keras 2 or 3, beyond plain chains."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

SHAPES = {"image": (12, 10, 3), "vector": (6,)}


def image(keras: Any) -> Any:
    """Branches, windows and normalizations; its layers' weights are no chain, and no layer keeps all its settings."""
    layers = keras.layers
    x = observation = keras.Input(SHAPES["image"])
    x = layers.ZeroPadding2D(((1, 2), (0, 1)))(x / 255.0 - 0.5)
    x = layers.Conv2D(4, 3, padding="same")(x)
    x = layers.BatchNormalization()(x)
    x = layers.LeakyReLU(0.1)(x)
    x = layers.MaxPooling2D(2)(x)
    pooled = layers.AveragePooling2D((3, 3), 1, padding="same")(x)
    x = layers.Add()([x, pooled, layers.Conv2D(4, 1, use_bias=False)(x)])
    x = layers.BatchNormalization(center=False, epsilon=1e-2)(x)
    x = layers.BatchNormalization(scale=False)(x) + pooled
    x = layers.ReLU(max_value=6.0)(layers.ELU(0.5)(x))
    x = layers.SpatialDropout2D(0.1)(layers.GaussianNoise(0.1)(x))
    x = layers.ActivityRegularization(0.1)(x)
    averages = layers.GlobalAveragePooling2D()(layers.Permute((3, 1, 2))(x))
    x = layers.Flatten()(layers.LayerNormalization(scale=False)(x))
    x = layers.Dense(5, "tanh")(x)
    x = layers.LayerNormalization()(layers.Add()([x, averages]))
    return keras.Model(observation, layers.Dense(3)(x))


def vector(keras: Any) -> Any:
    """What stands before, in and behind Dense layers."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(SHAPES["vector"]),
            layers.LayerNormalization(center=False, scale=False),
            layers.Dense(8),
            layers.BatchNormalization(center=False, scale=False),
            layers.ReLU(negative_slope=0.2),
            layers.Dense(8, activation="leaky_relu"),
            layers.Dense(8, activation=layers.LeakyReLU(0.05)),
            layers.LayerNormalization(center=False),
            layers.Activation("leaky_relu"),
            layers.AlphaDropout(0.1),
            layers.BatchNormalization(),
            layers.Dense(3),
            layers.GaussianDropout(0.1),
        ]
    )


def normalized(keras: Any) -> Any:
    """Whose normalizations make a chain of Dense layers."""
    layers = keras.layers
    hidden = [layers.Dense(8), layers.BatchNormalization(), layers.ReLU(), layers.Dense(8, "relu"), layers.BatchNormalization()]
    return keras.Sequential([keras.Input(SHAPES["vector"]), *hidden, layers.Dense(3)])


def dueling(keras: Any, *, way: int = 0) -> Any:
    """Three ways to write a dueling head without a Lambda."""
    layers, mean = keras.layers, keras.ops.mean if hasattr(keras, "ops") else tf.reduce_mean
    x = observation = keras.Input(SHAPES["vector"])
    x = layers.Dense(8, "relu")(x)
    value = layers.Dense(1)(layers.Dense(6, "relu")(x))
    advantages = layers.Dense(3)(layers.Dense(6, "relu")(x))
    if way == 0:
        q_values = value + (advantages - mean(advantages, axis=1, keepdims=True))
    elif way == 1:
        q_values = layers.Add()([layers.Subtract()([advantages, mean(advantages, axis=-1, keepdims=True)]), value])
    else:
        q_values = value + advantages - mean(advantages, axis=1, keepdims=True)
    return keras.Model(observation, q_values)


MODELS = {"image": image, "vector": vector, "normalized": normalized, "dueling": dueling}


@pytest.fixture(scope="session")
def make() -> Any:
    """Makes one of `MODELS` by its name, with weights that are all different."""

    def made(keras: Any, name: str, **options: Any) -> Any:
        model = MODELS[name](keras, **options)
        rng = np.random.default_rng(3)
        weights = model.get_weights()  # those of one number per channel are variances, too
        model.set_weights([rng.uniform(0.5, 1.5, w.shape) * rng.choice([-1, 1][w.ndim < 2 :], w.shape) for w in weights])
        return model

    return made


@pytest.fixture(scope="session")
def observe() -> Any:
    """Observations of one of `MODELS`."""

    def observed(name: str) -> Any:
        shape = SHAPES.get(name, SHAPES["vector"])
        return np.random.default_rng(1).uniform(-1, 255 if len(shape) == 3 else 1, (20, *shape)).astype(np.float32)

    return observed


@pytest.fixture(scope="session")
def assert_same() -> Any:
    def same(network: Any, model: Any, observations: Any) -> None:
        expected = np.asarray(model(observations))
        atol = 1e-5 * max(1, np.abs(expected).max())
        np.testing.assert_allclose(np.asarray(network(observations)), expected, rtol=0, atol=atol)

    return same
