"""One kernel does what Keras' operators do."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from edgedqn.agents.adam import FusedAdam


@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("compiled", [False, True])
def test_it_takes_the_steps_of_keras_adam(clip, compiled):
    rng = np.random.default_rng(0)
    rate = tf_keras.optimizers.schedules.PolynomialDecay(0.1, 20, 0.01)
    start = [rng.normal(size=shape).astype(np.float32) for shape in ((3, 4), (4,))]
    gradients = [[rng.normal(size=w.shape).astype(np.float32) for w in start] for _ in range(30)]
    found = []
    for kind in (tf_keras.optimizers.Adam, FusedAdam):
        variables = [tf.Variable(w) for w in start]
        optimizer = kind(rate, epsilon=1e-3, global_clipnorm=clip)
        optimizer.build(variables)
        step = tf.function(lambda *g, o=optimizer, v=variables: o.apply_gradients(zip(g, v, strict=True)), jit_compile=compiled)
        for each in gradients:
            step(*map(tf.constant, each))
        found.append([variable.numpy() for variable in [*variables, *optimizer.variables]])
    assert len(found[0]) == len(found[1])
    for keras, fused in zip(*found, strict=True):
        np.testing.assert_allclose(fused, keras, rtol=1e-4, atol=1e-5)  # they round in another order
    assert not np.allclose(found[1][0], start[0], atol=0.1)
