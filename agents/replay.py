"""Experience replay: a ring of transitions in which every frame is stored once, and how minibatches are drawn from it."""

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError, require
from edgedqn.agents.files import Json
from edgedqn.agents.n_step import Transition
from edgedqn.agents.training.checkpoints import State, prefixed, under

Handle = tuple[int, ...]
"""A stored observation: the numbers of its frames, oldest first, counted from the first frame ever stored."""


class Transitions(NamedTuple):
    """Transitions with any leading batch dimensions: s_tm1, a_tm1 -> r_t, discount_t, s_t.

    `discount_t` is what the value of s_t is multiplied by: 0 where s_t is terminal. An episode that was merely cut off
    (truncated) keeps its discount, so it bootstraps.
    """

    s_tm1: NDArray[Any]  # [..., *observation_shape]
    a_tm1: NDArray[np.int32]  # [...]
    r_t: NDArray[np.float32]  # [...]
    discount_t: NDArray[np.float32]  # [...]
    s_t: NDArray[Any]  # [..., *observation_shape]


class Draw(NamedTuple):
    """Which transitions were drawn, and how much each counts."""

    slots: NDArray[np.int64]  # [K, B], for `Sampler.learned`
    weights: NDArray[np.float32] | None  # [K, B], or None where all count 1


class Sampler:
    """Decides which transitions of a ring are learned from. Here each is as likely as any other, with replacement."""

    nbytes = 0
    """The memory it holds."""

    def __init__(self, rng: np.random.Generator):
        self._rng = rng

    def added(self, slot: int) -> None:
        """The ring wrote a new transition to `slot`."""

    def forgotten(self, slot: int) -> None:
        """The transition in `slot` is gone."""

    def draw(self, oldest: int, count: int, *, capacity: int, shape: tuple[int, int]) -> Draw:
        """Draws `shape` = [K, B] of the `count` transitions from `oldest` on, counted from the first ever added."""
        return Draw((oldest + self._rng.integers(count, size=shape)) % capacity, None)

    def learned(self, slots: NDArray[np.int64], errors: NDArray[np.float32]) -> None:
        """Minibatches [K, B] were learned from, with these absolute temporal-difference errors."""

    def state(self) -> State:
        """Arrays and JSON that `restore` reads."""
        return {}, {"rng": self._rng.bit_generator.state}

    def restore(self, arrays: Mapping[str, NDArray[Any]], values: Json) -> None:
        """Goes on exactly where `state` was taken."""
        self._rng.bit_generator.state = values["rng"]


