"""What a policy is told of legal actions, what it gives as the environment's own, and how manifests of both schemas read."""

import copy
import json
from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgedqn.agents.playing.environments import agent_view, make_environment
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.playing.spec import format_steps, spec_of
from edgedqn.export.edge_policy import MANY, DeviceManifest, EdgePolicy, PolicyFileError

# As they stand in files that are out there.
ONE = json.loads("""{"schema":1,"environment":{"id":"CartPole-v1","observation_shape":[4],"observation_dtype":"float32",
"n_actions":2,"preprocessing":[]},"input":{"scale":[1.0,2.0,3.0,4.0],"offset":[0.0,0.0,0.5,0.0]},
"output":{"meaning":"preferences","tie_break":"lowest"},"recipe":"qat-int8"}""")
TWO = json.loads("""{"schema":2,"environment":{"id":"Pendulum-v1","observation_shape":[3],"observation_dtype":"float32",
"n_actions":6,"preprocessing":["action_mask"],"actions":{"levels":[[-2.0,0.0,2.0],[0,1]],"shape":[2],"dtype":"float32"}},
"input":{"scale":"AACAPwAAAEAAAEBAAACAPwAAgD8AAIA/AACAPwAAgD8AAIA/","offset":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
"output":{"meaning":"preferences","tie_break":"lowest"},"recipe":"qat-int8"}""")


class Ranks:
    """Stands where an interpreter stands: keeps what it is fed and gives a row."""

    def __init__(self, size: int, row: list[int]) -> None:
        self.fed: NDArray[Any] = np.zeros(0)
        self.invoke = lambda: None
        self.get_tensor = lambda index: np.array([row], np.int8)
        self.get_input_details = lambda: [{"index": 0, "shape": np.array([1, size]), "dtype": np.float32}]
        self.get_output_details = lambda: [{"index": 1, "dtype": np.int8}]

    def set_tensor(self, index: int, value: NDArray[Any]) -> None:
        self.fed = value[0].copy()


def masked(shape: list[int], row: list[int], *preprocessing: str, size: int) -> tuple[EdgePolicy, Ranks]:
    environment = {
        **ONE["environment"],
        "observation_shape": shape,
        "n_actions": len(row),
        "preprocessing": list(preprocessing),
    }
    of = {**ONE, "environment": environment, "input": {"scale": [1.0], "offset": [0.0]}, "schema": 2}
    ranks = Ranks(size, row)
    return EdgePolicy(ranks, DeviceManifest.from_json(of)), ranks


@pytest.mark.parametrize("manifest", [ONE, TWO])
def test_manifests_of_both_schemas_are_read_and_written_as_they_are(manifest: Any) -> None:
    device = DeviceManifest.from_json(manifest)
    assert device.to_json() == manifest
    assert device.scale[:3] == (1.0, 2.0, 3.0)
    assert (device.actions is not None, device.masked) == (manifest is TWO, manifest is TWO)


def test_a_newer_schema_is_refused_in_its_sentence() -> None:
    with pytest.raises(PolicyFileError, match=r"^The manifest is of another schema: expected 1 or 2\. Got 3\.$"):
        DeviceManifest.from_json({**ONE, "schema": 3})


@pytest.mark.parametrize(
    ("actions", "n_actions"),
    [
        ({"levels": [[0, 1]], "shape": [], "dtype": "int64"}, 3),
        ({"levels": [[0, 1], [0, 1]], "shape": [3], "dtype": "int64"}, 4),
        ({"levels": [["a", "b"]], "shape": [1], "dtype": "int64"}, 2),
        ({"levels": [[0, 1]], "shape": [1], "dtype": "object"}, 2),
        ({"levels": [0, 1], "shape": [1], "dtype": "int64"}, 2),
        ({"levels": [[0, True]], "shape": [1], "dtype": "int64"}, 2),
        ({"levels": [], "shape": [], "dtype": "int64"}, 1),
    ],
)
def test_actions_that_cannot_be_are_refused(actions: Any, n_actions: int) -> None:
    environment = {**ONE["environment"], "n_actions": n_actions, "actions": actions}
    with pytest.raises(PolicyFileError, match=rf"^Impossible actions: expected the levels of {n_actions} actions\. Got"):
        DeviceManifest.from_json({**ONE, "schema": 2, "environment": environment})


@pytest.mark.parametrize("scale", ["AACAPw", "&&&&", "AAAA"])
def test_scales_that_are_no_numbers_are_refused(scale: str) -> None:
    with pytest.raises(PolicyFileError, match=r"float32 numbers in base64 as 'scale'"):
        DeviceManifest.from_json({**TWO, "input": {**TWO["input"], "scale": scale}})


@given(st.lists(st.floats(-(2.0**59), 2.0**59, width=32), min_size=MANY + 1, max_size=MANY + 20))
def test_many_scales_are_written_exactly_and_small(scale: list[float]) -> None:
    environment = {**ONE["environment"], "observation_shape": [len(scale)]}
    read = DeviceManifest.from_json({**ONE, "environment": environment, "input": {"scale": scale, "offset": [0.0]}})
    fresh = DeviceManifest(**{**vars(read), "source": {}})
    written = fresh.to_json()
    assert written["schema"] == 2 and len(written["input"]["scale"]) <= 4 * (4 * len(scale) + 2) // 3 + 4
    assert DeviceManifest.from_json(written).scale == tuple(scale)
    assert read.to_json()["schema"] == 1  # a file keeps the form it has


