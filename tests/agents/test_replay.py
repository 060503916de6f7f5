"""The ring against a list, frame by frame; what it weighs; what it refuses."""

import json
import os
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgedqn.agents import replay as replay_module
from edgedqn.agents.errors import InputError
from edgedqn.agents.n_step import NStepTransitions, Transition
from edgedqn.agents.prioritized import Prioritized
from edgedqn.agents.replay import Draw, Replay, Sampler, Transitions, available_bytes


class Everything(Sampler):
    """Draws each transition once, the oldest first."""

    def __init__(self) -> None:
        super().__init__(np.random.default_rng(0))

    def draw(self, oldest: Any, count: int, capacity: int, shape: tuple[int, ...]) -> Draw:
        assert shape == (1, count)
        return Draw((oldest + np.arange(count))[None] % capacity, None)


def contents(replay: Any) -> Transitions | None:
    return Transitions(*(field[0] for field in replay.sample(1, len(replay))[0])) if len(replay) else None


def uniform(capacity: int, shape: tuple[int, ...] = (2,), dtype: str = "float32", seed: int = 0, **settings: Any) -> Replay:
    return Replay(capacity, shape, dtype=dtype, sampler=Sampler(np.random.default_rng(seed)), **settings)


class Lane:
    """One environment that shows random frames, and what a plain list remembers of it."""

    def __init__(
        self, replay: Any, rng: np.random.Generator, frame_shape: tuple[int, ...], stack: Any, n_step: int, mean_length: float
    ) -> None:
        self.replay, self.rng, self.shape, self.stack, self.mean_length = replay, rng, frame_shape, stack, mean_length
        self.joiner: NStepTransitions[Any] = NStepTransitions(n_step, 0.5)
        self.n_step = n_step
        self.handle: Any = None

    def frame(self) -> NDArray[Any]:
        return self.rng.integers(256, size=self.shape, dtype=np.uint8)

    def step(self, model: list[Any]) -> None:
        """Plays one step, into the replay and a list of (s_tm1, a_tm1, r_t, discount_t, s_t, the number of the first frame)."""
        if self.handle is None:
            self.frames = deque([self.frame()] * self.stack, self.stack)
            self.states = [(np.concatenate(self.frames, axis=-1), self.replay._stored)]
            self.numbers = deque([self.replay._stored] * self.stack, self.stack)
            self.rewards = []
            self.handle = self.replay.store(self.states[0][0], None)
        terminated, truncated = self.rng.random(2) < 1 / self.mean_length / 2
        self.frames.append(self.frame())
        self.numbers.append(self.replay._stored)
        observation = np.concatenate(self.frames, axis=-1)
        after = self.replay.store(observation, self.handle)
        action, reward = int(self.rng.integers(5)), float(self.rng.integers(-9, 9))
        self.states.append((observation, self.numbers[0]))
        self.rewards.append((action, reward))
        for transition in self.joiner.step(
            self.handle, action, r_t=reward, terminated=bool(terminated), truncated=bool(truncated), s_t=after
        ):
            self.replay.add(transition)
        length = len(self.rewards)
        for start in range(max(0, length - self.n_step), length):
            if terminated or truncated or start == length - self.n_step:
                total = sum(0.5**k * r for k, (_, r) in enumerate(self.rewards[start:]))
                discount = 0.0 if terminated else 0.5 ** (length - start)
                (s_tm1, first), (s_t, _) = self.states[start], self.states[length]
                model.append((s_tm1, self.rewards[start][0], total, discount, s_t, first))
        self.handle = None if terminated or truncated else after


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    capacity=st.sampled_from([18, 50, 200, 300]),
    lanes=st.integers(1, 4),
    stack=st.integers(1, 3),
    n_step=st.integers(1, 3),
    frame_shape=st.sampled_from([(2,), (3, 2, 1), (2, 2, 2)]),
    mean_length=st.sampled_from([1.0, 3.0, 40.0]),
    prioritized=st.booleans(),
)
def test_it_holds_what_a_list_holds(
    seed: int,
    capacity: int,
    lanes: int,
    stack: int,
    n_step: int,
    frame_shape: tuple[int, ...],
    mean_length: float,
    prioritized: bool,
) -> None:
    rng = np.random.default_rng(seed)
    shape = (*frame_shape[:-1], frame_shape[-1] * stack)
    # A sampler with a memory must know which transitions are gone.
    sampler = (
        Prioritized(capacity, np.random.default_rng(0), alpha=0.6, beta=0.4, anneal_minibatches=1)
        if prioritized
        else Everything()
    )
    replay = Replay(capacity, shape, dtype="uint8", sampler=sampler, frame_stack=stack)
    frames = capacity + capacity // 20 + 64
    players = [Lane(replay, rng, frame_shape, stack, n_step, mean_length) for _ in range(lanes)]
    model: list[Any] = []
    firsts: list[int] = []
    for step in range(4 * frames // lanes):  # the rings come round several times
        for player in rng.permutation(len(players)):
            players[player].step(model)
            firsts += [first for *_, first in model[len(firsts) :]]
            held, lowest = len(replay), replay._stored - frames
            assert held <= capacity
            assert min(firsts[-held:], default=lowest) >= lowest  # no frame of what is held was written over
        # Lanes finish their steps in any order, which costs as many frames as lie between theirs.
        slack = 0 if lanes == 1 else 2 * lanes * (n_step + stack + 1)
        whole = next((i for i, first in enumerate(reversed(firsts)) if first < lowest + slack), len(firsts))
        assert held >= min(capacity, whole)
        if step % 17 or not held:
            continue
        if prioritized:
            sample, _ = replay.sample(2, 40)
            remembered = {(t[0].tobytes(), *t[1:4], t[4].tobytes()) for t in model[-held:]}
            for b in np.ndindex(2, 40):
                drawn = (
                    sample.s_tm1[b].tobytes(),
                    sample.a_tm1[b],
                    sample.r_t[b],
                    sample.discount_t[b],
                    sample.s_t[b].tobytes(),
                )
                assert drawn in remembered
            continue
        stored = contents(replay)
        assert stored is not None
        for field, expected in zip(stored, list(zip(*model[-held:], strict=True))[:5], strict=True):
            np.testing.assert_array_equal(field, np.array(expected))
    assert replay._stored > 3 * frames


def test_short_episodes_run_out_of_frames_and_keep_fewer_transitions() -> None:
    replay = uniform(1_000)
    for n in range(3_000):
        replay.add(Transition(replay.store(np.full(2, n), None), 0, 0.0, 0.0, replay.store(np.full(2, -n), None)))
    assert len(replay) == (1_000 + 50 + 64) // 2
    replay = uniform(1_000)
    handle: Any = replay.store(np.zeros(2), None)
    for n in range(3_000):
        after = replay.store(np.full(2, n), handle)
        replay.add(Transition(handle, 0, 0.0, 0.0, after))
        handle = None if n % 20 == 19 else after
        handle = handle or replay.store(np.zeros(2), None)
    assert len(replay) == 1_000  # episodes of 20 steps fit


@pytest.mark.parametrize("paused", [60, 250, 600, 1_200])
def test_an_environment_that_paused_costs_the_others_little(paused: int) -> None:
    """Others play on meanwhile, up to several rings; then what was pending comes, as of an actor that is slow or gone."""
    replay = Replay(1_000, (2,), dtype="float32", sampler=Everything())
    handles: dict[int, Any] = {lane: replay.store(np.array([lane, 0]), None) for lane in (0, 1)}

    def step(lane: int) -> None:
        before, t = handles[lane], replay._frames[handles[lane][0] % len(replay._frames), 1]
        handles[lane] = replay.store(np.array([lane, t + 1]), before)
        replay.add(Transition(before, lane, 0.0, 0.9, handles[lane]))

    for lane, count in ((1, 64), (0, paused), (1, 64), (0, 3_000)):
        for n in range(count):
            step(lane)
            if n % 25:
                continue
            held = contents(replay)
            assert held is not None and (held.s_tm1[:, 0] == held.s_t[:, 0]).all()
            assert (held.s_t[:, 1] - held.s_tm1[:, 1] == 1).all()
            assert len(replay) >= min(replay._added, 1_114 * 3 // 4 - 2)


def filled(capacity: int, count: int, seed: int = 0) -> Any:
    replay = uniform(capacity, seed=seed)
    handle = replay.store(np.zeros(2), None)
    for n in range(1, count + 1):
        after = replay.store(np.full(2, n), handle)
        replay.add(Transition(handle, n, n / 2, n / 4, after))
        handle = after
    return replay


def test_a_sample_is_minibatches_of_transitions() -> None:
    sample, draw = filled(100, 30).sample(5, 7)
    assert isinstance(sample, Transitions)
    assert [(field.shape, field.dtype) for field in sample] == [
        ((5, 7, 2), np.dtype(np.float32)),
        ((5, 7), np.dtype(np.int32)),
        ((5, 7), np.dtype(np.float32)),
        ((5, 7), np.dtype(np.float32)),
        ((5, 7, 2), np.dtype(np.float32)),
    ]
    assert (draw.slots.shape, draw.weights) == ((5, 7), None)


def test_sampling_is_uniform_and_with_replacement() -> None:
    counts = np.bincount(filled(10, 14).sample(100, 100)[0].a_tm1.ravel(), minlength=15)
    assert counts[:5].sum() == 0  # 0 was never there, 1 to 4 made room
    assert np.abs(counts[5:] - 1_000).max() < 150  # five standard deviations
    assert filled(10, 1).sample(1, 3)[0].a_tm1.tolist() == [[1, 1, 1]]


def test_the_rng_decides_the_sample() -> None:
    first, again, other = (filled(50, 50, seed).sample(4, 8)[0].a_tm1 for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_sample_and_what_was_stored_are_copies() -> None:
    replay = uniform(1)
    observation = np.zeros(2, np.float32)
    handle = replay.store(observation, None)
    replay.add(Transition(handle, 0, 0.0, 1.0, replay.store(observation, handle)))
    observation += 9
    sample, _ = replay.sample(1, 1)
    sample.s_t[:] = 9
    assert not sample.s_tm1.any()
    assert not replay.sample(1, 1)[0].s_t.any()


@pytest.mark.parametrize(
    ("dtype", "kept"),
    [
        ("float64", "float32"),
        ("float32", "float32"),
        ("uint8", "uint8"),
        ("bool", "bool"),
        ("int64", "int64"),
        ("int8", "int8"),
    ],
)
def test_the_dtype_is_kept_and_float64_becomes_what_is_learned_in(dtype: str, kept: str) -> None:
    replay = uniform(5, (3,), dtype=dtype)
    first, second = np.array([[1, 0, 1], [0, 0, 1]], dtype)
    handle = replay.store(first, None)
    replay.add(Transition(handle, 0, 0.0, 1.0, replay.store(second, handle)))
    sample, _ = replay.sample(1, 1)
    assert sample.s_tm1.dtype == sample.s_t.dtype == kept
    np.testing.assert_array_equal((sample.s_tm1[0, 0], sample.s_t[0, 0]), (first, second))


# Bytes of an action (int32), a reward and a discount (float32).
REST = 12


@pytest.mark.parametrize(
    ("shape", "dtype", "stack", "raw"),
    [
        # Raw: each frame once.
        ((84, 84, 4), "uint8", 4, 84 * 84 + REST),
        ((84, 84, 3), "uint8", 1, 84 * 84 * 3 + REST),
        ((10, 10, 4), "bool", 1, 10 * 10 * 4 + REST),
        # Raw: s_tm1 and s_t.
        ((2,), "float32", 1, 2 * 2 * 4 + REST),
        ((4,), "float32", 1, 2 * 4 * 4 + REST),
        ((8,), "float64", 1, 2 * 8 * 4 + REST),
        ((128,), "uint8", 1, 2 * 128 + REST),
    ],
    ids=str,
)
def test_it_weighs_at_most_a_tenth_more_than_its_raw_transitions(
    shape: tuple[int, ...], dtype: str, stack: int, raw: Any
) -> None:
    replay = uniform(10_000, shape, dtype=dtype, frame_stack=stack)
    observation = np.zeros(shape, dtype)
    handle = replay.store(observation, None)
    for i in range(11_000):
        after = replay.store(observation, handle)
        replay.add(Transition(handle, 0, 0.0, 1.0, after))
        handle = after if i % 100 else replay.store(observation, None)
    assert len(replay) == 10_000
    arrays, _ = replay.state()
    assert replay.nbytes == sum(array.nbytes for array in arrays.values())  # nothing else grows with it
    assert replay.nbytes <= 1.1 * raw * 10_000


@pytest.mark.parametrize("capacity", [0, -1])
def test_a_capacity_is_positive(capacity: int) -> None:
    with pytest.raises(InputError, match=rf"^Expected a replay capacity of 1 or more\. Got {capacity}\.$"):
        uniform(capacity)


def test_what_memory_cannot_hold_is_refused_with_both_figures_and_before_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sampler = Everything()
    monkeypatch.setattr(replay_module, "available_bytes", lambda: 3_000_000_000)
    monkeypatch.setattr(np, "zeros", lambda *_, **__: pytest.fail("memory was asked for"))
    message = r"^A replay of 1,000,000 transitions needs 7\.5 GB of memory, and 3\.0 GB are available\. Expected a smaller "
    with pytest.raises(InputError, match=message):
        Replay(1_000_000, (84, 84, 4), dtype="uint8", sampler=sampler, frame_stack=4)


def test_what_it_needs_is_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    size = uniform(1_000, (84, 84, 4), dtype="uint8", frame_stack=4).nbytes
    monkeypatch.setattr(replay_module, "available_bytes", lambda: size)
    uniform(1_000, (84, 84, 4), dtype="uint8", frame_stack=4)
    monkeypatch.setattr(replay_module, "available_bytes", lambda: size - 1)
    with pytest.raises(InputError, match=r"needs 0\.0 GB"):
        uniform(1_000, (84, 84, 4), dtype="uint8", frame_stack=4)
    monkeypatch.setattr(replay_module, "available_bytes", lambda: None)  # nobody knows
    uniform(1_000, (84, 84, 4), dtype="uint8", frame_stack=4)


def files(monkeypatch: pytest.MonkeyPatch, texts: Any) -> None:
    def read_text(path: Path) -> Any:
        if str(path) not in texts:
            raise FileNotFoundError(path)
        return texts[str(path)]

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 10**6}.get)


MEMINFO = "MemTotal:  8000000 kB\nMemFree:  1000 kB\nMemAvailable:  2000000 kB\n"
GROUP = "/sys/fs/cgroup/memory"


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({}, 4_096_000_000),
        ({"/proc/meminfo": "MemTotal: 1 kB\n"}, 4_096_000_000),
        ({"/proc/meminfo": MEMINFO}, 2_048_000_000),
        ({"/proc/meminfo": MEMINFO, f"{GROUP}.max": "max\n", f"{GROUP}.current": "5\n"}, 2_048_000_000),
        # Of a container's 1,000, 900 are in use; 300 of those are files, kept while nobody wants the memory.
        (
            {
                "/proc/meminfo": MEMINFO,
                f"{GROUP}.max": "1000\n",
                f"{GROUP}.current": "900\n",
                f"{GROUP}.stat": "anon 500\ninactive_file 300\nactive_file 50\n",
            },
            400,
        ),
    ],
)
def test_the_memory_at_hand_is_the_least_that_anyone_grants(
    monkeypatch: pytest.MonkeyPatch, texts: dict[str, Any], expected: int
) -> None:
    files(monkeypatch, texts)
    assert available_bytes() == expected


