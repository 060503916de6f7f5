"""Games side by side are those of gymnasium's wrappers, frame by frame."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partialmethod

import gymnasium
import numpy as np
import pytest
from numpy.typing import NDArray

from edgedqn.agents.playing.environments import agent_view, make_environment, make_vector
from edgedqn.agents.playing.simulators.atari_vector import AtariVector, is_same
from edgedqn.agents.playing.source import EnvironmentSource, WrapperSource
from edgedqn.agents.playing.spec import EnvironmentSpec, spec_of

pytest.importorskip("ale_py", reason="needs games: the extra atari")
STILL = {"repeat_action_probability": 0.0}


def spec_for(env_id: str, **arguments: object) -> EnvironmentSpec:
    source = EnvironmentSource(env_id, arguments)
    with closing(make_environment(source)) as env:
        return spec_of(env, source, frame_stack=4)


def vector_of(spec: EnvironmentSpec, *, num_envs: int = 2) -> AtariVector:
    envs = make_vector(spec, num_envs=num_envs)
    assert isinstance(envs, AtariVector)
    return envs


@pytest.fixture
def without_no_ops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both draw how many there are, each from a generator of its own."""
    from ale_py.vector_env import AtariVectorEnv

    for kind in (gymnasium.wrappers.AtariPreprocessing, AtariVectorEnv):
        monkeypatch.setattr(kind, "__init__", partialmethod(kind.__init__, noop_max=0))


@pytest.mark.usefixtures("without_no_ops")
@pytest.mark.parametrize(
    ("env_id", "arguments", "steps", "episodes"),
    [
        ("ALE/Breakout-v5", {}, 700, 3),
        ("ALE/Pong-v5", {"max_num_frames_per_episode": 400}, 250, 2),  # cut off
        ("ALE/Freeway-v5", {"full_action_space": True}, 100, 0),
    ],
)
def test_each_step_is_that_of_gymnasiums_wrappers(env_id: str, arguments: dict[str, object], steps: int, episodes: int) -> None:
    spec = spec_for(env_id, **STILL, **arguments)
    with closing(agent_view(make_environment(spec.source), spec)) as env, closing(vector_of(spec)) as envs:
        assert envs.single_observation_space == env.observation_space and envs.single_action_space == env.action_space
        expected, _ = env.reset(seed=1)
        got, _ = envs.reset(seed=[1, 2])
        np.testing.assert_array_equal(got, [expected] * 2)
        rng, over_at = np.random.default_rng(0), []
        for step in range(steps):
            action = int(rng.integers(spec.n_actions))
            expected, *outcome, _ = env.step(action)
            got, *outcomes, _ = envs.step(np.full(2, action))
            np.testing.assert_array_equal(got, [expected] * 2)
            assert [[each[i] for each in outcomes] for i in range(2)] == [outcome] * 2
            if outcome[1] or outcome[2]:
                over_at.append(step)
                expected, _ = env.reset(seed=step)
                got, _ = envs.reset(seed=[step, step], options={"reset_mask": np.ones(2, bool)})
                np.testing.assert_array_equal(got, [expected] * 2)
    assert len(over_at) >= episodes


def test_an_episode_depends_on_its_seed_and_its_actions_alone() -> None:
    """As `train` needs to go on from a checkpoint: whatever was played before, and however many go on beside it."""
    spec, actions = spec_for("ALE/Breakout-v5"), np.random.default_rng(0).integers(4, size=60)

    def played(envs: AtariVector) -> Iterator[NDArray[np.uint8]]:
        mask = np.arange(envs.num_envs) == 0
        yield envs.reset(seed=[7, *[None] * (envs.num_envs - 1)], options={"reset_mask": mask})[0][0]
        for action in actions:
            yield envs.step(np.full(envs.num_envs, action))[0][0]

    with closing(vector_of(spec, num_envs=1)) as one, closing(vector_of(spec, num_envs=3)) as three:
        one.reset(seed=[0])
        three.reset(seed=[1, 2, 3])
        for action in actions[:30]:
            three.step(np.full(3, action))
        before, _ = three.reset(seed=[None] * 3, options={"reset_mask": np.zeros(3, bool)})
        for step, (alone, beside) in enumerate(zip(played(one), played(three), strict=True)):
            np.testing.assert_array_equal(alone, beside)
            if step == 0:  # the others were left alone
                np.testing.assert_array_equal(three.reset(options={"reset_mask": np.zeros(3, bool)})[0][1:], before[1:])


def test_no_ops_and_sticky_actions_come_from_the_same_distributions() -> None:
    """The frame an episode begins at, and when the first of five lives is lost by a fixed list of actions."""
    stats = pytest.importorskip("scipy.stats")
    spec, count = spec_for("ALE/Breakout-v5"), 40
    actions = np.random.default_rng(0).integers(4, size=400)
    starts: list[list[int]] = [[], []]
    lost: list[list[int]] = [[], []]
    with closing(make_environment(spec.source)) as env:
        for seed in range(count):
            _, info = env.reset(seed=seed)
            starts[0].append(info["episode_frame_number"])
            lost[0].append(next(i for i, action in enumerate(actions) if env.step(action)[4]["lives"] < 5))
    with closing(vector_of(spec, num_envs=count)) as envs:
        _, info = envs.reset(seed=[*range(count)])
        starts[1] = info["episode_frame_number"].tolist()
        lives = np.array([envs.step(np.full(count, action))[4]["lives"] for action in actions])  # [T, count]
        lost[1] = (lives < 5).argmax(axis=0).tolist()
    assert stats.ks_2samp(*starts).pvalue > 1e-3 and stats.ks_2samp(*lost).pvalue > 1e-3
    assert max(starts[1]) >= 25 and len({*lost[1]}) > 5


def test_what_it_cannot_show_the_same_is_played_by_gymnasium() -> None:
    spec = spec_for("ALE/Pong-v5")
    assert is_same(spec) and is_same(spec_for("ALE/Pong-v5", repeat_action_probability=0.0))
    others = [
        spec_for("PongNoFrameskip-v4"),
        spec_for("ALE/Pong-v5", difficulty=1),
        *(
            replace(spec, source=replace(spec.source, **changed))
            for changed in (
                {"wrappers": (WrapperSource("gymnasium.wrappers:TransformReward"),)},
                {"max_episode_steps": 100},
                {"reset_options": {"a": 1}},
            )
        ),
    ]
    assert [is_same(other) for other in others] == [False] * 5
    with closing(make_vector(others[0], num_envs=2)) as envs:
        assert isinstance(envs, gymnasium.vector.SyncVectorEnv)
