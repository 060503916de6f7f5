"""Observations by their keys: what `EdgePolicy` makes of them is what the policy saw in training, and manifests name it."""

import json
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgedqn.agents.playing.observations import one_array
from edgedqn.agents.playing.spec import spec_of
from edgedqn.export.edge_policy import DeviceManifest, EdgePolicy, Feature, PolicyFileError
from edgedqn.export.tflite_file.manifest import device_part

TOLD = "ignore::edgedqn.agents.errors.EnvironmentWarning"
ONE = np.ones(1, np.float32)
TANK = spaces.Dict(
    {
        "pressure": spaces.Box(0, 25_000, (1,), np.float32),
        "demand": spaces.Box(0, 120, (1,), np.float32),
        "mode": spaces.Discrete(2),
        "label": spaces.Text(8),
    }
)
NAMED = [{"key": "demand", "size": 1}, {"key": "mode", "size": 2, "one_hot": True}, {"key": "pressure", "size": 1}]
LEAVES = st.sampled_from(
    [
        spaces.Box(-1, 1, (2,), np.float32),
        spaces.Box(-1, 1, (), np.float64),
        spaces.Box(0, 9, (2, 2), np.uint8),
        spaces.Discrete(3, start=2),
        spaces.MultiDiscrete([2, 4]),
        spaces.MultiDiscrete(np.array([[2, 4], [3, 2]]), start=np.array([[0, -1], [5, 0]])),
        spaces.MultiBinary(3),
        spaces.Text(4),
    ]
)
SPACES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=12).map(spaces.Tuple)
        | st.dictionaries(st.sampled_from(["a", "b", "c/d", "/e", "e/", ""]), inner, min_size=1, max_size=3).map(spaces.Dict)
    ),
    max_leaves=5,
)


class Gives(gymnasium.Env):
    """A random observation of its space."""

    action_space = spaces.Discrete(2)

    def __init__(self, observations: Any) -> None:
        self.observation_space = observations

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.observation_space.seed(seed)
        self.given = self.observation_space.sample()
        return self.given, {}


class Fed:
    """Stands where an interpreter stands, and keeps what it is fed."""

    def __init__(self, size: int) -> None:
        self.fed: NDArray[Any] = np.zeros(0)
        self.invoke = lambda: None
        self.get_tensor = lambda index: np.array([[1, 0]], np.int8)
        self.get_input_details = lambda: [{"index": 0, "shape": np.array([1, size]), "dtype": np.float32}]
        self.get_output_details = lambda: [{"index": 1, "dtype": np.int8}]

    def set_tensor(self, index: int, value: NDArray[Any]) -> None:
        self.fed = value[0].copy()


def manifest_of(env: gymnasium.Env[Any, Any]) -> DeviceManifest:
    """As it is read from the file that an agent of this environment comes to."""
    device = device_part(spec_of(env, "My-v0"), scale=ONE, offset=ONE * 0, meaning="preferences", recipe="x")
    return DeviceManifest.from_json(json.loads(json.dumps(device.to_json())))


def policy_of(space: Any) -> tuple[EdgePolicy, Fed]:
    env = one_array(Gives(space), "My-v0")
    fed = Fed(spaces.flatdim(env.observation_space))
    return EdgePolicy(fed, manifest_of(env)), fed


def has_numbers(space: Any) -> bool:
    parts = space.spaces.values() if isinstance(space, spaces.Dict) else getattr(space, "spaces", None)
    return not isinstance(space, spaces.Text) if parts is None else any(map(has_numbers, parts))


@pytest.mark.filterwarnings(TOLD)
@settings(max_examples=150, deadline=None)
@given(SPACES.filter(has_numbers), st.integers(0, 99))
def test_what_an_environment_gives_is_what_was_seen_in_training(space: Any, seed: int) -> None:
    env = Gives(space)
    vectors = one_array(env, "My-v0")
    if not spec_of(vectors, "My-v0", flatten=True).features:
        return  # an array of its own, or the number of a state
    seen, _ = vectors.reset(seed=seed)
    device, fed = manifest_of(vectors), Fed(seen.size)
    policy = EdgePolicy(fed, device)
    policy(env.given)
    np.testing.assert_array_equal(fed.fed, seen.astype(np.float32))
    policy(seen)
    np.testing.assert_array_equal(fed.fed, seen.astype(np.float32))


@pytest.mark.filterwarnings(TOLD)
def test_a_manifest_names_what_a_vector_is_made_of_in_order() -> None:
    policy, fed = policy_of(TANK)
    assert policy.device.to_json()["environment"]["features"] == NAMED
    assert policy.device.to_json()["schema"] == 1  # what does not know the names still plays the vector
    assert list(map(str, policy.device.features)) == ["demand", "mode (2 numbers: one-hot of 0 .. 1)", "pressure"]
    policy({"pressure": 9.5, "mode": 1, "demand": [40]})
    assert fed.fed.tolist() == [40, 0, 1, 9.5]
    policy({"pressure": np.float32(9.5), "mode": np.int64(0), "demand": np.array(40), "label": "tower1"})
    assert fed.fed.tolist() == [40, 1, 0, 9.5]
    policy({"pressure": 9.5, "mode": 1.0, "demand": 40})
    assert fed.fed.tolist() == [40, 0, 1, 9.5]
    assert str(Feature("", 5, (2, 3), (0, 1))) == "(5 numbers: one-hot of 0 .. 1, one-hot of 1 .. 3)"
    assert str(Feature("m", 10, (2,) * 5)) == "m (10 numbers: each of 5 one-hot)"
    assert str(Feature("a\x1b[2J", 1)) == r"a\x1b[2J"


