"""The stream of steps, of one environment and of several."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from typing import Any, SupportsFloat, cast

import gymnasium
import numpy as np
import pytest
from numpy.typing import NDArray

from edgedqn.agents.playing.environments import BadTransitionError, make_environment, make_vector
from edgedqn.agents.playing.spec import spec_of
from edgedqn.agents.training.interaction import Agent, interact, interact_with_all


class Player:
    """An agent that acts by a function, on one observation or on each of several, and learns nothing."""

    env_steps = 0

    def __init__(self, act: Callable[[Any], int]) -> None:
        self.act = act

    def act_in_all(self, observations: Any) -> NDArray[Any]:
        return np.array([self.act(observation) for observation in observations])


class Recording(gymnasium.Wrapper):
    """Writes down what the environment was asked and what it said."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self.resets: list[Any] = []
        self.log: list[Any] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed)
        self.resets.append((seed, observation))
        return observation, info

    def step(self, action: int) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        found = self.env.step(action)
        self.log.append((action, *found[:4]))
        return found


def test_the_stream_is_what_happened(make_corridor: Callable[..., gymnasium.Env[Any, Any]]) -> None:
    env = Recording(make_corridor(limit=12))
    rng = np.random.default_rng(0)
    player = Player(lambda _: int(rng.random() < 0.6))
    steps = list(
        itertools.islice(interact(env=env, env_id="Corridor", agent=cast(Agent, player), reset_seeds=itertools.count(5)), 300)
    )
    assert [seed for seed, _ in env.resets] == list(range(5, 5 + len(env.resets)))
    starts = iter(env.resets)
    state, total, length = next(starts)[1], 0.0, 0
    endings = set()
    for step, (action, s_t, reward, terminated, truncated) in zip(steps, env.log, strict=True):
        np.testing.assert_array_equal(step.s_tm1, state)
        np.testing.assert_array_equal(step.s_t, s_t)
        assert (step.a_tm1, step.r_t, step.terminated, step.truncated) == (action, reward, terminated, truncated)
        state, total, length = step.s_t, total + reward, length + 1
        assert (step.env_index, step.episode_length) == (0, length)
        if terminated or truncated:
            endings.add((terminated, truncated))
            assert step.episode_return == total
            state, total, length = next(starts, (None, None))[1], 0.0, 0
        else:
            assert step.episode_return is None
    assert endings >= {(True, False), (False, True)}


def one_by_one(
    make: Callable[..., Any], count: int, actions: Any, seeds: Any
) -> Iterator[tuple[Any, Any, Any, Any, Any, Any, Any, Any, Any]]:
    """What a vector of environments must show: each stepped on its own, and reset in their order when it is over."""
    envs = [make() for _ in range(count)]
    states, totals, lengths = [env.reset(seed=next(seeds))[0] for env in envs], [0.0] * count, [0] * count
    while True:
        row = [next(actions) for _ in envs]
        found = [env.step(action) for env, action in zip(envs, row, strict=True)]
        for i, (s_t, reward, terminated, truncated, _) in enumerate(found):
            totals[i] += reward
            lengths[i] += 1
            over = terminated or truncated
            total = totals[i] if over else None
            yield states[i], row[i], reward, terminated, truncated, s_t, i, total, lengths[i]
            states[i] = s_t
        for i, (_, _, terminated, truncated, _) in enumerate(found):
            if terminated or truncated:
                states[i], totals[i], lengths[i] = envs[i].reset(seed=next(seeds))[0], 0.0, 0


