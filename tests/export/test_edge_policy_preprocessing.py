"""The steps between what a device is given and what the network takes; gymnasium's own wrappers are the oracle."""

import copy
import itertools
from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgedqn.agents.playing.environments import agent_view
from edgedqn.agents.playing.simulators.atari import register
from edgedqn.agents.playing.spec import format_steps, spec_of
from edgedqn.export.edge_policy import DeviceManifest, EdgePolicy, PolicyFileError, TfliteModel, atari_frame, check_structure


class Recorder:
    """Stands where an interpreter stands: keeps what it is fed, answers action 1."""

    def __init__(self, size: int, dtype: Any) -> None:
        self.fed: list[NDArray[Any]] = []
        self.set_tensor = lambda index, value: self.fed.append(value[0].copy())
        self.invoke = lambda: None
        self.get_tensor = lambda index: np.array([[0, 1]], dtype)
        self.get_input_details = lambda: [{"index": 0, "shape": np.array([1, size]), "dtype": dtype}]
        self.get_output_details = lambda: [{"index": 1, "dtype": dtype}]


def device(shape: list[int], *preprocessing: str, scale: Any = (1.0,), offset: Any = (0.0,)) -> dict[str, Any]:
    return {
        "schema": 1,
        "environment": {
            "id": "Test-v0",
            "observation_shape": shape,
            "observation_dtype": "float32",
            "n_actions": 2,
            "preprocessing": list(preprocessing),
        },
        "input": {"scale": list(scale), "offset": list(offset)},
        "output": {"meaning": "preferences", "tie_break": "lowest"},
        "recipe": "test",
    }


def recorded(size: int, of: dict[str, Any], dtype: Any = np.float32) -> tuple[EdgePolicy, Recorder]:
    recorder = Recorder(size, dtype)
    return EdgePolicy(recorder, DeviceManifest.from_json(of)), recorder


