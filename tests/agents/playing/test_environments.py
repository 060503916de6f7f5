"""What is made, what is refused and in which words, and what the network gets to see."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.toy_text.cliffwalking import CliffWalkingEnv
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgedqn.agents.errors import EnvironmentWarning, InputError
from edgedqn.agents.playing.environments import (
    LONGEST_EPISODE,
    BadTransitionError,
    agent_view,
    as_given,
    check_transition,
    make_environment,
    make_vector,
    register_factory,
)
from edgedqn.agents.playing.source import EnvironmentSource, WrapperSource
from edgedqn.agents.playing.spec import Atari, FrameStack, observation_kind, spec_of


class Film(gymnasium.Env):
    """Its observations say which they are: t at each reset, t + 1 and so on after it; no two numbers in them are alike."""

    action_space = spaces.Discrete(2)

    def __init__(self, observations: Any) -> None:
        self.observation_space = observations

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.t: Any = seed
        return self._frame(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.t += 1
        return self._frame(), 0.0, False, False, {}

    def _frame(self) -> NDArray[Any]:
        shape: Any = self.observation_space.shape
        return (100 * self.t + np.arange(np.prod(shape)).reshape(shape)).astype(self.observation_space.dtype)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple),
    frame_stack=st.integers(1, 4),
    flatten=st.booleans(),
    dtype=st.sampled_from(["float32", "float64", "int64"]),
)
def test_the_network_sees_its_input_shape_the_oldest_frame_first(
    shape: tuple[int, ...], frame_stack: int, flatten: bool, dtype: Any
) -> None:
    env = Film(spaces.Box(0, 10**6, shape, dtype))
    spec = spec_of(env, "My-v0", frame_stack=frame_stack, flatten=flatten)
    view = agent_view(env, spec)
    assert spec.frame_stack == frame_stack
    assert spec.input_shape == view.observation_space.shape
    for seed in (3, 50):  # nothing is left of the episode before
        seen = [view.reset(seed=seed)[0], *(view.step(0)[0] for _ in range(5))]
        for i, observation in enumerate(seen):
            frames = [100 * max(seed, seed + i - k) + np.arange(np.prod(shape)) for k in reversed(range(frame_stack))]
            images = [frame.reshape(-1 if flatten else shape) for frame in frames]
            if len(shape) == 2 and not flatten:
                images = [image[..., None] for image in images]
            np.testing.assert_array_equal(observation, np.concatenate(images, axis=-1))
            assert observation.shape == spec.input_shape
            assert observation.dtype == dtype == spec.observation_dtype


def test_the_number_of_a_state_is_seen_as_a_vector() -> None:
    env = make_environment("FrozenLake-v1")
    spec = spec_of(env, "FrozenLake-v1")
    view = agent_view(env, spec)
    states = [env.reset(seed=0)[0]]
    seen = [view.reset(seed=0)[0]]
    for action in (2, 1, 2, 1, 1):
        observation, _, over, _, _ = view.step(action)
        states.append(int(env.get_wrapper_attr("s")))
        seen.append(observation)
        if over:
            break
    env.close()
    assert len(set(states)) > 1
    np.testing.assert_array_equal(seen, np.eye(16)[states])
    assert (spec.observation_shape, spec.observation_low, spec.observation_high) == ((), (0.0,), (15.0,))


def episode(env: gymnasium.Env[Any, Any], seed: int, actions: Any) -> list[Any]:
    """All that an episode shows: observations, rewards, ends."""
    shown = [env.reset(seed=seed)[0].tobytes()]
    for action in actions:
        observation, reward, terminated, truncated, _ = env.step(action)
        shown += [observation.tobytes(), float(reward), terminated, truncated]
        if terminated or truncated:
            break
    return shown


def test_an_episode_of_minatar_depends_on_its_reset_seed_alone() -> None:
    env = make_environment("MinAtar/Breakout-v1")
    assert spec_of(env, "MinAtar/Breakout-v1").preprocessing == ()
    assert isinstance(env.action_space, spaces.Discrete)
    found = (env.observation_space.shape, env.observation_space.dtype, env.action_space.n)
    assert found == ((10, 10, 4), np.dtype(bool), 3)
    rng = np.random.default_rng(0)
    actions = rng.integers(3, size=(40, 30)).tolist()

    def after_an_episode_that_ended_in(action: int, env: gymnasium.Env[Any, Any]) -> Any:
        shown = []
        for seed in range(40):
            episode(env, 1_000 + seed, [action] * 5)
            shown.append(episode(env, seed, actions[seed]))
        return shown

    assert after_an_episode_that_ended_in(1, env) == after_an_episode_that_ended_in(2, env)
    raw = env.unwrapped  # or else MinAtar no longer needs our wrapper
    assert after_an_episode_that_ended_in(1, raw) != after_an_episode_that_ended_in(2, raw)
    env.close()


@pytest.mark.parametrize(
    ("env_id", "limit"),
    [
        ("MinAtar/Freeway-v1", LONGEST_EPISODE),
        ("Taxi-v4", 200),
        ("CliffWalking-v1", LONGEST_EPISODE),
        ("LunarLander-v3", 1_000),
    ],
)
def test_an_environment_without_a_limit_gets_one(env_id: str, limit: Any) -> None:
    env = make_environment(env_id)
    limits = []
    inner = env
    while isinstance(inner, gymnasium.Wrapper):
        limits += [inner._max_episode_steps] if isinstance(inner, gymnasium.wrappers.TimeLimit) else []
        inner = inner.env
    env.close()
    assert limits == [limit]


def test_pong_is_seen_as_the_atari_papers_see_it() -> None:
    env = make_environment("ALE/Pong-v5")
    spec = spec_of(env, "ALE/Pong-v5", frame_stack=4)
    assert spec.preprocessing == (Atari(), FrameStack(4))
    assert (spec.observation_shape, spec.observation_dtype, spec.input_shape) == ((84, 84), "uint8", (84, 84, 4))
    assert observation_kind(spec.observation_shape, spec.preprocessing) == "atari"
    view = agent_view(env, spec)
    before = view.reset(seed=3)[0]
    assert before.dtype == np.uint8
    np.testing.assert_array_equal(before, np.repeat(before[..., :1], 4, axis=-1))
    frames = env.get_wrapper_attr("ale").getEpisodeFrameNumber()
    for i in range(6):
        observation = view.step(i % spec.n_actions)[0]
        np.testing.assert_array_equal(observation[..., :3], before[..., 1:])
        before = observation
    assert env.get_wrapper_attr("ale").getEpisodeFrameNumber() == frames + 6 * 4
    assert len({observation[..., k].tobytes() for k in range(4)}) > 1  # the ball moves
    script = [i % spec.n_actions for i in range(30)]
    assert episode(view, 7, script) == episode(view, 7, script) != episode(view, 8, script)
    env.close()


@pytest.mark.parametrize(
    ("package", "env_id", "extra"), [("minatar", "MinAtar/Seaquest-v1", "minatar"), ("ale_py", "ALE/Pong-v5", "atari")]
)
def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, package: str, env_id: str, extra: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.gym", None)
    for known in [known for known in gymnasium.registry if known.startswith(env_id.partition("/")[0])]:
        monkeypatch.delitem(gymnasium.registry, known)
    with pytest.raises(InputError, match=rf"^{env_id} needs the extra '{extra}': pip install edgedqn\[{extra}\]\. Got: "):
        make_environment(env_id)


@pytest.mark.parametrize("env_id", ["MinAtar/Pong-v1", "ALE/Breakout2-v5"])
def test_a_game_that_is_not_in_an_installed_package_is_unknown(env_id: str) -> None:
    with pytest.raises(InputError, match=rf"^Unknown environment '{env_id}'\. Nearest: {env_id.partition('/')[0]}/"):
        make_environment(env_id)


def test_a_vector_gives_each_episodes_true_last_observation_and_resets_what_it_is_told(corridor_id: str) -> None:
    spec = spec_of(make_environment(corridor_id), corridor_id, frame_stack=2)
    envs = make_vector(spec, num_envs=3)
    cells = np.eye(5, dtype=np.float32)

    def stack(*of_lanes: Any) -> list[NDArray[Any]]:
        return [np.concatenate([cells[before], cells[now]]) for before, now in of_lanes]

    np.testing.assert_array_equal(envs.reset(seed=[0, 1, 2])[0], stack((0, 0), (0, 0), (0, 0)))
    for step in range(4):
        seen = envs.step(np.array([1, 0, 1]))[0]
        np.testing.assert_array_equal(seen, stack((step, step + 1), (0, 0), (step, step + 1)))
    observations, rewards, terminated, truncated, _ = envs.step(np.array([1, 0, 0]))
    np.testing.assert_array_equal(observations, stack((4, 4), (0, 0), (4, 3)))  # the end of the first lane, no new beginning
    assert (rewards.tolist(), terminated.tolist(), bool(truncated.any())) == ([1, 0, 0], [True, False, False], False)
    observations, _ = envs.reset(seed=[9, None, None], options={"reset_mask": terminated})
    np.testing.assert_array_equal(observations, stack((0, 0), (0, 0), (4, 3)))
    for _ in range(44):
        *_, truncated, _ = envs.step(np.zeros(3, int))
        assert not truncated.any()
    assert envs.step(np.zeros(3, int))[3].tolist() == [False, True, True]  # their 50th step, and the first lane's 45th
    envs.close()


def test_an_episode_without_any_end_is_cut_off_and_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgedqn.agents.playing.environments.LONGEST_EPISODE", 3)
    env = make_environment("CliffWalking-v1")
    with monkeypatch.context() as own:  # who ends its episodes itself is not cut off, and a warning would be an error here
        own.setattr(CliffWalkingEnv, "step", lambda self, action: (36, -1.0, False, True, {}))
        env.reset(seed=0)
        assert env.step(0)[3]
    env.reset(seed=0)
    assert [env.step(0)[3] for _ in range(2)] == [False, False]
    with pytest.warns(EnvironmentWarning, match=r"^CliffWalking-v1: .* cut off after 3 steps, .*: max_episode_steps, or gym"):
        assert env.step(0)[3]


@pytest.mark.filterwarnings("ignore:.*that is not in the possible render_modes:UserWarning")
def test_an_environment_is_rendered_in_its_own_ways_only(corridor_id: str) -> None:
    with pytest.raises(
        InputError, match=r"^CartPole-v1 cannot be rendered as 'smell': expected one of \['human', 'rgb_array'\]\.$"
    ):
        make_environment("CartPole-v1", "smell")
    expected = r'an environment that takes `render_mode`, and names it in metadata\["render_modes"\]\. Got .*[^.]\.$'
    with pytest.raises(InputError, match=rf"^{corridor_id} cannot be rendered as 'human': expected {expected}"):
        make_environment(corridor_id, "human")


@pytest.mark.parametrize(
    ("env_id", "near"),
    [
        ("CartPole-v2", "CartPole-v1"),
        ("cartpole-v1", "CartPole-v1"),
        ("MountinCar-v0", "MountainCar-v0"),
        ("Acrobot", "Acrobot-v1"),
    ],
)
def test_an_unknown_id_gets_the_nearest_names(env_id: str, near: str) -> None:
    own = r"One of your own is module:Id\."
    with pytest.raises(InputError, match=rf"^Unknown environment '{env_id}'\. Nearest: .*\b{near}\b.*\. {own}$"):
        make_environment(env_id)


def test_an_id_like_no_other_gets_the_rule() -> None:
    with pytest.raises(
        InputError, match=r"^Unknown environment 'Qqqqqqqq'\. A gymnasium id is expected\. One of your own is module:Id\.$"
    ):
        make_environment("Qqqqqqqq")


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("no_such_module", r"no_such_module\.py in the current folder or on PYTHONPATH"),
        ("no.such.module", r"no\.py in the current folder or on PYTHONPATH"),
        *((module, "module:Id") for module in (".relative", "", "a:b")),
    ],
)
def test_a_module_that_cannot_be_imported(module: str, expected: str) -> None:
    with pytest.raises(InputError, match=rf"cannot be imported: .*Expected {expected}\.$"):
        make_environment(f"{module}:CartPole-v1")


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A user's module on the path: it registers two environments when it is imported, and one that needs what is not there."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_environments.py").write_text("""
import gymnasium, numpy as np
class My(gymnasium.Env):
    closed = False
    observation_space = gymnasium.spaces.Box(-1, 1, (3,), np.float32)
    def __init__(self, actions=2):
        print("My greets you")
        self.action_space = gymnasium.spaces.Discrete(actions) if actions else gymnasium.spaces.Text(3)
    def close(self):
        My.closed = True