@pytest.mark.parametrize("env_id", ["CartPole-v1", "MinAtar/Breakout-v1", None], ids=["CartPole", "MinAtar", "corridor"])
@pytest.mark.parametrize("count", [1, 4])
def test_each_environment_of_a_vector_is_the_environment_on_its_own(corridor_id: str, env_id: str | None, count: int) -> None:
    env_id = env_id or corridor_id
    with closing(make_environment(env_id)) as env:
        spec = spec_of(env, env_id)
    draws, again = (iter(np.random.default_rng(1).integers(spec.n_actions, size=10**5).tolist()) for _ in range(2))
    with closing(make_vector(spec, num_envs=count)) as envs:
        stream = interact_with_all(
            envs=envs, env_id=env_id, agent=cast(Agent, Player(lambda _: next(draws))), reset_seeds=itertools.count(7)
        )
        expected = one_by_one(partial(make_environment, env_id), count, again, itertools.count(7))
        steps = list(itertools.islice(zip(stream, expected, strict=False), 1_200))
    for step, (s_tm1, a_tm1, r_t, terminated, truncated, s_t, *rest) in steps:
        np.testing.assert_array_equal(step.s_tm1, s_tm1)
        np.testing.assert_array_equal(step.s_t, s_t)  # the true last one at the end of an episode
        assert step.s_t.dtype == s_t.dtype
        assert (step.a_tm1, step.r_t, step.terminated, step.truncated) == (a_tm1, r_t, terminated, truncated)
        assert list(step[6:-1]) == rest and step.legal_t is None
    assert sum(step.episode_return is not None for step, _ in steps) > 10
    if env_id == corridor_id:
        assert {(step.terminated, step.truncated) for step, _ in steps} >= {(True, False), (False, True)}


def test_steps_of_a_vector_stay_as_they_were(corridor_id: str) -> None:
    with closing(make_environment(corridor_id)) as env:
        spec = spec_of(env, corridor_id)
    with closing(make_vector(spec, num_envs=2)) as envs:
        steps = [
            (s, s.s_tm1.copy(), s.s_t.copy())
            for s in itertools.islice(
                interact_with_all(envs=envs, env_id="", agent=cast(Agent, Player(lambda _: 1)), reset_seeds=itertools.count()),
                60,
            )
        ]
    for step, s_tm1, s_t in steps:
        np.testing.assert_array_equal((step.s_tm1, step.s_t), (s_tm1, s_t))


def test_an_environment_that_goes_on_writing_to_its_observation_changes_no_step_of_the_past() -> None:
    class Reusing(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float32)
        action_space = gymnasium.spaces.Discrete(2)
        state = np.zeros(1, np.float32)

        def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
            self.state[:] = 0
            return self.state, {}

        def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
            self.state += 1
            return self.state, 0.0, False, False, {}

    steps = list(
        itertools.islice(
            interact(env=Reusing(), env_id="Reusing", agent=cast(Agent, Player(lambda _: 0)), reset_seeds=itertools.count()), 5
        )
    )
    assert [(step.s_tm1[0], step.s_t[0]) for step in steps] == [(i, i + 1) for i in range(5)]


@pytest.mark.parametrize("bad", ["observation", "reward"])
@pytest.mark.parametrize("count", [0, 3])
def test_the_stream_ends_at_the_first_nan(make_corridor: Callable[..., gymnasium.Env[Any, Any]], bad: str, count: int) -> None:
    player = Player(lambda _: 0)
    make = partial(make_corridor, bad=bad, at=7)
    if count:
        envs = gymnasium.vector.SyncVectorEnv([make] * count, autoreset_mode=gymnasium.vector.AutoresetMode.DISABLED)
        stream = interact_with_all(envs=envs, env_id="My-v0", agent=cast(Agent, player), reset_seeds=itertools.count())
    else:
        stream = interact(env=make(), env_id="My-v0", agent=cast(Agent, player), reset_seeds=itertools.count())
    found = []
    # Of three side by side, the 7th step of the first is the 19th of all.
    with pytest.raises(BadTransitionError, match=rf"^My-v0 gave a bad {bad} at step {19 if count else 7}: "):
        for step in stream:
            found.append(step)
            player.env_steps += 1
    assert len(found) == (18 if count else 6)
    assert all(np.isfinite(step.s_t).all() and np.isfinite(step.r_t) for step in found)
