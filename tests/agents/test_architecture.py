"""Networks written down and built again, and descriptions that must build nothing."""

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tf_keras
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedqn.agents.architecture import SETTINGS, DuelingMerge, describe, rebuild
from edgedqn.agents.errors import InputError
from edgedqn.agents.networks import minatar_torso, nature_torso, q_network, table_network

layers = tf_keras.layers


def stacked(shape: tuple[int, ...], *of_layers: Any) -> tf_keras.Model:
    observation = x = tf_keras.Input(shape)
    for layer in of_layers:
        x = layer(x)
    return tf_keras.Model(observation, x)


RNG = np.random.default_rng(0)
NETWORKS = {
    "linear": lambda: q_network((5,), 2, hidden=(), rng=RNG),
    "mlp": lambda: q_network((5,), 2, hidden=(8, 4), rng=RNG),
    "table": lambda: table_network(16, 4),
    "minatar": lambda: q_network((10, 10, 4), 3, hidden=(16,), rng=RNG, torso=minatar_torso),
    "nature, dueling": lambda: q_network(
        (84, 84, 4), 3, hidden=(16,), rng=RNG, torso=nature_torso, dueling=True, input_scale=1 / 255
    ),
    "quantiles": lambda: q_network((5,), 2, hidden=(8,), rng=RNG, quantiles=7),
    "dueling quantiles": lambda: q_network((5,), 2, hidden=(8, 8), rng=RNG, dueling=True, quantiles=7),
    "of the user": lambda: stacked(
        (7, 6, 1),
        layers.Rescaling(0.5, offset=-1),
        layers.Conv2D(3, (2, 3), (1, 2), "same", use_bias=False),
        layers.ReLU(),
        layers.Reshape((-1,)),
        layers.Dropout(0.25),
        layers.Dense(4),
        layers.Activation("relu"),
        layers.Dense(2),
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_described_is_rebuilt(name: str) -> None:
    network = NETWORKS[name]()
    layers_json = describe(network)
    again = rebuild(json.loads(json.dumps(layers_json, allow_nan=False)))
    assert [w.shape for w in again.get_weights()] == [w.shape for w in network.get_weights()]
    again.set_weights(network.get_weights())
    observations = np.random.default_rng(1).random((4, *network.input_shape[1:])).astype(np.float32)
    np.testing.assert_array_equal(again(observations), network(observations))
    assert describe(again) == layers_json


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (lambda: layers.PReLU(), r"is a PReLU: expected one of InputLayer, "),
        (lambda: layers.Lambda(lambda x: x), r"is a Lambda: expected one of InputLayer, "),
        (lambda: layers.Conv2D(2, 3, activation="tanh"), r"\(Conv2D\) cannot have activation='tanh'"),
        (lambda: layers.Conv2D(2, 3, dilation_rate=2), r"\(Conv2D\) cannot have dilation_rate=\(2, 2\): expected \(1, 1\)"),
        (lambda: layers.Conv2D(2, 3, groups=2), r"\(Conv2D\) cannot have groups=2: expected 1"),
        (lambda: layers.ReLU(6.0), r"\(ReLU\) cannot have max_value="),
        (lambda: layers.ReLU(negative_slope=0.5), r"\(ReLU\) cannot have negative_slope="),
        (lambda: layers.Flatten("channels_first"), r"\(Flatten\) cannot have data_format='channels_first'"),
        (lambda: layers.Rescaling(1.0, [1.0, np.inf]), r"\(Rescaling\) cannot have offset="),
    ],
)
def test_what_cannot_be_written_down_is_refused(layer: Callable[..., Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        describe(stacked((6, 6, 2), layer()))


def test_a_layer_of_someone_elses_with_a_known_name_is_not_built() -> None:
    class Dense(tf_keras.layers.Dense):  # type: ignore[misc]
        def call(self, inputs: Any) -> Any:
            return 2 * super().call(inputs)

    network = stacked((4,), Dense(2))
    assert type(rebuild(describe(network)).layers[1]) is layers.Dense


GOOD = describe(q_network((6, 6, 1), 2, hidden=(4,), rng=RNG, torso=minatar_torso, dueling=True))


def changed(index: int, **values: Any) -> Any:
    description = copy.deepcopy(GOOD)
    description[index].update(values)
    return description


def dense(name: str, units: Any, source: str) -> dict[str, Any]:
    return {"layer": "Dense", "name": name, "units": units, "activation": "relu", "use_bias": True, "inputs": [source]}


def test_the_hostile_ones_below_are_changed_from_one_that_is_built() -> None:
    assert [layer["layer"] for layer in GOOD[:4]] == ["InputLayer", "Conv2D", "Flatten", "Dense"]
    rebuild(GOOD)


@pytest.mark.parametrize(
    "description",
    [
        None,
        {},
        [],
        "Dense",
        [None],
        [[]],
        [{}],
        [{"layer": []}],
        [{"layer": {}}],
        [{"layer": "Lambda", "name": "l", "inputs": ["observation"], "function": "evil"}],
        [{"layer": "TFSMLayer", "name": "l", "filepath": "/tmp/evil", "inputs": []}],
        [{"layer": "../../evil", "name": "l"}],
        GOOD[1:],
        GOOD[:1] + GOOD[2:],
        [*GOOD, GOOD[-1]],
        [*GOOD, *GOOD[:1]],
        changed(0, shape=[]),
        changed(0, shape=[6, 6, None]),
        changed(0, shape=[6, 6, -1]),
        changed(0, shape=[6, 6, 1.0]),
        changed(0, shape=[6, 6, True]),
        changed(0, shape=[2, 2, 1]),
        changed(0, shape=[2**24] * 4),
        changed(0, name=""),
        changed(0, name=3),
        changed(0, name="n" * 201),
        changed(0, module="os"),
        changed(1, filters=0),
        changed(1, filters=2**60),
        changed(1, kernel_size=[2**24, 2**24]),
        changed(1, kernel_size=[3]),
        changed(1, strides="11"),
        changed(1, padding="causal"),
        changed(1, activation="evil.module:function"),
        changed(1, activation={"class_name": "Evil"}),
        changed(1, use_bias="no"),
        changed(1, inputs=[]),
        changed(1, inputs=["nobody"]),
        changed(1, inputs=[["observation"]]),
        changed(1, inputs=["observation", "observation"]),
        changed(1, kernel_initializer="zeros"),
        changed(3, units=2**40),
        changed(3, units=float("nan")),
        changed(-1, n_actions=3),
        changed(-1, quantiles=2),
        changed(-1, quantiles=-1),
        [GOOD[0], {"layer": "Flatten", "name": "f", "inputs": ["observation"]}, dense("a", 2**24, "f"), dense("b", 2**24, "a")],
        [GOOD[0], {"layer": "Rescaling", "name": "r", "scale": float("inf"), "offset": 0, "inputs": ["observation"]}],
        [GOOD[0], {"layer": "Dropout", "name": "d", "rate": 1, "inputs": ["observation"]}],
        [GOOD[0], {"layer": "Reshape", "name": "r", "target_shape": [7], "inputs": ["observation"]}],
    ],
)  # fmt: skip
def test_a_hostile_description_builds_nothing(description: Any) -> None:
    with pytest.raises(InputError) as caught:
        rebuild(description)
    assert len(str(caught.value)) < 2_000


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["Dense", "observation", "relu", "valid", "evil"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["layer", "name", "units"]), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(index=st.integers(0, len(GOOD) - 1), data=st.data(), value=ANYTHING)
def test_any_other_value_is_refused_or_built_and_never_a_fault(index: int, data: st.DataObject, value: Any) -> None:
    setting = data.draw(st.sampled_from(sorted(GOOD[index])))
    layers = changed(index, **{setting: value})
    try:
        network = rebuild(layers)
    except InputError:
        return
    assert describe(rebuild(describe(network))) == describe(network)  # what it built means something


def test_nothing_that_runs_code_is_on_the_list() -> None:
    assert not {"Lambda", "TFSMLayer", "Model", "Functional", "Sequential", "TFOpLambda", "Wrapper"} & set(SETTINGS)


@settings(max_examples=30, deadline=None)
@given(batch=st.integers(1, 4), n_actions=st.integers(1, 5), quantiles=st.integers(0, 4), seed=st.integers(0, 99))
def test_it_is_value_plus_advantage_minus_the_mean_advantage(batch: int, n_actions: int, quantiles: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = max(1, quantiles)
    value, advantages = rng.normal(size=(batch, n)), rng.normal(size=(batch, n_actions * n))
    q = DuelingMerge(n_actions, quantiles)([value.astype(np.float32), advantages.astype(np.float32)]).numpy()
    assert q.shape == ((batch, n_actions, quantiles) if quantiles else (batch, n_actions))
    for b in range(batch):
        for i in range(n):
            of_actions = [advantages[b, a * n + i] for a in range(n_actions)]
            expected = [value[b, i] + advantage - sum(of_actions) / n_actions for advantage in of_actions]
            np.testing.assert_allclose(q[b, :, i] if quantiles else q[b], expected, rtol=1e-5, atol=1e-5)


def test_the_mean_over_actions_is_the_value() -> None:
    q = DuelingMerge(3)([np.array([[7]], np.float32), np.array([[1, 2, 9]], np.float32)]).numpy()
    assert q.tolist() == [[4, 5, 12]]
    assert q.mean() == 7


@pytest.mark.parametrize(("value", "advantages"), [(2, 3), (1, 4), (1, 6)])
def test_streams_of_other_widths_are_refused(value: int, advantages: int) -> None:
    with pytest.raises(ValueError, match=rf"Expected widths of 1 and 3 to merge\. Got {value} and {advantages}\."):
        DuelingMerge(3)([np.zeros((2, value), np.float32), np.zeros((2, advantages), np.float32)])


@pytest.mark.parametrize("quantiles", [0, 5])
def test_its_configuration_makes_it_again(quantiles: int) -> None:
    again = DuelingMerge.from_config(DuelingMerge(4, quantiles, name="merge").get_config())
    assert (again.n_actions, again.quantiles, again.name) == (4, quantiles, "merge")