class Noise(gymnasium.Env[Any, Any]):
    """Random observations, in one buffer that is written over where `reuses`; episodes of five steps."""

    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, space: gymnasium.spaces.Space[Any], reuses: bool = False) -> None:
        self.observation_space = space
        self._reuses = reuses
        self._buffer = space.sample() if isinstance(space, gymnasium.spaces.Box) else None

    def _observe(self) -> Any:
        if self._buffer is None:
            return int(self.np_random.integers(self.observation_space.n))  # type: ignore[attr-defined]
        self._buffer[...] = self.np_random.integers(0, 2 if self._buffer.dtype == bool else 200, self._buffer.shape)
        return self._buffer if self._reuses else self._buffer.copy()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._steps = 0
        return self._observe(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._steps += 1
        return self._observe(), 0.0, False, self._steps == 5, {}


def box(shape: tuple[int, ...], dtype: Any) -> gymnasium.spaces.Box:
    return gymnasium.spaces.Box(0, 1 if dtype is np.bool_ else 255, shape, dtype)


@pytest.mark.parametrize(
    ("space", "frame_stack", "flatten"),
    [
        (box((3,), np.float32), 1, False),
        (box((3,), np.float32), 4, False),
        (box((5, 4), np.uint8), 1, False),
        (box((5, 4), np.uint8), 4, False),
        (box((5, 4), np.uint8), 3, True),
        (box((5, 4, 2), np.bool_), 1, False),
        (box((5, 4, 2), np.bool_), 1, True),
        (box((5, 4, 2), np.uint8), 2, False),
        (box((5, 4, 2), np.float64), 2, True),
        (gymnasium.spaces.Discrete(7), 1, False),
    ],
)
def test_the_network_is_fed_what_it_was_trained_on(space: Any, frame_stack: int, flatten: bool) -> None:
    spec = spec_of(Noise(space), "Test-v0", frame_stack=frame_stack, flatten=flatten)
    trained_on = agent_view(Noise(space), spec)
    played = Noise(space, reuses=True)
    policy, recorder = recorded(
        int(np.prod(spec.input_shape)), device(list(spec.observation_shape), *format_steps(spec.preprocessing))
    )
    assert policy.input_shape == spec.input_shape
    for seed in (3, 4):
        expected, _ = trained_on.reset(seed=seed)
        observation, _ = played.reset(seed=seed)
        policy.reset()
        for _ in range(5):
            assert policy(observation) == 1
            np.testing.assert_array_equal(recorder.fed[-1], np.ravel(expected))
            assert policy.preferences(expected).tolist() == [0, 1]  # what is preprocessed already is taken as it is
            np.testing.assert_array_equal(recorder.fed[-1], np.ravel(expected))
            expected, *_ = trained_on.step(0)
            observation, *_ = played.step(0)


def test_frames_are_stacked_oldest_first_and_the_first_fills_the_stack() -> None:
    policy, recorder = recorded(6, device([2], "frame_stack:3"))
    frames = [np.array([i, -i], np.float32) for i in range(1, 6)]
    for frame in frames[:4]:
        policy(frame)
    assert [fed.tolist() for fed in recorder.fed] == [
        [1, -1, 1, -1, 1, -1],
        [1, -1, 1, -1, 2, -2],
        [1, -1, 2, -2, 3, -3],
        [2, -2, 3, -3, 4, -4],
    ]
    policy.reset()
    policy(frames[4])
    assert recorder.fed[-1].tolist() == [5, -5] * 3


def test_what_is_stacked_already_changes_no_stack() -> None:
    policy, recorder = recorded(4, device([2], "frame_stack:2"))
    policy(np.array([1, 2], np.float32))
    policy(np.array([9, 9, 9, 9], np.float32))
    policy(np.array([3, 4], np.float32))
    assert [fed.tolist() for fed in recorder.fed] == [[1, 2, 1, 2], [9, 9, 9, 9], [1, 2, 3, 4]]


def test_a_bad_frame_is_refused_and_not_remembered() -> None:
    policy, recorder = recorded(4, device([2], "frame_stack:2"))
    policy(np.array([1, 2], np.float32))
    for bad in ([np.nan, 0], [np.inf, 0], [1, 2, 3], ["a", "b"]):
        with pytest.raises(ValueError):
            policy(np.array(bad))
    policy([3, 4])
    assert recorder.fed[-1].tolist() == [1, 2, 3, 4]


def test_each_channel_of_a_stack_has_its_scale() -> None:
    of = device([2, 2], "frame_stack:2", scale=(1.0, 10.0), offset=(0.0, -100.0))
    policy, recorder = recorded(8, of, np.int8)
    policy(np.array([[1, 2], [3, 20]], np.uint8))
    policy(np.array([[5, 6], [7, 8]], np.uint8))
    assert recorder.fed[-1].reshape(2, 2, 2).tolist() == [[[1, -50], [2, -40]], [[3, -30], [20, -20]]]
    # The older frame is channel 0.
    np.testing.assert_array_equal(recorder.fed[-1].reshape(2, 2, 2)[..., 0], [[1, 2], [3, 20]])


@pytest.mark.parametrize("state", [3, np.int64(3), np.int32(3), np.uint8(3), np.array(3)])
def test_takes_the_number_of_a_state_in_any_integer(state: Any) -> None:
    policy, recorder = recorded(5, device([], "one_hot", scale=(2.0,), offset=(-1.0,)), np.int8)
    policy(state)
    assert recorder.fed[-1].tolist() == [-1, -1, -1, 1, -1]


@pytest.mark.parametrize("state", [5, -1, 2**70, 1.0, np.float32(2), True, np.nan, "2", None, [1], np.zeros(4)])
def test_refuses_what_is_no_state(state: Any) -> None:
    policy, recorder = recorded(5, device([], "one_hot"))
    with pytest.raises(ValueError):
        policy(state)
    assert recorder.fed == []


def test_a_state_out_of_range_is_named() -> None:
    policy, _ = recorded(5, device([], "one_hot"))
    with pytest.raises(ValueError, match=r"expected an integer in 0 \.\. 4\. Got 5\.$"):
        policy(5)


@pytest.mark.parametrize(("dtype", "values"), [(np.uint8, range(256)), (np.bool_, [False, True]), (np.int64, range(-128, 128))])
def test_integers_and_booleans_come_through_exactly(dtype: Any, values: Any) -> None:
    values = np.array(values).astype(dtype)
    offset = -128.0 if dtype is np.uint8 else 0.0
    policy, recorder = recorded(len(values), device([len(values)], scale=(1.0,), offset=(offset,)), np.int8)
    policy(values)
    np.testing.assert_array_equal(recorder.fed[-1], values.astype(int) + int(offset))


def test_big_integers_are_float32_before_they_are_scaled() -> None:
    big = np.array([2**24 + 1, -(2**31), 2**62], np.int64)  # the first is no float32
    policy, recorder = recorded(3, device([3], scale=(3.0,), offset=(1.0,)))
    policy(big)
    np.testing.assert_array_equal(recorder.fed[-1], big.astype(np.float32) * np.float32(3) + np.float32(1))


# --- screens of a game -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("env_id", ["ALE/Pong-v5", "ALE/Breakout-v5", "ALE/Seaquest-v5"])
def test_screens_become_what_gymnasiums_wrapper_gives_of_them(env_id: str) -> None:
    """To the byte, and so for the policy behind: the board takes what the emulator shows."""
    pytest.importorskip("ale_py", reason="needs games: the extra atari")
    register(env_id)
    raw, again = (gymnasium.make(env_id, frameskip=1, repeat_action_probability=0.0) for _ in range(2))
    seen = gymnasium.wrappers.AtariPreprocessing(again, noop_max=0)
    policy, recorder = recorded(84 * 84 * 2, device([84, 84], "atari", "frame_stack:2"))
    raw.reset(seed=0)
    seen.reset(seed=0)
    before, rng = None, np.random.default_rng(0)
    for _ in range(60):
        action = int(rng.integers(raw.action_space.n))  # type: ignore[attr-defined]
        screens = np.stack([raw.step(action)[0] for _ in range(4)][-2:])  # [2, 210, 160, 3]
        expected = seen.step(action)[0]
        np.testing.assert_array_equal(atari_frame(screens), expected)
        policy.preferences(screens)
        stack = np.stack([expected if before is None else before, expected], axis=-1)
        np.testing.assert_array_equal(recorder.fed[-1].reshape(stack.shape), stack)
        before = expected


@given(st.sampled_from([(210, 160), (250, 160), (84, 84), (90, 131)]), st.integers(1, 3), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_any_screens_are_made_small_as_opencv_does(size: tuple[int, int], count: int, seed: int) -> None:
    cv2 = pytest.importorskip("cv2", reason="needs OpenCV: the extra atari")
    gray = np.random.default_rng(seed).integers(0, 256, (count, *size), dtype=np.uint8)
    expected = cv2.resize(gray.max(axis=0), (84, 84), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(atari_frame(np.repeat(gray[..., np.newaxis], 3, axis=-1)), expected)


@pytest.mark.parametrize(
    "screens",
    [
        *(np.zeros(shape, np.uint8) for shape in ((2, 210, 160), (2, 80, 160, 3), (0, 210, 160, 3), (2, 210, 160, 4))),
        np.zeros((1, 210, 160, 3)),
    ],
)
def test_other_screens_are_refused(screens: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match=r"^Wrong screens: expected bytes \[N, H, W, 3\] from 84x84\. Got"):
        atari_frame(screens)


# --- manifests ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "steps", "expected"),
    [
        ([4], [], (4,)),
        ([84, 84], ["atari", "frame_stack:4"], (84, 84, 4)),
        ([84, 84], ["atari"], (84, 84)),
        ([6, 5, 3], ["frame_stack:2"], (6, 5, 6)),
        ([3], ["frame_stack:4"], (12,)),
        ([6, 5], ["frame_stack:2", "flatten"], (60,)),
        ([6, 5], ["flatten", "frame_stack:2"], (60,)),
        ([6, 5], ["frame_stack:1"], (6, 5, 1)),
        ([], ["one_hot"], (9,)),
    ],
)
def test_the_shape_of_the_input_follows_the_steps(shape: list[int], steps: list[str], expected: tuple[int, ...]) -> None:
    of = device(shape, *steps)
    assert DeviceManifest.from_json(of).input_shape(9) == expected
    if shape:
        of["input"]["scale"] = [1.0] * expected[-1]  # one per channel
        DeviceManifest.from_json(of)
        of["input"]["scale"] = [1.0] * (expected[-1] + 1)
        with pytest.raises(PolicyFileError, match=rf"input scales: expected 1 or {expected[-1]}\. Got"):
            DeviceManifest.from_json(of)


@pytest.mark.parametrize(
    ("shape", "steps"),
    [
        ([4], ["sharpen"]),
        ([4], ["flatten", "sharpen"]),
        ([4], [3]),
        ([4], [None]),
        ([4], [["flatten"]]),
        ([4], ["one_hot"]),
        ([], []),
        ([], ["atari"]),
        ([], ["flatten"]),
        ([], ["frame_stack:2"]),
        ([], ["one_hot", "one_hot"]),
        ([4], ["frame_stack"]),
        ([4], ["frame_stack:0"]),
        ([4], ["frame_stack:-1"]),
        ([4], ["frame_stack:04"]),
        ([4], ["frame_stack:²"]),
        ([4], ["frame_stack:4\n"]),
        ([4], ["frame_stack:" + "9" * 5_000]),
        ([4], ["frame_stack:2", "frame_stack:2"]),
        ([4], ["Flatten"]),
        ([4], ["flatten:2"]),
    ],
)
def test_no_step_is_skipped_in_silence(shape: list[int], steps: list[Any]) -> None:
    with pytest.raises(PolicyFileError, match=r"^Unknown preprocessing: expected .*Got"):
        DeviceManifest.from_json(device(shape, *steps))


def test_the_file_must_fit_the_steps(network: Any) -> None:
    for shape, steps in (
        ([4], []),
        ([2], ["frame_stack:2"]),
        ([2, 2], ["flatten"]),
        ([2, 1], ["frame_stack:2"]),
        ([], ["one_hot"]),
    ):
        check_structure(TfliteModel(network.int8), DeviceManifest.from_json(device(shape, *steps)))
    for shape, steps in (([4], ["frame_stack:2"]), ([2], []), ([3], ["flatten"])):
        with pytest.raises(PolicyFileError, match="Wrong input size"):
            check_structure(TfliteModel(network.int8), DeviceManifest.from_json(device(shape, *steps)))


def test_checking_changes_nothing() -> None:
    of = device([2, 2], "frame_stack:2", "flatten")
    before = copy.deepcopy(of)
    for _ in itertools.repeat(None, 2):
        assert DeviceManifest.from_json(of).to_json() == of == before
