import itertools
from typing import Any

import numpy as np
import pytest

from edgedqn.agents.playing.environments import agent_view, make_environment, make_vector
from edgedqn.agents.playing.spec import spec_of
from edgedqn.agents.training.interaction import Step, interact, interact_with_all
from edgedqn.pipeline.collection.chunks import Unpacker, pack, size_of


class Alternates:
    """Takes each action in turn, with which CartPole's pole falls within some forty steps."""

    env_steps = 0

    def act(self, observation: Any, legal: Any = None, /) -> int:
        self.env_steps += 1
        return self.env_steps % 2

    def act_in_all(self, observations: Any, /) -> Any:
        return np.array([self.act(each) for each in observations])


@pytest.mark.parametrize("num_envs", [1, 3])
def test_steps_are_the_same_behind_it(num_envs: int) -> None:
    env = make_environment("CartPole-v1")
    spec = spec_of(env, "CartPole-v1")
    if num_envs > 1:
        play = interact_with_all(Alternates(), itertools.count(), envs=make_vector(spec, num_envs=num_envs), env_id=spec.id)
    else:
        play = interact(Alternates(), itertools.count(), env=agent_view(env, spec), env_id=spec.id)
    steps = list(itertools.islice(play, 301))
    unpack, found = Unpacker(first_index=10), list[Step]()
    for start in range(0, 301, 50):  # chunks end in the midst of episodes, and of what is done side by side
        found += unpack(pack(steps[start : start + 50]))
    assert len({step.env_index for step in found}) == num_envs and sum(step.episode_return is not None for step in steps) > 3
    for ours, theirs in zip(found, steps, strict=True):
        np.testing.assert_array_equal(ours.s_tm1, theirs.s_tm1)
        np.testing.assert_array_equal(ours.s_t, theirs.s_t)
        assert ours.s_t.dtype == theirs.s_t.dtype
        assert ours.env_index == theirs.env_index + 10
        assert ours[1:5] == theirs[1:5] and ours[7:9] == theirs[7:9]


def test_an_observation_is_sent_once() -> None:
    env = make_environment("CartPole-v1")
    steps = list(itertools.islice(interact(Alternates(), itertools.count(), env=env, env_id="CartPole-v1"), 1_000))
    chunk, episodes = pack(steps), sum(step.episode_length == 1 for step in steps)
    assert chunk.starts.shape == (episodes, 4) and chunk.s_t.shape == (1_000, 4)
    assert size_of(chunk) == (1_000 + episodes) * 16 + 1_000 * (3 * 4 + 2 * 8 + 2)