class Lacking(gymnasium.Env):
    def __init__(self):
        import no_such_physics
gymnasium.register("EdgeDQNTest/My-v0", My)
gymnasium.register("EdgeDQNTest/MyTyped-v0", My, kwargs={"actions": 0})
gymnasium.register("EdgeDQNTest/Lacking-v0", Lacking)
""")
    yield "my_environments"
    sys.modules.pop("my_environments", None)
    for name in ("My-v0", "MyTyped-v0", "Lacking-v0"):
        gymnasium.registry.pop(f"EdgeDQNTest/{name}", None)


def test_a_users_own_environment(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    env_id = f"{module}:EdgeDQNTest/My-v0"
    env = make_environment(env_id)
    assert spec_of(env, env_id).id == env_id  # so that whoever reads the spec can make it again
    assert spec_of(env, env_id).observation_shape == (3,)
    assert capsys.readouterr().out == "My greets you\n"  # its prints are its user's; `cli` keeps them from --json
    with pytest.raises(InputError, match=rf"Nearest: {module}:EdgeDQNTest/My-v0, {module}:.*[^d]\.$"):
        make_environment(f"{module}:EdgeDQNTest/Mi-v0")


def test_a_refused_environment_is_closed(module: str) -> None:
    with pytest.raises(InputError, match="cannot rank"):
        make_environment(f"{module}:EdgeDQNTest/MyTyped-v0")
    assert sys.modules[module].My.closed


def test_an_environment_that_lacks_a_package(module: str) -> None:
    with pytest.raises(
        InputError, match=r"Lacking-v0 needs a package that is not installed: No module named 'no_such_physics'$"
    ):
        make_environment(f"{module}:EdgeDQNTest/Lacking-v0")


@given(
    values=st.lists(st.floats(-1e38, 1e38), min_size=1, max_size=6),
    dtype=st.sampled_from(["float32", "float64"]),
    bad=st.sampled_from([np.nan, np.inf, -np.inf]),
    data=st.data(),
)
def test_every_finite_observation_passes_and_no_other(values: Any, dtype: Any, bad: str | None, data: st.DataObject) -> None:
    observation = np.array(values, dtype)
    check_transition("My-v0", 1, observation=observation, reward=0.0)
    i = data.draw(st.integers(0, len(values) - 1))
    observation[i] = bad
    with pytest.raises(BadTransitionError, match=rf"^My-v0 gave a bad observation at step 12: .*Got {bad} in feature {i}\.$"):
        check_transition("My-v0", 12, observation=observation, reward=0.0)


@pytest.mark.parametrize(
    "observation",
    [np.full(3, 1e30, np.float32), np.full(3, 1e300), np.full(3, 6e4, np.float16), np.full(9, 255, np.uint8), np.ones(2, bool)],
    ids=lambda observation: str(observation.dtype),
)
def test_large_is_not_infinite(observation: NDArray[Any]) -> None:
    check_transition("My-v0", 1, observation=observation, reward=1e300)
    if observation.dtype.kind == "f":  # the others have no infinity
        with pytest.raises(BadTransitionError, match="bad observation"):
            check_transition("My-v0", 1, observation=np.append(observation, observation.dtype.type(np.inf)), reward=1e300)
    with pytest.raises(BadTransitionError, match="bad reward"):
        check_transition("My-v0", 1, observation=observation, reward=np.inf)


@pytest.mark.parametrize("reward", [np.nan, np.inf, -np.inf])
def test_a_reward_is_a_number(reward: float) -> None:
    with pytest.raises(BadTransitionError, match=rf"bad reward at step 7: expected a finite number\. Got {reward}\.$"):
        check_transition("My-v0", 7, observation=np.zeros(2), reward=reward)


def test_a_complaint_is_one_line_however_long_the_observation() -> None:
    with pytest.raises(BadTransitionError) as caught:
        check_transition("My-v0", 7, observation=np.full(500, np.nan), reward=0.0)
    assert "\n" not in str(caught.value)


def test_a_function_of_the_users_makes_an_environment() -> None:
    def make(shape: int = 2) -> Film:
        return Film(spaces.Box(0, 10**6, (shape,), np.float32))

    try:
        for _ in range(2):  # as where a run is gone on with
            register_factory("Made-v0", make)
        env = make_environment(EnvironmentSource("Made-v0", {"shape": 3}, max_episode_steps=4))
        assert env.reset(seed=1)[0].shape == (3,)
        assert [env.step(0)[3] for _ in range(4)] == [False, False, False, True]
        register_factory("Made-v0", lambda shape=1: make(shape + 1))
        assert make_environment("Made-v0").reset(seed=1)[0].shape == (2,)
    finally:
        gymnasium.registry.pop("Made-v0", None)
    with pytest.raises(InputError, match=r"^'CartPole-v1' is registered already: expected another name"):
        register_factory("CartPole-v1", make)
    with pytest.raises(InputError, match=r"^Expected a name such as Mine-v0 .* Got 'no good name'"):
        register_factory("no good name", make)


class Still(gymnasium.Env):
    """One observation of each kind of space."""

    action_space = spaces.Discrete(2)

    def __init__(self, observations: Any) -> None:
        self.observation_space = observations
        observations.seed(3)
        self.given = observations.sample()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        return self.given, {}


@pytest.mark.filterwarnings("ignore::edgedqn.agents.errors.EnvironmentWarning")
@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(16, start=2),
        spaces.Box(0, 255, (3, 40, 50), np.uint8),
        spaces.Box(0, 255, (40, 50), np.uint8),
        spaces.Box(-1, 1, (2, 3, 2, 2)),
        spaces.Dict({"x": spaces.Box(-1, 1, (2,)), "n": spaces.Discrete(3)}),
    ],
    ids=lambda space: type(space).__name__,
)
def test_a_frame_goes_back_to_what_the_simulator_gave(space: Any) -> None:
    still = Still(space)
    register_factory("Still-v0", lambda: still)
    try:
        env = make_environment("Still-v0")
        spec = spec_of(env, "Still-v0", flatten=len(space.shape or ()) > 3)
        seen, _ = agent_view(env, spec).reset(seed=0)
        assert seen.shape == spec.input_shape
        back = as_given(env, spec)(seen)
    finally:
        gymnasium.registry.pop("Still-v0", None)
    assert back in space
    np.testing.assert_array_equal(spaces.flatten(space, back), spaces.flatten(space, still.given))


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (
            EnvironmentSource("CartPole-v1", {"gravity": 5}),
            r"^CartPole-v1 cannot be made with gravity=5: TypeError: .*'gravity'",
        ),
        (EnvironmentSource("FrozenLake-v1", {"map_name": "9x9"}), r"^FrozenLake-v1 cannot be made with map_name=9x9: KeyError"),
        (EnvironmentSource("CartPole-v1", observe=("a",)), r"^CartPole-v1 has nothing to choose from"),
        (EnvironmentSource("CartPole-v1", action_mask=True), r"^CartPole-v1 gave a bad action_mask: .* Got none"),
    ],
)
def test_what_a_source_asks_for_and_cannot_have(source: EnvironmentSource, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        make_environment(source).reset()


def test_a_source_makes_the_environment_it_says() -> None:
    clipped = WrapperSource.parse("gymnasium.wrappers:ClipReward:min_reward=0:max_reward=0.5")
    env = make_environment(EnvironmentSource("CartPole-v1", wrappers=(clipped,), reset_options={"low": 0, "high": 0}))
    assert env.reset(seed=3)[0].tolist() == [0, 0, 0, 0] and env.step(0)[1] == 0.5