class Replay:
    """A ring of the last `capacity` transitions; the oldest make room.

    Observations are stored frame by frame, in the dtype the environment gives (float64 as float32), and a transition holds
    the numbers of its frames. So the s_t of one transition and the s_tm1 of the next share their memory, and so do stacked
    images. There is room for 5 % more frames than transitions, for the first observations of episodes; where episodes are
    shorter than 20 steps, frames run out first, and fewer than `capacity` transitions are kept. Environments may take turns in
    any order. One that paused while others stored more than a fourth of the ring loses its transitions from
    before the pause to after it, because keeping one would cost all others of its age their place.

    Source: Lin (1992); Mnih et al. (2015), "Human-level control through deep reinforcement learning".
    """

    def __init__(
        self,
        capacity: int,
        observation_shape: tuple[int, ...],
        *,
        dtype: str | np.dtype[Any],
        sampler: Sampler,
        frame_stack: int = 1,
    ):
        """Allocates for `capacity` >= 1 transitions at once. An observation is `frame_stack` frames along its last axis.

        Raises:
          InputError: the capacity is below 1, or the memory it needs is more than is available; with both in gigabytes.
        """
        require(capacity >= 1, f"Expected a replay capacity of 1 or more. Got {capacity}.")
        assert observation_shape[-1] % frame_stack == 0
        self._capacity = capacity
        self.sampler = sampler
        self._stack = frame_stack
        self._channels = observation_shape[-1] // frame_stack
        self._shape = observation_shape
        frame_shape = (*observation_shape[:-1], self._channels)
        frames = capacity + capacity // 20 + 64
        stored = np.dtype(np.float32) if np.dtype(dtype).kind == "f" else np.dtype(dtype)
        needed = frames * int(np.prod(frame_shape)) * stored.itemsize + capacity * (8 * frame_stack + 12)
        require_memory(f"A replay of {capacity:,} transitions", needed + sampler.nbytes)
        self._frames = np.zeros((frames, *frame_shape), stored)
        # The numbers of a transition's frames, counted from the first ever stored; modulo the ring, their slots.
        self._s_tm1 = np.zeros((capacity, frame_stack), np.int32)
        self._s_t = np.zeros((capacity, frame_stack), np.int32)
        self._a_tm1 = np.zeros(capacity, np.int32)
        self._r_t = np.zeros(capacity, np.float32)
        self._discount_t = np.zeros(capacity, np.float32)
        self._stored = 0  # frames, ever
        self._added = 0  # transitions, ever
        self._oldest = 0  # the first transition that is still whole, counted like `_added`
        self._newest_start = 0  # the largest number of a first frame so far ...
        self._disorder = 0  # ... and how far one came behind it: environments side by side finish their steps in any order
        self._most_disorder = max(64, frames // 4)

    def __len__(self) -> int:
        return self._added - self._oldest

    @property
    def nbytes(self) -> int:
        """The memory it holds when it is full."""
        return sum(array.nbytes for array in self._arrays().values()) + self.sampler.nbytes

    def store(self, observation: NDArray[Any], after: Handle | None) -> Handle:
        """Stores the newest frame of an observation [*observation_shape], whose predecessor's handle is `after`; None begins an
        episode, with all frames of a stack the same.
        """
        number = self._stored
        frames = self._frames
        frames[number % len(frames)] = observation[..., -self._channels :]
        self._stored = number + 1
        lowest = number + 1 - len(frames)  # the oldest frame that is still there
        while self._oldest < self._added and self._s_tm1[self._oldest % self._capacity, 0] - self._disorder < lowest:
            self.sampler.forgotten(self._oldest % self._capacity)
            self._oldest += 1
        return (number,) * self._stack if after is None else (*after[1:], number)

    def add(self, transition: Transition[Handle]) -> None:
        """Stores one transition between observations that were stored before; the oldest makes room. One that comes too late is
        dropped."""
        s_tm1, a_tm1, r_t, discount_t, s_t = transition
        first = s_tm1[0]
        if first > self._newest_start:
            self._newest_start = first
        elif (behind := self._newest_start - first) > self._disorder:
            if behind > self._most_disorder:
                return
            self._disorder = behind
        i = self._added % self._capacity
        if len(self) == self._capacity:
            self._oldest += 1
        if self._stack == 1:  # a number is written several times faster than a tuple, and this runs on every step
            self._s_tm1[i, 0] = first
            self._s_t[i, 0] = s_t[0]
        else:
            self._s_tm1[i] = s_tm1
            self._s_t[i] = s_t
        self._a_tm1[i] = a_tm1
        self._r_t[i] = r_t
        self._discount_t[i] = discount_t
        self._added += 1
        self.sampler.added(i)

    def sample(self, batches: int, batch_size: int) -> tuple[Transitions, Draw]:
        """K = `batches` minibatches of B = `batch_size` transitions, all drawn at once: arrays [K, B, ...]."""
        assert len(self), "sampled before anything was added"
        draw = self.sampler.draw(self._oldest, len(self), capacity=self._capacity, shape=(batches, batch_size))
        slots = draw.slots
        s_tm1, s_t = (self._observations(numbers.take(slots, axis=0)) for numbers in (self._s_tm1, self._s_t))
        a_tm1, r_t, discount_t = self._a_tm1.take(slots), self._r_t.take(slots), self._discount_t.take(slots)
        return Transitions(s_tm1=s_tm1, a_tm1=a_tm1, r_t=r_t, discount_t=discount_t, s_t=s_t), draw

    def state(self) -> State:
        """Arrays, of what is filled only, and JSON that `restore` reads; the arrays are views."""
        sampler_arrays, sampler = self.sampler.state()
        filled = {name: array[: self._fill(name)] for name, array in self._arrays().items()}
        counters = {name: getattr(self, f"_{name}") for name in _COUNTERS}
        return filled | prefixed("sampler", sampler_arrays), {**counters, "sampler": sampler}

    def restore(self, arrays: Mapping[str, NDArray[Any]], values: Json) -> None:
        """Goes on exactly where `state` was taken. Raises ValueError where the replay has other sizes."""
        for name in _COUNTERS:
            setattr(self, f"_{name}", values[name])
        for name, array in self._arrays().items():
            saved = arrays[name]
            if saved.dtype != array.dtype or saved.shape != array[: self._fill(name)].shape:
                raise ValueError(f"Expected {name} of {array.dtype} {array.shape}. Got {saved.dtype} {saved.shape}.")
            array[: len(saved)] = saved
        self.sampler.restore(under("sampler", arrays), values["sampler"])

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {name: getattr(self, f"_{name}") for name in ("frames", *Transitions._fields)}

    def _fill(self, name: str) -> int:
        return min(self._stored, len(self._frames)) if name == "frames" else min(self._added, self._capacity)

    def _observations(self, numbers: NDArray[np.int32]) -> NDArray[Any]:
        """[K, B, stack] -> [K, B, *observation_shape]."""
        slots = numbers % len(self._frames)
        if self._stack == 1:
            return self._frames.take(slots[..., 0], axis=0)
        stacked = self._frames.take(slots, axis=0)  # [K, B, stack, ..., C]
        return np.moveaxis(stacked, 2, -2).reshape(*numbers.shape[:2], *self._shape)


_COUNTERS = ("stored", "added", "oldest", "newest_start", "disorder")


def require_memory(what: str, needed: int) -> None:
    """Raises InputError, with both in gigabytes, where the `needed` bytes for `what` are not available."""
    available = available_bytes()
    if available is not None and needed > available:
        raise InputError(
            f"{what} needs {needed / 1e9:.1f} GB of memory, and {available / 1e9:.1f} GB are available. "
            "Expected a smaller buffer_size."
        )


def available_bytes() -> int | None:
    """The memory this process could still fill, in bytes; None where the system does not say."""
    found: list[int] = []
    with suppress(OSError, StopIteration, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        found.append(1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")))
    with suppress(OSError, ValueError):  # a container's own limit
        limit, used = (int(Path(f"/sys/fs/cgroup/memory.{name}").read_text()) for name in ("max", "current"))
        # The file cache, which the kernel frees on demand, counts as used.
        kept = re.search(r"^inactive_file (\d+)$", Path("/sys/fs/cgroup/memory.stat").read_text(), re.MULTILINE)
        found.append(limit - used + (int(kept[1]) if kept else 0))
    with suppress(ValueError, OSError, AttributeError):
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min(found, default=None)
