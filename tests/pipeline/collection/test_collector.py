from dataclasses import replace

import numpy as np
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.numpy_network import Dense
from edgedqn.agents.playing.environments import make_environment
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.playing.spec import spec_of
from edgedqn.pipeline.collection.collector import Collector, Request
from edgedqn.pipeline.collection.published import Published

SPEC = spec_of(make_environment("CartPole-v1"), "CartPole-v1")
# Always to the left, whatever it sees: the pole falls in ten steps or less.
LEFT: Published = [Dense(np.zeros((4, 2), np.float32), np.array([1, 0], np.float32), False)]
ASKED = Request(number=0, steps=40, begins=True, epsilon=0.0, env_steps=0, version=None, seeds=range(100))


def collector(num_envs: int = 1) -> Collector:
    return Collector(SPEC, num_envs=num_envs, duration=1, rng=np.random.default_rng(0))


def test_it_acts_at_random_until_it_has_a_policy_and_then_by_its_epsilon() -> None:
    actor = collector()
    answer = actor.collect(ASKED)
    assert answer.version is None and set(answer.chunk.a_tm1.tolist()) == {0, 1}
    answer = actor.collect(ASKED._replace(number=1, begins=False, version=7, seeds=range(100, 140)), LEFT)
    assert answer.version == 7 and set(answer.chunk.a_tm1.tolist()) == {0}
    answer = actor.collect(ASKED._replace(number=2, begins=False, epsilon=0.5, version=8, seeds=()))
    assert answer.version == 7  # of what it has
    assert 0 < answer.chunk.a_tm1.sum() < 30


@pytest.mark.parametrize("num_envs", [1, 2])
def test_episodes_go_on_unless_they_shall_begin(num_envs: int) -> None:
    actor = collector(num_envs)
    first = actor.collect(ASKED._replace(steps=6), LEFT).chunk
    assert first.episode_length.max() == 6 // num_envs and len(first.starts) == num_envs
    on = actor.collect(ASKED._replace(number=1, steps=2, begins=False, seeds=())).chunk
    assert on.episode_length.min() == 6 // num_envs + 1 and not len(on.starts)
    anew = actor.collect(ASKED._replace(number=2, steps=2, seeds=())).chunk
    assert anew.episode_length[0] == 1 and len(anew.starts) == num_envs


def test_requests_are_taken_in_their_order() -> None:
    with pytest.raises(AssertionError, match="in their order"):
        collector().collect(ASKED._replace(number=1))


def test_it_tells_how_many_seeds_it_used() -> None:
    answer = collector().collect(ASKED, LEFT)
    assert answer.resets == len(answer.chunk.starts) >= 4


def test_an_environment_that_is_not_there_is_an_error_of_the_call() -> None:
    nowhere = replace(SPEC, source=EnvironmentSource("Nowhere-v0"))
    actor = Collector(nowhere, num_envs=1, duration=1, rng=np.random.default_rng(0))
    with pytest.raises(InputError, match="Unknown environment 'Nowhere-v0'"):
        actor.collect(ASKED)


def test_modules_are_looked_for_where_the_learner_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", ["here"])
    Collector(SPEC, num_envs=1, duration=1, rng=np.random.default_rng(0), path=["here", "there"]).collect(ASKED)
    import sys

    assert sys.path == ["here", "there"]