@pytest.mark.parametrize("count", [0, 3, 10, 200])
def test_it_goes_on_where_its_state_was_taken(count: int) -> None:
    replay, again = filled(30, count), filled(30, 7, seed=5)
    arrays, values = replay.state()
    again.restore({name: array.copy() for name, array in arrays.items()}, json.loads(json.dumps(values)))
    for _ in range(3):
        for one in (replay, again):
            handle = one.store(np.full(2, 77), None)
            for n in range(25):
                after = one.store(np.full(2, 100 + n), handle)
                one.add(Transition(handle, n, 0.0, 0.5, after))
                handle = after
        assert len(again) == len(replay)
        for ours, theirs in zip(again.sample(4, 9)[0], replay.sample(4, 9)[0], strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_state_holds_what_is_filled_and_no_more() -> None:
    arrays, _ = filled(1_000, 10).state()
    assert {name: len(array) for name, array in arrays.items()} == {
        "frames": 11, "s_tm1": 10, "a_tm1": 10, "r_t": 10, "discount_t": 10, "s_t": 10
    }  # fmt: skip


@pytest.mark.parametrize(
    "other", [uniform(30, (3,)), uniform(20), uniform(30, dtype="uint8"), uniform(30, (2,), frame_stack=2)]
)
def test_a_state_of_other_sizes_is_refused(other: Any) -> None:
    arrays, values = filled(30, 25).state()
    with pytest.raises(ValueError, match=r"^Expected \w+ of \w+ \(.*\)\. Got \w+ \("):
        other.restore(arrays, values)