def test_an_action_is_the_environments_own() -> None:
    device = DeviceManifest.from_json(
        {
            **TWO,
            "environment": {**TWO["environment"], "preprocessing": []},
            "input": ONE["input"] | {"scale": [1.0], "offset": [0.0]},
        }
    )
    policy = EdgePolicy(Ranks(3, [0, 0, 0, 0, 5, 0]), device)
    action = policy.action(np.zeros(3, np.float32))
    assert isinstance(action, np.ndarray)
    assert policy(np.zeros(3, np.float32)) == 4
    assert action.tolist() == [2.0, 0.0] and action.dtype == np.float32
    action[0] = 9  # the caller's own
    np.testing.assert_array_equal(policy.action(np.zeros(3, np.float32)), [2.0, 0.0])
    plain = EdgePolicy(Ranks(4, [0, 7]), DeviceManifest.from_json({**ONE, "input": {"scale": [1.0], "offset": [0.0]}}))
    assert plain.action(np.zeros(4, np.float32)) == 1


@given(row=st.lists(st.integers(-128, 127), min_size=4, max_size=4), mask=st.lists(st.booleans(), min_size=4, max_size=4))
def test_only_legal_actions_are_chosen(row: list[int], mask: list[bool]) -> None:
    policy, ranks = masked([2], row, "action_mask", size=6)
    observation = np.array([0.5, -1], np.float32)
    if not any(mask):
        with pytest.raises(
            ValueError, match=r"^Expected a mask \[4\] with a legal action or more\. Got one of shape \[4\] with 0"
        ):
            policy(observation, mask)
        return
    best = max(value for value, legal in zip(row, mask, strict=True) if legal)
    expected = next(i for i in range(4) if mask[i] and row[i] == best)
    assert policy(observation, mask) == expected
    assert ranks.fed.tolist() == [0.5, -1, *map(float, mask)]
    assert policy(np.array([0.5, -1, *mask], np.float32)) == expected  # as the network sees it
    assert policy.preferences(observation, mask).tolist() == row


@pytest.mark.parametrize("mask", [None, [1, 0, 1], [[1, 1, 1, 1]]])
def test_a_mask_that_is_missing_or_of_another_shape_is_refused(mask: Any) -> None:
    policy, _ = masked([2], [0, 1, 2, 3], "action_mask", size=6)
    with pytest.raises(ValueError, match=r"^Expected a mask \[4\]"):
        policy(np.zeros(2, np.float32), mask)


def test_a_policy_that_is_not_told_takes_a_mask_all_the_same_unless_its_file_gives_the_action() -> None:
    policy, ranks = masked([2], [9, 1, 2, 3], size=2)
    assert policy(np.zeros(2, np.float32), [0, 1, 1, 0]) == 2
    assert ranks.fed.size == 2
    chosen = DeviceManifest.from_json(
        {**ONE, "input": {"scale": [1.0], "offset": [0.0]}, "output": ONE["output"] | {"meaning": "action"}}
    )
    with pytest.raises(ValueError, match="expected no mask"):
        EdgePolicy(Ranks(4, [1]), chosen)(np.zeros(4, np.float32), [1, 1])
    with pytest.raises(PolicyFileError, match="Legal actions need an output to choose from"):
        DeviceManifest.from_json({**TWO, "output": TWO["output"] | {"meaning": "action"}})


class Board(gymnasium.Env[Any, Any]):
    """Random fields, of which any but one may be legal."""

    action_space = gymnasium.spaces.Discrete(3)

    def __init__(self, space: Any) -> None:
        self.observation_space = copy.deepcopy(space)  # with draws of its own

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self._seen()

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, info = self._seen()
        return observation, 0.0, False, False, info

    def _seen(self) -> tuple[Any, dict[str, Any]]:
        return self.observation_space.sample(), {"action_mask": np.array([1, *self.np_random.integers(2, size=2)])}


@pytest.mark.parametrize(
    ("space", "stack"),
    [
        (gymnasium.spaces.Box(-1, 1, (3,)), 1),
        (gymnasium.spaces.Box(0, 9, (2, 2), np.uint8), 2),
        (gymnasium.spaces.Discrete(5), 1),
    ],
)
def test_a_device_sees_what_the_network_was_trained_on(space: Any, stack: int) -> None:
    """With the mask, in front of a stack or behind a state: gymnasium's wrappers are the oracle."""
    gymnasium.register("Board-v0", lambda **how: Board(space, **how))
    source = EnvironmentSource("Board-v0", action_mask=True)
    device_env = make_environment(source)
    spec = spec_of(device_env, source, frame_stack=stack, flatten=True)
    policy, ranks = masked(list(spec.observation_shape), [0, 1, 2], *format_steps(spec.preprocessing), size=spec.input_shape[0])
    env = agent_view(make_environment(source), spec)
    gymnasium.registry.pop("Board-v0")
    wanted, _ = env.reset(seed=4)
    observation, info = device_env.reset(seed=4)
    policy.reset()
    for _ in range(6):
        policy(observation, info["action_mask"])
        np.testing.assert_array_equal(ranks.fed, wanted)
        assert wanted.shape == spec.input_shape and wanted in env.observation_space
        wanted, *_ = env.step(0)
        observation, *_, info = device_env.step(0)