@pytest.mark.filterwarnings(TOLD)
@pytest.mark.parametrize("last", [spaces.Text(3), spaces.Box(0, 1, ())])
def test_a_tuple_that_is_as_long_as_its_vector_is_taken_by_its_parts(last: Any) -> None:
    env = Gives(spaces.Tuple([spaces.Discrete(2), spaces.Box(0, 1, ()), last]))
    vectors = one_array(env, "My-v0", ("0", "1"))
    seen, _ = vectors.reset(seed=1)
    fed = Fed(3)
    policy = EdgePolicy(fed, manifest_of(vectors))
    for observation in (env.given, seen, seen.tolist()):
        policy(observation)
        np.testing.assert_array_equal(fed.fed, seen.astype(np.float32))


@pytest.mark.parametrize("space", [spaces.Box(-1, 1, (4,), np.float32), spaces.Discrete(4), spaces.MultiBinary(3)])
def test_what_has_no_keys_is_written_as_ever(space: Any) -> None:
    env = one_array(Gives(space), "My-v0")
    spec = spec_of(env, "My-v0")
    assert spec.features == () and "features" not in spec.to_json()
    device = device_part(spec, scale=ONE, offset=ONE * 0, meaning="preferences", recipe="x")
    assert "features" not in device.to_json()["environment"]


@pytest.mark.filterwarnings(TOLD)
@pytest.mark.parametrize(
    ("observation", "said"),
    [
        ({"pressure": 1.0, "label": "x"}, "expected demand, mode, pressure. Got pressure, label; missing: demand, mode."),
        ({}, "expected demand, mode, pressure. Got none; missing: demand, mode, pressure."),
        ({"pressure": 1.0, "demand": 2.0, "mode": 2}, "expected an integer in 0 .. 1 as 'mode'. Got 2."),
        ({"pressure": 1.0, "demand": 2.0, "mode": 0.5}, "expected an integer in 0 .. 1 as 'mode'. Got 0.5."),
        ({"pressure": 1.0, "demand": 2.0, "mode": float("nan")}, "expected an integer in 0 .. 1 as 'mode'. Got nan."),
        ({"pressure": 1.0, "demand": 2.0, "mode": float("inf")}, "expected an integer in 0 .. 1 as 'mode'. Got inf."),
        ({"pressure": [1.0, 3.0], "demand": 2.0, "mode": 1}, "expected 1 number as 'pressure'. Got [1.0, 3.0]."),
        ({"pressure": "low", "demand": 2.0, "mode": 1}, "expected 1 number as 'pressure'. Got ['low']."),
        ({"pressure": float("nan"), "demand": 2.0, "mode": 1}, "expected finite numbers. Got nan at index 3."),
    ],
)
def test_an_observation_that_lacks_a_key_or_has_something_else_there_is_refused(observation: Any, said: str) -> None:
    policy, _ = policy_of(TANK)
    with pytest.raises(ValueError, match="Bad observation") as error:
        policy(observation)
    assert str(error.value) == f"Bad observation: {said}"


@pytest.mark.filterwarnings(TOLD)
def test_what_makes_no_array_is_refused_in_a_sentence() -> None:
    policy, _ = policy_of(spaces.Tuple([spaces.Box(0, 1, (2,)), spaces.Discrete(2)]))
    ragged: tuple[Any, ...] = ([np.zeros(2), 1], (np.zeros(2), [[1], [1, 2]]))
    for observation in ragged:
        with pytest.raises(ValueError, match=r"^Bad observation: expected an array of numbers\. Got list: "):
            policy(observation)


@pytest.mark.parametrize(
    "features",
    [
        [{"key": "a", "size": 3}],
        [{"key": "a", "size": 0}, {"key": "b", "size": 4}],
        [{"key": "a", "size": 4, "one_hot": [2, 3]}],
        [{"key": "a", "size": 4, "one_hot": True, "first": [1, 2]}],
        [{"key": "a", "size": 4, "one_hot": True, "first": [10**4_299]}],
        [{"key": "a", "size": 4, "one_hot": "yes"}],
        [{"key": 1, "size": 4}],
        [{"size": 4}],
    ],
)
def test_features_that_cannot_be_are_refused(features: Any) -> None:
    device = device_part(
        spec_of(Gives(spaces.Box(-1, 1, (4,))), "My-v0"), scale=ONE, offset=ONE * 0, meaning="preferences", recipe="x"
    ).to_json()
    with pytest.raises(PolicyFileError, match=r"^(Impossible features?: |Bad JSON: expected a field 'key')"):
        DeviceManifest.from_json({**device, "environment": {**device["environment"], "features": features}})
