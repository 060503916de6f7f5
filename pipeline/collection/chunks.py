"""Steps as an actor sends them: arrays of N steps, in the order they were taken. Nothing is sent twice."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.training.interaction import Step


class Chunk(NamedTuple):
    """N steps. In s_tm1 an environment's step before ended or, where an episode begins, it is the next of `starts`."""

    starts: NDArray[Any]  # [E, *observation_shape], of the episodes that begin here
    s_t: NDArray[Any]  # [N, *observation_shape]
    a_tm1: NDArray[np.int32]  # [N]
    r_t: NDArray[np.float64]  # [N]
    terminated: NDArray[np.bool_]  # [N]
    truncated: NDArray[np.bool_]  # [N]
    env_index: NDArray[np.int32]  # [N], among the environments of this actor
    episode_return: NDArray[np.float64]  # [N], NaN where the episode goes on
    episode_length: NDArray[np.int32]  # [N], 1 where it begins


def pack(steps: Sequence[Step]) -> Chunk:
    """One step or more, as they are sent. Their returns are finite."""
    shape, starts = steps[0].s_t.shape, [step.s_tm1 for step in steps if step.episode_length == 1]
    returns = [np.nan if step.episode_return is None else step.episode_return for step in steps]
    return Chunk(
        starts=np.array(starts, steps[0].s_t.dtype).reshape(-1, *shape),
        s_t=np.stack([step.s_t for step in steps]),
        a_tm1=np.array([step.a_tm1 for step in steps], np.int32),
        r_t=np.array([step.r_t for step in steps]),
        terminated=np.array([step.terminated for step in steps]),
        truncated=np.array([step.truncated for step in steps]),
        env_index=np.array([step.env_index for step in steps], np.int32),
        episode_return=np.array(returns),
        episode_length=np.array([step.episode_length for step in steps], np.int32),
    )


def size_of(chunk: Chunk) -> int:
    """In bytes, without what Ray adds."""
    return sum(array.nbytes for array in chunk)


class Unpacker:
    """Makes steps of the chunks of one actor, one chunk after the other."""

    def __init__(self, first_index: int):
        """Takes what is added to the numbers of its environments, so that those of all actors differ."""
        self._first_index = first_index
        self._last: dict[int, NDArray[Any]] = {}  # env_index -> its last observation

    def __call__(self, chunk: Chunk) -> Iterator[Step]:
        """The steps that were packed, without what they say of legal actions, which is in the observations."""
        starts, last = iter(chunk.starts), self._last
        columns = (chunk.a_tm1, chunk.r_t, chunk.terminated, chunk.truncated, chunk.env_index, chunk.episode_return)
        rows = zip(chunk.s_t, *(column.tolist() for column in columns), chunk.episode_length.tolist(), strict=True)
        for s_t, a_tm1, r_t, terminated, truncated, env_index, episode_return, length in rows:
            s_tm1 = next(starts) if length == 1 else last[env_index]
            last[env_index] = s_t
            yield Step(
                s_tm1=s_tm1,
                a_tm1=a_tm1,
                r_t=r_t,
                terminated=terminated,
                truncated=truncated,
                s_t=s_t,
                env_index=self._first_index + env_index,
                episode_return=None if np.isnan(episode_return) else episode_return,
                episode_length=length,
            )
